"""What of a request's context stays in the record, and whether its digest is true.

Profiles, loosest first: `off` keeps inline content, `default` takes out members whose name is known to
hold secrets or personal text, at any depth, `strict` takes out all of it. The configured profile is a
floor that a request can only tighten. Content sent along with another mode than `inline` is dropped.

Only `context` is ever touched. The digest of the content stays, so that the record still binds it.
"""

from __future__ import annotations

from typing import Final

from gateway.kernel.canon import digest
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.pointer import join
from gateway.kernel.types import JSON, JSONObject

PROFILES: Final = ("off", "default", "strict")
"""Loosest first."""
DEFAULT_PROFILE: Final = "default"
SECRET_NAMES: Final = frozenset(
    {
        "access_token",
        "api_key",
        "authorization",
        "email",
        "messages",
        "password",
        "phone",
        "prompt",
        "raw",
        "ssn",
        "token",
        "transcript",
    }
)
"""Names, in lower case, that profile `default` takes out (contract 2.5)."""

_Path = tuple[str | int, ...]
_INLINE: Final[_Path] = ("context", "inline")


def effective_profile(asked: JSON, floor: str) -> str:
    """Return the stricter of the profile that a request asks for and the configured one.

    A profile that is not known counts as `default`, on either side; asking for none asks for nothing.
    """
    configured = floor if floor in PROFILES else DEFAULT_PROFILE
    if not isinstance(asked, str):
        return configured
    wanted = asked if asked in PROFILES else DEFAULT_PROFILE
    return max(configured, wanted, key=PROFILES.index)


def redact_request(request: JSONObject, floor: str = DEFAULT_PROFILE) -> JSONObject:
    """Return a validated request as it goes into the record; the one given is not changed.

    `context.redaction` says the effective profile and, in code point order, what was taken out.
    """
    context: JSONObject = request["context"]
    profile = effective_profile(context.get("redaction", {}).get("profile"), floor)
    kept = dict(context)
    removed: list[str] = []
    if "inline" in context:
        del kept["inline"]
        if context["mode"] == "inline":
            kept["inline"] = _redact_inline(context["inline"], profile, removed)
        else:
            removed.append(join(_INLINE))
    # A set, because names too long for a pointer are told by their parent.
    kept["redaction"] = {"profile": profile, "fields_removed": sorted(set(removed))}
    return {**request, "context": kept}


def verify_context(request: JSONObject) -> None:
    """Raise InvalidRequestError if content was sent along and `context.digest` is not its digest.

    What a reference names is not here to be digested, so a reference is taken at its word.
    """
    context = request["context"]
    if "inline" in context:
        computed = digest(context["inline"])
        if context["digest"] != computed:
            raise InvalidRequestError(
                f"/context/digest is not the digest of /context/inline, which is {computed}",
                pointer="/context/digest",
                hint="send the SHA-256 of the content's RFC 8785 bytes",
            )


def _redact_inline(inline: JSONObject, profile: str, removed: list[str]) -> JSONObject:
    if profile == "strict":
        removed.extend(join((*_INLINE, name)) for name in inline)
        return {}
    return inline if profile == "off" else _without_secrets(inline, _INLINE, removed)


def _without_secrets(value: JSONObject, path: _Path, removed: list[str]) -> JSONObject:
    kept: JSONObject = {}
    for name, item in value.items():
        if name.lower() in SECRET_NAMES:
            removed.append(join((*path, name)))
        else:
            kept[name] = _inside(item, (*path, name), removed)
    return kept


def _inside(value: JSON, path: _Path, removed: list[str]) -> JSON:
    # Recursion is bounded by the reader's bound in nesting.
    if isinstance(value, dict):
        return _without_secrets(value, path, removed)
    if isinstance(value, list):
        return [_inside(item, (*path, index), removed) for index, item in enumerate(value)]
    return value
