"""Builders and hypothesis strategies for the controller's values."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TypeVar

from hypothesis import strategies as st

from controller.catalogue import Catalogue, Model, Speed
from controller.estimator import Coefficients
from controller.intent import Intent, Latency, PressureAction, ServiceClass
from controller.intent.types import CLASS_PRIORITY, CLASS_WEIGHT
from controller.plan import IntentState, LiveState, Mode, ModelState, Request, Snapshot, TickState
from controller.signals import LENGTH_RANKS

T = TypeVar("T")

LADDER = ("large", "mid", "small")
ALL_ACTIONS = tuple(PressureAction)


def model(name: str, *, quality: float = 0.9, price: float = 1.0, **fields: object) -> Model:
    """Return a model of the catalogue."""
    values: dict[str, object] = {
        "name": name,
        "backend": "pool",
        "quality": quality,
        "usd_per_mtok_in": price,
        "usd_per_mtok_out": 2 * price,
        "speed": Speed(0.03, 0.00006, 0.02, 0.0002),
        "in_flight_max": 128,
    }
    return Model(**{**values, **fields})  # type: ignore[arg-type]


def catalogue() -> Catalogue:
    """Return three models, best first."""
    return Catalogue(
        (
            model("large", quality=0.92, price=0.6),
            model("mid", quality=0.80, price=0.1, speed=Speed(0.02, 0.00002, 0.007, 0.00006)),
            model("small", quality=0.62, price=0.02, speed=Speed(0.01, 0.00001, 0.004, 0.00003)),
        )
    )


def intent(
    name: str = "chat",
    service_class: ServiceClass = ServiceClass.STANDARD,
    *,
    models: tuple[str, ...] = LADDER,
    actions: tuple[PressureAction, ...] = ALL_ACTIONS,
    latency: Latency | None = None,
    **fields: object,
) -> Intent:
    """Return a compiled intent."""
    return Intent(
        name=name,
        service_class=service_class,
        priority=CLASS_PRIORITY[service_class],
        weight=CLASS_WEIGHT[service_class],
        latency=latency or Latency(ttft_ms=2000.0, e2e_ms=20_000.0),
        models=models,
        on_pressure=actions,
        **fields,  # type: ignore[arg-type]
    )


def coefficients(**fields: float) -> Coefficients:
    """Return an estimator's view of a model that is well known."""
    values: dict[str, float] = {
        "prefill_base_s": 0.03,
        "prefill_token_s": 0.00006,
        "decode_base_s": 0.02,
        "decode_sequence_s": 0.0002,
        "ttft_bias": 1.0,
        "ttft_spread": 1.3,
        "tpot_bias": 1.0,
        "tpot_spread": 1.2,
        "capacity": 1.0,
        "samples": 200,
    }
    return Coefficients(**{**values, **fields})  # type: ignore[arg-type]


def model_state(name: str = "large", **fields: object) -> ModelState:
    """Return a model as of a quiet tick."""
    values: dict[str, object] = {
        "name": name,
        "backend": "pool",
        "quality": {"large": 0.92, "mid": 0.8, "small": 0.62}.get(name, 0.9),
        "usd_per_mtok_in": {"large": 0.6, "mid": 0.1, "small": 0.02}.get(name, 1.0),
        "usd_per_mtok_out": {"large": 1.2, "mid": 0.2, "small": 0.04}.get(name, 1.0),
        "context_tokens": 131_072,
        "replicas": 1,
        "coefficients": coefficients(),
        "price": 0.0,
        "limit": 64,
        "batch_nominal": 64.0,
        "load_error": -0.5,
        "tpot_s": 0.025,
        "tpot_batch": 10.0,
        "usable": True,
    }
    return ModelState(**{**values, **fields})  # type: ignore[arg-type]


def live(**fields: object) -> LiveState:
    """Return the counters of an idle model."""
    values: dict[str, object] = {"in_flight": 2, "prefill_tokens": 0, "queued": 0, "ahead": ()}
    return LiveState(**{**values, **fields})  # type: ignore[arg-type]


LENGTHS = tuple(20.0 + 480.0 * rank for rank in LENGTH_RANKS)


def snapshot(
    models: tuple[ModelState, ...] | None = None,
    lives: tuple[LiveState, ...] | None = None,
    intents: tuple[IntentState, ...] = (),
    **fields: object,
) -> Snapshot:
    """Return a snapshot; by default three quiet models."""
    models = models or tuple(model_state(name) for name in LADDER)
    lives = lives or tuple(live() for _ in models)
    tick = TickState(3, 9.5, Mode.ACTIVE, "sha256:0", models, intents)
    values: dict[str, object] = {"tick": tick, "now_s": 10.0, "live": lives, "lengths": LENGTHS}
    return Snapshot(**{**values, **fields})  # type: ignore[arg-type]


