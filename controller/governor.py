"""The loop as a gateway sees it: names and counts of a request in, terms and a control part out.

It joins intents, loop and translation, and writes what a record holds of a plan. It knows nothing of the
gateway: `ports.Asked` and `ports.Ending` are the shapes that it needs. Faults are counted, free the slot
and are raised; the caller passes its request through.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final

from controller.catalogue import Catalogue
from controller.core import Controller, Outcome, detour, flight_of
from controller.intent import Intent, IntentSet, Subject
from controller.llmd.translate import Constraints, Endpoint, Engine, Surroundings, translate
from controller.loop import Admission, Loop
from controller.plan import ActionKind, Disposition, Mode, Plan, Request, TickState, digest, plain
from controller.plan.explain import why
from controller.ports import Asked, Clock, Ending, Journal, SignalSource
from controller.stored import Ledger, config_body, control_part, lean, table_part
from controller.verify import Settlement

ROUTES: Final[Mapping[str, Endpoint]] = {
    "/v1/chat/completions": Endpoint.CHAT,
    "/v1/completions": Endpoint.COMPLETIONS,
    "/v1/responses": Endpoint.RESPONSES,
    "/v1/messages": Endpoint.MESSAGES,
    "/v1/embeddings": Endpoint.EMBEDDINGS,
}
MODES: Final = (Mode.ACTIVE, Mode.SHADOW, Mode.BYPASS)
"""What an operator may set; `guarded` is the guard's own."""
_OVERLOADED: Final = frozenset({429, 503})
"""The backend had no room: it is not broken, and the request may come again."""
_UNKNOWN: Final = Engine()
_NOBODY: Final = frozenset({""})
"""The intents of a key whose patterns match none: no intent has an empty name."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Whether, and under which terms, a request may leave; see `gateway.pipeline.ports.Terms`."""

    turn: str
    intent: str
    service_class: str
    model: str
    max_tokens: int | None
    fields: Mapping[str, int | str]
    removed: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]
    actions: tuple[str, ...]
    reason: str
    retry_after_s: float
    queued_s: float
    control: dict[str, Any]
    plan: Plan
    """What they come from."""


