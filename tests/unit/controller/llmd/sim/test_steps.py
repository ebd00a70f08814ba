"""The step model holds against the published table, and strides against single steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.llmd.sim.presets import HARDWARE
from controller.llmd.sim.steps import step_ms, steps_within, stride_s

BATCHES = (1, 16, 64, 128, 256)
TABLE = {
    ("8b-h100", 0): (6.6, 7.4, 10.2, 13.8, 21.8),
    ("8b-h100", 512): (11.2, 12.3, 16.0, 20.9, 30.7),
    ("8b-h100", 2048): (42.4, 43.5, 47.2, 52.2, 62.1),
    ("70b-h100-tp4", 0): (17.9, 18.7, 21.1, 24.4, 32.8),
    ("70b-h100-tp4", 2048): (136, 138, 143, 150, 163),
    ("70b-h100-tp8", 0): (12.1, 12.6, 14.2, 16.3, 21.5),
}


@pytest.mark.parametrize(("hardware", "chunk"), TABLE)
def test_step_times_are_within_one_percent_of_the_table(hardware, chunk):
    """Every entry of llm-d.md D3, at 1000-token contexts, is met within 1 % (and the table's rounding)."""
    model = HARDWARE[hardware].step
    for batch, expected in zip(BATCHES, TABLE[hardware, chunk], strict=True):
        time_ms = step_ms(model, prefill_tokens=chunk, decodes=batch, context_tokens=1000 * batch)
        rounding = 0.5 if expected > 100 else 0.05
        assert abs(time_ms - expected) <= 0.01 * expected + rounding * 0.1


@given(st.floats(1e-4, 1.0), st.floats(0, 1e-3), st.integers(1, 5000), st.floats(0, 200, allow_nan=False))
def test_steps_within_is_the_inverse_of_the_stride(first_s, growth_s, steps_max, limit_s):
    """The steps returned end within the limit, and one more would not (or is not allowed)."""
    steps = steps_within(first_s, growth_s, limit_s, steps_max)
    assert 1 <= steps <= steps_max
    assert steps == 1 or stride_s(first_s, growth_s, steps) <= limit_s
    assert steps == steps_max or stride_s(first_s, growth_s, steps + 1) > limit_s


def test_a_stride_is_the_sum_of_its_steps():
    """Closed form and sum agree."""
    summed = sum(0.01 + 0.001 * index for index in range(37))
    assert stride_s(0.01, 0.001, 37) == pytest.approx(summed, rel=1e-12)
