"""B4.4, whole: a flush fails under a gateway with traffic on it."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from gateway.store.verify import verify_sqlite
from tests.kit.figures import note
from tests.kit.fulldisk import crowd
from tests.kit.gatewaybox import read_store, witness
from tests.kit.mutants import command
from tests.kit.processes import gateway_process
from tests.kit.straced import flushed_after_failure, tracing

CLIENTS = 8
START_FLUSHES = 30
"""More than a start makes, so that it is traffic that meets the fault."""
LEAVES_S = 15.0


async def fail_a_flush(strace: str, tmp_path: Path, number: int, mutant: str | None = None) -> None:
    """Traffic until the n-th flush fails; then the process must go, and leave a whole store."""
    trace = tmp_path / "trace"
    launch = [
        *tracing(strace, f"fdatasync:error=EIO:when={number}+", trace),
        *command(mutant, "gateway.cli"),
    ]
    answered: list[str] = []
    async with witness() as backend:
        with gateway_process(tmp_path, backend.url, launch=launch) as gateway:
            with contextlib.suppress(OSError, EOFError, TimeoutError):  # It is gone in the middle of it all.
                async with crowd(gateway.port, CLIENTS) as clients:
                    await asyncio.to_thread(gateway.popen.wait, LEAVES_S)
            answered = [answer.request_id for answer in clients.answers if answer.status == 200]
            refused = [answer.status for answer in clients.answers if answer.status != 200]
            assert gateway.popen.poll() not in (None, 0), "the process must leave, and say that it failed"
    assert flushed_after_failure(trace.read_text()) == [], (
        "a file was flushed again after its flush had failed"
    )
    said = (tmp_path / "stderr.log").read_text().splitlines()
    assert [line for line in said if line.startswith("error: the store has failed for good")], said
    assert {*refused} <= {503}
    kept = read_store(tmp_path / "lumyn.db")
    assert kept.sound
    assert set(backend.seen) <= kept.recorded, "forwarded and not recorded"
    assert set(answered) <= kept.recorded, "acknowledged and not kept"
    assert verify_sqlite(tmp_path / "lumyn.db").faults == ()
    note(f"gateway, failed flush, call {number}: {len(answered)} answered before, 0 lost, the process left")


async def test_a_gateway_leaves_when_a_flush_fails(strace: str, tmp_path: Path) -> None:
    """Nothing more is forwarded or flushed; it ends with one line and a code, and its store is whole."""
    await fail_a_flush(strace, tmp_path, START_FLUSHES)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(START_FLUSHES, START_FLUSHES + 60, 7))
async def test_a_gateway_leaves_at_whichever_flush(strace: str, tmp_path: Path, number: int) -> None:
    """The nightly figure of the same."""
    await fail_a_flush(strace, tmp_path, number)
