"""Several backends behind one model, through the whole gateway: who is asked, what is on record before."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from gateway.kernel.canon import sha256_digest
from tests.integration.test_backend_faults import EITHER, PLAIN, STREAMED, Case
from tests.kit.gateways import MODEL, chat_body, eventually
from tests.kit.pair import GOOD, Pair, pair, saying
from tests.kit.rawpeer import post, raw_client, raw_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNTAKEN = {"says 503", "says 429 with a silly retry-after"}
"""What says that it was not taken: asked elsewhere whatever the configuration."""
KEPT = {"says 500", "says 404", "redirects", "says 204 with a body"}
"""Of what happens before a body these are answers, and stay the client's."""
PATIENT = {"first_byte_s": 20, "idle_s": 20}
ADMIN = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[False, True], ids=["sent", "after-send"])
async def stage(tmp_path_factory: pytest.TempPathFactory, request: Any) -> AsyncIterator[Pair]:
    """A gateway over two backends, which repeats what may have been begun, or does not."""
    directory = tmp_path_factory.mktemp("pair")
    async with pair(directory, retries={"after_send": request.param}) as one:
        yield one


CASES = [
    *[pytest.param(case, False, id=f"plain-{case.name}") for case in EITHER + PLAIN],
    *[pytest.param(case, True, id=f"streamed-{case.name}") for case in EITHER + STREAMED],
]


def fails_before_its_head(case: Case) -> bool:
    """Tell whether the client has no byte of the first answer yet when it fails."""
    return case in EITHER and case.name not in KEPT


@pytest.mark.parametrize(("case", "stream"), CASES)
async def test_a_fault_of_the_first_backend(stage: Pair, case: Case, *, stream: bool) -> None:
    """Before the first byte another backend answers, where that is allowed; after it nothing is sent again.

    Either way: one answer, one fate, and nothing sent that was not on record (reliability.md 12).
    """
    after_send = stage.gateway.gateway._config.retries.after_send
    stage.a.say(case.says, case.then)
    stage.b.say(GOOD)
    answer = await stage.ask(stream=stream)
    [outcome] = await stage.gateway.outcomes()
    stage.hold()
    goes_on = case.name in UNTAKEN or (after_send and fails_before_its_head(case))
    expected = case
    if goes_on:
        expected = replace(case, status=200, fate="complete", error=None, whole=True, done=False, told=False)
    assert (len(stage.a.seen), len(stage.b.seen)) == (1, int(goes_on))
    assert (answer.status, answer.complete) == (expected.status, expected.whole)
    assert (outcome["fate"], outcome.get("error")) == (expected.fate, expected.error)
    assert answer.header("x-lumyn-attempts") == ("2" if goes_on else None)
    assert [one["backend"] for one in outcome.get("attempts", ())] == (["a", "b"] if goes_on else [])
    kinds = [(kind, data.get("kind")) for kind, data in await stage.events()]
    assert kinds == [*([("note", "attempt")] if goes_on else []), ("outcome", None)]


async def test_an_attempt_is_on_record_with_the_bytes_it_sends(stage: Pair) -> None:
    """The event names the digest of the very bytes that the second backend got; they are the client's own."""
    stage.a.say(saying(503))
    stage.b.say(GOOD)
    body = chat_body(content="wörter", temperature=1.50)
    assert (await stage.ask(body=body)).status == 200
    [(_, attempt), _] = await stage.events()
    assert stage.a.bodies == stage.b.bodies == [body]
    assert attempt["digest"] == sha256_digest(body)
    assert (attempt["n"], attempt["reason"], attempt["backend"]) == (2, "status_503", "b")
    assert stage.a.seen[0].header("x-request-id") == stage.b.seen[0].header("x-request-id")


