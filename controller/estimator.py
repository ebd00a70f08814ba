"""What a request will take on a model: time to first token, whole answer, server work; with residuals.

Four coefficients per model, fitted to what was seen, and four residual numbers that say how far off
the fit is. The form is llm-d's own (`itl = alpha + beta * batch`, workload-variant autoscaler) with a
linear prefill. Nothing here decides; nothing here reads a clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from controller.catalogue import Model
from controller.signals import Rate

FORGETTING: Final = 0.995
"""200 samples of memory: a model that was moved to other hardware is re-learned within minutes."""
PRIOR_SAMPLES: Final = 50.0
"""The configured speed counts as so many samples, fading with them, so that the first outlier cannot lead."""
PRIOR_SAMPLES_MIN: Final = 20.0
"""What stays of the prior, a tenth, is its shape: batch and prefill rise together in a spike, and without an
anchor the line would give all of the slope to one of them. Its scale follows what was seen."""
SCALE_WEIGHT: Final = 0.03
"""Of each sample in the prior's scale: a prior that is wrong by a factor is right after a hundred."""
CLIP: Final = 4.0
"""A sample is taken as at most this many times, at least this part of, the prediction (Huber's idea)."""
SPREAD_PRIOR: Final = 1.35
"""The 90th percentile of observed over predicted before anything was observed."""
LOG_SPREAD_MIN: Final = math.log(1.1)
LOG_SPREAD_MAX: Final = math.log(4.0)
"""A certainty of better than 10 % is luck; beyond four times the prediction says nothing anyway."""
CONFORMAL_GAIN: Final = 0.05
"""Adaptive conformal rule (Gibbs and Candes, NeurIPS 2021): widen on a miss of the bound, narrow slowly
otherwise, so that nine in ten stay under it whatever the distribution does."""
BIAS_WEIGHT: Final = 0.06
"""Of each new ratio in the quick bias: 16 samples, so that a slowed backend is seen within seconds."""
SERVED_TAU_S: Final = 5.0
"""Time constant of the served work; shorter than a spike, longer than an answer's burst of tokens."""
CAPACITY_UP: Final = 0.25
CAPACITY_DOWN: Final = 0.05
"""Per tick: a rate that was seen is possible, so up is fast; a lower one may be chance, so down is slow."""


@dataclass(frozen=True, slots=True)
class Coefficients:
    """What the estimator knows of one model at one instant; part of every snapshot."""

    prefill_base_s: float
    prefill_token_s: float
    decode_base_s: float
    decode_sequence_s: float
    ttft_bias: float
    """Recent observed over predicted time to first token: what the line has not taken up yet."""
    ttft_spread: float
    """90th percentile over median of the same ratio."""
    tpot_bias: float
    tpot_spread: float
    capacity: float
    """Work served per second when there is enough of it: 1.0 where the coefficients are right."""
    samples: int

    def prefill_s(self, tokens: float) -> float:
        """Return the time to the first token of `tokens` uncached input tokens, without our queue."""
        return (self.prefill_base_s + self.prefill_token_s * tokens) * self.ttft_bias

    def tpot_s(self, batch: float) -> float:
        """Return the time per output token in a batch of `batch` sequences on one replica."""
        return (self.decode_base_s + self.decode_sequence_s * batch) * self.tpot_bias

    def work_s(self, input_tokens: float, output_tokens: float, batch: float, replicas: int) -> float:
        """Return the server-seconds of a request: its prefill, and its share of every decode step."""
        share = self.decode_base_s / max(1.0, batch) + self.decode_sequence_s
        return (self.prefill_token_s * input_tokens + share * output_tokens) / replicas


def miss_share(target_s: float, predicted_s: float, spread: float) -> float:
    """Return the probability that the outcome exceeds `target_s`.

    Log-logistic around the prediction with `spread` = the ratio of the 90th percentile to the median:
    one smooth curve through two measured quantiles, heavier in the tail than a log-normal.
    """
    if predicted_s <= 0.0:
        return 0.0
    if target_s <= 0.0:
        return 1.0
    # ln 9 is the 90 % point of the standard logistic distribution
    exponent = (math.log(predicted_s) - math.log(target_s)) * 2.1972245773362196 / math.log(max(spread, 1.05))
    if exponent > 40.0:
        return 1.0
    return 0.0 if exponent < -40.0 else 1.0 / (1.0 + math.exp(-exponent))


