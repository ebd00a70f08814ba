"""The engine behaves under load as the model says: knee, interference, preemption, Little's law."""

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.llmd.sim.engine import Engine
from controller.llmd.sim.presets import HARDWARE
from controller.llmd.sim.types import EngineRequest, Finished, FirstToken, Preempted, Tokens

EIGHT_B = HARDWARE["8b-h100"]
SMALL = replace(EIGHT_B, context_max=2000)


def run(config, arrivals, *, per_token=False, cancels=()):
    """Run (time, request) arrivals and (time, id) cancels to the end; return engine and events."""
    engine, events = Engine(config, per_token=per_token), []
    todo = [(at, 0, request) for at, request in arrivals] + [(at, 1, name) for at, name in cancels]
    for at, kind, what in sorted(todo, key=lambda entry: entry[:2]):
        while engine.next_event_time() <= at:
            events += engine.advance(engine.next_event_time())
        if kind:
            engine.cancel(what, at)
        else:
            engine.submit(what, at)
    while (at := engine.next_event_time()) < math.inf:
        events += engine.advance(at)
    return engine, events


def poisson(rate, count, seed=1, prompt=(10, 1000), output=(10, 400)):
    """Return Poisson arrivals of requests with lengths drawn evenly."""
    draw, at, arrivals = random.Random(seed), 0.0, []
    for index in range(count):
        at += draw.expovariate(rate)
        arrivals.append((at, EngineRequest(str(index), draw.randint(*prompt), draw.randint(*output))))
    return arrivals


def ttft(event):
    """Seconds from arrival to first token."""
    return event.first_token_at_s - event.arrived_at_s


def tpot(event):
    """Mean seconds between tokens."""
    return (event.at_s - event.first_token_at_s) / (event.output_tokens - 1)


def finished(events):
    """Return the ends by request."""
    return {event.request_id: event for event in events if isinstance(event, Finished)}


def percentile(values, share):
    """Return the value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def test_one_request_alone_takes_overhead_prompt_and_tokens():
    """TTFT is the overhead plus the prompt's steps; TPOT is the decode step of the table (6.6 ms)."""
    _, events = run(EIGHT_B, [(1.0, EngineRequest("a", 1000, 101))])
    done = finished(events)["a"]
    assert ttft(done) == pytest.approx(0.015 + 0.0208, abs=0.0005)
    assert tpot(done) * 1000 == pytest.approx(6.6, rel=0.01)
    assert (done.output_tokens, done.preemptions, done.cached_tokens) == (101, 0, 0)


def test_a_concurrency_sweep_shows_flat_knee_and_queue():
    """TTFT is flat up to the place limit and grows with the queue beyond; TPOT grows, then stays."""
    config = replace(SMALL, seqs_max=64, batched_tokens_max=2048)
    waits, gaps, rates = {}, {}, {}
    for users in (1, 8, 32, 64, 128, 256):
        engine, draw, events, number = Engine(config), random.Random(users), [], users
        for index in range(users):
            engine.submit(EngineRequest(str(index), 200, draw.randint(100, 200)), index * 0.01)
        while (at := engine.next_event_time()) < 60.0:
            for event in engine.advance(at):
                events.append(event)
                if isinstance(event, Finished):
                    engine.submit(EngineRequest(str(number), 200, draw.randint(100, 200)), event.at_s)
                    number += 1
        done = [event for event in finished(events).values() if event.arrived_at_s > 10]
        waits[users] = percentile([ttft(event) for event in done], 0.5)
        gaps[users] = percentile([tpot(event) for event in done], 0.5)
        rates[users] = len(done)
    assert waits[32] < 3 * waits[1]
    assert waits[128] > 5 * waits[32]
    assert waits[256] > 2 * waits[128]
    assert gaps[1] < gaps[8] < gaps[32] < gaps[64]
    assert gaps[256] == pytest.approx(gaps[128], rel=0.1)
    assert rates[64] > 3 * rates[8]
    assert rates[256] == pytest.approx(rates[128], rel=0.05)


