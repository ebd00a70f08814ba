"""What is read anew while a gateway runs: good versions at once, bad ones never, half-written ones later."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.auth.keys import KeyRing
from gateway.config import PolicyConfig
from gateway.engine.decide import EngineSettings
from gateway.kernel.errors import InvalidConfigError, StoreBusyError, StoreUnavailableError
from gateway.kernel.ids import IdSource
from gateway.live import Live, Snapshot
from gateway.memory.snapshot import MemoryIndex
from gateway.pipeline.policies import load_policies
from gateway.reload import PolicyPart, Reloader, look_at
from gateway.store.sqlite import open_sqlite
from gateway.telemetry.log import LOG
from tests.kit.entries import CountedRandomness, StillClock
from tests.kit.gateways import chat_body, eventually, running_gateway
from tests.kit.rawpeer import post, raw_client
from tests.kit.seeded import SeededRandomness


def policy(version: str, verdict: str = "TRUST") -> str:
    """A policy that says the same of everything."""
    code = "LLM_REQUEST_OK" if verdict == "TRUST" else "LLM_TOKENS_OVER_LIMIT"
    return (
        f"schema_version: policy.v0\npolicy_id: p\npolicy_version: '{version}'\n"
        "defaults: {mode: enforce, default_verdict: TRUST, default_reason_code: LLM_REQUEST_OK}\n"
        "rules:\n  - id: R1\n    stage: HARD_BLOCKS\n    when: {action_type: llm.chat_completion}\n"
        f"    then: {{verdict: {verdict}, reason_codes: [{code}]}}\n"
    )


@dataclass
class Fake:
    """A part whose every step a test decides."""

    path: Path
    name: str = "fake"
    reads: int = 0
    published: list[str] = field(default_factory=list)
    trouble: Exception | None = None
    meanwhile: Any = None
    """Called while it is read."""

    def files(self) -> tuple[str, ...]:
        return (str(self.path),)

    def read(self) -> Any:
        self.reads += 1
        text = self.path.read_text()
        if self.meanwhile is not None:
            self.meanwhile()
        if text == "bad":
            raise InvalidConfigError("it is bad")

        async def publish() -> Any:
            if self.trouble is not None:
                raise self.trouble
            if text in self.published[-1:]:
                return None
            self.published.append(text)
            return {"text": text}

        return publish


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What the log was told."""
    monkeypatch.setattr(LOG, "propagate", True)
    caplog.set_level("INFO", logger="lumyn")
    return caplog


class Bench:
    """One part under a reloader that only looks when it is told to."""

    def __init__(self, folder: Path, *, watch: bool = True) -> None:
        self.file = folder / "file"
        self.file.write_text("one")
        self.part = Fake(self.file)
        self.counts: Counter[tuple[str, str]] = Counter()
        self.reloader = Reloader([self.part], self._count, watch=watch)

    def _count(self, what: str, result: str) -> None:
        self.counts[what, result] += 1

    async def look(self, times: int = 1, *, asked: bool = False) -> list[str]:
        """Look so often; return what was published so far."""
        for _ in range(times):
            await self.reloader.look(self.part, asked=asked)
        return self.part.published


async def test_a_changed_file_is_read_when_it_lies_still(tmp_path: Path) -> None:
    """Not at the first look after a change, but at the second; and only once."""
    bench = Bench(tmp_path)
    assert await bench.look(3) == ["one"]
    reads = bench.part.reads
    bench.file.write_text("second")
    assert await bench.look() == ["one"]
    bench.file.write_text("the third")
    assert await bench.look() == ["one"], "it is still being written"
    assert await bench.look(5) == ["one", "the third"]
    assert bench.part.reads == reads + 1
    assert bench.counts == {("fake", "applied"): 2}


async def test_what_changed_before_the_first_look_is_noticed(tmp_path: Path) -> None:
    """The file that is there now may not be the one that was loaded: it is read once at the beginning."""
    assert await Bench(tmp_path).look() == ["one"]
    assert await Bench(tmp_path, watch=False).look(5) == []


