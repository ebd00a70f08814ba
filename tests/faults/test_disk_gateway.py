"""B4.5, whole: the disk fills up under a gateway with traffic on it, and is freed again."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from gateway.kernel.types import Fate
from gateway.store.verify import verify_sqlite
from tests.kit.figures import note
from tests.kit.fulldisk import Answer, Crowd, DiskFault, FileLimit, SmallDisk, crowd
from tests.kit.gatewaybox import Witness, read_store, witness
from tests.kit.mutants import command
from tests.kit.processes import Process, gateway_process

CLIENTS = 12
ANSWERS = 60
STREAMS = 3
WITHIN_S = 5.0
FATES = {fate.value for fate in Fate}


async def get(url: str) -> tuple[int, str]:
    """Ask the admin listener, as a probe does."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def until(url: str, status: int) -> float:
    """Ask until it answers so; return how long that took."""
    began_s = time.monotonic()
    while (found := await get(url))[0] != status:
        assert time.monotonic() - began_s < WITHIN_S, found
        await asyncio.sleep(0.01)
    return time.monotonic() - began_s


def check_refusals(refused: list[Answer]) -> float:
    """Each is a 503 that says when to come again; return how long the middle one took."""
    assert {answer.status for answer in refused} == {503}
    assert all(answer.retry_after is not None and int(answer.retry_after) >= 1 for answer in refused)
    took_s = sorted(answer.took_s for answer in refused)[len(refused) // 2]
    assert took_s < 0.25
    return took_s


async def fill_and_free(fault: DiskFault, tmp_path: Path, times: int, mutant: str | None = None) -> None:
    """Traffic all along; what is refused is honest, and afterwards it goes on as if nothing had been."""
    directory = tmp_path / "disk"
    launch = fault.launch(directory, command(mutant, "gateway.cli"))
    url = f"sqlite:{directory}/lumyn.db"
    async with witness() as backend:
        with (
            gateway_process(tmp_path, backend.url, launch=launch, LUMYN_STORAGE_URL=url) as gateway,
            fault.hold(gateway.popen.pid, directory) as disk,
        ):
            async with crowd(gateway.port, CLIENTS) as clients:
                for _ in range(times):
                    await fill_and_free_once(fault, gateway, directory, backend, clients)
            answered = {answer.request_id for answer in clients.answers if answer.status == 200}
            assert await asyncio.to_thread(gateway.stop) == 0
            shutil.copytree(disk, tmp_path / "kept", ignore=shutil.ignore_patterns("filler"))
    check_kept(tmp_path / "kept" / "lumyn.db", set(backend.seen), answered)


async def fill_and_free_once(
    fault: DiskFault, gateway: Process, directory: Path, backend: Witness, clients: Crowd
) -> None:
    admin, pid = f"http://127.0.0.1:{gateway.admin_port}", gateway.popen.pid
    await clients.more(time.monotonic(), ANSWERS)
    while backend.open_streams < STREAMS:
        await asyncio.sleep(0.001)
    fault.fill(pid, directory)
    await until(f"{admin}/health/ready", 503)
    full_s, forwarded = time.monotonic(), len(backend.seen)
    assert (await get(f"{admin}/admin/decisions?limit=5"))[0] == 200, "reads go on"
    while backend.open_streams:  # Their outcomes come while nothing can be written.
        await asyncio.sleep(0.01)
    took_s = check_refusals(await clients.more(full_s, ANSWERS))
    assert len(backend.seen) == forwarded, "forwarded without a record"
    fault.free(pid, directory)
    back_s = await until(f"{admin}/health/ready", 200)
    served = await clients.more(time.monotonic(), ANSWERS)
    assert {answer.status for answer in served} == {200}
    note(
        f"gateway, {fault.name}: {len(clients.answers)} answers so far, half refused within "
        f"{took_s * 1e3:.0f} ms, ready {back_s:.2f} s after"
    )


def check_kept(database: Path, forwarded: set[str], answered: set[str]) -> None:
    """What reached a backend or a client is on record, each with one fate, in a chain that verifies."""
    kept = read_store(database)
    assert kept.sound
    assert forwarded <= kept.recorded, "forwarded and not recorded"
    assert answered <= kept.recorded, "acknowledged and not kept"
    fates = list(kept.fates.values())
    assert all(len(found) == 1 and found[0] in FATES for found in fates), "one fate each"
    assert ["unknown"] not in fates, "no process died, so nothing is unknown"
    assert verify_sqlite(database).faults == ()


async def test_a_file_limit_comes_and_goes(tmp_path: Path) -> None:
    """Every write is refused: 503, nothing forwarded, reads go on, whole afterwards."""
    await fill_and_free(FileLimit(), tmp_path, 1)


async def test_a_disk_fills_up_and_is_freed(tmp_path: Path) -> None:
    """The same with a file system that has no byte left."""
    await fill_and_free(small_disk(tmp_path), tmp_path, 1)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_disk_fills_up_and_is_freed_many_times(tmp_path: Path) -> None:
    """The nightly figure of both."""
    (tmp_path / "limit").mkdir()
    await fill_and_free(FileLimit(), tmp_path / "limit", 15)
    await fill_and_free(small_disk(tmp_path), tmp_path, 15)


def small_disk(tmp_path: Path) -> SmallDisk:
    """A disk that can be filled, where one can be made."""
    refusal = SmallDisk.refusal(tmp_path)
    if refusal:
        pytest.skip(f"no file system can be mounted here: {refusal}")
    return SmallDisk()


@pytest.mark.parametrize(
    ("mutant", "word"),
    [
        ("acknowledge_failed", "without a record|not recorded"),
        ("forget_fates", "one fate each"),
        ("never_recover", "503"),
    ],
)
async def test_a_broken_build_is_caught(
    tmp_path: Path, mutant: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above can fail: each of these builds falls, and for the reason it should."""
    if mutant == "never_recover":
        monkeypatch.setattr(sys.modules[__name__], "WITHIN_S", 1.5)
    with pytest.raises(AssertionError, match=word):
        await fill_and_free(FileLimit(), tmp_path, 1, mutant)
