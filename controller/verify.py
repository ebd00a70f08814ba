"""Proof that predictions came true and that changes of prices and limits did what they promised.

Predictions are compared with outcomes for every request. A change of weight opens an epoch with a
hypothesis; at its horizon it gets a verdict from what was measured, or, where an action prevented what
it should prevent and so left nothing to measure, from the model, and is then labelled so. Pure.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

COVERAGE_WINDOW: Final = 300
"""Samples behind a coverage: its standard error is then under 2 points at 0.9."""
DRIFT_DELTA: Final = 0.05
DRIFT_THRESHOLD: Final = 8.0
"""Page-Hinkley on log ratios: tolerates 5 %, alarms after a shift of 50 % has lasted some 20 samples."""
EPOCH_SAMPLES_MIN: Final = 30
EPOCH_HORIZON_S: Final = 10.0
"""Fewer samples or a shorter time than this prove nothing."""
EPOCHS_OPEN_MAX: Final = 64
"""One per model and kind is open at a time; this bounds operators' edits."""
SUPPRESS_BASE_S: Final = 60.0
SUPPRESS_DOUBLINGS_MAX: Final = 5
"""A rolled-back action may be tried again after 1, 2, 4 ... 32 minutes."""
LOAD_ROSE: Final = 1.1
"""Worse outcomes under a tenth more load are the load's doing, not the action's."""


class PageHinkley:
    """Detects a lasting shift of the mean, either way (Page, Biometrika 1954)."""

    __slots__ = ("_down", "_mean", "_n", "_up")

    def __init__(self) -> None:
        self._n, self._mean, self._up, self._down = 0, 0.0, 0.0, 0.0

    def add(self, sample: float) -> bool:
        """Take a sample; return True, and start anew, when the mean has shifted."""
        self._n += 1
        self._mean += (sample - self._mean) / self._n
        self._up = max(0.0, self._up + sample - self._mean - DRIFT_DELTA)
        self._down = max(0.0, self._down - sample + self._mean - DRIFT_DELTA)
        if max(self._up, self._down) > DRIFT_THRESHOLD:
            self._n, self._mean, self._up, self._down = 0, 0.0, 0.0, 0.0
            return True
        return False


@dataclass(frozen=True, slots=True)
class Settlement:
    """Prediction against observation of one request; ratios are observed over predicted, None if unknown."""

    request_id: str
    intent: str
    model: str
    status: str
    met: bool
    missed: tuple[str, ...]
    """Which targets were missed: `ttft`, `tpot`, `e2e`, or the status where there was no answer."""
    queue_wait_s: float
    ttft_s: float | None
    e2e_s: float | None
    output_tokens: int
    cost_uusd: int
    ttft_ratio: float | None
    e2e_ratio: float | None
    cost_ratio: float | None


