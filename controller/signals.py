"""Signals: windows, averages and counters that carry a value, a count and an age.

Time is an argument everywhere. What is too old or too thin reads as unknown, never as zero.
Nothing here may read a clock or decide anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

READING_COUNT_MIN: Final = 10
"""Below ten samples a quantile is an anecdote (`reference/control.md` 2.3)."""
READING_AGE_MAX_S: Final = 5.0
"""Ten ticks; a spike doubles a queue in less."""
_GAMMA: Final = 1.04
"""Bucket width: a value is known to 2 % either way."""
_LOG_GAMMA: Final = math.log(_GAMMA)
_VALUE_MIN: Final = 1e-6
"""A microsecond or a millionth of a token: everything below is one bucket."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One signal at one instant. `age_s` is infinite where nothing was ever seen."""

    value: float
    count: int
    age_s: float

    @property
    def known(self) -> bool:
        """Tell whether the value may be acted on."""
        return (
            self.count >= READING_COUNT_MIN and self.age_s <= READING_AGE_MAX_S and math.isfinite(self.value)
        )


UNKNOWN: Final = Reading(math.nan, 0, math.inf)


class LogHistogram:
    """Counts in buckets of equal ratio: quantiles within 2 %, mergeable, half a microsecond an add.

    The idea is DDSketch's (Masson et al., VLDB 2019), without its collapsing: our values span 1e-6 to
    1e6, which is 700 buckets.
    """

    __slots__ = ("buckets", "count")

    def __init__(self) -> None:
        self.buckets: dict[int, float] = {}
        self.count = 0.0

    def add(self, value: float, weight: float = 1.0) -> None:
        """Count a value; what is not finite is not a measurement and is left out."""
        if not math.isfinite(value):
            return
        key = math.ceil(math.log(max(_VALUE_MIN, value)) / _LOG_GAMMA)
        self.buckets[key] = self.buckets.get(key, 0.0) + weight
        self.count += weight

    def merge(self, other: LogHistogram) -> None:
        """Add another histogram's counts to this one's."""
        for key, count in other.buckets.items():
            self.buckets[key] = self.buckets.get(key, 0.0) + count
        self.count += other.count

    def quantiles(self, ranks: Sequence[float]) -> tuple[float, ...]:
        """Return the values at ascending `ranks` in [0, 1]; NaN for each while empty."""
        if self.count <= 0:
            return (math.nan,) * len(ranks)
        found: list[float] = []
        items = sorted(self.buckets.items())
        position, below = 0, 0.0
        for rank in ranks:
            wanted = rank * self.count
            while position < len(items) - 1 and below + items[position][1] < wanted:
                below += items[position][1]
                position += 1
            found.append(2.0 * _GAMMA ** items[position][0] / (1.0 + _GAMMA))
        return tuple(found)

    def decay(self, factor: float) -> None:
        """Multiply every count, and drop what has become nothing."""
        self.buckets = {key: count * factor for key, count in self.buckets.items() if count * factor > 1e-3}
        self.count = math.fsum(self.buckets.values())


class WindowHistogram:
    """A ring of one-second histograms, merged on read; remembers `seconds` seconds."""

    __slots__ = ("_last_s", "_ring", "_seconds")

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._ring: dict[int, LogHistogram] = {}
        self._last_s = -math.inf

    def add(self, value: float, now_s: float) -> None:
        """Count a value in the current second."""
        second = math.floor(now_s)
        slot = self._ring.get(second)
        if slot is None:
            slot = self._ring[second] = LogHistogram()
            for old in [key for key in self._ring if key <= second - self._seconds]:
                del self._ring[old]
        slot.add(value)
        self._last_s = max(self._last_s, now_s)

    def quantile(self, rank: float, now_s: float, window_s: float | None = None) -> Reading:
        """Return the quantile over the last `window_s` seconds (the whole ring by default)."""
        merged = LogHistogram()
        oldest = now_s - (self._seconds if window_s is None else window_s)
        for second, slot in self._ring.items():
            if second + 1 > oldest:
                merged.merge(slot)
        return Reading(merged.quantiles((rank,))[0], int(merged.count), now_s - self._last_s)


