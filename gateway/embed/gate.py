"""`@gate(...)`: a function that runs only where the gate trusts the call.

The request is built from the call, decided and recorded before the function runs, and what became of it
is appended after. Arguments that are no JSON (clients, sessions) stay out of the request.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar, cast

from gateway.embed.config import LumynConfig
from gateway.embed.face import Lumyn
from gateway.embed.typed import DecisionRecord
from gateway.kernel.canon import digest, plain
from gateway.kernel.errors import GatewayError, InvalidRequestError, NotTrustedError
from gateway.kernel.types import Fate, JSONObject

P = ParamSpec("P")
T = TypeVar("T")
Part = Callable[[Mapping[str, Any]], Any] | Any
"""A part of the request: its value, or a function of the call's arguments by name."""

_LOG: Final = logging.getLogger("lumyn")


def gate(
    action_type: str,
    *,
    intent: Part = None,
    subject: Part = None,
    target: Part = None,
    amount: Part = None,
    tags: Part = None,
    evidence: Part = None,
    request_id: Part = None,
    config: LumynConfig | None = None,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator that asks the gate before each call of a function, or of a coroutine function.

    Each part of the request is a value, or a function that gets the call's arguments as a mapping. Without
    `evidence` the arguments that are JSON values are the evidence; without `subject` the function itself
    is (a `service`). Where the verdict is not TRUST (and the mode not advisory) the call raises
    NotTrustedError; otherwise the function runs, and `complete` or `failed` is appended to the decision.
    """
    parts = _Parts(
        action_type,
        {"intent": intent, "target": target, "amount": amount, "tags": tags},
        subject,
        evidence,
        request_id,
    )

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        gated = _Gated(function, parts, config)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
                return await gated.run_async(args, kwargs)
        else:

            @functools.wraps(function)
            def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
                return gated.run(args, kwargs)

        return cast("Callable[P, T]", wrapper)

    return decorate


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the decorator was given."""

    action_type: str
    action: Mapping[str, Part]
    subject: Part
    evidence: Part
    request_id: Part

    def request(self, name: str, arguments: Mapping[str, Any]) -> JSONObject:
        """Return the request of one call."""
        chosen = {part: _of(value, arguments) for part, value in self.action.items()}
        action = {"intent": f"call {name}", "type": self.action_type}
        action |= {part: value for part, value in chosen.items() if value is not None}
        evidence = _json_only(arguments) if self.evidence is None else _of(self.evidence, arguments)
        request: JSONObject = {
            "schema_version": "decision_request.v0",
            "subject": _of(self.subject, arguments) or {"id": name, "type": "service"},
            "action": action,
            "evidence": evidence,
            "context": {"digest": digest(plain(evidence)), "mode": "digest_only"},
        }
        if (request_id := _of(self.request_id, arguments)) is not None:
            request["request_id"] = request_id
        return request


class _Gated:
    """A function behind the gate; opens its store at the first call."""

    def __init__(self, function: Callable[..., Any], parts: _Parts, config: LumynConfig | None) -> None:
        self._function = function
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._signature = inspect.signature(function)
        self._parts = parts
        self._config = config
        self._opened: Lumyn | None = None

    def run(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Decide, run, append."""
        lumyn = self._lumyn()
        record = lumyn.decide_to_act(self._request(args, kwargs))
        _let_pass(record)
        try:
            result = self._function(*args, **kwargs)
        except BaseException as error:
            _tell(lumyn.append_outcome, record, _failed(error))
            raise
        _tell(lumyn.append_outcome, record, _COMPLETE)
        return result

    async def run_async(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Decide, await, append; the loop is never blocked."""
        lumyn = self._lumyn()
        record = await lumyn.adecide_to_act(self._request(args, kwargs))
        _let_pass(record)
        try:
            result = await self._function(*args, **kwargs)
        except BaseException as error:
            # Not awaited: whoever was cancelled may not wait. The store owns the write once it is queued.
            _tell(lumyn.append_outcome_soon, record, _failed(error))
            raise
        _tell(lumyn.append_outcome_soon, record, _COMPLETE)
        return result

    def _lumyn(self) -> Lumyn:
        if self._opened is None:
            self._opened = Lumyn(self._config)
        return self._opened

    def _request(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> JSONObject:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return self._parts.request(self._name, bound.arguments)


_COMPLETE: Final[JSONObject] = {"fate": Fate.COMPLETE.value}


def _failed(error: BaseException) -> JSONObject:
    # The type only: the words of an exception may quote what nobody wants in a record.
    return {"fate": Fate.FAILED.value, "error": type(error).__name__}


def _let_pass(record: DecisionRecord) -> None:
    """Raise NotTrustedError unless the call may go on; nothing passes that could not be recorded."""
    stored = record["reason_codes"] != ["STORAGE_UNAVAILABLE"]
    if record["verdict"] != "TRUST" and not (stored and record["policy"]["mode"] == "advisory"):
        raise NotTrustedError(record)


def _tell(append: Callable[[str, JSONObject], object], record: DecisionRecord, data: JSONObject) -> None:
    """Append an outcome; where that fails the function has still run, and its result is the caller's."""
    try:
        append(record["decision_id"], data)
    except GatewayError as error:
        _LOG.warning("an outcome could not be recorded: %s", error.code)


def _of(part: Part, arguments: Mapping[str, Any]) -> Any:
    return part(arguments) if callable(part) else part


def _json_only(arguments: Mapping[str, Any]) -> JSONObject:
    kept: JSONObject = {}
    for name, value in arguments.items():
        try:
            kept[name] = plain(value)
        except InvalidRequestError:
            continue
    return kept
