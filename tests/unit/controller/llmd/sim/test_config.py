"""Configurations that contradict themselves are refused with the key."""

from dataclasses import replace

import pytest

from controller.llmd.sim.config import Faults, ModelConfig, RouterConfig, SimConfig, as_json, preset
from controller.llmd.sim.engine_config import CompatLatency, EngineConfig, SimConfigError, StepModel

STEP = StepModel(floor_ms=1, token_ms=0.01)
ENGINE = EngineConfig(step=STEP)
MODEL = ModelConfig(name="m", engine=ENGINE)


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: StepModel(floor_ms=0, token_ms=1), "floor_ms"),
        (lambda: StepModel(floor_ms=1, token_ms=1, kv_ms=-1), "kv_ms"),
        (lambda: CompatLatency(ttft_ms=10, ttft_std_ms=4), "30 %"),
        (lambda: CompatLatency(factor_under_load=0.5), "time-factor"),
        (lambda: EngineConfig(step=STEP, seqs_max=0), "seqs_max"),
        (lambda: EngineConfig(step=STEP, batched_tokens_max=10), "batched_tokens_max"),
        (lambda: EngineConfig(step=STEP, kv_blocks=10), "context_max"),
        (lambda: EngineConfig(step=STEP, context_max=1), "context_max"),
        (lambda: EngineConfig(step=STEP, slowdown=0), "slowdown"),
        (lambda: replace(MODEL, name=""), "name"),
        (lambda: replace(MODEL, quality=1.5), "quality"),
        (lambda: replace(MODEL, price_in=-1), "price_in"),
        (lambda: RouterConfig(ttl_s=0), "ttl_s"),
        (lambda: Faults(slowdown=-1), "slowdown"),
        (lambda: SimConfig(models=()), "at least one"),
        (lambda: SimConfig(models=(MODEL, MODEL)), "twice"),
        (lambda: SimConfig(models=(replace(MODEL, aliases=("m",)),)), "twice"),
        (lambda: SimConfig(models=(MODEL,), time_scale=0), "time_scale"),
        (lambda: preset("nope"), "unknown preset"),
    ],
    ids=map(str, range(19)),
)
def test_contradictions_are_refused_by_name(build, word):
    """The message names the key, or says what is wrong."""
    with pytest.raises(SimConfigError, match=word):
        build()


def test_the_demonstration_has_three_models_in_order_of_quality_and_price():
    """A large, a middle and a small one."""
    models = preset("llmd-demo").models
    assert [model.name for model in models] == ["llama-70b", "llama-8b", "llama-1b"]
    for key in ("price_in", "price_out", "quality"):
        values = [getattr(model, key) for model in models]
        assert values == sorted(values, reverse=True)
        assert len(set(values)) == 3


def test_the_small_demonstration_is_the_same_but_slower():
    """Only the slowdown differs."""
    small, demo = preset("llmd-demo-small"), preset("llmd-demo")
    assert {model.engine.slowdown for model in small.models} == {5.0}
    assert [replace(m, engine=replace(m.engine, slowdown=1.0)) for m in small.models] == list(demo.models)


def test_a_configuration_is_plain_json():
    """Whole, for the admin page."""
    assert as_json(preset("llmd-demo"))["router"]["objectives"]["critical"] == 4
