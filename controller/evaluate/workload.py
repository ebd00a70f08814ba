"""Workloads: arrivals and sizes, the same for every policy of a seed; faults and changes on a timetable.

Every purpose has a random stream of its own, so that adding a draw to one does not shift the others.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from controller.evaluate.tables import SIZES, Sizes
from controller.evaluate.world import BASE_RPS, KINDS, Kind

SPIKE_START_S: Final = 100.0
SPIKE_END_S: Final = 190.0
END_S: Final = 300.0
WINDOWS: Final = {
    "before": (20.0, SPIKE_START_S),
    "spike": (SPIKE_START_S, SPIKE_END_S),
    "after": (SPIKE_END_S, END_S),
}
"""Fixed before looking (`reference/control.md` 4.9): the first 20 s are warm-up."""
OU_SD: Final = 0.15
OU_TAU_S: Final = 30.0
"""Ornstein-Uhlenbeck noise on the log rate: reproduces the over-dispersion of Azure's chat trace."""
TENANTS: Final = 100
ZIPF: Final = 1.05
"""The top ten of a hundred tenants send about 60 % of the requests, as ServeGen's clients."""
SESSION_TURNS: Final = 4.0


@dataclass(frozen=True, slots=True)
class Job:
    """One request as it really is; policies see it without `output_tokens`."""

    request_id: str
    at_s: float
    kind: Kind
    input_tokens: int
    output_tokens: int
    tenant: str
    u_retry: float
    """For the backoff of a retrying client."""
    max_tokens: int | None = None
    """What the client asks for at most; policies see it."""
    route: str = ""
    """Whose answer lengths it is like; empty: those of its class."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that changes in the cluster at `at_s`."""

    at_s: float
    model: str
    slowdown: float = 1.0
    error_rate: float = 0.0
    error_kind: str = "server_error"
    hang_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A workload: a rate over time in multiples of the base, sizes, faults, what policies are told."""

    name: str
    about: str
    shape: Callable[[float], float]
    sizes: str = "chat"
    sizes_later: str = ""
    """Sizes from the start of the spike on; empty: as before."""
    base_rps: float = BASE_RPS
    burst_cv: float = 1.0
    faults: tuple[Fault, ...] = ()
    kinds: tuple[Kind, ...] = KINDS
    speed_factor: float = 1.0
    greedy_share: float = 0.0
    """Share of the spike's requests that one tenant sends."""
    price_factor: float = 1.0
    """Prices are multiplied by this in the middle of the run."""
    blackout: bool = False
    """No signal reaches the controller during the spike."""
    retries: int = 0
    end_s: float = END_S
    tags: tuple[str, ...] = field(default=())

    def jobs(self, seed: int) -> Iterator[Job]:
        """Yield the requests of a seed in order of time."""
        sizes, later = SIZES[self.sizes], SIZES[self.sizes_later or self.sizes]
        streams = {
            name: random.Random(f"{self.name}/{seed}/{name}")
            for name in ("arrivals", "noise", "kind", "input", "output", "tenant", "retry")
        }
        for index, at_s in enumerate(self._arrivals(streams["arrivals"], streams["noise"])):
            yield self._job(index, at_s, later if at_s >= SPIKE_START_S else sizes, streams)

    def _job(self, index: int, at_s: float, sizes: Sizes, streams: dict[str, random.Random]) -> Job:
        tokens_in, tokens_out = sizes.draw(streams["input"].random(), streams["output"].random())
        u = streams["kind"].random()
        kind = self.kinds[-1]
        for candidate in self.kinds:
            if u < candidate.share:
                kind = candidate
                break
            u -= candidate.share
        greedy = SPIKE_START_S <= at_s < SPIKE_END_S and streams["retry"].random() < self.greedy_share
        tenant = "greedy" if greedy else f"tenant-{_zipf(streams['tenant'].random())}"
        return Job(f"j{index}", at_s, kind, tokens_in, tokens_out, tenant, streams["retry"].random())

    def _arrivals(self, arrivals: random.Random, noise: random.Random) -> Iterator[float]:
        """Yield times by thinning a gamma process of the peak rate with the rate in force."""
        highest = max(self.shape(tenth / 10) for tenth in range(int(10 * self.end_s) + 1))
        peak = self.base_rps * highest * math.exp(3 * OU_SD)
        level, level_at_s, t = 0.0, 0.0, 0.0
        shape = 1.0 / self.burst_cv**2
        while True:
            t += arrivals.gammavariate(shape, 1.0 / (shape * peak))
            if t >= self.end_s:
                return
            decay = math.exp(-(t - level_at_s) / OU_TAU_S)
            level = level * decay + OU_SD * math.sqrt(1.0 - decay * decay) * noise.gauss(0.0, 1.0)
            level_at_s = t
            rate = self.base_rps * self.shape(t) * math.exp(min(level, 3 * OU_SD) - OU_SD * OU_SD / 2)
            if arrivals.random() < rate / peak:
                yield t


def step(
    times: float, start_s: float = SPIKE_START_S, end_s: float = SPIKE_END_S
) -> Callable[[float], float]:
    """Return the shape of a spike of `times` the base in the spike window."""
    return lambda t: times if start_s <= t < end_s else 1.0


def ramp(
    times: float, seconds: float, start_s: float = SPIKE_START_S, end_s: float = SPIKE_END_S
) -> Callable[[float], float]:
    """Return a shape that rises to `times` the base over `seconds`, stays, and drops at the spike's end."""

    def shape(t: float) -> float:
        if not start_s <= t < end_s:
            return 1.0
        return 1.0 + (times - 1.0) * min(1.0, (t - start_s) / seconds)

    return shape


def flash(
    times: float, seconds: float, tail_s: float, start_s: float = SPIKE_START_S
) -> Callable[[float], float]:
    """Return a flash crowd: `times` the base for `seconds`, then an exponential tail."""

    def shape(t: float) -> float:
        if t < start_s:
            return 1.0
        since = t - start_s - seconds
        return times if since < 0 else 1.0 + (times - 1.0) * math.exp(-since / tail_s)

    return shape


def diurnal(peak: float, period_s: float) -> Callable[[float], float]:
    """Return a day in `period_s`, between 0.3 and `peak` times the base."""
    return lambda t: 0.3 + (peak - 0.3) * (0.5 - 0.5 * math.cos(2 * math.pi * t / period_s)) ** 2


def flat(times: float = 1.0) -> Callable[[float], float]:
    """Return a constant shape."""
    return lambda _t: times


def _zipf(u: float) -> int:
    weights = _ZIPF_CUMULATIVE
    for index, bound in enumerate(weights):
        if u < bound:
            return index
    return TENANTS - 1


def _cumulative() -> tuple[float, ...]:
    raw = [1.0 / (rank + 1) ** ZIPF for rank in range(TENANTS)]
    total, below, out = sum(raw), 0.0, []
    for weight in raw:
        below += weight / total
        out.append(below)
    return tuple(out)


_ZIPF_CUMULATIVE: Final = _cumulative()
