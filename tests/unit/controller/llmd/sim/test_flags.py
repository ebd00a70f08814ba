"""Flags change what they name, and nothing else."""

from dataclasses import replace

import pytest

from controller.llmd.sim.config import CompatLatency, SimConfigError, preset
from controller.llmd.sim.flags import Flags, config_from_flags, duration_ms


def test_no_flag_is_the_demonstration():
    """The default preset, untouched."""
    assert config_from_flags(Flags()) == preset("llmd-demo")


def test_flags_reach_every_model():
    """Engine flags apply to all models of a preset."""
    config = config_from_flags(Flags(preset="llmd-demo", max_num_seqs=9, replicas=3, slowdown=2.0, seed=5))
    assert {(m.engine.seqs_max, m.replicas, m.engine.slowdown) for m in config.models} == {(9, 3, 2.0)}
    assert config.seed == 5


def test_one_model_on_named_hardware():
    """--model with aliases, on the hardware's step times."""
    config = config_from_flags(Flags(model="x", served_model_name=("a", "b"), hardware="70b-h100-tp8"))
    [model] = config.models
    assert (model.name, model.aliases, model.engine.step.floor_ms) == ("a", ("b",), 8.5)


def test_any_latency_flag_is_compat_mode_with_its_defaults():
    """llm-d-inference-sim's places, context, queue and lengths, unless given."""
    flags = Flags(model="x", latencies={"time_to_first_token": "200ms", "inter_token_latency": "20"})
    config = config_from_flags(replace(flags, time_factor_under_load=2.0))
    engine = config.models[0].engine
    assert (engine.seqs_max, engine.context_max, engine.waiting_max, engine.overhead_ms) == (
        5,
        1024,
        1000,
        0.0,
    )
    assert engine.latency == CompatLatency(ttft_ms=200, itl_ms=20, factor_under_load=2.0)
    assert config.lengths == "llm-d-sim"
    wide = config_from_flags(replace(flags, max_num_seqs=50, latency_calculator="per-token"))
    assert wide.models[0].engine.seqs_max == 50
    assert wide.models[0].engine.latency.calculator == "per-token"


def test_a_smaller_cache_bounds_the_context():
    """kv-cache-size and block-size give the capacity; the context follows."""
    engine = config_from_flags(Flags(model="x", kv_cache_size=100, block_size=32)).models[0].engine
    assert (engine.kv_blocks, engine.block_tokens, engine.context_max) == (100, 32, 3200)


def test_router_faults_and_identity():
    """The rest of the flags arrive where they belong."""
    config = config_from_flags(
        Flags(
            router_version="0.10",
            flow_control=False,
            failure_injection_rate=50,
            failure_types=("rate_limit",),
            pod="p",
            namespace="n",
            startup_duration="2s",
        )
    )
    assert (config.router.version, config.router.flow_control) == ("0.10", False)
    assert config.faults.errors == {"rate_limit": 0.5}
    assert (config.pod, config.namespace, config.startup_s) == ("p", "n", 2.0)
    assert config_from_flags(Flags(router=False)).router.enabled is False


@pytest.mark.parametrize(
    "flags",
    [
        Flags(preset="nope"),
        Flags(preset="llmd-demo", model="x"),
        Flags(model="x", hardware="nope"),
        Flags(latency_calculator="magic"),
        Flags(mode="loud"),
        Flags(router_version="9"),
        Flags(scheduling_policy="random"),
        Flags(max_num_seqs=0),
        Flags(failure_injection_rate=10, failure_types=("nope",)),
        Flags(latencies={"time_to_first_token": "soon"}),
        Flags(time_factor_under_load=0.5),
        Flags(startup_duration="-1"),
    ],
)
def test_wrong_flags_are_refused(flags):
    """One SimConfigError each."""
    with pytest.raises(SimConfigError):
        config_from_flags(flags)


@pytest.mark.parametrize(("text", "expected"), [("100", 100), ("0.5", 0.5), ("250us", 0.25), ("1.5s", 1500)])
def test_durations_are_milliseconds_or_go(text, expected):
    """A bare number is milliseconds, as in older releases."""
    assert duration_ms(text) == pytest.approx(expected)
