"""Locust's dispatcher: open loop, one greenlet a request, the rows of the asyncio generator."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from typing import Any

import gevent
import pytest

from loadtest.client import read_origin
from loadtest.rows import Row
from loadtest.schedule import Schedule
from loadtest.sse import Stream
from loadtest.swarm import Swarm
from tests.kit.loads import DONE, OWN, USAGE, WORD, schedule

HEAD = dict(line.split(": ", 1) for line in OWN.decode().strip().split("\r\n"))
Exchange = Callable[[str, bytes, Mapping[str, str], Stream | None], tuple[int, dict[str, str], bytes]]


def played(load: Schedule, exchange: Exchange, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Swarm:
    """Dispatch a schedule over exchanges that are given instead of made."""
    monkeypatch.setattr(Swarm, "_exchange", lambda self, *asked: exchange(*asked))
    told: list[Row] = []
    swarm = Swarm(
        read_origin("http://gateway:1/v1"), load, {"premium": {"authorization": "k"}}, told.append, **fields
    )
    import time

    swarm.began_s = time.perf_counter()
    gevent.joinall([gevent.spawn(swarm.dispatch, load.asks), gevent.spawn(swarm.dispatch, load.acts)])
    with gevent.Timeout(10.0):
        while not swarm.done:
            gevent.sleep(0.01)
    assert swarm.rows == told
    swarm.rows.sort(key=lambda row: row.at_s)
    return swarm


def good(path: str, body: bytes, headers: Mapping[str, str], stream: Stream | None) -> Any:
    """Answer as a gateway does."""
    gevent.sleep(0.02)
    if stream is None:
        return 200, {}, b'{"verdict":"TRUST","decision_id":"D9"}'
    import time

    stream.feed(WORD + WORD + USAGE + DONE, time.perf_counter())
    return 200, HEAD, b""


def test_rows_are_those_of_the_other_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request of the schedule, LLM and tool, with what the gateway said of it."""
    load = schedule(tools_rps=10.0)
    swarm = played(load, good, monkeypatch)
    assert {row.request_id for row in swarm.rows} == {one.request_id for one in (*load.asks, *load.acts)}
    ask = next(row for row in swarm.rows if row.kind == "ask")
    assert (ask.status, ask.tokens_out, ask.model, ask.decision_id) == ("complete", 2, "llama-8b", "D1")
    assert ask.ttft_s is not None
    assert ask.ttft_s >= 0.02
    act = next(row for row in swarm.rows if row.kind == "act")
    assert (act.status, act.verdict) == ("complete", "TRUST")


def test_slow_answers_hold_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is sent when it is due, though those before it are not answered."""

    def slow(path: str, body: bytes, headers: Mapping[str, str], stream: Stream | None) -> Any:
        gevent.sleep(0.5)
        return good(path, body, headers, stream)

    swarm = played(schedule(), slow, monkeypatch)
    assert max(row.lag_s for row in swarm.rows) < 0.3
    assert all(row.ttft_s is not None and row.ttft_s >= 0.5 for row in swarm.rows)


def test_refused_clients_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As often as they may, saying which try it is, and under ids of their own."""
    seen: list[Mapping[str, str]] = []

    def refusing(path: str, body: bytes, headers: Mapping[str, str], stream: Stream | None) -> Any:
        seen.append(headers)
        return 429, {"retry-after": "0"}, b'{"error":{"code":"SHED"}}'

    monkeypatch.setattr("loadtest.answers.RETRY_BASE_S", 0.01)
    load = schedule(base_rps=4.0)
    swarm = played(load, refusing, monkeypatch, retries=1, run_id="run-")
    assert {(row.status, row.tries) for row in swarm.rows} == {("shed", 2)}
    assert len(seen) == 2 * len(load.asks)
    assert {headers.get("x-stainless-retry-count") for headers in seen} == {None, "1"}
    assert all(headers["x-request-id"].startswith("run-lt-1-") for headers in seen)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConnectionRefusedError("refused"), "failed"),
        (http.client.IncompleteRead(b""), "failed"),
        (TimeoutError(), "timeout"),
    ],
)
def test_what_breaks_is_a_miss(error: Exception, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection, a broken answer, a patience that ended."""

    def broken(*asked: Any) -> Any:
        raise error

    swarm = played(schedule(tools_rps=5.0), broken, monkeypatch)
    assert {row.status for row in swarm.rows} == {status}