def test_a_long_prompt_stretches_its_neighbours_tokens():
    """While another's 8000 tokens are computed in chunks a stream's gaps grow; otherwise they do not."""
    config = replace(EIGHT_B, seqs_max=256, batched_tokens_max=2048)
    stream = (0.0, EngineRequest("stream", 100, 300))
    _, alone = run(config, [stream], per_token=True)
    _, both = run(config, [stream, (0.5, EngineRequest("long", 8000, 2))], per_token=True)

    def gaps(events):
        return [
            event.gap_s for event in events if isinstance(event, Tokens) and "stream" in event.request_ids
        ]

    assert max(gaps(alone)) < 0.008
    stretched = [gap for gap in gaps(both) if gap > 0.03]
    assert len(stretched) == 4  # 8000 tokens in steps of 2047
    assert percentile(gaps(both), 0.5) == pytest.approx(percentile(gaps(alone), 0.5), rel=0.02)


def test_a_full_cache_preempts_and_stretches_the_tail_and_never_fails():
    """With too few blocks requests are preempted, TTFT's tail grows, and every token is still made."""
    arrivals = poisson(30, 600)
    ample, few = run(SMALL, arrivals), run(replace(SMALL, kv_blocks=700), arrivals)
    assert ample[0].load().preemptions == 0
    assert few[0].load().preemptions > 50
    assert sum(isinstance(event, Preempted) for event in few[1]) == few[0].load().preemptions
    assert len(finished(few[1])) == len(arrivals)
    tails = [
        percentile([ttft(event) for event in finished(events).values()], 0.99) for _, events in (ample, few)
    ]
    assert tails[1] > 3 * tails[0]
    for _, request in arrivals:
        assert finished(few[1])[request.request_id].output_tokens == request.output_tokens
    assert few[0].load().kv_usage == 0.0


@pytest.mark.parametrize("rate", [5, 20])
def test_littles_law_holds(rate):
    """The mean number inside, sampled, is arrival rate times mean residence, within 5 %."""
    arrivals = poisson(rate, 120 * rate)
    engine, samples, events = Engine(SMALL), [], []
    submit = iter(arrivals)
    pending = next(submit, None)
    horizon = arrivals[-1][0]
    for tick in range(int(horizon * 50)):
        at = tick / 50
        while pending and pending[0] <= at:
            engine.submit(pending[1], pending[0])
            pending = next(submit, None)
        events += engine.advance(at)
        samples.append(engine.load().unfinished)
    done = finished(events).values()
    residence = sum(event.at_s - event.arrived_at_s for event in done) / len(done)
    assert sum(samples) / len(samples) == pytest.approx(len(done) / horizon * residence, rel=0.05)


def test_strides_and_single_steps_tell_the_same_times():
    """Taking equal steps at once changes no event by more than rounding, preemptions included."""
    config = replace(SMALL, kv_blocks=900)
    cancels = [(3.0, "40"), (3.5, "50"), (4.0, "90")]
    fast = run(config, poisson(30, 300), cancels=cancels)
    slow = run(config, poisson(30, 300), per_token=True, cancels=cancels)
    assert fast[0].load().preemptions == slow[0].load().preemptions > 0
    left, right = finished(fast[1]), finished(slow[1])
    assert left.keys() == right.keys()
    assert all(left[name].at_s == pytest.approx(right[name].at_s, abs=1e-9) for name in left)
    tokens = sum(len(event.request_ids) for event in slow[1] if isinstance(event, Tokens))
    firsts = sum(isinstance(event, FirstToken) for event in slow[1])
    assert tokens + firsts >= sum(event.output_tokens for event in right.values())


def test_every_token_is_told_once():
    """Each request gets its first token and exactly output_tokens - 1 others, preempted or not."""
    arrivals = poisson(30, 200)
    _, events = run(replace(SMALL, kv_blocks=700), arrivals, per_token=True)
    counts = dict.fromkeys((request.request_id for _, request in arrivals), 0)
    for event in events:
        for name in event.request_ids if isinstance(event, Tokens) else ():
            counts[name] += 1
        if isinstance(event, FirstToken):
            counts[event.request_id] += 1
    assert counts == {request.request_id: request.output_tokens for _, request in arrivals}


