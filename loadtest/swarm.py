"""The schedule sent by locust: blocking sockets, which gevent makes wait for each other.

Only `locustfile` imports this, after locust has patched the sockets. Locust's own users wait for their
answers, so that a slow system gets less load; these do not: one dispatcher spawns a greenlet a request, when
it is due, and latency counts from then.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import gevent

from controller.evaluate.run import TIMEOUT_S
from loadtest import answers
from loadtest.client import Origin
from loadtest.rows import Row
from loadtest.schedule import Act, Ask, Schedule
from loadtest.sse import Stream, StreamError

READ_BYTES: Final = 65536


@dataclass(slots=True)
class Swarm:
    """One run: where it sends, what it has, and whom it tells of each row."""

    origin: Origin
    schedule: Schedule
    headers: Mapping[str, Mapping[str, str]]
    tell: Callable[[Row], None]
    retries: int = 0
    run_id: str = ""
    """Begins every request id."""
    began_s: float = 0.0
    rows: list[Row] = field(default_factory=list)
    chunks: dict[int, int] = field(default_factory=dict)
    open: int = 0
    """Requests that are sent and not answered."""
    left: int = 2
    """Dispatchers that are not through with their part."""

    def now_s(self) -> float:
        """Return the seconds since the run began."""
        return time.perf_counter() - self.began_s

    @property
    def done(self) -> bool:
        """Tell whether everything was sent and answered."""
        return self.left <= 0 and not self.open

    def dispatch(self, part: tuple[Ask | Act, ...]) -> None:
        """Send a part of the schedule, each request when it is due."""
        for one in part:
            delay_s = one.at_s - self.now_s()
            if delay_s > 0:
                gevent.sleep(delay_s)
            self.open += 1
            gevent.spawn(self._one, one, max(0.0, self.now_s() - one.at_s))
        self.left -= 1

    def _one(self, one: Ask | Act, lag_s: float) -> None:
        kind, service = ("ask", one.service) if isinstance(one, Ask) else ("act", "")
        row = Row(kind, one.request_id, service, one.at_s, lag_s, "unfinished")
        try:
            row = self._ask(one, row) if isinstance(one, Ask) else self._act(one, row)
        finally:
            self.open -= 1
            self.rows.append(row)
            self.tell(row)

    def _ask(self, ask: Ask, row: Row) -> Row:
        for tries in range(1, self.retries + 2):
            row, wait_s = self._try(ask, replace(row, tries=tries))
            if wait_s is None or tries > self.retries or self.now_s() - ask.at_s >= TIMEOUT_S:
                break
            gevent.sleep(answers.pause_s(wait_s, tries, ask.job.u_retry))
        return row

    def _try(self, ask: Ask, row: Row) -> tuple[Row, float | None]:
        headers = {
            **self.headers.get(ask.service, {}),
            "x-request-id": f"{self.run_id}{ask.request_id}-{row.tries}",
        }
        if row.tries > 1:
            headers[answers.RETRY_COUNT] = str(row.tries - 1)
        due_s, stream = self.began_s + ask.at_s, Stream()
        try:
            with gevent.Timeout(max(0.001, ask.at_s + TIMEOUT_S - self.now_s()), TimeoutError):
                status, head, body = self._exchange("/chat/completions", ask.body(), headers, stream)
        except TimeoutError:
            return replace(answers.seen(row, stream, due_s), status="timeout"), None
        except (OSError, http.client.HTTPException, StreamError) as error:
            said = str(error) or type(error).__name__
            return replace(answers.seen(row, stream, due_s), status="failed", error=said), None
        row = answers.headed(answers.seen(row, stream, due_s), status, head)
        if status != 200:
            return answers.turned_away(row, head, body)
        return answers.streamed(row, stream, time.perf_counter(), due_s), None

    def _act(self, act: Act, row: Row) -> Row:
        try:
            with gevent.Timeout(TIMEOUT_S, TimeoutError):
                status, _, body = self._exchange(
                    "/v0/decide", act.body(self.run_id), self.headers.get("", {}), None
                )
        except TimeoutError:
            return replace(row, status="timeout")
        except (OSError, http.client.HTTPException) as error:
            return replace(row, status="failed", error=str(error) or type(error).__name__)
        return answers.decided(row, status, body, time.perf_counter(), self.began_s + act.at_s)

    def _exchange(
        self, path: str, body: bytes, headers: Mapping[str, str], stream: Stream | None
    ) -> tuple[int, dict[str, str], bytes]:
        connection = self._connection()
        try:
            # tool actions are asked about at the origin, LLM requests below the base URL
            whole = path if stream is None else self.origin.path + path
            connection.request("POST", whole, body, {"content-type": "application/json", **headers})
            answer = connection.getresponse()
            head = {name.lower(): value for name, value in answer.getheaders()}
            if stream is None or not head.get("content-type", "").startswith("text/event-stream"):
                return answer.status, head, answer.read(answers.ERROR_BYTES_MAX * 16)
            while data := answer.read1(READ_BYTES):
                self._take(stream, data)
            return answer.status, head, b""
        finally:
            connection.close()

    def _take(self, stream: Stream, data: bytes) -> None:
        now_s, before = time.perf_counter(), stream.chunks
        stream.feed(data, now_s)
        second = int(now_s - self.began_s)
        self.chunks[second] = self.chunks.get(second, 0) + stream.chunks - before

    def _connection(self) -> http.client.HTTPConnection:
        arguments: Any = {"host": self.origin.host, "port": self.origin.port, "timeout": TIMEOUT_S}
        if self.origin.scheme == "https":
            return http.client.HTTPSConnection(**arguments, context=ssl.create_default_context())
        return http.client.HTTPConnection(**arguments)
