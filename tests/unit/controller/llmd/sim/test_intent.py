"""Headers are read as each router version reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.llmd.sim.durations import go_duration_s
from controller.llmd.sim.intent import LlmdIntent, in_engine_time, read_intent

CANONICAL = {
    "x-llm-d-inference-objective": "critical",
    "x-llm-d-inference-fairness-id": "acme",
    "x-llm-d-slo-ttft-ms": "500",
    "x-llm-d-slo-tpot-ms": "35",
    "x-llm-d-inference-ttl": "1500ms",
    "x-llm-d-model-name-rewrite": "small",
}
ALIASES = {
    "x-gateway-inference-objective": "batch",
    "x-gateway-inference-fairness-id": "other",
    "x-slo-ttft-ms": "900",
    "x-slo-tpot-ms": "90",
    "x-gateway-model-name-rewrite": "large",
}
NEW = LlmdIntent("critical", "acme", 500, 35, None, "small")
OLD = LlmdIntent("batch", "other", 900, 90, None, "large")


@pytest.mark.parametrize("version", ["0.11", "0.10", "0.9"])
def test_canonical_names_win_from_0_9_on(version):
    """Both spellings arrive: the canonical one counts; the TTL only in 0.11."""
    ttl = 1.5 if version == "0.11" else None
    assert read_intent(CANONICAL | ALIASES, version) == LlmdIntent("critical", "acme", 500, 35, ttl, "small")
    assert read_intent(ALIASES, version) == OLD


def test_the_old_picker_knows_the_old_names_only():
    """Canonical names are ignored before 0.9."""
    assert read_intent(CANONICAL, "gaie") == LlmdIntent()
    assert read_intent(CANONICAL | ALIASES, "gaie") == OLD


@pytest.mark.parametrize("value", ["", "12.5", "1e3", "abc", "0x10", "99999999999999999999"])
def test_a_latency_that_is_no_integer_is_ignored(value):
    """Go's ParseInt fails on these, and the picker goes on without."""
    assert read_intent({"x-llm-d-slo-ttft-ms": value}, "0.11").ttft_ms is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2s", 2.0),
        ("1500ms", 1.5),
        ("1m30s", 90.0),
        ("250us", 0.00025),
        ("1.5h", 5400.0),
        ("1h0m1ns", 3600.000000001),
    ],
)
def test_go_durations(text, seconds):
    """The forms of time.ParseDuration."""
    assert go_duration_s(text) == pytest.approx(seconds, rel=1e-12)


@given(st.text(max_size=30))
def test_any_text_is_a_duration_above_zero_or_none(text):
    """No text raises, none gives zero or less."""
    seconds = go_duration_s(text)
    assert seconds is None or seconds > 0


@pytest.mark.parametrize("text", ["0s", "-1s", "5", "s", "1 s", "1d", ""])
def test_what_is_no_duration_above_zero_is_ignored(text):
    """The operator's bound then stays."""
    assert go_duration_s(text) is None


def test_a_faster_engine_reads_the_clients_durations_in_its_own_time():
    """At a time scale of ten, 500 ms of the client are 5 s of the engine; names stay."""
    given_intent = LlmdIntent("critical", "acme", 500, 35, 1.5, "small")
    assert in_engine_time(given_intent, 10) == LlmdIntent("critical", "acme", 5000, 350, 15.0, "small")
    assert in_engine_time(LlmdIntent(), 10) == LlmdIntent()
    assert in_engine_time(given_intent, 1) is given_intent