def request(an_intent: Intent | None = None, **fields: object) -> Request:
    """Return a request that arrives at the snapshot's instant."""
    an_intent = an_intent or intent()
    values: dict[str, object] = {
        "request_id": "r1",
        "intent": an_intent,
        "model": an_intent.models[0] if an_intent.models else "large",
        "input_tokens": 500,
        "arrived_s": 10.0,
    }
    return Request(**{**values, **fields})  # type: ignore[arg-type]


CLASSES = tuple(ServiceClass)


def _maybe(rng: random.Random, value: T) -> T | None:
    return value if rng.random() < 0.5 else None


def drawn_intent(rng: random.Random) -> Intent:
    """Return an intent: any class, any floor, any set of permitted actions."""
    actions = tuple(action for action in ALL_ACTIONS if rng.random() < 0.6)
    latency = Latency(
        ttft_ms=_maybe(rng, rng.uniform(50, 20_000)),
        e2e_ms=_maybe(rng, rng.uniform(25_000, 90_000)),
        hard=rng.random() < 0.5,
    )
    drawn = intent(
        service_class=rng.choice(CLASSES),
        models=LADDER[: rng.randint(1, 3)],
        actions=actions,
        latency=latency,
    )
    return replace(drawn, max_tokens=_maybe(rng, rng.randint(1, 4000)))


def drawn_request(seed: int) -> Request:
    """Return a request under any intent."""
    rng = random.Random(f"request/{seed}")
    drawn = drawn_intent(rng)
    return request(
        drawn,
        request_id=f"r{seed}",
        model=rng.choice((*drawn.models, "auto", "elsewhere")),
        input_tokens=rng.choice((1, 50, 500, 2000, 30_000, 140_000)),
        max_tokens=_maybe(rng, rng.randint(1, 8000)),
        arrived_s=10.0 - rng.choice((0.0, rng.uniform(0, 5))),
        session=_maybe(rng, "s"),
        deferrable=rng.random() < 0.3,
    )


def drawn_live(rng: random.Random) -> LiveState:
    """Return a model's counters, from idle to a thousand waiting."""
    waiting = [priority for priority in (4, 3, -1, -2, -3) if rng.random() < 0.3]
    shed = _maybe(rng, rng.choice((4, 3, -1)))
    admitted = _maybe(rng, rng.choice((3, -1, -3)))
    if shed is not None and admitted is not None and admitted < shed:
        admitted = None  # no sequence of plans leads there: that is what I3 says
    return live(
        in_flight=rng.choice((0, 5, rng.randint(0, 200))),
        prefill_tokens=rng.choice((0, rng.randint(0, 100_000))),
        queued=rng.randint(1, 1000) if waiting else 0,
        ahead=tuple((priority, rng.choice((0.1, 1.0, 300.0)) * rng.random()) for priority in waiting),
        shed_priority=shed,
        admitted_priority=admitted,
    )


def drawn_snapshot(seed: int) -> Snapshot:
    """Return a snapshot: any prices, limits, queues, measured paces and modes."""
    rng = random.Random(f"snapshot/{seed}")
    models = tuple(
        model_state(
            name,
            price=rng.choice((0.0, rng.uniform(0, 2), rng.uniform(0, 50))),
            limit=rng.randint(4, 256),
            tpot_s=_maybe(rng, rng.uniform(0.001, 0.5)),
            load_error=rng.uniform(-1, 4),
            usable=rng.random() < 0.85,
            coefficients=coefficients(capacity=rng.uniform(0.02, 3), ttft_bias=rng.uniform(0.2, 5)),
        )
        for name in LADDER
    )
    return snapshot(
        models,
        tuple(drawn_live(rng) for _ in models),
        (IntentState("chat", rng.uniform(1, 1.5), rng.choice((0.0, rng.uniform(0, 0.01)))),),
        mode=rng.choice((Mode.ACTIVE, Mode.ACTIVE, Mode.GUARDED)),
        session_model=_maybe(rng, rng.choice(LADDER)),
    )


def any_request() -> st.SearchStrategy[Request]:
    """Draw a request. By seed: drawing each field by itself costs more than the plan under test."""
    return st.integers(0, 2**32).map(drawn_request)


def any_snapshot() -> st.SearchStrategy[Snapshot]:
    """Draw a snapshot, by seed."""
    return st.integers(0, 2**32).map(drawn_snapshot)