def test_events_come_in_order_of_time():
    """The times of one run never go back."""
    _, events = run(replace(SMALL, kv_blocks=700), poisson(30, 200))
    assert all(before.at_s <= after.at_s for before, after in pairwise(events))


def test_priority_scheduling_serves_the_urgent_first():
    """Under priority a late urgent request overtakes the queue; under FCFS the value is ignored."""
    crowd = [(index * 0.001, EngineRequest(f"c{index}", 100, 200, priority=5)) for index in range(60)]
    urgent = (0.2, EngineRequest("urgent", 100, 10, priority=0))
    waits = {}
    for policy in ("priority", "fcfs"):
        config = replace(SMALL, seqs_max=8, scheduling=policy)
        waits[policy] = ttft(finished(run(config, [*crowd, urgent])[1])["urgent"])
    assert waits["priority"] < 0.25 * waits["fcfs"]


def test_priority_preempts_the_least_urgent():
    """When blocks run out the victim is the request with the highest priority value, not the latest."""
    config = replace(EIGHT_B, kv_blocks=40, context_max=600, scheduling="priority")
    _, events = run(
        config,
        [
            (0.0, EngineRequest("low", 200, 300, priority=9)),
            (0.1, EngineRequest("high", 200, 300, priority=0)),
        ],
    )
    assert {event.request_id for event in events if isinstance(event, Preempted)} == {"low"}


def test_a_cancel_frees_place_and_blocks_at_once():
    """Running, waiting or not yet seen: after cancel nothing of it is held and no event follows."""
    config = replace(SMALL, seqs_max=1)
    engine = Engine(config)
    engine.submit(EngineRequest("running", 500, 500), 0.0)
    engine.submit(EngineRequest("waiting", 500, 500), 0.01)
    engine.advance(0.2)
    engine.submit(EngineRequest("incoming", 500, 500), 0.2)
    assert (engine.load().running, engine.load().waiting, engine.load().unfinished) == (1, 1, 3)
    assert engine.cancel("incoming", 0.201)
    assert engine.cancel("running", 0.202)
    assert engine.load().kv_usage == 0.0
    assert not engine.cancel("running", 0.203)
    assert engine.cancel("waiting", 0.204)
    assert engine.load().unfinished == 0
    events = []
    while (at := engine.next_event_time()) < math.inf:
        events += engine.advance(at)
    assert not [event for event in events if isinstance(event, Finished)]


def test_a_shared_prefix_is_computed_once():
    """The second request with the same blocks gets its first token sooner and says how much was cached."""
    prefix = tuple(range(100, 162))
    first = EngineRequest("a", 1000, 10, prefix=prefix)
    _, events = run(
        EIGHT_B, [(0.0, first), (5.0, replace(first, request_id="b")), (10.0, EngineRequest("c", 1000, 10))]
    )
    done = finished(events)
    assert (done["a"].cached_tokens, done["b"].cached_tokens, done["c"].cached_tokens) == (0, 62 * 16, 0)
    assert ttft(done["b"]) < 0.7 * ttft(done["a"])
    assert ttft(done["c"]) == pytest.approx(ttft(done["a"]), rel=0.01)


def test_a_prompt_wholly_cached_computes_its_last_block_again():
    """The token that is sampled from must be computed: the last block is never a hit."""
    request = EngineRequest("a", 64, 5, prefix=(1, 2, 3, 4))
    _, events = run(EIGHT_B, [(0.0, request), (1.0, replace(request, request_id="b"))])
    assert finished(events)["b"].cached_tokens == 48


def test_a_hanging_request_holds_its_place_until_cancelled():
    """One token, then silence; its blocks stay taken until cancel."""
    engine = Engine(SMALL)
    engine.submit(EngineRequest("h", 100, 50, hangs=True), 0.0)
    events = []
    while (at := engine.next_event_time()) < math.inf:
        events += engine.advance(at)
    assert [type(event) for event in events] == [FirstToken]
    assert engine.load().kv_usage > 0
    assert engine.cancel("h", 10.0)
    assert engine.load().kv_usage == 0


