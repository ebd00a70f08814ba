"""The library's calls: `decide`, its twin for asyncio, and the object that holds a store open.

Requests are checked on the caller's side, before any thread is asked; what is stored is what was checked,
because it is a copy.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Self

import orjson

from gateway.embed.config import LumynConfig
from gateway.embed.desk import Desk
from gateway.embed.thread import DeskThread, acquire, release, shared
from gateway.embed.typed import DecisionRecord, Labelled, Replayed
from gateway.kernel.canon import plain
from gateway.kernel.errors import StoreUnavailableError
from gateway.kernel.types import JSONObject
from gateway.pipeline.kept import Appended
from gateway.records.request import validate_request

_DEFAULT: Final = LumynConfig()
_LOG: Final = logging.getLogger("lumyn")


def decide(request: Mapping[str, Any], *, config: LumynConfig | None = None) -> DecisionRecord:
    """Return the Decision Record of a `decision_request.v0`; it is on stable storage when this returns.

    May be called from any thread; processes may share a store. Raises InvalidRequestError for a request
    that is none, InvalidPolicyError for a policy that is none, IdempotencyConflictError where the
    `request_id` was used for another request. Storage that fails does not raise: the record says ABSTAIN
    `STORAGE_UNAVAILABLE` and is not stored.
    """
    chosen = config or _DEFAULT
    checked = _checked(request)
    return _record(shared(chosen.url).call(lambda desk: desk.decide(chosen, checked)))


async def adecide(request: Mapping[str, Any], *, config: LumynConfig | None = None) -> DecisionRecord:
    """Decide without blocking the running event loop; otherwise the same as `decide`."""
    chosen = config or _DEFAULT
    checked = _checked(request)
    return _record(await shared(chosen.url).acall(lambda desk: desk.decide(chosen, checked)))


class Lumyn:
    """A store held open, and the policies that decide on it. Use it as a context manager, or `close` it.

    May be used from any thread. Reading and labelling raise StoreUnavailableError or StoreSetupError
    where the store fails; deciding does not.
    """

    def __init__(self, config: LumynConfig | None = None) -> None:
        self._config = config or _DEFAULT
        self._thread: DeskThread | None = acquire(self._config.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def decide(self, request: Mapping[str, Any]) -> DecisionRecord:
        """Decide a request; see the function of this name."""
        return self._decide(request, will_act=False)

    async def adecide(self, request: Mapping[str, Any]) -> DecisionRecord:
        """Decide a request without blocking the running event loop."""
        return await self._adecide(request, will_act=False)

    def get(self, decision_id: str) -> DecisionRecord:
        """Return a stored record with its events in `decision_event_log`. Raises NotFoundError."""
        return _record(self._running().call(lambda desk: desk.read(decision_id)))

    def label(self, decision_id: str, label: str, summary: str | None = None) -> Labelled:
        """Label a decision `failure`, `success` or `near_miss`, so that later decisions learn of it.

        Raises NotFoundError, and InvalidRequestError for another label.
        """
        data: JSONObject = {"label": label, "source": "library"}
        if summary is not None:
            data["summary"] = summary
        appended = self._append(decision_id, "label", data)
        return {"event_id": appended.event_id, "memory_id": appended.memory_id or ""}

    def replay(self, decision_id: str) -> Replayed:
        """Decide a stored decision again, and say whether the record says the same.

        Raises NotFoundError, and RecordError where the record is damaged beyond reading.
        """
        again = self._running().call(lambda desk: desk.replay(decision_id))
        decision = again.decision
        return {
            "decision_id": decision_id,
            "identical": again.identical,
            "differences": list(again.differences),
            "verdict": decision.verdict.value,
            "policy_hash": decision.policy_hash,
            "inputs_digest": decision.inputs_digest,
        }

    def close(self) -> None:
        """Give the store back; the last user of it in this process closes it. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is not None and not thread.foreign:
            release(thread)

    def decide_to_act(self, request: Mapping[str, Any]) -> DecisionRecord:
        """Decide a request and promise an outcome: on TRUST the caller acts, then says what became of it."""
        return self._decide(request, will_act=True)

    async def adecide_to_act(self, request: Mapping[str, Any]) -> DecisionRecord:
        """As `decide_to_act`, without blocking the running event loop."""
        return await self._adecide(request, will_act=True)

    def append_outcome(self, decision_id: str, data: JSONObject) -> str:
        """Append what became of an action, `{"fate": ...}`; return the event's id once it is durable."""
        return self._outcome(decision_id, data).result().event_id

    def append_outcome_soon(self, decision_id: str, data: JSONObject) -> None:
        """Append what became of an action without waiting until it is durable."""
        self._outcome(decision_id, data).add_done_callback(_log_failure)

    def _decide(self, request: Mapping[str, Any], *, will_act: bool) -> DecisionRecord:
        checked, config = _checked(request), self._config
        return _record(self._running().call(lambda desk: desk.decide(config, checked, will_act=will_act)))

    async def _adecide(self, request: Mapping[str, Any], *, will_act: bool) -> DecisionRecord:
        checked, config = _checked(request), self._config

        async def work(desk: Desk) -> bytes:
            return await desk.decide(config, checked, will_act=will_act)

        return _record(await self._running().acall(work))

    def _outcome(self, decision_id: str, data: JSONObject) -> Future[Appended]:
        return self._running().start(lambda desk: desk.append(decision_id, "outcome", data, acted=True))

    def _append(self, decision_id: str, event_type: str, data: JSONObject) -> Appended:
        return self._running().call(lambda desk: desk.append(decision_id, event_type, data))

    def _running(self) -> DeskThread:
        thread = self._thread
        if thread is None:
            raise StoreUnavailableError("this Lumyn is closed", hint="open another one")
        if thread.foreign:
            # A forked child: the parent's thread does not exist here.
            thread = self._thread = acquire(self._config.url)
        return thread


def _log_failure(future: Future[Appended]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        _LOG.warning("an outcome could not be recorded: %s", type(error).__name__)


def _checked(request: Mapping[str, Any]) -> JSONObject:
    return validate_request(plain(request))


def _record(body: bytes) -> DecisionRecord:
    record: DecisionRecord = orjson.loads(body)
    return record