class Ewma:
    """An average that forgets with time constant `tau_s`; irregular samples are weighted by their gap.

    Each sample enters with weight `1 - exp(-gap / tau)`, at least `weight_min`, so that a burst of
    samples at one instant still counts.
    """

    __slots__ = ("_tau_s", "_weight_min", "at_s", "count", "value")

    def __init__(self, tau_s: float, *, weight_min: float = 0.02) -> None:
        self._tau_s = tau_s
        self._weight_min = weight_min
        self.value = math.nan
        self.count = 0
        self.at_s = -math.inf

    def add(self, sample: float, now_s: float) -> None:
        """Take a sample; what is not finite is left out."""
        if not math.isfinite(sample):
            return
        if self.count == 0:
            self.value = sample
        else:
            gap_s = max(0.0, now_s - self.at_s)
            weight = max(self._weight_min, 1.0 - math.exp(-gap_s / self._tau_s))
            self.value += weight * (sample - self.value)
        self.count += 1
        self.at_s = max(self.at_s, now_s)

    def reading(self, now_s: float) -> Reading:
        """Return value, count and age."""
        return Reading(self.value, self.count, now_s - self.at_s) if self.count else UNKNOWN


class Rate:
    """An exponentially weighted rate, per second: add amounts as they happen, read at any time."""

    __slots__ = ("_at_s", "_level", "_tau_s")

    def __init__(self, tau_s: float) -> None:
        self._tau_s = tau_s
        self._level = 0.0
        self._at_s: float | None = None

    def add(self, amount: float, now_s: float) -> None:
        """Count an amount now."""
        self._level = self.value(now_s) + amount / self._tau_s
        self._at_s = now_s if self._at_s is None else max(self._at_s, now_s)

    def value(self, now_s: float) -> float:
        """Return the rate per second."""
        if self._at_s is None:
            return 0.0
        return self._level * math.exp(-max(0.0, now_s - self._at_s) / self._tau_s)


class SlidingSum:
    """The exact sum of whole amounts over the last `window_s`, in `slots` equal parts."""

    __slots__ = ("_slot_s", "_slots", "_sums")

    def __init__(self, window_s: float, slots: int = 20) -> None:
        self._slot_s = window_s / slots
        self._slots = slots
        self._sums: dict[int, int] = {}

    def add(self, amount: int, now_s: float) -> None:
        """Count an amount now; negative amounts give back."""
        slot = math.floor(now_s / self._slot_s)
        if slot not in self._sums:
            for old in [key for key in self._sums if key <= slot - self._slots]:
                del self._sums[old]
        self._sums[slot] = self._sums.get(slot, 0) + amount

    def total(self, now_s: float) -> int:
        """Return the sum over the window that ends now."""
        first = math.floor(now_s / self._slot_s) - self._slots + 1
        return sum(amount for slot, amount in self._sums.items() if slot >= first)


LENGTH_RANKS: Final = (0.0, 0.05, *[n / 20 for n in range(2, 20)], 0.975, 0.99, 1.0)
"""Ranks of the length table that travels in a snapshot: even steps, with the tail that caps act on."""
_HALF_LIFE_SAMPLES: Final = 350
"""About 500 samples of memory: a route that changes its answers is followed within minutes."""


class Lengths:
    """The output lengths of one route, decayed; falls back to a parent while it has seen too little."""

    __slots__ = ("_histogram", "_parent", "_prior", "_since", "_table")

    def __init__(self, prior: Sequence[float], parent: Lengths | None = None) -> None:
        self._prior = tuple(prior)
        self._parent = parent
        self._histogram = LogHistogram()
        self._since = 0
        self._table: tuple[float, ...] | None = None

    def add(self, tokens: int) -> None:
        """Count the length of a complete answer; capped ones are censored and must not be added."""
        self._histogram.add(float(max(1, tokens)))
        self._since += 1
        if self._since % 25 == 0 or self._histogram.count < 50:
            # decaying in steps of 25 costs a fortieth of decaying at each, and differs by under 3 %
            if self._histogram.count > 100:
                self._histogram.decay(0.5 ** (25 / _HALF_LIFE_SAMPLES))
            self._table = None

    def table(self) -> tuple[float, ...]:
        """Return the lengths at `LENGTH_RANKS`."""
        if self._histogram.count < 30:
            return self._parent.table() if self._parent is not None else self._prior
        if self._table is None:
            self._table = self._histogram.quantiles(LENGTH_RANKS)
        return self._table


def interpolated(rank: float, ranks: Sequence[float], values: Sequence[float]) -> float:
    """Return the value at `rank` by straight lines between the table's points."""
    for index in range(1, len(ranks)):
        if rank <= ranks[index]:
            span = ranks[index] - ranks[index - 1]
            share = (rank - ranks[index - 1]) / span if span > 0 else 1.0
            return values[index - 1] + share * (values[index] - values[index - 1])
    return values[-1]


def mean_of(values: Iterable[float]) -> float:
    """Return the mean, NaN of nothing."""
    items = list(values)
    return math.fsum(items) / len(items) if items else math.nan