def test_pooling_ends_with_the_prompt():
    """A request without output finishes when its prompt is computed."""
    _, events = run(SMALL, [(0.0, EngineRequest("e", 300, 0))])
    assert [type(event) for event in events] == [Finished]
    assert events[0].at_s == events[0].first_token_at_s > 0.015


def test_slowdown_stretches_steps_from_now_on():
    """Twice the step time gives twice the TPOT, and only after the change."""
    engine = Engine(SMALL)
    engine.submit(EngineRequest("a", 10, 401), 0.0)
    first = next(event for event in engine.advance(1.0) if isinstance(event, FirstToken))
    engine.set_slowdown(2.0, 1.0)
    end = 0.0
    while (at := engine.next_event_time()) < math.inf:
        end = max(event.at_s for event in engine.advance(at) or [first])
    made = (1.0 - first.at_s) / 0.0065
    assert end - 1.0 == pytest.approx((400 - made) * 0.013, rel=0.02)


def test_the_waiting_bound_refuses():
    """At waiting_max further requests are not taken."""
    engine = Engine(replace(SMALL, seqs_max=1, waiting_max=2))
    taken = []
    for index in range(5):
        taken.append(engine.submit(EngineRequest(str(index), 100, 100), 0.1 * index))
        engine.advance(0.1 * index + 0.05)
    assert taken == [True, True, True, False, False]


@pytest.mark.parametrize("tokens", [(0, 5), (100_000, 400_000)])
def test_what_cannot_fit_is_refused_loudly(tokens):
    """An empty prompt, or more than the cache, is the caller's mistake."""
    with pytest.raises(ValueError, match="does not fit"):
        Engine(EIGHT_B).submit(EngineRequest("a", *tokens), 0.0)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 3), st.integers(1, 300), st.integers(0, 120), st.integers(-2, 2), st.booleans()
        ),
        max_size=40,
    ),
    st.sampled_from(["fcfs", "priority"]),
    st.integers(30, 200),
)
def test_any_load_ends_clean(load, policy, blocks):
    """Whatever comes and goes, every request ends once and the replica is empty afterwards."""
    config = replace(
        EIGHT_B, kv_blocks=blocks, context_max=450, seqs_max=16, scheduling=policy, overhead_ms=1
    )
    arrivals = []
    for i, (at, prompt, output, priority, _) in enumerate(load):
        whole = tuple(range((prompt + output) // 16)) if i % 2 else ()
        blocks_of = {"prefix": whole[: prompt // 16], "answer_blocks": whole[prompt // 16 :]}
        arrivals.append((at, EngineRequest(str(i), prompt, output, priority, **blocks_of)))
    cancels = [(at + 0.05, str(i)) for i, (at, _, _, _, gone) in enumerate(load) if gone]
    engine, events = run(config, arrivals, cancels=cancels)
    done = [event.request_id for event in events if isinstance(event, Finished)]
    assert len(done) == len(set(done))
    assert set(done) >= {str(i) for i, entry in enumerate(load) if not entry[4]}
    gauges = engine.load()
    assert (gauges.running, gauges.waiting, gauges.unfinished, gauges.kv_usage) == (0, 0, 0, 0.0)


def test_predictions_follow_the_queue():
    """The predicted TTFT of an idle replica is what happens; with prompts waiting it is longer."""
    engine = Engine(SMALL)
    idle, tpot_s = engine.predict(1000)
    _, events = run(SMALL, [(0.0, EngineRequest("a", 1000, 2))])
    assert idle == pytest.approx(ttft(finished(events)["a"]), rel=0.02)
    assert tpot_s < 0.01
    for index in range(40):
        engine.submit(EngineRequest(str(index), 1900, 50), 0.0)
    engine.advance(0.02)
    assert engine.predict(1000)[0] > 10 * idle
