"""Joins the configuration and the intent controller: what it is made with, and other intents while it runs.

A set of intents is taken whole or not at all: where anything in it is wrong, each problem is said with its
line and column, and the last good set goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from controller.catalogue import Catalogue, Model
from controller.core import ControllerConfig
from controller.governor import Governor
from controller.intent import (
    IntentProblem,
    IntentSet,
    InvalidIntentError,
    infeasible_targets,
    read_intents,
)
from controller.llmd.translate import Dialect, Engine, EnginePriority
from gateway.config import Config
from gateway.config.places import place_of
from gateway.kernel.errors import GatewayError, InvalidConfigError
from gateway.telemetry.log import LOG

_HINT: Final = "see schemas/intent.v1.json"

Reload = Callable[[], Config]
"""Reads the configuration anew, as it was read at the start. Raises InvalidConfigError."""


def control_config(config: Config) -> ControllerConfig | None:
    """Return what the controller is made with; None without intents. Raises InvalidConfigError."""
    if not config.intents:
        return None
    catalogue = Catalogue(
        Model(
            name=model.name,
            backend=model.backend[0].name,
            quality=model.quality,
            usd_per_mtok_in=model.price_in,
            usd_per_mtok_out=model.price_out,
            context_tokens=model.context,
            replicas=model.replicas,
            in_flight_max=model.in_flight_max * model.replicas,
            reasoning=model.reasoning,
        )
        for model in config.models
    )
    return ControllerConfig(catalogue, _intents(config, catalogue))


def warnings_of(config: Config, control: ControllerConfig) -> tuple[str, ...]:
    """Return what is declared and cannot be met even by an idle model, a line each."""
    problems = infeasible_targets(control.intents.intents, control.catalogue)
    return tuple(_placed(config.source, problems))


def engines_of(config: Config) -> dict[str, Engine]:
    """Return what each backend understands, by its name."""
    return {
        backend.name: Engine(
            Dialect(backend.dialect), EnginePriority(backend.engine_priority), backend.isolate_cache
        )
        for backend in config.backends
    }


async def reload_intents(governor: Governor | None, reload: Reload) -> bool:
    """Read the configuration again and follow its intents; False where the last good ones stay.

    The file is read on a thread: it may be long, and requests go on meanwhile. Models and backends stay as
    they are until the next start.
    """
    try:
        config = await asyncio.to_thread(reload)
        if governor is None or not config.intents:
            raise InvalidConfigError(
                "intents cannot be added to a gateway without any, or all be taken away, while it runs",
                hint="restart the gateway",
            )
        changed = governor.replace_intents(_intents(config, governor.catalogue))
    except GatewayError as error:
        facts = {"reason": error.message, "hint": error.hint}
        LOG.error("intents not reloaded: the last good ones stay", extra={"facts": facts})
        return False
    LOG.info("intents reloaded" if changed else "intents reloaded: nothing changed")
    return True


def _intents(config: Config, catalogue: Catalogue) -> IntentSet:
    try:
        return read_intents(config.intents, catalogue)
    except InvalidIntentError as error:
        lines = "\n".join(f"- {line}" for line in _placed(config.source, error.problems))
        raise InvalidConfigError(f"the intents are not valid:\n{lines}", hint=_HINT) from None


def _placed(source: str | None, problems: Sequence[IntentProblem]) -> list[str]:
    places = {} if source is None else place_of(source, [problem.pointer for problem in problems])
    return [f"{places.get(problem.pointer, '')}{problem.pointer}: {problem.message}" for problem in problems]
