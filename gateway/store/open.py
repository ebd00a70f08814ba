"""Opens the store that a URL names.

    sqlite:relative/path   sqlite:/absolute/path   sqlite:///absolute/path   sqlite://absolute/path
    postgresql://user:password@host:port/database

Anything else is refused: a mistyped URL must never become a new, empty store somewhere.
"""

from __future__ import annotations

from typing import Final

from gateway.kernel.clock import Clock, Randomness
from gateway.kernel.errors import StoreSetupError
from gateway.store.port import Store
from gateway.store.sqlite import open_sqlite

_SQLITE: Final = "sqlite:"


async def open_store(url: str, *, clock: Clock, randomness: Randomness) -> Store:
    """Open the store at `url`. Raises `StoreSetupError`."""
    if url.startswith(_SQLITE):
        return await open_sqlite(sqlite_path(url), clock=clock, randomness=randomness)
    raise StoreSetupError(
        f"storage.url has no scheme that is known here: {url.partition(':')[0]!r}",
        hint="use sqlite:path or postgresql://user@host/database",
    )


def sqlite_path(url: str) -> str:
    """Return the path of a `sqlite:` URL. Raises `StoreSetupError` where it names none."""
    rest = url.removeprefix(_SQLITE)
    if rest.startswith("//"):
        rest = "/" + rest.lstrip("/")
    if rest.strip("/") == "" or rest == ":memory:" or rest.endswith("/"):
        raise StoreSetupError(f"storage.url names no file: {url!r}", hint="use sqlite:.lumyn/lumyn.db")
    if "?" in rest or "#" in rest:
        raise StoreSetupError(f"storage.url takes no parameters: {url!r}", hint="leave out ? and #")
    return rest