class PredictionCheck:
    """How well one model is predicted."""

    __slots__ = ("_covered", "_drift", "_ratios", "drifts")

    def __init__(self) -> None:
        self._covered: deque[bool] = deque(maxlen=COVERAGE_WINDOW)
        self._ratios: deque[float] = deque(maxlen=COVERAGE_WINDOW)
        self._drift = PageHinkley()
        self.drifts = 0

    def add(self, predicted_s: float, high_s: float, observed_s: float) -> None:
        """Compare a time with its prediction and its nine-in-ten bound."""
        if predicted_s <= 0.0 or observed_s <= 0.0:
            return
        ratio = observed_s / predicted_s
        self._covered.append(observed_s <= high_s)
        self._ratios.append(ratio)
        if self._drift.add(math.log(ratio)):
            self.drifts += 1

    @property
    def coverage(self) -> float | None:
        """Return the share under the bound, None with fewer than 100 samples."""
        return sum(self._covered) / len(self._covered) if len(self._covered) >= 100 else None

    def median_ratio(self, last: int = 50) -> float | None:
        """Return the median of the last ratios, None while there are fewer."""
        if len(self._ratios) < last:
            return None
        recent = sorted(list(self._ratios)[-last:])
        return recent[last // 2]


class Verdict(StrEnum):
    """What an epoch showed."""

    HELPED = "helped"
    NO_EFFECT = "no_effect"
    HARMED = "harmed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One change under observation, with its hypothesis and, once closed, its verdict."""

    epoch_id: int
    model: str
    kind: str
    """`price_up`, `price_down`, `limit_down`, `mode` or `intent`."""
    opened_s: float
    horizon_s: float
    hypothesis: str
    before: float
    """The price or limit that a roll-back restores."""
    miss_before: float
    samples_before: int
    load_before: float
    miss_after: float = 0.0
    samples_after: int = 0
    load_after: float = 0.0
    demand: float = 0.0
    """What the load would have been without the action, by the model: work that prefers this model."""
    verdict: Verdict | None = None
    basis: str = ""
    """`measured`, or `model` where the verdict rests on `demand`."""
    rolled_back: bool = False


def judge(epoch: Epoch) -> Epoch:
    """Return the epoch with its verdict. Pure; needs the `*_after` fields and `demand`."""
    n, m = epoch.samples_before, epoch.samples_after
    if n < EPOCH_SAMPLES_MIN or m < EPOCH_SAMPLES_MIN:
        return replace(epoch, verdict=Verdict.INCONCLUSIVE, basis="measured")
    effect = epoch.miss_after - epoch.miss_before
    # Agresti-Coull's pseudo-counts keep the error above zero where nothing, or everything, was missed
    p, q = (epoch.miss_before * n + 2) / (n + 4), (epoch.miss_after * m + 2) / (m + 4)
    error = math.sqrt(p * (1 - p) / (n + 4) + q * (1 - q) / (m + 4))
    load_rose = epoch.load_after > LOAD_ROSE * epoch.load_before
    if effect < -2.0 * error:
        return replace(epoch, verdict=Verdict.HELPED, basis="measured")
    if epoch.demand > 1.0 and epoch.kind in {"price_up", "limit_down"}:
        # without the action this model would have been asked for more than it can serve
        return replace(epoch, verdict=Verdict.HELPED, basis="model")
    if effect > 2.0 * error:
        verdict = Verdict.INCONCLUSIVE if load_rose else Verdict.HARMED
        return replace(epoch, verdict=verdict, basis="measured")
    if epoch.kind in {"price_down", "mode", "intent"}:
        # giving back quality is meant to have no effect on misses
        return replace(epoch, verdict=Verdict.HELPED, basis="measured")
    return replace(epoch, verdict=Verdict.NO_EFFECT, basis="measured")


class EpochBook:
    """The open epochs, at most one per model and kind, and what the closed ones taught."""

    __slots__ = ("_open", "_sequence", "_strikes", "_suppressed", "closed", "harmed_at_s")

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Epoch] = {}
        self._sequence = 0
        self._strikes: dict[tuple[str, str], tuple[int, int]] = {}
        self._suppressed: dict[tuple[str, str], float] = {}
        self.closed = dict.fromkeys(Verdict, 0)
        self.harmed_at_s: deque[float] = deque(maxlen=16)

    @property
    def open(self) -> tuple[Epoch, ...]:
        """Return the open epochs."""
        return tuple(self._open.values())

    def start(
        self,
        *,
        model: str,
        kind: str,
        now_s: float,
        horizon_s: float,
        hypothesis: str,
        before: float,
        miss: float,
        samples: int,
        load: float,
    ) -> Epoch | None:
        """Open an epoch, unless one of its kind is open for the model."""
        key = (model, kind)
        if key in self._open or len(self._open) >= EPOCHS_OPEN_MAX:
            return None
        self._sequence += 1
        epoch = Epoch(
            epoch_id=self._sequence,
            model=model,
            kind=kind,
            opened_s=now_s,
            horizon_s=max(horizon_s, EPOCH_HORIZON_S),
            hypothesis=hypothesis,
            before=before,
            miss_before=miss,
            samples_before=samples,
            load_before=load,
        )
        self._open[key] = epoch
        return epoch

    def due(self, now_s: float) -> tuple[Epoch, ...]:
        """Return the open epochs whose horizon has come."""
        return tuple(epoch for epoch in self._open.values() if now_s >= epoch.opened_s + epoch.horizon_s)

    def close(self, epoch: Epoch, now_s: float) -> Epoch:
        """Judge an epoch whose `*_after` fields are filled; `rolled_back` says what its author must do."""
        key = (epoch.model, epoch.kind)
        self._open.pop(key, None)
        judged = judge(epoch)
        idle, rollbacks = self._strikes.get(key, (0, 0))
        idle = idle + 1 if judged.verdict is Verdict.NO_EFFECT else 0
        if judged.verdict is Verdict.HARMED:
            self.harmed_at_s.append(now_s)
        # only what was done against load is undone; giving back quality needs no undoing
        undo = epoch.kind in {"price_up", "limit_down"} and (judged.verdict is Verdict.HARMED or idle >= 2)
        if undo:
            pause_s = SUPPRESS_BASE_S * 2.0 ** min(rollbacks, SUPPRESS_DOUBLINGS_MAX)
            self._suppressed[key] = now_s + pause_s
            idle, rollbacks = 0, rollbacks + 1
            judged = replace(judged, rolled_back=True)
        elif judged.verdict is Verdict.HELPED:
            rollbacks = 0
        self._strikes[key] = (idle, rollbacks)
        if judged.verdict is not None:
            self.closed[judged.verdict] += 1
        return judged

    def suppressed(self, model: str, kind: str, now_s: float) -> bool:
        """Tell whether a kind of action was rolled back here too recently to be tried again."""
        return now_s < self._suppressed.get((model, kind), -math.inf)

    def harmed_within(self, seconds: float, now_s: float) -> int:
        """Return how many epochs were found harmful in the last `seconds`."""
        return sum(1 for at_s in self.harmed_at_s if now_s - at_s <= seconds)
