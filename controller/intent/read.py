"""Compile intents from plain data (`schemas/intent.v1.json`), reporting every problem with its pointer.

The YAML is read elsewhere, bounded and with places; this sees mappings, lists and scalars. It either
returns a whole, consistent set or raises: a half-good set never replaces the last good one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from controller.catalogue import Catalogue
from controller.intent.fields import Fields
from controller.intent.select import IntentSet
from controller.intent.types import (
    CLASS_PRIORITY,
    CLASS_WEIGHT,
    TIER_CLASS,
    Bias,
    Budget,
    Intent,
    IntentProblem,
    InvalidIntentError,
    Latency,
    Match,
    PressureAction,
    ServiceClass,
)

INTENTS_MAX: Final = 1000
"""Selection walks a list per request; a thousand intents are a customer list, more is a mistake."""
_MS_MAX: Final = 86_400_000.0
"""A day; no latency target is longer."""
_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def read_intents(data: Any, catalogue: Catalogue, *, pointer: str = "/intents") -> IntentSet:
    """Compile a list of intent mappings; `pointer` is where the list stands in its document.

    Raises `InvalidIntentError` with every problem found: shapes, unknown models, floors outside the
    ladder, targets that exclude each other, intents that match the same requests.
    """
    problems: list[IntentProblem] = []
    if not isinstance(data, Sequence) or isinstance(data, str | bytes):
        raise InvalidIntentError([IntentProblem("expected a list of intents", pointer)])
    if len(data) > INTENTS_MAX:
        raise InvalidIntentError([IntentProblem(f"more than {INTENTS_MAX} intents", pointer)])
    intents = [_intent(item, f"{pointer}/{index}", problems, catalogue) for index, item in enumerate(data)]
    _check_conflicts(intents, pointer, problems)
    if problems:
        raise InvalidIntentError(problems)
    return IntentSet(intents)


def _intent(data: Any, pointer: str, problems: list[IntentProblem], catalogue: Catalogue) -> Intent:
    fields = Fields(data, pointer, problems)
    fields.choice("apiVersion", ("intent/v1",))
    fields.choice("kind", ("Intent",))
    name = _name(fields)
    service_class = _service_class(fields)
    priority = fields.whole("priority", -(2**31), 2**31 - 1)
    weight = fields.number("weight", 0.001, 1000.0)
    models = _ladder(fields, catalogue)
    usd_per_request_max, budget = _cost(fields)
    max_tokens, effort = _output(fields)
    actions = fields.texts("on_pressure", tuple(PressureAction)) or ()
    bias = fields.choice("bias", tuple(Bias)) or Bias.BALANCED
    intent = Intent(
        name=name,
        match=_match(fields),
        service_class=service_class,
        priority=CLASS_PRIORITY[service_class] if priority is None else priority,
        weight=CLASS_WEIGHT[service_class] if weight is None else weight,
        latency=_latency(fields),
        usd_per_request_max=usd_per_request_max,
        budget=budget,
        models=models,
        max_tokens=max_tokens,
        reasoning_effort=effort,
        on_pressure=tuple(PressureAction(action) for action in actions),
        bias=Bias(bias),
    )
    fields.finish()
    _check_possible(intent, fields, catalogue)
    return intent


def _name(fields: Fields) -> str:
    metadata = fields.sub("metadata")
    nested = None
    if metadata is not None:
        nested = metadata.text("name")
        metadata.finish()
    name = fields.text("name") or nested
    if name is None:
        fields.problem("an intent needs a name: set `name` or `metadata.name`")
        return ""
    if nested is not None and name != nested:
        fields.problem("`name` and `metadata.name` differ: keep one", "name")
    return name


def _service_class(fields: Fields) -> ServiceClass:
    found = fields.choice("service_class", (*tuple(ServiceClass), *TIER_CLASS))
    if found is None:
        return ServiceClass.STANDARD
    return TIER_CLASS.get(found) or ServiceClass(found)


def _match(fields: Fields) -> Match:
    sub = fields.sub("match")
    if sub is None:
        return Match()
    match = Match(
        key=sub.text("key"),
        tenant=sub.text("tenant"),
        app=sub.text("app"),
        route=sub.text("route"),
        model=sub.text("model"),
    )
    sub.finish()
    return match


def _latency(fields: Fields) -> Latency:
    sub = fields.sub("latency")
    if sub is None:
        return Latency()
    target, window_s = 0.95, 3600.0
    objective = sub.sub("objective")
    if objective is not None:
        target = objective.number("target", 0.01, 0.9999) or target
        window_s = objective.duration_s("window") or window_s
        objective.finish()
    latency = Latency(
        ttft_ms=sub.number("ttft_ms", 1, _MS_MAX),
        tpot_ms=sub.number("tpot_ms", 0.1, _MS_MAX),
        e2e_ms=sub.number("e2e_ms", 1, _MS_MAX),
        target=target,
        window_s=window_s,
        max_queue_ms=sub.number("max_queue_ms", 0, _MS_MAX),
        hard=sub.flag("hard"),
    )
    sub.finish()
    if latency.ttft_ms is not None and latency.e2e_ms is not None and latency.e2e_ms <= latency.ttft_ms:
        sub.problem("the whole answer is due before its first token: raise e2e_ms above ttft_ms", "e2e_ms")
    limit = latency.ttft_ms or latency.e2e_ms
    if latency.max_queue_ms is not None and limit is not None and latency.max_queue_ms > limit:
        sub.problem("waiting this long already misses the target: lower max_queue_ms", "max_queue_ms")
    return latency


def _cost(fields: Fields) -> tuple[float | None, Budget | None]:
    sub = fields.sub("cost")
    if sub is None:
        return None, None
    ceiling = sub.number("max_usd_per_request", 0.000001, 10_000)
    budget = None
    inner = sub.sub("budget")
    if inner is not None:
        usd = inner.number("usd", 0.000001, 1e9)
        window_s = inner.duration_s("window")
        if not inner.has("usd") or not inner.has("window"):
            inner.problem("a budget needs `usd` and `window`")
        if usd is not None and window_s is not None:
            budget = Budget(usd, window_s, inner.flag("hard"))
        inner.take("hard")
        inner.finish()
    sub.finish()
    return ceiling, budget


def _ladder(fields: Fields, catalogue: Catalogue) -> tuple[str, ...]:
    sub = fields.sub("quality")
    if sub is None:
        return ()
    models = sub.texts("models") or ()
    floor = sub.text("floor")
    sub.finish()
    for model in models:
        if model not in catalogue:
            known = ", ".join(catalogue.names)
            sub.problem(f"no model {model!r} is configured; configured: {known}", "models")
    if floor is None:
        return models
    if floor not in models:
        sub.problem(f"the floor {floor!r} is not on the ladder: add it to `models`", "floor")
        return models
    return models[: models.index(floor) + 1]


def _output(fields: Fields) -> tuple[int | None, str | None]:
    sub = fields.sub("output")
    if sub is None:
        return None, None
    max_tokens = sub.whole("max_tokens", 1, 10_000_000)
    effort = sub.choice("reasoning_effort", _EFFORTS)
    sub.finish()
    return max_tokens, effort


def _check_possible(intent: Intent, fields: Fields, catalogue: Catalogue) -> None:
    """Note combinations that no request could ever satisfy."""
    rungs = [catalogue[name] for name in intent.models if name in catalogue]
    qualities = [model.quality for model in rungs]
    if qualities != sorted(qualities, reverse=True):
        fields.problem("the ladder must go from best to worst by configured quality", "quality/models")
    if intent.usd_per_request_max is not None and rungs:
        cheapest_uusd = min(model.cost_uusd(1, 1) for model in rungs)
        if cheapest_uusd > intent.usd_per_request_max * 1e6:
            fields.problem("not even one token fits on the cheapest rung", "cost/max_usd_per_request")
    if PressureAction.DOWNGRADE in intent.on_pressure and len(rungs) == 1:
        fields.problem(
            "downgrade is allowed but the ladder has one rung: add a rung or drop it", "on_pressure"
        )


def _check_conflicts(intents: Sequence[Intent], pointer: str, problems: list[IntentProblem]) -> None:
    names: dict[str, int] = {}
    matches: dict[Match, int] = {}
    for index, intent in enumerate(intents):
        if intent.name and intent.name in names:
            problems.append(
                IntentProblem(
                    f"the name {intent.name!r} is taken by intent {names[intent.name]}",
                    f"{pointer}/{index}/name",
                )
            )
        names.setdefault(intent.name, index)
        if intent.match in matches:
            other = intents[matches[intent.match]].name
            problems.append(
                IntentProblem(
                    f"matches the same requests as {other!r}: narrow one of them", f"{pointer}/{index}/match"
                )
            )
        matches.setdefault(intent.match, index)
