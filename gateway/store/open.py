"""Opens the store that a URL names.

    sqlite:relative/path   sqlite:/absolute/path   sqlite:///absolute/path   sqlite://absolute/path
    postgresql://user:password@host:port/database

Anything else is refused: a mistyped URL must never become a new, empty store somewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.kernel.clock import Clock, Randomness
from gateway.kernel.errors import StoreSetupError
from gateway.store.anchor import OnHead
from gateway.store.port import Store
from gateway.store.sqlite import open_sqlite

_SQLITE: Final = "sqlite:"
_POSTGRES: Final = ("postgresql://", "postgres://")


async def open_store(
    url: str,
    *,
    clock: Clock,
    randomness: Randomness,
    anchor: Path | None = None,
    on_head: OnHead | None = None,
) -> Store:
    """Open the store at `url`. Raises `StoreSetupError`.

    A SQLite store anchors its heads in a file beside it; a PostgreSQL store in `anchor`, where it is given.
    `on_head` is told each anchored head, on any thread.
    """
    if url.startswith(_SQLITE):
        path = sqlite_path(url)
        return await open_sqlite(path, clock=clock, randomness=randomness, on_head=on_head)
    if url.startswith(_POSTGRES):
        try:
            from gateway.store.postgres import open_postgres
        except ImportError as error:
            raise StoreSetupError(
                "storage.url names PostgreSQL, and asyncpg is not installed",
                hint="pip install 'lumyn-gateway[postgres]'",
            ) from error
        return await open_postgres(url, clock=clock, randomness=randomness, anchor=anchor, on_head=on_head)
    raise StoreSetupError(
        f"storage.url has no scheme that is known here: {url.partition(':')[0]!r}",
        hint="use sqlite:path or postgresql://user@host/database",
    )


def is_sqlite(url: str) -> bool:
    """Tell whether a URL names a file; the others must be ones that `open_store` knows. Raises as it does."""
    if url.startswith(_SQLITE):
        return True
    if url.startswith(_POSTGRES):
        return False
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