class Governor:
    """One controller for one gateway; see the module."""

    def __init__(
        self,
        controller: Controller,
        clock: Clock,
        journal: Journal,
        engines: Mapping[str, Engine],
        sources: Mapping[str, SignalSource] | None = None,
    ) -> None:
        """`engines` and `sources` are what each backend understands and says of itself, by its name."""
        self._ledger = Ledger(journal)
        by_model = {
            model.name: source
            for model in controller.config.catalogue
            if (source := (sources or {}).get(model.backend)) is not None
        }
        self.loop = Loop(controller, clock, self._ledger, by_model)
        self._controller = controller
        self._clock = clock
        self._engines = dict(engines)
        self._tick: tuple[TickState, str] | None = None
        self._permitted = lru_cache(maxsize=1024)(self._match_names)

    def begin(self) -> None:
        """Note under which intents and models this controller begins; once, before any request."""
        self._ledger.note("intents", config_body(self._controller.config, None))

    async def run(self) -> None:
        """Tick until cancelled. A fault is raised, and before that everybody who waits is let go."""
        try:
            await self.loop.run()
        except Exception:
            self.loop.set_mode(Mode.BYPASS)
            raise

    # --- requests --------------------------------------------------------------------------------

    async def admit(self, asked: Asked) -> Terms:
        """Plan a request and wait for its turn."""
        try:
            intent = self._intent(asked)
            request = self._request(asked, intent)
            admission = await self.loop.admit(request)
            return self._terms(asked, intent, admission)
        except Exception:
            self._controller.tally.decided(raised=True)
            self.loop.finish(asked.ticket, Outcome("client_gone"))
            raise

    def first_rung(self, asked: Asked) -> str | None:
        """Return the best model on the ladder of the intent that covers a request; None without a ladder."""
        rungs = self._intent(asked).rungs(asked.model)
        return next((model for model in rungs if model in self.catalogue), None)

    def first_token(self, ticket: str) -> None:
        """The first content of a request went by."""
        self.loop.first_token(ticket)

    def headers(self, asked: Asked) -> tuple[tuple[str, str], ...]:
        """Return the headers of a request that was let go, as they are to be now."""
        flight = flight_of(self._controller, asked.ticket)
        if flight is None:
            return ()
        return tuple(self._constraints(asked, flight.request.intent, flight.plan).headers.items())

    def detour(self, asked: Asked, without: Collection[str]) -> Terms | None:
        """Return the terms under which another model may serve it at once; None where there is none."""
        found = detour(self._controller, asked.ticket, without, self._clock.monotonic_s())
        if found is None:
            return None
        return self._terms(
            asked, found.request.intent, Admission(found, found.plan, admitted=True, waited_s=0.0)
        )

    def diverted(self, asked: Asked, terms: object, ending: Ending) -> None:
        """Take note that it goes under the terms of a detour, and how the attempt before ended."""
        assert isinstance(terms, Terms)
        assert terms.plan.request_id == asked.ticket
        self.loop.divert(terms.plan, failed=_status(ending) in {"failed", "timeout"})

    def ended(self, ticket: str, ending: Ending) -> dict[str, Any] | None:
        """Take note of an end; return prediction against observation."""
        outcome = Outcome(
            status=_status(ending),
            output_tokens=ending.output_tokens,
            input_tokens=ending.input_tokens,
            cached_tokens=ending.cached_tokens,
            truncated=ending.truncated,
        )
        flight = flight_of(self._controller, ticket)
        if flight is not None and flight.request.max_tokens == 0 and outcome.status == "complete":
            self.loop.first_token(ticket)
        settlement = self.loop.finish(ticket, outcome)
        return None if settlement is None else _observed(settlement)

    # --- operators -------------------------------------------------------------------------------

    def intents(self) -> list[dict[str, Any]]:
        """Return one report per intent."""
        return [plain(report) for report in self._controller.reports(self._clock.monotonic_s())]

    def control(self) -> dict[str, Any]:
        """Return prices, limits, queue and mode as of now."""
        controller = self._controller
        last = self.loop.last_tick
        return {
            "mode": controller.state.mode.value,
            "operator_mode": controller.operator_mode.value,
            "tick": controller.state.number,
            "config_digest": controller.config.digest,
            "in_flight": controller.in_flight,
            "queued": controller.queued,
            "counts": dict(controller.counts),
            "models": plain(controller.state.models),
            "scraped": {
                model: plain(seen)
                for model, seen in self.loop.scraped.items()
                if seen.fresh(self._clock.monotonic_s())
            },
            "epochs_opened": [] if last is None else plain(last.opened),
            "epochs_closed": [] if last is None else plain(last.closed),
        }

    def reading(self) -> dict[str, Any]:
        """Return what metrics show: mode, queue, price and limit by model, books by intent."""
        state = self._controller.state
        counts = ("downgraded", "capped", "queued", "shed", "expired", "failed")
        return {
            "mode": state.mode.value,
            "queued": self._controller.queued,
            "models": {model.name: (model.price, model.limit) for model in state.models},
            "intents": {
                report.intent: {name: getattr(report, name) for name in ("spend_usd", *counts)}
                | ({} if report.attainment is None else {"attainment": report.attainment})
                for report in self._controller.reports(self._clock.monotonic_s())
            },
        }

    @property
    def catalogue(self) -> Catalogue:
        """The models there are."""
        return self._controller.config.catalogue

    def replace_intents(self, intents: IntentSet) -> bool:
        """Follow another set of intents at once; False where it is the one in force."""
        if intents.digest == self._controller.config.intents.digest:
            return False
        self.loop.replace_intents(intents)
        return True

    def set_mode(self, mode: str) -> bool:
        """Follow the operator; False for a mode that is not one of `MODES`."""
        wanted = next((known for known in MODES if known.value == mode), None)
        if wanted is not None:
            self.loop.set_mode(wanted)
        return wanted is not None

    # --- the inside ------------------------------------------------------------------------------

    def _match_names(self, digest_: str, patterns: tuple[str, ...]) -> frozenset[str]:
        del digest_  # part of the key: other intents, other names
        names = [intent.name for intent in self._controller.config.intents.intents]
        matched = {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}
        return frozenset(matched) or _NOBODY

    def _intent(self, asked: Asked) -> Intent:
        intents = self._controller.config.intents
        chosen = intents.select(
            Subject(key=asked.key, tenant=asked.tenant, route=asked.route, model=asked.model),
            wanted=asked.intent,
            permitted=self._permitted(intents.digest, asked.permitted),
            service_tier=asked.service_tier,
        )
        if asked.stream:
            return chosen
        # who is not shown the first token cannot be promised it; the whole answer has its own target
        return replace(chosen, latency=replace(chosen.latency, ttft_ms=None))

    def _request(self, asked: Asked, intent: Intent) -> Request:
        generates = ROUTES[asked.route] is not Endpoint.EMBEDDINGS
        return Request(
            request_id=asked.ticket,
            intent=intent,
            model=asked.model,
            input_tokens=asked.input_tokens,
            arrived_s=asked.arrived_s,
            max_tokens=asked.max_tokens if generates else 0,
            tenant=asked.tenant or "",
            route=asked.route,
            deferrable=asked.service_tier == "flex",
            # an embedding is whole when it begins: its end is the first that is seen of it
            streamed=asked.stream or not generates,
            choices=asked.choices,
        )

    def _terms(self, asked: Asked, intent: Intent, admission: Admission) -> Terms:
        plan = admission.plan
        shed = plan.disposition is Disposition.SHED
        turn = "admitted" if admission.admitted else "shed" if shed else "expired"
        goes = self._constraints(asked, intent, plan) if admission.admitted else None
        control = self._control(admission, intent)
        actions = [action.kind.value for action in plan.actions]
        if turn == "expired":
            actions.append(ActionKind.EXPIRED.value)
            control["actions"].append({"kind": ActionKind.EXPIRED.value, "reason": admission.reason})
        return Terms(
            turn=turn,
            intent=intent.name,
            service_class=intent.service_class.value,
            model=plan.model,
            max_tokens=plan.max_tokens or None,
            fields={} if goes is None else goes.set_fields,
            removed=() if goes is None else goes.remove_fields,
            headers=() if goes is None else tuple(goes.headers.items()),
            actions=tuple(actions),
            reason=admission.reason or why(plan),
            retry_after_s=plan.retry_after_s,
            queued_s=admission.queued_s,
            control=control,
            plan=plan,
        )

    def _constraints(self, asked: Asked, intent: Intent, plan: Plan) -> Constraints:
        model = self._controller.config.catalogue.get(plan.model)
        engine = _UNKNOWN if model is None else self._engines.get(model.backend, _UNKNOWN)
        around = Surroundings(
            dialect=engine.dialect,
            endpoint=ROUTES[asked.route],
            tenant=asked.tenant or "",
            elapsed_ms=(self._clock.monotonic_s() - asked.arrived_s) * 1000,
            engine_priority=engine.engine_priority,
            body={"model": asked.model, **asked.fields},
            reasoning=model is not None and model.reasoning,
            isolate_cache=engine.isolate_cache,
        )
        return translate(plan, intent, around)

    def _control(self, admission: Admission, intent: Intent) -> dict[str, Any]:
        plan, submission = admission.plan, admission.submission
        snapshot = admission.snapshot or submission.snapshot
        tick_digest = self._tick_digest(snapshot.tick)
        shadow = submission.shadow
        mode = Mode.SHADOW if shadow is not None else snapshot.mode
        control = control_part(intent, mode.value, snapshot, tick_digest, plan)
        if plan.pressed:
            control |= table_part(submission.request, snapshot, tick_digest, plan)
        if shadow is not None:
            control["shadow"] = {"actions": plain(shadow.actions), "plan": lean(shadow)}
            if shadow.pressed:
                control["shadow"] |= table_part(submission.request, snapshot, tick_digest, shadow)
        if plan.pressed or (shadow is not None and shadow.pressed):
            self._ledger.hold(snapshot.tick, tick_digest, self.loop.last_tick)
        return control

    def _tick_digest(self, state: TickState) -> str:
        if self._tick is None or self._tick[0] is not state:
            self._tick = (state, digest(state))
        return self._tick[1]


