"""`lumyn approvals`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from gateway.cli.approvals import _visible
from gateway.kernel.types import Tenant
from gateway.pipeline.approvals import Approvals, Terms, rule
from gateway.records.approvals import Call
from gateway.store.sqlite import open_sqlite
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import decision, entry_id


@pytest.fixture
def approval_id(lumyn, tmp_path: Path) -> str:
    """An approval that waits in the workspace."""
    assert lumyn("init").code == 0
    clock = SystemClock()

    async def ask() -> str:
        store = await open_sqlite(".lumyn/lumyn.db", clock=clock, randomness=SystemRandomness())
        async with store:
            approvals = Approvals(store, clock)
            call = Call(Tenant("acme"), "bot", "support.refund", "POST x", "sha256:" + "1" * 64)
            entry = decision(1, tenant=call.tenant, verdict="ESCALATE", awaits_outcome=False)
            ruling = rule(
                await approvals.standing(call),
                decision_id=entry.entry_id,
                policy_hash="p",
                at_ms=clock.wall_ms(),
                terms=Terms(100_000, 100_000),
            )
            await store.submit((entry, *ruling.events), steps=ruling.steps)
            return entry.entry_id

    return asyncio.run(ask())


def test_what_waits_is_listed(lumyn, approval_id: str) -> None:
    """Pending ones by default; with --json one a line; other states by name."""
    head, row = lumyn("approvals", "ls").out.splitlines()
    assert head.split("\t")[:3] == ["approval_id", "asked_at", "state"]
    assert row.split("\t")[0] == approval_id
    assert row.split("\t")[2:6] == ["pending", "bot", "acme", "support.refund"]
    [line] = lumyn("approvals", "ls", "--json").out.splitlines()
    assert orjson.loads(line)["approval_id"] == approval_id
    assert len(lumyn("approvals", "ls", "--state", "denied").out.splitlines()) == 1
    assert len(lumyn("approvals", "ls", "--state", "all").out.splitlines()) == 2
    assert len(lumyn("approvals", "ls", "--principal", "other").out.splitlines()) == 1
    told = lumyn("approvals", "ls", "--state", "open")
    assert told.code == 1
    assert "pending" in told.err


def test_one_is_shown(lumyn, approval_id: str) -> None:
    """As facts, or as JSON; another id is an error."""
    told = lumyn("approvals", "show", approval_id)
    assert told.out.startswith(f"approval_id: {approval_id}\nstate: pending\nprincipal: bot\n")
    assert orjson.loads(lumyn("approvals", "show", approval_id, "--json").out)["state"] == "pending"
    assert lumyn("approvals", "show", entry_id(9)).code == 1


@pytest.mark.parametrize(("word", "state"), [("approve", "approved"), ("deny", "denied")])
def test_a_word_is_said_once(lumyn, approval_id: str, word: str, state: str) -> None:
    """With a reason, and marked as said on the command line; a second word is refused."""
    told = lumyn("approvals", word, approval_id, "--reason", "I know her", "--by", "ann", "--json")
    said = orjson.loads(told.out)
    assert (said["state"], said["resolved_by"], said["reason"]) == (state, "cli:ann", "I know her")
    again = lumyn("approvals", "approve", approval_id, "--reason", "x")
    assert again.code == 1
    assert "cli:ann" in again.err


@pytest.mark.parametrize(
    "words", [("--reason", " "), ("--reason", "x", "--by", " "), ("--reason", "x", "--by", "a\x1b[2J")]
)
def test_a_bad_word_changes_nothing(lumyn, approval_id: str, words: tuple[str, ...]) -> None:
    """Without a reason or a name that can be read nothing is approved."""
    assert lumyn("approvals", "approve", approval_id, *words).code == 1
    assert orjson.loads(lumyn("approvals", "show", approval_id, "--json").out)["state"] == "pending"


def test_a_reason_must_be_given(lumyn, approval_id: str) -> None:
    """Leaving it out is wrong usage."""
    assert lumyn("approvals", "approve", approval_id).code == 2


def test_who_speaks_is_the_user(lumyn, approval_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --by it is the name of the user who typed it."""
    monkeypatch.setattr("getpass.getuser", lambda: "bob")
    told = lumyn("approvals", "deny", approval_id, "--reason", "no", "--json")
    assert orjson.loads(told.out)["resolved_by"] == "cli:bob"


def test_an_agent_s_words_move_no_cursor() -> None:
    """Control characters and what turns the text round are not printed."""
    assert _visible("a\x1b[2Jb\u202ec\n") == "a?[2Jb?c?"
