"""One comparison, live: each arm on the same schedule, its records read back, and what came of it all.

Nothing here decides how a request is handled. What stops early leaves what it has, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final

from controller.evaluate.arms.data import Arm, Check, Comparison, Moment, Service
from controller.evaluate.split import Split
from controller.llmd.sim.config import SimConfig
from loadtest import ledger, twin, world
from loadtest.client import Client, read_origin
from loadtest.generate import Generator, Users
from loadtest.policies import PERIOD_S, PolicyGate
from loadtest.probe import Probe, received
from loadtest.rows import Row, called, offered
from loadtest.schedule import Load, Schedule
from loadtest.stage import Child, Place, Ports, StageError, stage, verify_ledger
from loadtest.view import REFRESH_S, Picture, Screen

IDLE_S: Final = 30.0
CLOCKS_APART_S: Final = 60.0
"""How far the gateway's clock may be behind ours where its records are asked for since we began."""
WATCH_S: Final = 0.2
OURS: Final = "controlled"
ALONE: Final = "gateway"
"""The arm of a gateway whose controller cannot be switched: as it is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run."""

    load: Load
    schedule: Schedule
    services: tuple[Service, ...]
    arms: tuple[str, ...]
    out: Path
    users: Users
    prices: Mapping[str, tuple[float, float]]
    facts: Mapping[str, str]
    wall_s: Callable[[], float]
    """Gives seconds since 1970."""
    cluster: SimConfig | None = None
    """The simulated stage; None aims at `place`."""
    place: Place | None = None
    ports: Ports = field(default_factory=Ports)
    knee_rps: float = 0.0
    split: Split | None = None
    together: bool = False
    """Whether the arms are played at the same time, each on its stage: half the time, one view."""
    baseline_max: float | None = None
    """What the baseline must stay under; None where that is no matter."""
    agree: bool = True
    """Whether the controlled arm is held against its twin in virtual time."""


