"""The driver where a person has a say, and where another request was faster."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import ClaimTakenError, PendingError, UpstreamTimeoutError
from gateway.kernel.types import Fate, Verdict
from gateway.pipeline.ports import Admitted
from tests.kit.playbook import Playbook, verdict

SEND = "send POST /v1/chat/completions"


async def test_what_a_person_approved_goes() -> None:
    """An escalated request that is approved is committed and forwarded like a trusted one."""
    book = Playbook() << "read" << "decide" >> verdict(Verdict.ESCALATE, approved=True)
    book = book << "commit decision" << SEND >> UpstreamTimeoutError("slow")
    played = await (book << "queue outcome:failed" << "error 504 UPSTREAM_TIMEOUT").play()
    assert played.ports.sent[0][1]["x-lumyn-verdict"] == "ESCALATE"
    assert played.ending.fate is Fate.FAILED


async def test_a_refusal_may_say_more_than_the_verdict() -> None:
    """What the judge wants a held caller to be told is told."""
    held = verdict(Verdict.ESCALATE, refusal=PendingError("A-1"))
    book = Playbook() << "read" << "decide" >> held << "commit decision + outcome:refused"
    played = await (book << "error 202 APPROVAL_PENDING").play()
    assert played.ending.fate is Fate.REFUSED


@pytest.mark.parametrize("held", [False, True], ids=["about to go", "about to be held"])
async def test_who_is_overtaken_is_decided_again_and_refused(held: bool) -> None:
    """Where another claimed first, the second decision is committed as refused, once, and nothing is sent."""
    clash = ClaimTakenError("used", "D-1")
    told: list[ClaimTakenError] = []

    def again(error: ClaimTakenError) -> Admitted:
        told.append(error)
        return verdict(Verdict.ESCALATE, refusal=PendingError("A-1"))

    first = verdict(Verdict.ESCALATE, approved=not held, overtaken=again)
    book = Playbook() << "read" << "decide" >> first
    book = book << ("commit decision + outcome:refused" if held else "commit decision") >> clash
    book = book << "commit decision + outcome:refused" << "error 202 APPROVAL_PENDING"
    played = await book.play()
    assert told == [clash]
    assert played.ending.fate is Fate.REFUSED


async def test_a_clash_that_nobody_foresaw_is_an_error() -> None:
    """Without a second decision the store's refusal is answered, and nothing is recorded or sent."""
    book = Playbook() << "read" << "decide" << "commit decision" >> ClaimTakenError("", "")
    played = await (book << "error 409 IDEMPOTENCY_CONFLICT").play()
    assert played.ending.fate is None