async def test_both_backends_fail(stage: Pair) -> None:
    """The client gets the last answer as it is; without a third backend there is no third attempt."""
    stage.a.say(saying(503))
    stage.b.say(saying(429, b"retry-after: 7"))
    answer = await stage.ask()
    [outcome] = await stage.gateway.outcomes()
    assert (answer.status, answer.header("retry-after"), answer.header("x-lumyn-attempts")) == (429, "7", "2")
    assert [one["failed"] for one in outcome["attempts"]] == ["status_503", "status_429"]
    assert (outcome["fate"], outcome["status"], outcome["backend"]) == ("failed", 429, "b")


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("says", [b"", GOOD[:-9]], ids=["before the head", "in the answer"])
async def test_a_client_that_leaves_a_second_attempt(stage: Pair, leave: str, says: bytes) -> None:
    """The backend that is asked then is left within a second, and the fate says who went (row 14)."""
    stage.a.say(saying(503))
    stage.b.say(says)
    async with raw_client(stage.gateway.port) as client:
        await client.send(post("/v1/chat/completions", chat_body()))
        assert await eventually(lambda: stage.b.seen)
        if says:
            await client.reader.readuntil(b"\r\n\r\n")
        getattr(client, leave)()
        began = time.monotonic()
        assert await eventually(lambda: stage.b.left)
        assert time.monotonic() - began < 1.0
    [outcome] = await stage.gateway.outcomes()
    assert outcome["fate"] == "client_gone"
    assert [one.get("failed") for one in outcome["attempts"]] == ["status_503", None]


