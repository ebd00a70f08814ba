"""B4.5, 6, 7, 8: disk full, places that will not do, locks, corruption."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.kernel.errors import RecordError, StoreSetupError, StoreUnavailableError
from gateway.kernel.types import EVERY_TENANT
from gateway.store.place import filesystem_of, prepare, refuse_network
from gateway.store.sqlite import SqliteStore, open_sqlite
from gateway.store.verify import verify_sqlite
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import CountedRandomness, decision
from tests.kit.figures import note


async def opened(path: Path, **options: float) -> SqliteStore:
    return await open_sqlite(path, clock=SystemClock(), randomness=SystemRandomness(), **options)  # type: ignore[arg-type]


async def until_ready(store: SqliteStore, seconds: float = 5.0) -> float:
    """Wait until the store says it is ready; return how long it took."""
    started_s = time.monotonic()
    while not store.health().ready and time.monotonic() - started_s < seconds:
        await asyncio.sleep(0.01)
    assert store.health().ready, store.health().reason
    return time.monotonic() - started_s


async def limit_pages(store: SqliteStore, pages: int) -> None:
    await store._driver._writing.execute(f"PRAGMA max_page_count = {pages}")


@pytest.mark.parametrize("seed", range(7))
async def test_a_full_disk_refuses_and_recovers(tmp_path: Path, seed: int) -> None:
    """Full: every waiter is told at once, reads go on; with space it recovers unaided."""
    await fill_and_free(tmp_path, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(7, 40))
async def test_a_full_disk_refuses_and_recovers_at_length(tmp_path: Path, seed: int) -> None:
    """The nightly figure of the same."""
    await fill_and_free(tmp_path, seed)


async def fill_and_free(tmp_path: Path, seed: int) -> None:
    """Fill a store by its number of pages at a random place, and free it again."""
    store = await opened(tmp_path / "lumyn.db")
    rng = random.Random(seed)
    await store.submit([decision(n) for n in range(rng.randrange(1, 30))])
    with contextlib.closing(sqlite3.connect(tmp_path / "lumyn.db")) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    await limit_pages(store, pages + rng.randrange(1, 10))
    refused, kept, slowest_s = 0, [], 0.0
    for number in range(100, 130):
        started_s = time.monotonic()
        try:
            await store.submit([decision(number, size=rng.randrange(500, 9_000))])
            kept.append(number)
        except StoreUnavailableError as error:
            refused += bool(error.retry_after_s)
            slowest_s = max(slowest_s, time.monotonic() - started_s)
    assert refused > 0
    assert slowest_s < 0.25
    assert not store.health().ready
    assert "full" in store.health().reason
    assert await store.decision(EVERY_TENANT, decision(0).entry_id) is not None
    await limit_pages(store, 1 << 30)
    took_s = await until_ready(store)
    await store.submit([decision(999)])
    for number in range(100, 130):
        stored = await store.decision(EVERY_TENANT, decision(number).entry_id) is not None
        assert stored == (number in kept)
    await store.close()
    assert verify_sqlite(tmp_path / "lumyn.db").faults == ()
    note(f"disk full, case {seed}: refused in {slowest_s * 1e3:.1f} ms, ready {took_s:.2f} s after")


async def test_a_file_limit_refuses_and_recovers(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: what cannot be written is refused; with the limit away it recovers unaided."""
    store = await opened(tmp_path / "lumyn.db")
    await store.submit([decision(1)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    wal_bytes = (tmp_path / "lumyn.db-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal_bytes + 9_000, before[1]))
    try:
        with pytest.raises(StoreUnavailableError):
            await asyncio.gather(*(store.submit([decision(n, size=2_000)]) for n in range(2, 40)))
        assert not store.health().fatal, store.health().reason
        assert await store.decision(EVERY_TENANT, decision(1).entry_id) is not None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    await until_ready(store)
    await store.submit([decision(99)])
    await store.close()
    assert verify_sqlite(tmp_path / "lumyn.db").faults == ()


def test_places_that_will_not_do_are_refused_in_one_line(tmp_path: Path) -> None:
    """Missing directories, a directory, another's file, another's database, text: one clear line each."""
    (tmp_path / "text").write_text("no database " * 100)
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE decisions (x)")
    (tmp_path / "circle.db").symlink_to(tmp_path / "circle.db")
    cases = {
        tmp_path / "no" / "such" / "lumyn.db": "missing",
        tmp_path / "text" / "lumyn.db": "is a file, and no directory",
        tmp_path / ("n" * 300): "name too long",
        tmp_path / "circle.db": "symbolic link",
        tmp_path: "is a directory",
        tmp_path / "text": "not a database",
        tmp_path / "other.db": "something else",
    }
    for path, word in cases.items():
        with pytest.raises(StoreSetupError, match=word) as caught:
            asyncio.run(opened(path))
        assert "\n" not in caught.value.message
        assert caught.value.hint
    asyncio.run(close_after(tmp_path / "made" / "lumyn.db"))
    assert (tmp_path / "made").is_dir(), "one missing directory is made"


async def close_after(path: Path) -> None:
    await (await opened(path)).close()


NOBODY = """
import os, sys
from pathlib import Path
from gateway.kernel.errors import StoreSetupError
from gateway.store.place import prepare
os.setgid(65534); os.setuid(65534)
try:
    prepare(Path(sys.argv[1]))
except StoreSetupError as error:
    print(error.message)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")
@pytest.mark.parametrize(
    ("directory_mode", "file_mode", "owner", "word"),
    [
        (0o777, 0o600, 0, "belongs to user 0"),
        (0o777, 0o400, 65534, "is read-only"),
        (0o755, 0o666, 0, "cannot write in"),
    ],
)
def test_what_is_not_ours_is_refused(directory_mode: int, file_mode: int, owner: int, word: str) -> None:
    """A file of another user, a read-only file, a directory where nothing may be made."""
    directory = Path("/tmp") / f"lumyn-{os.getpid()}-{directory_mode:o}-{file_mode:o}"
    directory.mkdir()
    try:
        path = directory / "lumyn.db"
        path.touch()
        path.chmod(file_mode)
        os.chown(path, owner, owner)
        directory.chmod(directory_mode)
        done = subprocess.run(
            [sys.executable, "-c", NOBODY, path], capture_output=True, text=True, check=True
        )
        assert word in done.stdout
    finally:
        shutil.rmtree(directory)


def test_a_network_file_system_is_refused_with_a_way_out() -> None:
    """NFS and its like are refused, with a hint to PostgreSQL; the innermost mount counts."""
    mounts = (
        "22 1 254:0 / / rw - ext4 /dev/vda rw\n40 22 0:50 / /srv/my\\040data rw - nfs4 host:/ rw\nbroken\n"
    )
    assert filesystem_of(Path("/srv"), mounts) == "ext4"
    assert filesystem_of(Path("/srv/my data/lumyn"), mounts) == "nfs4"
    with pytest.raises(StoreSetupError, match="network") as caught:
        refuse_network(Path("/srv/my data/lumyn.db"), "nfs4")
    assert "postgresql" in str(caught.value.hint)
    refuse_network(Path("/srv/lumyn.db"), "ext4")
    prepare(Path("/tmp/lumyn.db"))


def contents(path: Path) -> list[object] | None:
    """All that can be read of a database, or None where it cannot be."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return [
                connection.execute(f"SELECT * FROM {t} NOT INDEXED").fetchall()
                for t in ("entries", "writers")
            ]
    except (sqlite3.Error, UnicodeError, OverflowError):
        return None


def sqlite_notices(path: Path) -> bool:
    """Whether SQLite's own check finds something."""
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            found: bool = connection.execute("PRAGMA integrity_check").fetchone() != ("ok",)
            return found
    except (sqlite3.Error, UnicodeError):
        return True


def check_flips(directory: Path, flips: int) -> None:
    """Flip single bits anywhere in the file; each flip that changes what is stored must be found."""

    async def make() -> None:
        store = await open_sqlite(directory / "whole.db", clock=SystemClock(), randomness=CountedRandomness())
        await asyncio.gather(*(store.submit([decision(n, size=1_200)]) for n in range(150)))
        await store.close()

    asyncio.run(make())
    whole = (directory / "whole.db").read_bytes()
    before = contents(directory / "whole.db")
    rng, path = random.Random(8), directory / "flipped.db"
    shutil.copyfile(directory / "whole.db-anchor", directory / "flipped.db-anchor")
    changed = found = sqlite_found = 0
    for _ in range(flips):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        if contents(path) == before:
            continue
        changed += 1
        try:
            found += bool(verify_sqlite(path).faults)
        except RecordError:
            found += 1
        with (
            contextlib.suppress(sqlite3.Error, UnicodeError),
            contextlib.closing(sqlite3.connect(path)) as connection,
        ):
            sqlite_found += connection.execute("PRAGMA integrity_check").fetchone() != ("ok",)
    note(
        f"bit flips: {flips}, {changed} changed a record, {found} found (SQLite's own check: {sqlite_found})"
    )
    assert changed > flips / 4
    assert found == changed


def test_every_flip_that_changes_a_record_is_found(tmp_path: Path) -> None:
    """Of 100 flipped bits each one that changes anything that can be read is found, and nothing crashes."""
    check_flips(tmp_path, 100)


@pytest.mark.long
def test_every_flip_that_changes_a_record_is_found_at_length(tmp_path: Path) -> None:
    """The nightly figure of the same."""
    check_flips(tmp_path, 3_000)
