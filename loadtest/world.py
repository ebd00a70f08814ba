"""What the spike is shown on: a simulated cluster, three classes, their intents, for live and virtual runs.

The cluster is that of the evaluation on two thirds of its accelerators' speed, with batches as an operator
with latency targets bounds them, and clients that ask for 128 tokens at the most: at four times the base it
streams about 2,200 chunks a second, which two cores generate, relay and read. The gateway's configuration and
the controller's are made from the same values, so that the virtual twin runs what the gateway runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from controller.catalogue import Catalogue, Model
from controller.core import ControllerConfig
from controller.evaluate.arms.data import Service
from controller.evaluate.arms.virtual import services_of
from controller.evaluate.world import LADDER, LARGE, MID, PRICES, QUALITY, SMALL, Kind, cluster_config
from controller.intent import IntentSet, read_intents
from controller.llmd.sim.config import SimConfig

SLOWDOWN: Final = 1.5
SLOTS: Final[Mapping[str, int]] = {LARGE: 32, MID: 32, SMALL: 64}
"""Batch places of each model. The gateway is told of them, so that what is more waits in its own queue."""
MAX_TOKENS: Final = 128
CHUNKS_MAX: Final = 3000
"""Streamed chunks a second that two cores generate, relay and read without being the bottleneck."""
BACKEND: Final = "pool"
KNEE_RPS: Final = 4.515625
"""Requests a second that the large model alone serves with 95 % attainment, by `twin.knee_rps`; a nightly
test sweeps again. Runs that have the time sweep for themselves."""
BASE_SHARE: Final = 0.75
"""The base load, as a share of the knee of the preferred model."""
BUDGET_WINDOW_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Part:
    """One class: its share of the requests, its ladder, targets and budget."""

    name: str
    service_class: str
    share: float
    models: tuple[str, ...]
    ttft_s: float
    e2e_s: float
    usd_per_hour: float


PARTS: Final = (
    Part("premium", "critical", 0.2, LADDER[:1], 2.0, 15.0, 6.0),
    Part("standard", "standard", 0.5, LADDER[:2], 3.0, 15.0, 6.0),
    Part("batch", "batch", 0.3, LADDER, 4.0, 20.0, 3.0),
)
"""20/50/30 per cent, floors large, mid, small, as in the evaluation."""

TOOLS_KEY: Final = "support-agent"
KEYS: Final = (*(part.name for part in PARTS), TOOLS_KEY)
"""Whose API keys the gateway knows: each class has its own, and so has the agent with the tool actions."""


def cluster() -> SimConfig:
    """Return the simulated cluster."""
    config = cluster_config()
    models = tuple(
        replace(
            model,
            engine=replace(
                model.engine,
                slowdown=model.engine.slowdown * SLOWDOWN,
                seqs_max=SLOTS[model.name],
            ),
        )
        for model in config.models
    )
    return replace(config, models=models)


def catalogue() -> Catalogue:
    """Return the models as the gateway's configuration tells the controller of them."""
    return Catalogue(
        Model(
            name=name,
            backend=BACKEND,
            quality=QUALITY[name],
            usd_per_mtok_in=PRICES[name][0],
            usd_per_mtok_out=PRICES[name][1],
            in_flight_max=SLOTS[name],
        )
        for name in LADDER
    )


def intents_document() -> list[dict[str, Any]]:
    """Return the intents as the configuration says them."""
    return [
        {
            "name": part.name,
            "match": {"key": part.name},
            "service_class": part.service_class,
            "latency": {"ttft_ms": 1000 * part.ttft_s, "e2e_ms": 1000 * part.e2e_s},
            "cost": {
                "budget": {
                    "usd": round(part.usd_per_hour * BUDGET_WINDOW_S / 3600, 6),
                    "window": f"{BUDGET_WINDOW_S:.0f}s",
                }
            },
            "quality": {"models": list(part.models), "floor": part.models[-1]},
            # a ladder of one rung has nowhere to go down to
            "on_pressure": ["cap_tokens", *(["downgrade"] if part.models[1:] else []), "shed"],
        }
        for part in PARTS
    ]


def intents() -> IntentSet:
    """Return the intents, compiled."""
    return read_intents(intents_document(), catalogue())


def kinds() -> tuple[Kind, ...]:
    """Return the classes as the evaluation's workloads have them."""
    by_name = {intent.name: intent for intent in intents().intents}
    return tuple(Kind(part.name, part.share, by_name[part.name]) for part in PARTS)


def services() -> tuple[Service, ...]:
    """Return the classes as a comparison has them."""
    return services_of(kinds())


def controller_config() -> ControllerConfig:
    """Return what the gateway makes its controller with."""
    return ControllerConfig(catalogue(), intents())


def gateway_document(
    *, backend_url: str, database: str, key_hashes: Mapping[str, str], port: int, admin_port: int
) -> dict[str, Any]:
    """Return the gateway's configuration; `key_hashes` are of the API keys of `KEYS`.

    The backend is sent no objectives: its own shedding of low priorities would be in every arm, and one of
    them is to show what happens without any.
    """
    return {
        "listen": {"port": port, "admin_port": admin_port},
        "storage": {"url": f"sqlite:{database}"},
        "keys": [{"name": name, "hash": key_hashes[name]} for name in KEYS],
        "backends": [{"name": BACKEND, "url": backend_url, "dialect": "none"}],
        "models": [
            {
                "name": model.name,
                "backend": BACKEND,
                "price_in": model.usd_per_mtok_in,
                "price_out": model.usd_per_mtok_out,
                "quality": model.quality,
                "in_flight_max": model.in_flight_max,
            }
            for model in catalogue()
        ],
        "intents": intents_document(),
        # one record is then one request at the backend, and the two can be counted against each other
        "retries": {"attempts_max": 1},
        "log": {"level": "warning"},
    }
