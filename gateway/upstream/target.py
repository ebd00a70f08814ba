"""Where a request may go: an origin from the configuration, taken apart once and checked.

Targets come from the operator's file, never from a client. What a client sends chooses among them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from gateway.kernel.errors import InvalidConfigError

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_VISIBLE: Final = frozenset(map(chr, range(0x21, 0x7F)))
_HINT: Final = "write http://host:port/v1"


@dataclass(frozen=True, slots=True)
class Target:
    """One origin and the path prefix before `/v1`."""

    host: str
    port: int
    tls: bool
    prefix: str
    """Empty, or a path that starts with a slash and ends without one."""

    @property
    def host_header(self) -> str:
        """What goes into `Host` (RFC 9110 7.2): the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"


def read_endpoint(url: str, *, where: str) -> tuple[Target, str]:
    """Return the target and the path of one resource, which has the path that it says and no `/v1` behind it.

    Raises InvalidConfigError that names `where` the URL stands.
    """
    target = read_target(url, where=where)
    return replace(target, prefix=""), urlsplit(url).path or "/"


def read_target(url: str, *, where: str, api_version: bool = True) -> Target:
    """Return the target of an OpenAI base URL; a trailing `/v1` is the API's, not the prefix's.

    With `api_version` False the URL is that of any HTTP server, and its path is kept whole.

    Raises InvalidConfigError that names `where` the URL stands.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # The URL is never quoted: it may carry a password.
        raise InvalidConfigError(f"{where} is no URL", hint=_HINT) from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or port == 0:
        raise InvalidConfigError(f"{where} is no http or https URL", hint=_HINT)
    if not _VISIBLE.issuperset(url):
        raise InvalidConfigError(
            f"{where} holds characters that may not stand in a URL",
            hint="write host names in their `xn--` form and paths with percent signs",
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidConfigError(f"{where}: a URL may not carry credentials", hint="use `api_key`")
    if parts.query or parts.fragment:
        raise InvalidConfigError(f"{where}: a base URL has no query and no fragment")
    prefix = parts.path.rstrip("/")
    return Target(
        host=parts.hostname,
        port=port or _DEFAULT_PORTS[parts.scheme],
        tls=parts.scheme == "https",
        prefix=prefix.removesuffix("/v1") if api_version else prefix,
    )