def _status(ending: Ending) -> str:
    """Return the controller's word for an end; `client_gone` is one that says nothing of the model."""
    if ending.fate == "complete":
        return "complete"
    if not ending.forwarded or ending.fate in {None, "client_gone"}:
        return "client_gone"
    if ending.status in _OVERLOADED:
        return "rejected"
    if ending.error == "UPSTREAM_TIMEOUT":
        return "timeout"
    theirs = ending.status is not None and 400 <= ending.status < 500
    stopped = ending.fate == "cut" and ending.error is None
    return "client_gone" if theirs or stopped else "failed"


def _observed(settlement: Settlement) -> dict[str, Any]:
    """Return prediction against observation in whole microseconds and micro-dollars."""
    ttft, e2e, cost = settlement.ttft_ratio, settlement.e2e_ratio, settlement.cost_ratio
    facts = {
        "met": settlement.met,
        "missed": list(settlement.missed),
        "queue_wait_us": _micros(settlement.queue_wait_s),
        "ttft_us": _micros(settlement.ttft_s),
        "e2e_us": _micros(settlement.e2e_s),
        "output_tokens": settlement.output_tokens,
        "cost_uusd": settlement.cost_uusd,
        "predicted_ttft_us": _micros(_predicted(settlement.ttft_s, ttft)),
        "predicted_e2e_us": _micros(_predicted(settlement.e2e_s, e2e)),
        "predicted_cost_uusd": None if cost is None else round(settlement.cost_uusd / cost),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _predicted(observed_s: float | None, ratio: float | None) -> float | None:
    return None if observed_s is None or ratio is None else observed_s / ratio


def _micros(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e6)