class Run:
    """Plays a plan. Use once; `interrupt` may be called at any time."""

    def __init__(self, plan: Plan, screen: Screen) -> None:
        self._plan = plan
        self._screen = screen
        self._stop = asyncio.Event()
        self._why = ""

    def interrupt(self, why: str) -> None:
        """End the run early; what it has is kept."""
        self._why = self._why or why
        self._stop.set()

    async def play(self) -> Comparison:
        """Play every arm. Raise StageError where nothing can be played."""
        played = await (self._side_by_side() if self._plan.together else self._one_by_one())
        plan = self._plan
        run = Comparison(
            title=f"Lumyn Gateway under load: {plan.load.shape}",
            how="live",
            spans=plan.load.spans,
            services=plan.services,
            arms=tuple(arm for arm, _ in played),
            facts=plan.facts,
            checks=tuple(check for _, checks in played for check in checks),
            partial=self._why,
            baseline_max=plan.baseline_max,
            chunks_max=None if plan.cluster is None else world.CHUNKS_MAX,
        )
        return run if self._why or not plan.agree else await self._against_twin(run)

    # --- the stage -----------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _open(self, name: str) -> AsyncIterator[tuple[Place, Sequence[Child]]]:
        plan = self._plan
        if plan.place is not None:
            yield plan.place, ()
            return
        assert plan.cluster is not None
        async with stage(plan.out / f"stage-{name}", plan.cluster, plan.ports) as opened:
            yield opened

    async def _one_by_one(self) -> list[tuple[Arm, list[Check]]]:
        names = self._plan.arms
        return [await self._arm(name) for name in names if not self._stop.is_set()]

    async def _side_by_side(self) -> list[tuple[Arm, list[Check]]]:
        tasks: list[asyncio.Task[tuple[Arm, list[Check]]]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks += [group.create_task(self._arm(name)) for name in self._plan.arms]
        except* StageError as errors:
            raise next(_single(errors)) from None
        return [task.result() for task in tasks]

    async def _arm(self, name: str) -> tuple[Arm, list[Check]]:
        async with self._open(name) as (place, children):
            arm, checks = await self._played(name, place, children)
        if place.config_path is None:
            return arm, checks
        ok, said = await verify_ledger(place, self._plan.out / f"stage-{name}")
        return arm, [*checks, Check(f"{name}: chain of the ledger", "whole", said, ok)]

    # --- one arm -------------------------------------------------------------------------------

    async def _played(self, name: str, place: Place, children: Sequence[Child]) -> tuple[Arm, list[Check]]:
        data = Client(read_origin(place.base_url))
        admin = None if place.admin_url is None else Client(read_origin(place.admin_url))
        probe = None if admin is None else Probe(admin)
        try:
            if probe is not None and name != ALONE:
                await self._idle(probe)
                await probe.set_mode("active" if name == OURS else "bypass")
            before = await _reached(place)
            began_s = self._plan.wall_s()
            generator = await self._generated(name, place, data, probe, children)
            rows = sorted(generator.progress.rows, key=lambda row: (row.at_s, row.request_id))
            arm = Arm(
                name=name,
                about=twin.ARMS.get(name, "as it is"),
                offered=(),
                called=called(rows),
                moments=() if probe is None else tuple(probe.moments),
                told=() if probe is None else tuple(probe.told),
                began=time.strftime("%H:%M:%S", time.localtime(began_s)),
                chunks=_by_second(generator.progress.chunks),
                partial=self._why,
            )
            return await self._with_records(arm, rows, admin, place, (began_s, before))
        finally:
            data.close()
            if admin is not None:
                admin.close()

    async def _with_records(
        self,
        arm: Arm,
        rows: Sequence[Row],
        admin: Client | None,
        place: Place,
        before: tuple[float, int | None],
    ) -> tuple[Arm, list[Check]]:
        """Return the arm with what its records say; `before` is when it began, and what was received."""
        plan = self._plan
        records: dict[str, ledger.Record] = {}
        checks: list[Check] = []
        if admin is not None:
            try:
                records = await ledger.read_ledger(admin, since_s=before[0] - CLOCKS_APART_S)
                after = await _reached(place)
                reached = None if before[1] is None or after is None else after - before[1]
                checks += ledger.check_ledger(arm.name, rows, records, reached)
            except StageError as error:
                if not self._why:
                    raise
                checks.append(Check(f"{arm.name}: records", "read back", str(error), ok=False))
        told = (*arm.told, *ledger.decisions_in_words(rows, records))
        items = offered(rows, plan.services, plan.prices, ledger.causes(records))
        return replace(arm, offered=items, told=told), checks

    async def _generated(
        self, name: str, place: Place, data: Client, probe: Probe | None, children: Sequence[Child]
    ) -> Generator:
        plan = self._plan
        run_id = f"{plan.users.run_id}{name}-"
        users = replace(plan.users, headers={**plan.users.headers, **_keys(place)}, run_id=run_id)
        gate = None
        if name not in {"none", OURS, ALONE}:
            gate = PolicyGate(twin.policy(name, plan.knee_rps, plan.split))
        with (plan.out / f"requests-{name}.jsonl").open("wb") as file, _no_collections():
            generator = Generator(
                plan.schedule, data, users, write=lambda row: self._keep(file, row), gate=gate
            )
            picture = Picture(name, plan.load.spans, plan.services, generator.progress)
            async with asyncio.TaskGroup() as group:
                helpers = [
                    group.create_task(self._draw(picture, generator, probe)),
                    group.create_task(self._watch(children)),
                ]
                if probe is not None:
                    helpers.append(group.create_task(probe.follow(generator.now_s)))
                if gate is not None:
                    helpers.append(group.create_task(_tick(gate, generator)))
                await generator.run(self._stop)
                for helper in helpers:
                    helper.cancel()
        return generator

    def _keep(self, file: IO[bytes], row: Row) -> None:
        try:
            file.write(row.line())
        except OSError as error:
            self.interrupt(f"the rows cannot be written: {(error.strerror or 'failed').lower()}")

    async def _draw(self, picture: Picture, generator: Generator, probe: Probe | None) -> None:
        while True:
            moment: Moment | None = probe.moments[-1] if probe is not None and probe.moments else None
            self._screen.show(picture, generator.now_s(), moment)
            await asyncio.sleep(REFRESH_S)

    async def _watch(self, children: Sequence[Child]) -> None:
        while True:
            for child in children:
                if not child.running:
                    self.interrupt(f"the {child.name} ended: {child.last_words()}")
            await asyncio.sleep(WATCH_S)

    async def _idle(self, probe: Probe) -> None:
        """Wait until nothing of an earlier arm is left. Raise StageError."""
        for _ in range(round(IDLE_S / WATCH_S)):
            control = await probe.control()
            if not control["in_flight"] and not control["queued"]:
                return
            await asyncio.sleep(WATCH_S)
        raise StageError(
            f"the gateway is not idle after {IDLE_S:.0f} s: other traffic would be measured too",
            hint="run against a gateway that nobody else uses",
        )

    # --- the twin ------------------------------------------------------------------------------

    async def _against_twin(self, run: Comparison) -> Comparison:
        plan = self._plan
        checks = list(run.checks)
        for arm in run.arms:
            other = await asyncio.to_thread(
                twin.run_twin,
                arm.name,
                plan.load,
                plan.schedule,
                knee=plan.knee_rps,
                split=plan.split,
                retries=plan.users.retries,
            )
            checks += twin.agreement(arm, other)
        return replace(run, checks=tuple(checks))


def _single(group: BaseExceptionGroup[StageError]) -> Iterator[StageError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _single(error)
        else:
            yield error


async def _reached(place: Place) -> int | None:
    """Return how many requests reached the simulator; None where it is not ours."""
    if place.backend_url is None:
        return None
    client = Client(read_origin(place.backend_url))
    try:
        _, page = await client.read("GET", "/metrics")
    except OSError:
        return None
    finally:
        client.close()
    return received(page)


async def _tick(gate: PolicyGate, generator: Generator) -> None:
    while True:
        await asyncio.sleep(PERIOD_S)
        gate.tick(generator.now_s())


def _keys(place: Place) -> dict[str, dict[str, str]]:
    """Return the headers of each class, and under the empty name those of tool actions."""
    bearers = {name: {"authorization": f"Bearer {key}"} for name, key in place.keys.items()}
    return bearers if world.TOOLS_KEY not in bearers else {**bearers, "": bearers[world.TOOLS_KEY]}


def _by_second(chunks: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(chunks.get(second, 0) for second in range(max(chunks, default=-1) + 1))


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the garbage collector away while requests are due: a full collection is a late request."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