async def test_a_bad_file_changes_nothing_and_is_told_once(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """What is in force stays; the log says what is wrong; the next good file is taken."""
    bench = Bench(tmp_path)
    await bench.look()
    log.clear()
    bench.file.write_text("bad")
    assert await bench.look(6) == ["one"]
    [line] = log.records
    assert (line.message, line.levelname) == ("fake not reloaded", "ERROR")
    assert line.facts == {"problems": ["it is bad"], "in_force": "the last good version"}  # type: ignore[attr-defined]
    bench.file.write_text("good")
    assert await bench.look(2) == ["one", "good"]
    assert bench.counts["fake", "refused"] == 1


async def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """What was read may be half of it: it is dropped, and read anew when it lies still."""
    bench = Bench(tmp_path)
    await bench.look()
    bench.file.write_text("half")
    bench.part.meanwhile = lambda: bench.file.write_text("the whole of it")
    await bench.look(2)
    assert bench.part.published == ["one"]
    bench.part.meanwhile = None
    assert await bench.look(2) == ["one", "the whole of it"]


async def test_a_file_that_vanished_is_waited_for(tmp_path: Path) -> None:
    """Nothing is read in its place; when it is back it is."""
    bench = Bench(tmp_path)
    await bench.look()
    reads = bench.part.reads
    bench.file.unlink()
    await bench.look(4)
    assert bench.part.reads == reads
    bench.file.write_text("back")
    assert await bench.look(2) == ["one", "back"]


async def test_what_cannot_be_kept_is_not_in_force_until_it_is(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """A store that is down is told once, and tried at each look."""
    bench = Bench(tmp_path)
    await bench.look()
    log.clear()
    bench.part.trouble = StoreUnavailableError("the disk is full")
    bench.file.write_text("next")
    assert await bench.look(5) == ["one"]
    assert [line.facts["problems"] for line in log.records] == [["the disk is full"]]  # type: ignore[attr-defined]
    bench.part.trouble = None
    assert await bench.look() == ["one", "next"]
    assert bench.counts == {("fake", "applied"): 2, ("fake", "unkept"): 1}


async def test_asking_reads_at_once_and_says_so(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    """Who asks gets an answer in the log, also where nothing is new, and need not wait for two looks."""
    bench = Bench(tmp_path, watch=False)
    assert await bench.look(asked=True) == ["one"]
    await bench.look(asked=True)
    bench.file.write_text("two")
    assert await bench.look(4) == ["one"], "nobody asked"
    assert await bench.look(asked=True) == ["one", "two"]
    assert [line.message for line in log.records] == ["fake reloaded", "fake unchanged", "fake reloaded"]


async def test_it_runs_by_itself(tmp_path: Path) -> None:
    """The loop looks, and is woken by who asks though it looks at nothing by itself."""
    for watch in (True, False):
        file = tmp_path / "file"
        file.write_text("one")
        part = Fake(file)
        reloader = Reloader([part], lambda *_: None, watch=watch, look_s=0.01 if watch else 60.0)
        running = asyncio.get_running_loop().create_task(reloader.run())
        if not watch:
            reloader.ask()
        assert await eventually(lambda part=part: part.published == ["one"])
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


def test_how_files_look(tmp_path: Path) -> None:
    """Size, time and identity of each, in order; None where there is none."""
    file = tmp_path / "f"
    file.write_text("a")
    first = look_at([str(file), str(tmp_path / "none")])
    assert first[1] is None
    other = tmp_path / "g"
    other.write_text("b")
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)
    assert look_at([str(file)]) != first[:1], "another file of the same size and time is another file"


# --- policies ------------------------------------------------------------------------------------


async def test_policies_are_on_record_before_they_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts and change are committed, then the snapshot is swapped; a store that refuses changes nothing."""
    file = tmp_path / "p.yml"
    file.write_text(policy("1"))
    config = PolicyConfig(path=str(file), packs=())
    clock = StillClock()
    ids = IdSource(clock, CountedRandomness())
    async with await open_sqlite(tmp_path / "s.db", clock=clock, randomness=SeededRandomness()) as store:
        first = load_policies(config)
        live = Live(Snapshot(first, MemoryIndex(), EngineSettings(), KeyRing([]), top_k=5))
        part = PolicyPart(config, live, store, clock, ids)
        assert await part.read()() is None, "the same policies are no news"
        file.write_text(policy("2"))
        publish = part.read()
        live.publish(replace(live.snapshot, top_k=1))
        with monkeypatch.context() as broken:

            def full(*_: object, **__: object) -> None:
                raise StoreBusyError("full")

            broken.setattr(store, "submit", full)
            with pytest.raises(StoreBusyError):
                await publish()
        assert live.snapshot.policies is first
        said = await publish()
        after = live.snapshot.policies.main
        assert said == {"policy_hash": after.policy_hash, "policies": 1}
        assert (after.policy_version, live.snapshot.top_k) == ("2", 1)
        kept = await store.policy(after.policy_hash)
        assert kept is not None
        assert kept.body == file.read_bytes()
        assert part.files() == (str(file),)


async def test_a_bad_policy_is_told_with_line_and_column(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """The log names the file and each problem with its place."""
    file = tmp_path / "p.yml"
    file.write_text(policy("1"))
    live: Any = None
    part = PolicyPart(PolicyConfig(path=str(file), packs=()), live, live, live, live)
    reloader = Reloader([part], lambda *_: None, watch=True)
    file.write_text(policy("2").replace("stage: HARD_BLOCKS", "stage: SOFT"))
    await reloader.look(part, asked=True)
    [line] = log.records
    facts = line.facts  # type: ignore[attr-defined]
    assert facts["source"] == str(file)
    assert any(problem.startswith("line 7, column ") for problem in facts["problems"])


async def test_two_hundred_swaps_under_load(tmp_path: Path) -> None:
    """Every answer follows from one whole policy, which its record names; bad files never show.

    Leaving the gateway decides every record again under the policy that it names (reliability.md 17).
    """
    file = tmp_path / "p.yml"
    file.write_text(policy("0"))
    seen: Counter[int] = Counter()
    async with running_gateway(tmp_path, policy={"path": str(file), "packs": [], "watch": False}) as gateway:
        reloader, live = gateway.gateway._reloader, gateway.gateway._live
        [part] = reloader._parts
        stop = asyncio.Event()

        async def load(stream: int) -> None:
            async with raw_client(gateway.port) as client:
                while not stop.is_set():
                    body = chat_body(max_tokens=1).replace(b"test-model", b"llama-1b")
                    await client.send(post("/v1/chat/completions", body, f"x-request-id: s{stream}"))
                    seen[(await client.read_answer()).status] += 1

        async with asyncio.TaskGroup() as group:
            for stream in range(4):
                group.create_task(load(stream))
            for number in range(1, 201):
                before = live.snapshot.policies
                if number % 4 == 0:
                    file.write_text(policy(str(number))[: 40 + number])
                    await reloader.look(part, asked=True)
                    assert live.snapshot.policies is before
                else:
                    file.write_text(policy(str(number), "TRUST" if number % 2 else "ABSTAIN"))
                    await reloader.look(part, asked=True)
                    assert live.snapshot.policies.main.policy_version == str(number)
                await asyncio.sleep(0)
            stop.set()
        records = await gateway.decisions(limit=500)
    assert set(seen) == {200, 403}
    versions = {record["policy"]["policy_version"] for record in records}
    assert len({record["policy"]["policy_hash"] for record in records}) == len(versions) > 3
    for record in records:
        version = int(record["policy"]["policy_version"])
        assert record["verdict"] == ("TRUST" if version % 2 or not version else "ABSTAIN")
