"""The compat mode is the formula of llm-d-inference-sim."""

import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.llmd.sim.compat import CompatEngine, load_factor, ttft_mean_ms
from controller.llmd.sim.config import CompatLatency
from controller.llmd.sim.presets import HARDWARE
from controller.llmd.sim.types import EngineRequest, Finished, FirstToken, Tokens

CONFIG = replace(HARDWARE["8b-h100"], seqs_max=5, waiting_max=3, context_max=1024)
CONSTANT = CompatLatency(ttft_ms=100, itl_ms=10, factor_under_load=3.0)
PER_TOKEN = CompatLatency(calculator="per-token", prefill_overhead_ms=30, prefill_token_ms=0.25, itl_ms=12)


def engine(latency, **changes):
    """Return a compat replica of five places."""
    return CompatEngine(replace(CONFIG, latency=latency, **changes), seed=1, per_token=True)


def drained(each):
    """Return all events to the end."""
    events = []
    while (at := each.next_event_time()) < math.inf:
        events += each.advance(at)
    return events


@given(st.floats(1, 10), st.integers(2, 300), st.data())
def test_the_load_factor_is_linear_in_running(factor, places, data):
    """1 with one running, the factor with all places taken, and on the line between."""
    running = data.draw(st.integers(1, places))
    share = (running - 1) / (places - 1)
    assert load_factor(factor, running, places) == pytest.approx(1 + (factor - 1) * share)
    assert load_factor(factor, 1, places) == 1
    assert load_factor(factor, places, places) == pytest.approx(factor)


def test_one_request_takes_ttft_and_tokens():
    """Constant: TTFT, then ITL for each further token; per-token: overhead plus prompt."""
    each = engine(CONSTANT)
    each.submit(EngineRequest("a", 200, 5), 1.0)
    events = drained(each)
    assert [event.at_s for event in events if isinstance(event, FirstToken)] == pytest.approx([1.1])
    assert next(e.at_s for e in events if isinstance(e, Finished)) == pytest.approx(1.1 + 4 * 0.010)
    assert ttft_mean_ms(PER_TOKEN, 200) == 30 + 200 * 0.25
    assert ttft_mean_ms(PER_TOKEN, 200, cached_tokens=40) == 30 + 160 * 0.25
    each = engine(PER_TOKEN)
    each.submit(EngineRequest("a", 200, 2), 0.0)
    assert drained(each)[-1].at_s == pytest.approx(0.080 + 0.012)


def test_full_places_multiply_every_latency_by_the_factor():
    """The fifth of five starts at factor 3, and so are all gaps while five run."""
    each = engine(CONSTANT)
    for index in range(5):
        each.submit(EngineRequest(str(index), 10, 50), 0.0)
    events = drained(each)
    first = {event.request_id: event.at_s for event in events if isinstance(event, FirstToken)}
    expected = {str(index): 0.1 * (1 + 2 * index / 4) for index in range(5)}
    assert first == pytest.approx(expected)
    gaps = [event.gap_s for event in events if isinstance(event, Tokens) and 0.31 < event.at_s < 0.5]
    assert gaps == pytest.approx([0.030] * len(gaps))
    assert len(gaps) > 20


def test_the_queue_is_first_come_first_served_and_bounded():
    """Five run, three wait, the ninth is refused; the sixth starts when one ends."""
    each = engine(CONSTANT)
    taken = [each.submit(EngineRequest(str(index), 10, 2), 0.0) for index in range(9)]
    assert taken == [True] * 8 + [False]
    assert (each.load().running, each.load().waiting) == (5, 3)
    events = drained(each)
    order = [event.request_id for event in events if isinstance(event, Finished)]
    assert order == [str(index) for index in range(8)]


def test_draws_stay_within_70_percent_and_spread_as_asked():
    """Gaussian gaps: the mean and deviation asked for, clamped."""
    each = engine(replace(CONSTANT, itl_std_ms=3.0, factor_under_load=1.0))
    each.submit(EngineRequest("a", 10, 3000), 0.0)
    gaps = [event.gap_s * 1000 for event in drained(each) if isinstance(event, Tokens)]
    assert min(gaps) >= 3.0 - 1e-9
    assert max(gaps) <= 17.0 + 1e-9
    assert statistics.mean(gaps) == pytest.approx(10, rel=0.02)
    assert statistics.stdev(gaps) == pytest.approx(3, rel=0.05)


def test_a_cancel_gives_the_place_to_the_next():
    """At the moment of the cancel, running or waiting."""
    each = engine(CONSTANT, seqs_max=1)
    for name in "abc":
        each.submit(EngineRequest(name, 10, 5), 0.0)
    assert each.cancel("b", 0.01)
    assert each.cancel("a", 0.05)
    assert not each.cancel("a", 0.06)
    assert [event.request_id for event in drained(each) if isinstance(event, FirstToken)] == ["c"]
    assert each.load().unfinished == 0


def test_no_latency_at_all_still_ends():
    """The Go simulator's default: every latency zero, every token at once."""
    each = engine(CompatLatency())
    for index in range(12):
        each.submit(EngineRequest(str(index), 10, 30), 1.0)
    events = each.advance(1.0)
    assert sum(isinstance(event, Finished) for event in events) >= 5
    assert each.next_event_time() == math.inf


def test_slowdown_and_prediction_follow_the_formula():
    """Twice the slowdown, twice the latencies; the prediction is the mean at the present load."""
    each = engine(CONSTANT)
    each.set_slowdown(2.0, 0.0)
    assert each.predict(10) == pytest.approx((0.2, 0.02))
    each.submit(EngineRequest("a", 10, 1), 0.0)
    assert drained(each)[-1].at_s == pytest.approx(0.2)
