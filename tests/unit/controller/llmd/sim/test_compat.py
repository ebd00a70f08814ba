"""The compat mode is the formula of llm-d-inference-sim."""

import math
import statistics
from dataclasses import replace

import pytest

from controller.llmd.sim.compat import CompatEngine
from controller.llmd.sim.engine_config import CompatLatency, KvTransfer
from controller.llmd.sim.presets import HARDWARE
from controller.llmd.sim.types import EngineRequest, Finished, FirstToken, Tokens

CONFIG = replace(HARDWARE["8b-h100"], seqs_max=5, waiting_max=3, context_max=1024, kv_blocks=64)
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


def test_one_request_takes_ttft_and_tokens():
    """Constant: TTFT, then ITL for each further token; per-token: overhead plus prompt."""
    each = engine(CONSTANT)
    each.submit(EngineRequest("a", 200, 5), 1.0)
    events = drained(each)
    assert [event.at_s for event in events if isinstance(event, FirstToken)] == pytest.approx([1.1])
    assert next(e.at_s for e in events if isinstance(e, Finished)) == pytest.approx(1.1 + 4 * 0.010)
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


def test_load_multiplies_means_and_not_deviations():
    """As in the Go program: with F 3 and all places taken, three times the mean and the same spread."""
    latency = CompatLatency(ttft_ms=1, itl_ms=10, itl_std_ms=3, factor_under_load=3.0)
    each = engine(latency)
    for index in range(5):
        each.submit(EngineRequest(str(index), 10, 600), 0.0)
    gaps = [event.gap_s * 1000 for event in drained(each) if isinstance(event, Tokens)][:2500]
    assert statistics.mean(gaps) == pytest.approx(30, rel=0.02)
    assert statistics.stdev(gaps) == pytest.approx(3, rel=0.05)


def test_whole_milliseconds_are_cut_as_the_go_program_cuts():
    """12.9 ms is 12; without the switch it is 12.9."""
    for whole, expected in ((True, 0.012), (False, 0.0129)):
        each = engine(CompatLatency(itl_ms=12.9, whole_ms=whole))
        each.submit(EngineRequest("a", 10, 3), 0.0)
        assert drained(each)[-1].at_s == pytest.approx(2 * expected)


def test_a_cached_prefix_shortens_the_prompt():
    """Whole blocks of earlier prompts cost nothing and are told; a full cache forgets the oldest."""
    each = engine(PER_TOKEN, prefix_caching=True)
    first = EngineRequest("a", 100, 1, prefix=tuple(range(6)))
    each.submit(first, 0.0)
    assert each.load().kv_usage == pytest.approx(6 / 64)
    [told, done] = drained(each)
    assert (told.cached_tokens, done.at_s) == (0, pytest.approx(0.030 + 100 * 0.00025))
    each.submit(replace(first, request_id="b"), 1.0)
    [told, done] = drained(each)
    assert (told.cached_tokens, done.at_s) == (96, pytest.approx(1.0 + 0.030 + 4 * 0.00025))
    gauges = each.load()
    assert (gauges.prefix_queries, gauges.prefix_hits, gauges.kv_usage) == (200, 96, 0.0)
    assert each.cached_blocks((0, 1, 99)) == 2
    for index in range(1, 14):
        blocks = tuple(range(100 * index, 100 * index + 5))
        each.submit(EngineRequest(str(index), 90, 1, prefix=blocks), 2.0 + index)
        drained(each)
    assert each.cached_blocks(first.prefix) == 0
    each.submit(replace(first, request_id="c", hit_rate_min=0.5), 20.0)
    [cold] = each.advance(20.0)
    assert (cold.cold, cold.output_tokens, cold.at_s) == (True, 0, 20.0)
    each.drop_cache()
    assert each.cached_blocks(first.prefix) == 0


def test_more_blocks_than_the_cache_has_are_computed_without_it():
    """The prompt takes its time, and holds nothing."""
    each = engine(PER_TOKEN, prefix_caching=True)
    each.submit(EngineRequest("a", 1030, 1, prefix=tuple(range(65))), 0.0)
    assert each.load().kv_usage == 0
    assert drained(each)[-1].at_s == pytest.approx(0.030 + 1030 * 0.00025)


def test_adapters_beyond_the_bound_wait_while_others_pass():
    """With one adapter at a time the second one waits, and the base model goes by."""
    each = engine(CONSTANT, max_loras=1)
    for name, lora in (("a", "x"), ("b", "y"), ("c", ""), ("d", "x")):
        each.submit(EngineRequest(name, 10, 2, lora=lora), 0.0)
    assert each.loras() == (("x",), ("y",))
    assert (each.load().running, each.load().waiting) == (3, 1)
    order = [event.request_id for event in drained(each) if isinstance(event, Finished)]
    assert order[-1] == "b"
    assert each.loras() == ((), ())


def test_a_prompt_computed_elsewhere_takes_the_transfer_instead():
    """Load multiplies the tokens after it, not the transfer; latencies change at run time."""
    transfer = KvTransfer(latency_ms=40)
    each = engine(replace(CONSTANT, calculator="constant"), transfer=transfer)
    each.submit(EngineRequest("a", 200, 1, remote_prefill=True), 0.0)
    assert drained(each)[-1].at_s == pytest.approx(0.040)
    each.set_latency(PER_TOKEN, KvTransfer(token_ms=0.5), 1.0)
    each.submit(EngineRequest("b", 200, 2, remote_prefill=True), 1.0)
    assert drained(each)[-1].at_s == pytest.approx(1.0 + 0.100 + 0.012)