class LineFit:
    """Least squares for `y = base + slope * x` with forgetting, a fading prior, and both kept positive.

    Sufficient statistics instead of a recursive gain: the same answer as RLS, and nothing to blow up.
    """

    __slots__ = ("_log_scale", "_prior", "_prior_line", "_prior_weight", "_sums", "base", "count", "slope")

    def __init__(self, base: float, slope: float, x_low: float, x_high: float) -> None:
        self.base, self.slope, self.count = base, slope, 0
        self._prior_line = (base, slope)
        self._log_scale = 0.0
        self._prior_weight = PRIOR_SAMPLES
        low, high = base + slope * x_low, base + slope * x_high
        self._prior = (
            1.0,
            (x_low + x_high) / 2,
            (low + high) / 2,
            (x_low**2 + x_high**2) / 2,
            (x_low * low + x_high * high) / 2,
        )
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)

    def add(self, x: float, y: float) -> None:
        """Take a sample, clipped to within `CLIP` of what was predicted, and solve again."""
        predicted = self.base + self.slope * x
        y = min(max(y, predicted / CLIP), predicted * CLIP)
        expected = self._prior_line[0] + self._prior_line[1] * x
        if expected > 0.0 and y > 0.0:
            self._log_scale += SCALE_WEIGHT * (math.log(y / expected) - self._log_scale)
        self._sums = tuple(  # type: ignore[assignment]  # five in, five out
            FORGETTING * old + new for old, new in zip(self._sums, (1.0, x, y, x * x, x * y), strict=True)
        )
        self._prior_weight = max(PRIOR_SAMPLES_MIN, self._prior_weight * FORGETTING)
        self.count += 1
        self._solve()

    def _solve(self) -> None:
        weight, scale = self._prior_weight, math.exp(self._log_scale)
        one, x, y, xx, xy = self._prior
        anchor = (one, x, y * scale, xx, xy * scale)
        n, sx, sy, sxx, sxy = (have + weight * prior for have, prior in zip(self._sums, anchor, strict=True))
        determinant = n * sxx - sx * sx
        slope = (n * sxy - sx * sy) / determinant if determinant > 1e-12 else 0.0
        base = (sy - slope * sx) / n
        if slope < 0.0:
            base, slope = sy / n, 0.0
        elif base < 0.0:
            base, slope = 0.0, sxy / sxx
        self.base, self.slope = base, slope


class Residuals:
    """The ratios of observed to predicted: a quick geometric mean, and a bound that holds for nine in ten."""

    __slots__ = ("_cached", "_log_bias", "_log_spread", "count")

    def __init__(self) -> None:
        self.count = 0
        self._log_bias = 0.0
        self._log_spread = math.log(SPREAD_PRIOR)
        self._cached: tuple[float, float] | None = (1.0, SPREAD_PRIOR)

    def add(self, ratio: float) -> None:
        """Take a ratio; what is not a positive number is left out."""
        if 0.0 < ratio < math.inf:
            bias, spread = self.bias_and_spread()
            self._log_spread += CONFORMAL_GAIN * ((ratio > bias * spread) - 0.1)
            clipped = min(max(ratio, 1.0 / CLIP), CLIP)
            self._log_bias += BIAS_WEIGHT * (math.log(clipped) - self._log_bias)
            self.count += 1
            self._cached = None

    def bias_and_spread(self) -> tuple[float, float]:
        """Return the bias, and how far the 90th percentile lies above the median (the prior's if unsure)."""
        if self._cached is None:
            self._log_spread = min(max(self._log_spread, LOG_SPREAD_MIN), LOG_SPREAD_MAX)
            self._cached = (math.exp(self._log_bias), math.exp(self._log_spread))
        return self._cached


class Estimator:
    """Learns one model. Feed it observations; read `coefficients` once a tick."""

    __slots__ = ("_capacity", "_decode", "_model", "_prefill", "_served", "_tpot", "_ttft")

    def __init__(self, model: Model) -> None:
        speed = model.speed
        self._model = model
        self._prefill = LineFit(speed.prefill_base_s, speed.prefill_token_s, 200.0, 4000.0)
        self._decode = LineFit(speed.decode_base_s, speed.decode_sequence_s, 1.0, 64.0)
        self._ttft = Residuals()
        self._tpot = Residuals()
        self._served = Rate(SERVED_TAU_S)
        self._capacity = 1.0

    def first_token(self, tokens: float, ttft_s: float) -> None:
        """Learn from a time to first token, counted from the dispatch.

        `tokens` are the uncached input tokens of the request and of those ahead of it on its replica.
        """
        predicted_s = self._prefill.base + self._prefill.slope * tokens
        if not 0.0 < ttft_s < math.inf or predicted_s <= 0.0:
            return
        self._ttft.add(ttft_s / predicted_s)
        self._prefill.add(tokens, ttft_s)

    def decode(self, batch: float, tpot_s: float) -> None:
        """Learn from a measured time per output token in a batch of `batch` per replica."""
        predicted_s = self._decode.base + self._decode.slope * batch
        if not 0.0 < tpot_s < math.inf or predicted_s <= 0.0:
            return
        self._tpot.add(tpot_s / predicted_s)
        self._decode.add(batch, tpot_s)

    def served(self, work_s: float, now_s: float) -> None:
        """Count work done: a prefill at its first token, decode steps as tokens are seen."""
        self._served.add(work_s, now_s)

    def tick(self, *, saturated: bool, now_s: float) -> None:
        """Move the capacity: up to any rate that was served, down only while there was work waiting."""
        rate = self._served.value(now_s)
        if rate > self._capacity:
            self._capacity += CAPACITY_UP * (rate - self._capacity)
        elif saturated:
            self._capacity += CAPACITY_DOWN * (rate - self._capacity)
        self._capacity = max(self._capacity, 0.02)

    @property
    def paces(self) -> int:
        """Return how many paces were learned from."""
        return self._decode.count

    def coefficients(self) -> Coefficients:
        """Return what is known now, as a value."""
        ttft_bias, ttft_spread = self._ttft.bias_and_spread()
        tpot_bias, tpot_spread = self._tpot.bias_and_spread()
        return Coefficients(
            prefill_base_s=self._prefill.base,
            prefill_token_s=self._prefill.slope,
            decode_base_s=self._decode.base,
            decode_sequence_s=self._decode.slope,
            ttft_bias=ttft_bias,
            ttft_spread=ttft_spread,
            tpot_bias=tpot_bias,
            tpot_spread=tpot_spread,
            capacity=self._capacity,
            samples=self._prefill.count,
        )
