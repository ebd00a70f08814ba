"""The metrics page is what Prometheus reads."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from controller.llmd.sim.exposition import Family, exposition


@given(st.lists(st.tuples(st.floats(0, 20, allow_nan=False), st.integers(1, 5)), min_size=1, max_size=30))
def test_histograms_parse_and_add_up(observations):
    """Buckets are cumulative, end at the count, and hold what lies at or below their bound."""
    family = Family("h_seconds", "histogram", "Text.", ("model",), (0.5, 1, 10))
    for value, times in observations:
        family.observe(("m",), value, times)
    [parsed] = text_string_to_metric_families(exposition({"h": family}).decode())
    buckets = {s.labels["le"]: s.value for s in parsed.samples if s.name == "h_seconds_bucket"}
    for bound in ("0.5", "1.0", "10.0", "+Inf"):
        assert buckets[bound] == sum(times for value, times in observations if value <= float(bound))
    [count] = [s.value for s in parsed.samples if s.name == "h_seconds_count"]
    assert count == sum(times for _, times in observations)


@given(st.text(max_size=20))
def test_any_label_survives(label):
    """Quotes, backslashes and line ends are escaped."""
    family = Family("g", "gauge", "Text.", ("name",))
    family.set((label,), 1.5)
    [parsed] = text_string_to_metric_families(exposition({"g": family}).decode().replace("\r", "\\r"))
    assert parsed.samples[0].labels["name"] == label.replace("\r", "\\r")
    assert parsed.samples[0].value == 1.5


def test_counters_add_and_gauges_can_be_forgotten():
    """clear_where drops the series of one first label."""
    family = Family("c_total", "counter", "Text.", ("pool", "outcome"))
    family.add(("a", "x"))
    family.add(("a", "x"), 2)
    family.add(("b", "x"))
    assert 'c_total{pool="a",outcome="x"} 3' in exposition({"c": family}).decode()
    family.clear_where("a")
    assert 'pool="a"' not in exposition({"c": family}).decode()
