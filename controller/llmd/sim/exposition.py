"""Counters, gauges and histograms in the Prometheus text format, version 0.0.4. Pure.

A small one of our own, because a histogram must take many equal observations at once: one engine step is
everybody's inter-token gap.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Histogram:
    """One histogram; `bounds` ascend, the last bucket is open."""

    __slots__ = ("bounds", "count", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.count = 0
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, `times` over."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.count += times
        self.total += value * times


class Family:
    """All series of one metric name. `labels` are the label names, in order."""

    def __init__(
        self, name: str, kind: Kind, text: str, labels: Sequence[str], bounds: Sequence[float] = ()
    ) -> None:
        self.name = name
        self.kind = kind
        self._text = text
        self._labels = tuple(labels)
        self._bounds = tuple(bounds)
        self._values: dict[tuple[str, ...], float] = {}
        self._histograms: dict[tuple[str, ...], Histogram] = {}

    def add(self, labels: tuple[str, ...], value: float = 1) -> None:
        """Raise a counter or gauge."""
        self._values[labels] = self._values.get(labels, 0) + value

    def set(self, labels: tuple[str, ...], value: float) -> None:
        """Set a gauge, or a counter that is counted elsewhere."""
        self._values[labels] = value

    def clear_where(self, first: str) -> None:
        """Forget the series whose first label is `first`: gauges of things that are gone."""
        for labels in [labels for labels in self._values if labels[0] == first]:
            del self._values[labels]

    def observe(self, labels: tuple[str, ...], value: float, times: int = 1) -> None:
        """Count `value` in a histogram, `times` over."""
        histogram = self._histograms.get(labels)
        if histogram is None:
            histogram = self._histograms[labels] = Histogram(self._bounds)
        histogram.observe(value, times)

    def lines(self) -> Iterator[str]:
        """Return the family's lines."""
        yield f"# HELP {self.name} {self._text}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in sorted(self._values.items()):
            yield f"{self.name}{self._braces(labels)} {_number(value)}"
        for labels, histogram in sorted(self._histograms.items(), key=lambda item: item[0]):
            below = 0
            for bound, count in zip((*self._bounds, float("inf")), histogram.counts, strict=True):
                below += count
                edge = "+Inf" if bound == float("inf") else repr(float(bound))
                yield f"{self.name}_bucket{self._braces(labels, edge)} {below}"
            yield f"{self.name}_sum{self._braces(labels)} {_number(histogram.total)}"
            yield f"{self.name}_count{self._braces(labels)} {histogram.count}"

    def _braces(self, values: tuple[str, ...], edge: str | None = None) -> str:
        pairs = [f'{name}="{_label(value)}"' for name, value in zip(self._labels, values, strict=True)]
        if edge is not None:
            pairs.append(f'le="{edge}"')
        return "{" + ",".join(pairs) + "}" if pairs else ""


def exposition(families: Mapping[str, Family]) -> bytes:
    """Return the whole page."""
    return ("\n".join(line for family in families.values() for line in family.lines()) + "\n").encode()