async def test_attempts_are_counted(stage: Pair) -> None:
    """By backend and by what they came to; breakers and the budget are shown."""
    stage.a.say(saying(503))
    stage.b.say(GOOD)

    async def shown() -> dict[str, float]:
        async with raw_client(stage.gateway.admin_port) as admin:
            await admin.send(ADMIN)
            text = (await admin.read_answer()).body.decode()
        lines = [line for line in text.splitlines() if line.startswith("lumyn_upstream")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    before = Counter(await shown())
    for _ in range(3):
        await stage.ask()
    after = Counter(await shown())
    after.subtract(before)
    assert after['lumyn_upstream_attempts_total{backend="a",result="server_error"}'] == 3
    assert after['lumyn_upstream_attempts_total{backend="b",result="answered"}'] == 3
    assert after['lumyn_upstream_retries_total{reason="status_503"}'] == 3
    assert before['lumyn_upstream_breaker_state{backend="a",state="closed"}'] == 1
    assert "lumyn_upstream_retry_budget" in before


# --- gateways of their own -----------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory for one gateway."""
    return tmp_path


async def closed_port() -> int:
    """A port on which nobody listens."""

    async def nobody(_: Any) -> None:
        return

    async with raw_server(nobody) as gone:
        return gone.port


async def test_a_backend_that_is_not_there_is_passed_over(directory: Path) -> None:
    """Refused connections are tried elsewhere by default; soon the breaker saves the attempt itself."""
    gone = f"http://127.0.0.1:{await closed_port()}/v1"
    async with pair(directory, urls={"a": gone}, breaker={"failures": 2, "open_s": 60}) as stage:
        answers = [await stage.ask() for _ in range(4)]
        assert [answer.status for answer in answers] == [200] * 4
        assert [answer.header("x-lumyn-attempts") for answer in answers] == ["2", "2", None, None]
        outcomes = await stage.gateway.outcomes(count=4)
        assert [one["failed"] for one in outcomes[3]["attempts"] if "failed" in one] == ["unreachable"]
        newest, *_ = await stage.gateway.decisions(limit=4)
        assert newest["request"]["action"]["target"]["system"] == "b"


async def test_a_backend_comes_back_by_a_probe(directory: Path) -> None:
    """After its time one request tries it; its answer brings all traffic back."""
    async with pair(directory, breaker={"failures": 1, "open_s": 60}) as stage:
        stage.a.say(saying(503))
        await stage.ask()
        assert (await stage.ask()).header("x-lumyn-attempts") is None
        stage.a.say(GOOD)
        upstreams = stage.gateway.gateway._upstreams
        assert upstreams is not None
        upstreams.backends[0].breaker._open_until_s = 0.0  # a minute later
        for _ in range(3):
            await stage.ask()
        assert len(stage.a.seen) == 3


async def test_a_storm_is_met_with_a_share_of_itself(directory: Path) -> None:
    """5xx storm (row 12): with both backends failing, 100 requests give no more than 30 further attempts."""
    retries = {"budget_per_s": 0, "budget_ratio": 0.2}
    async with pair(directory, retries=retries, limits=PATIENT) as stage:
        stage.a.say(saying(503))
        stage.b.say(saying(503))
        answers = await asyncio.gather(*(stage.ask() for _ in range(100)))
        assert {answer.status for answer in answers} == {503}
        assert len(stage.a.seen) == 100
        assert 25 <= len(stage.b.seen) <= 31
        fates = await stage.gateway.outcomes(count=100)
        assert {one["fate"] for one in fates} == {"failed"}


async def test_a_pause_ends_when_the_client_leaves(directory: Path) -> None:
    """Asked to come again in 20 s the gateway waits; a client that leaves meanwhile is gone at once."""
    alone = [{"name": MODEL, "backend": "a"}]
    async with pair(directory, models=alone, retries={"same_backend": True}) as stage:
        stage.a.say(saying(503, b"retry-after: 20"))
        async with raw_client(stage.gateway.port) as client:
            await client.send(post("/v1/chat/completions", chat_body()))
            assert await eventually(lambda: stage.a.seen)
            await asyncio.sleep(0.05)
            client.reset()
        [outcome] = await stage.gateway.outcomes()
        assert (outcome["fate"], outcome["status"]) == ("client_gone", 503)
        assert "attempts" not in outcome
        assert len(stage.a.seen) == 1


async def test_the_same_backend_is_asked_again_as_it_wants(directory: Path) -> None:
    """With `same_backend` a Retry-After is waited for, and a longer one than there is time is relayed."""
    alone = [{"name": MODEL, "backend": "a"}]
    retries = {"same_backend": True, "total_s": 5, "backoff_s": 0.001}
    async with pair(directory, models=alone, retries=retries) as stage:
        stage.a.say(saying(503, b"retry-after: 1"))
        began = time.monotonic()
        asking = asyncio.get_running_loop().create_task(stage.ask())
        assert await eventually(lambda: stage.a.seen)
        stage.a.says = GOOD
        assert (await asking).status == 200
        assert 1.0 <= time.monotonic() - began < 2.0
        stage.a.say(saying(503, b"retry-after: 6"))
        answer = await stage.ask()
        assert (answer.status, answer.header("retry-after")) == (503, "6")
        assert len(stage.a.seen) == 1


async def test_load_is_spread(directory: Path) -> None:
    """Two equal backends each serve about half of what comes at once; by weight the heavier more."""
    for weight, least, most in ((1.0, 16, 48), (3.0, 2, 34)):
        serving = [{"name": "a", "weight": weight}, {"name": "b"}]
        folder = directory / str(weight)
        folder.mkdir()
        models = [{"name": MODEL, "backend": serving}]
        async with pair(folder, models=models, limits=PATIENT) as stage:
            await asyncio.gather(*(stage.ask() for _ in range(64)))
            assert len(stage.a.seen) + len(stage.b.seen) == 64
            assert least <= len(stage.b.seen) <= most


# --- down the ladder -----------------------------------------------------------------------------

LADDER = [
    {"name": MODEL, "backend": "a", "quality": 0.9, "price_in": 1.0, "price_out": 1.0},
    {"name": "mid", "backend": "a", "quality": 0.8, "price_in": 0.3, "price_out": 0.3},
    {"name": "small", "backend": "b", "quality": 0.6, "price_in": 0.1, "price_out": 0.1},
]


def intent(*permitted: str, ladder: tuple[str, ...] = (MODEL, "small")) -> list[Any]:
    """An intent over a ladder, whose last model is its floor."""
    quality = {"models": list(ladder), "floor": ladder[-1]}
    return [{"name": "chat", "quality": quality, "on_pressure": list(permitted)}]


async def test_the_next_model_serves_under_its_own_digest(directory: Path) -> None:
    """With `downgrade` permitted the next model gets the request, rewritten, on record before."""
    async with pair(directory, models=LADDER, intents=intent("downgrade")) as stage:
        stage.a.say(saying(503))
        answer = await stage.ask()
        assert (answer.status, answer.header("x-lumyn-model")) == (200, "small")
        assert answer.header("x-lumyn-actions") == "MODEL_SWITCHED"
        [sent] = stage.b.bodies
        assert sent == chat_body().replace(MODEL.encode(), b"small")
        [(_, attempt), (_, outcome)] = await stage.events()
        assert (attempt["model"], attempt["digest"]) == ("small", sha256_digest(sent))
        assert attempt["control"]["plan"]["model"] == "small"
        assert attempt["judged"]["verdict"] == "TRUST"
        assert (outcome["model"], outcome["attempts"][0]["model"]) == ("small", MODEL)
        assert outcome["control"]["output_tokens"] == 4
        [record] = await stage.gateway.decisions(limit=1)
        assert record["request"]["evidence"]["planned_model"] == MODEL


@pytest.mark.parametrize(
    ("what", "tried"),
    [(intent("cap_tokens", "shed"), [MODEL]), (intent("downgrade", ladder=(MODEL, "mid")), [MODEL, "mid"])],
)
async def test_never_without_permission_and_never_below_the_floor(
    directory: Path, what: list[Any], tried: list[str]
) -> None:
    """The client gets the backend's 503; a model that the intent does not permit never hears of it."""
    async with pair(directory, models=LADDER, intents=what) as stage:
        stage.a.say(saying(503))
        answer = await stage.ask()
        assert answer.status == 503
        assert [orjson.loads(body)["model"] for body in stage.a.bodies] == tried
        assert stage.b.seen == []


async def test_the_policy_keeps_a_further_attempt_at_home(directory: Path) -> None:
    """A backend that the policy does not allow gets nothing, also when the first one is down."""
    policy = directory / "policy.yml"
    policy.write_text(
        "schema_version: policy.v0\npolicy_id: at-home\npolicy_version: '1'\n"
        "defaults: {mode: enforce, default_verdict: TRUST, default_reason_code: LLM_REQUEST_OK}\n"
        "rules:\n  - id: H1\n    stage: HARD_BLOCKS\n    when: {action_type: llm.chat_completion}\n"
        "    if: {action.target.system_in: [b]}\n"
        "    then: {verdict: ABSTAIN, reason_codes: [LLM_TOKENS_OVER_LIMIT]}\n"
    )
    async with pair(directory, policy={"path": str(policy), "packs": []}) as stage:
        stage.a.say(saying(503))
        answer = await stage.ask()
        assert answer.status == 503
        assert stage.b.seen == []


async def test_an_open_breaker_may_refuse(directory: Path) -> None:
    """With `when_all_open: refuse` nobody waits for a dead backend: 503 at once, with an honest time."""
    alone = [{"name": MODEL, "backend": "a"}]
    breaker = {"failures": 1, "open_s": 30, "when_all_open": "refuse"}
    async with pair(directory, models=alone, breaker=breaker) as stage:
        stage.a.say(saying(503))
        await stage.ask()
        answer = await stage.ask()
        error = orjson.loads(answer.body)["error"]
        assert (answer.status, error["code"], answer.header("x-should-retry")) == (
            503,
            "UPSTREAM_OPEN",
            "true",
        )
        assert 1 <= int(answer.header("retry-after") or 0) <= 38
        [outcome, _] = await stage.gateway.outcomes(count=2)
        assert (outcome["fate"], outcome["error"]) == ("failed", "UPSTREAM_OPEN")
        assert len(stage.a.seen) == 1
