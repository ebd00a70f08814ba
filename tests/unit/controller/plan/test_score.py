"""`controller.plan.score`: the terms of an option."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.plan.score import (
    BREAKER_OPEN,
    CONTEXT_EXCEEDED,
    TOO_LATE,
    cap_view,
    exceed_share,
    length_at,
    options,
    outlook,
    refusal_rank,
)
from controller.plan.types import IntentState
from controller.signals import LENGTH_RANKS
from tests.kit.control import LENGTHS, intent, live, model_state, request, snapshot

tables = st.lists(st.floats(1, 5000), min_size=len(LENGTH_RANKS), max_size=len(LENGTH_RANKS)).map(
    lambda drawn: tuple(sorted(drawn))
)
PRICE = IntentState("chat", 1.0, 0.0)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(tables, st.floats(0, 6000), st.floats(0, 500))
def test_fewer_answers_exceed_more_tokens(table: tuple[float, ...], tokens: float, more: float) -> None:
    """The share beyond a length is in [0, 1] and falls with the length."""
    assert 1.0 >= exceed_share(tokens, table) >= exceed_share(tokens + more, table) >= 0.0


def test_shares_and_lengths_are_each_others_inverse() -> None:
    """On a straight table the length at 0.9 is exceeded by a tenth."""
    for rank in (0.1, 0.5, 0.9, 0.97):
        assert exceed_share(length_at(rank, LENGTHS), LENGTHS) == pytest.approx(1.0 - rank)


def test_a_cap_shortens_the_mean_and_counts_what_it_cuts() -> None:
    """Half of the uniform answers 20 to 500 are longer than 260; the client's own ceiling is not our cut."""
    free, capped = cap_view(None, None, LENGTHS), cap_view(None, 260, LENGTHS)
    assert free.mean == pytest.approx(260, rel=0.01)
    assert capped.truncated == pytest.approx(0.5)
    assert capped.mean < free.mean
    assert cap_view(260, None, LENGTHS).truncated == 0.0
    assert cap_view(260, 400, LENGTHS).truncated == 0.0


def test_the_wait_counts_my_class_and_above() -> None:
    """Work of lower priority does not delay, work of mine and above does, in served seconds."""
    drawn = request(intent())
    state = model_state("large")
    busy = live(in_flight=64, queued=3, ahead=((4, 2.0), (3, 1.0), (-1, 50.0)))
    assert outlook(drawn, state, busy, 2.0, 10.0).wait_s == pytest.approx(3.0, abs=0.2)
    assert outlook(drawn, state, live(), 2.0, 10.0).wait_s == 0.0


def test_a_measured_pace_beats_the_fitted_one() -> None:
    """A pace of 60 ms now is believed, and grows with the batch by the fitted slope."""
    drawn, quick = request(), model_state("large", tpot_s=0.060, tpot_batch=10.0)
    seen = outlook(drawn, quick, live(in_flight=29), 2.0, 10.0)
    assert seen.tpot_s == pytest.approx(0.060 + 0.0002 * 20)
    unknown = outlook(drawn, model_state("large", tpot_s=None), live(in_flight=29), 2.0, 10.0)
    assert unknown.tpot_s == pytest.approx(0.02 + 0.0002 * 30)


def test_the_utility_is_gain_less_cost_less_load() -> None:
    """The four terms of the table add up, and the standing leaves the cost out."""
    drawn, state = request(), model_state("large", price=1.0)
    view, cap = outlook(drawn, state, live(), 2.0, 10.0), cap_view(None, None, LENGTHS)
    (line,) = options(drawn, state, view, (cap,), snapshot(), IntentState("chat", 1.2, 0.001))
    assert line.gain == pytest.approx(2.0 * 1.2 * 0.92 * (1.0 - line.miss))
    assert line.utility == pytest.approx(line.gain - line.cost_term - line.load_term)
    assert line.standing == pytest.approx(line.gain - line.load_term)
    assert line.cost_term == pytest.approx(0.001 * line.cost_uusd)


def test_a_prompt_beyond_the_context_is_refused_there() -> None:
    """A model cannot serve what it cannot hold."""
    drawn, state = request(input_tokens=5000), model_state("large", context_tokens=4096)
    view = outlook(drawn, state, live(), 2.0, 10.0)
    (line,) = options(drawn, state, view, (cap_view(None, None, LENGTHS),), snapshot(), PRICE)
    assert line.refused_by == "the prompt exceeds its context"


def test_refusals_are_ordered_by_what_waiting_can_lift() -> None:
    """Nothing, lateness, an open breaker, money, and last what no wait will ever change."""
    money = "the hard budget does not hold it"
    shuffled = [CONTEXT_EXCEEDED, BREAKER_OPEN, "", money, TOO_LATE]
    assert sorted(shuffled, key=refusal_rank) == ["", TOO_LATE, BREAKER_OPEN, money, CONTEXT_EXCEEDED]


def test_there_is_a_line_for_every_cap() -> None:
    """In the order of the caps, a lower one never dearer, and the work in step with the length."""
    drawn, state = request(), model_state("large")
    caps = [cap_view(None, cap, LENGTHS) for cap in (None, 400, 100)]
    lines = options(drawn, state, outlook(drawn, state, live(), 2.0, 10.0), caps, snapshot(), PRICE)
    assert [line.max_tokens for line in lines] == [None, 400, 100]
    assert [line.cost_uusd for line in lines] == sorted((line.cost_uusd for line in lines), reverse=True)
    assert lines[0].work_s > lines[1].work_s > lines[2].work_s
