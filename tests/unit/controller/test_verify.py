"""`controller.verify`: predictions, epochs, verdicts, roll-back."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from controller.verify import Epoch, EpochBook, PageHinkley, PredictionCheck, Verdict, judge

EPOCH = Epoch(1, "m", "price_up", 0.0, 10.0, "fewer miss", 0.0, 0.3, 100, 1.2)


def after(epoch: Epoch, miss: float, n: int = 100, load: float = 1.2, demand: float = 0.8) -> Epoch:
    """Return the epoch with what was seen at its horizon."""
    return replace(epoch, miss_after=miss, samples_after=n, load_after=load, demand=demand)


@pytest.mark.parametrize(
    ("epoch", "verdict", "basis"),
    [
        (after(EPOCH, 0.02), Verdict.HELPED, "measured"),
        (after(EPOCH, 0.28), Verdict.NO_EFFECT, "measured"),
        (after(EPOCH, 0.60), Verdict.HARMED, "measured"),
        (after(EPOCH, 0.60, load=1.5), Verdict.INCONCLUSIVE, "measured"),
        (after(EPOCH, 0.02, n=20), Verdict.INCONCLUSIVE, "measured"),
        (after(EPOCH, 0.28, demand=3.0), Verdict.HELPED, "model"),
        (after(replace(EPOCH, kind="price_down"), 0.28), Verdict.HELPED, "measured"),
    ],
)
def test_verdicts(epoch: Epoch, verdict: Verdict, basis: str) -> None:
    """Two standard errors decide; more load excuses; a prevented overload is credited by the model."""
    judged = judge(epoch)
    assert (judged.verdict, judged.basis) == (verdict, basis)


def run_epoch(book: EpochBook, now_s: float, miss_before: float, miss_after: float) -> Epoch:
    """Open an epoch and close it at its horizon."""
    opened = book.start(
        model="m", kind="price_up", now_s=now_s, horizon_s=10.0, hypothesis="h", before=0.5,
        miss=miss_before, samples=100, load=0.9,
    )  # fmt: skip
    assert opened is not None
    (due,) = book.due(now_s + 10.0)
    return book.close(after(due, miss_after, load=0.9), now_s + 10.0)


def test_two_without_effect_are_rolled_back_and_pause_longer_each_time() -> None:
    """The second useless action is undone for a minute, the fourth for two."""
    book = EpochBook()
    assert not run_epoch(book, 0.0, 0.1, 0.1).rolled_back
    assert run_epoch(book, 100.0, 0.1, 0.1).rolled_back
    assert book.suppressed("m", "price_up", 169.0)
    assert not book.suppressed("m", "price_up", 171.0)
    run_epoch(book, 200.0, 0.1, 0.1)
    assert run_epoch(book, 300.0, 0.1, 0.1).rolled_back
    assert book.suppressed("m", "price_up", 429.0)
    assert not book.suppressed("m", "price_up", 431.0)


def test_harm_is_rolled_back_at_once_and_remembered() -> None:
    """One harmful epoch is undone, and counts for the guard for five minutes."""
    book = EpochBook()
    assert run_epoch(book, 0.0, 0.05, 0.5).rolled_back
    assert book.harmed_within(300.0, 100.0) == 1
    assert book.harmed_within(300.0, 400.0) == 0


def test_one_epoch_of_a_kind_at_a_time() -> None:
    """While a hypothesis is open for a model its kind is not opened again."""
    book = EpochBook()
    fields = {
        "now_s": 0.0,
        "horizon_s": 10.0,
        "hypothesis": "h",
        "before": 0.0,
        "miss": 0.0,
        "samples": 0,
        "load": 1.0,
    }
    assert book.start(model="m", kind="price_up", **fields) is not None  # type: ignore[arg-type]
    assert book.start(model="m", kind="price_up", **fields) is None  # type: ignore[arg-type]
    assert book.start(model="other", kind="price_up", **fields) is not None  # type: ignore[arg-type]
    assert book.due(9.9) == ()


def test_drift_is_found_and_noise_is_not() -> None:
    """A lasting shift of 0.7 in the log ratio raises an alarm within 60 samples; white noise does not."""
    rng, detector = random.Random(1), PageHinkley()
    assert not any(detector.add(rng.gauss(0, 0.1)) for _ in range(500))
    assert any(detector.add(rng.gauss(0.7, 0.1)) for _ in range(60))


def test_coverage_and_median_are_unknown_until_there_is_enough() -> None:
    """A hundred samples for a coverage, fifty for a median ratio."""
    check = PredictionCheck()
    for index in range(99):
        check.add(1.0, 1.5, 2.0 if index % 10 == 0 else 1.0)
    assert check.coverage is None
    check.add(1.0, 1.5, 1.0)
    assert check.coverage == pytest.approx(0.9)
    assert check.median_ratio() == 1.0
    check.add(0.0, 1.0, 1.0)
    assert check.coverage == pytest.approx(0.9)
