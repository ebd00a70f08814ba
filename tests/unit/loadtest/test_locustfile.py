"""`locust -f loadtest/locustfile.py`, as a person starts it: headless, and with the web UI."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.kit.loads import answering, plain, streamed
from tests.kit.rawpeer import Message, RawServer, raw_server

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = (
    "--base-rps",
    "10",
    "--base-s",
    "0.2",
    "--peak-s",
    "0.3",
    "--after-s",
    "0.2",
    "--tools-rps",
    "5",
    "--no-plots",
)


@pytest.fixture
async def gateway() -> AsyncIterator[RawServer]:
    """A gateway that answers everything at once."""

    def answer(message: Message) -> bytes:
        if "/v0/" in message.start:
            return plain({"verdict": "TRUST", "decision_id": "D9"})
        return streamed()

    async with raw_server(answering(answer)) as server:
        yield server


async def locust(server_url: str, *words: str) -> asyncio.subprocess.Process:
    """Start locust on the kit."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", *words,
        cwd=ROOT, env={**os.environ, "OPENAI_BASE_URL": server_url},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def test_headless(gateway: RawServer, tmp_path: Path) -> None:
    """It plays the schedule, writes rows and report, and exits with 0 where the schedule was kept."""
    done = await locust(gateway.url, "--headless", "--report-dir", str(tmp_path), *OPTIONS)
    said, _ = await asyncio.wait_for(done.communicate(), 60)
    text = said.decode()
    rows = [
        json.JSONDecoder().decode(line)
        for line in (tmp_path / "requests-locust.jsonl").read_text().splitlines()
    ]
    late = max(row["lag_s"] for row in rows)
    assert done.returncode == (0 if late < 0.05 else 3), text
    assert {row["status"] for row in rows} == {"complete"}
    assert {row["kind"] for row in rows} == {"ask", "act"}
    assert (tmp_path / "report.html").exists()
    assert re.search(r"^gateway +all +\d+ +1\.000", text, flags=re.MULTILINE)


async def test_the_web_ui(gateway: RawServer, tmp_path: Path) -> None:
    """Its form has the options of the schedule; a run that is started there is played and counted."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await locust(
        gateway.url,
        "--web-host",
        "127.0.0.1",
        "--web-port",
        str(port),
        "--report-dir",
        str(tmp_path),
        *OPTIONS,
    )
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            page = await _page(session)
            assert "load_shape" in page
            async with session.post("/swarm", data={"load_shape": "step", "peak_s": "0.2"}) as answer:
                assert (await answer.json(content_type=None))["success"] is True
            while not (tmp_path / "report.html").exists():
                await asyncio.sleep(0.05)
            async with session.get("/stats/requests") as answer:
                stats = await answer.json(content_type=None)
    finally:
        process.terminate()
        await process.communicate()
    names = {(entry["method"], entry["name"]) for entry in stats["stats"]}
    assert ("act", "tool action") in names
    assert ("first token", "standard") in names
    assert stats["total_rps"] >= 0
    figures = json.JSONDecoder().decode((tmp_path / "report.json").read_text())
    assert figures["facts"]["shape"].startswith("step,")


async def _page(session: aiohttp.ClientSession) -> str:
    while True:
        try:
            async with session.get("/") as answer:
                return await answer.text()
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.05)


@pytest.mark.long
async def test_it_runs_in_one_process(gateway: RawServer) -> None:
    """A master would keep a second schedule: it says so and leaves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await locust(gateway.url, "--master", "--headless", "--master-bind-port", str(port))
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert b"one process" in said
