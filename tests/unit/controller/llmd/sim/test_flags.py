"""Flags change what they name, and nothing else."""

from dataclasses import replace

import pytest

from controller.llmd.sim.config import Lora, Omni, ToolValues, preset
from controller.llmd.sim.engine_config import CompatLatency, SimConfigError
from controller.llmd.sim.flags import config_from_flags
from controller.llmd.sim.formula import first_token_ms
from controller.llmd.sim.options import Flags


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
    flags = Flags(model="x", time_to_first_token="200ms", inter_token_latency="20")
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


def test_an_unset_calculator_follows_what_is_given():
    """As the Go program: prefill flags without a time to first token are the per-token formula."""
    config = config_from_flags(Flags(model="x", prefill_overhead="30ms", prefill_time_per_token="1ms"))
    latency = config.models[0].engine.latency
    assert (latency.calculator, latency.prefill_overhead_ms, latency.prefill_token_ms) == ("", 30, 1)
    assert first_token_ms(latency, prompt_tokens=10) == (40, 0)


def test_transfer_flags_alone_leave_the_step_model():
    """They are of both; the formula's flags are what makes compat mode."""
    flags = Flags(model="x", kv_cache_transfer_latency="20ms", kv_cache_transfer_time_per_token="50us")
    engine = config_from_flags(flags).models[0].engine
    assert engine.latency is None
    assert (engine.transfer.latency_ms, engine.transfer.token_ms) == (20, pytest.approx(0.05))


def test_compat_mode_has_the_go_programs_cache():
    """Off, and 1,024 blocks when it is on."""
    engine = config_from_flags(Flags(model="x", latency_calculator="constant")).models[0].engine
    assert (engine.prefix_caching, engine.kv_blocks, engine.block_tokens) == (False, 1024, 16)
    flags = Flags(model="x", latency_calculator="constant", enable_kvcache=True, kv_cache_size=77)
    engine = config_from_flags(flags).models[0].engine
    assert (engine.prefix_caching, engine.kv_blocks) == (True, 77)


def test_adapters_go_to_their_base_model():
    """By name, by alias, by --model, or to the first one."""
    adapters = ['{"name": "a", "path": "/p", "base_model_name": "llama-8b"}', '{"name": "b"}']
    config = config_from_flags(
        Flags(lora_modules=adapters, max_loras=3, max_cpu_loras=5, lora_load_time="40ms")
    )
    assert [model.loras for model in config.models] == [(Lora(name="b"),), (Lora(name="a", path="/p"),), ()]
    engine = config.models[0].engine
    assert (engine.max_loras, engine.max_cpu_loras, engine.lora_load_ms) == (3, 5, 40)
    flags = Flags(model="m", served_model_name=["n"], lora_modules=['{"name": "c", "base_model_name": "m"}'])
    assert config_from_flags(flags).models[0].names == ("n", "c")


def test_tools_images_and_metrics_arrive():
    """Percentages are shares, durations milliseconds."""
    flags = Flags(
        max_tool_call_integer_param=9,
        min_tool_call_number_param=-1.5,
        max_tool_call_array_param_length=3,
        tool_call_not_required_param_probability=100,
        object_tool_call_not_required_field_probability=0,
        omni=True,
        image_emission_rate=25,
        time_to_generate_image="2s",
        fake_metrics='{"running-requests": 3}',
        fake_metrics_refresh_interval="1s",
    )
    config = config_from_flags(flags)
    assert config.tools == ToolValues(
        integer_max=9, number_min=-1.5, array_max=3, optional_param_rate=1.0, optional_field_rate=0.0
    )
    assert config.omni == Omni(enabled=True, image_rate=0.25, image_ms=2000)
    assert (config.fake_metrics.running_requests, config.fake_metrics_interval_s) == (3, 1.0)


def test_a_rank_is_one_replica():
    """--data-parallel-size is then ignored, as there."""
    config = config_from_flags(Flags(data_parallel_rank=2, replicas=4))
    assert config.rank == 2
    assert {model.replicas for model in config.models} == {1}


def test_a_document_is_the_base():
    """Flags change what it says; it and a preset exclude each other."""
    text = "preset: llmd-demo\nseed: 9\n"
    assert config_from_flags(Flags(max_loras=2), text).seed == 9
    with pytest.raises(SimConfigError, match="one of"):
        config_from_flags(Flags(preset="llmd-demo"), text)


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
            pod_name="p",
            pod_namespace="n",
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
        Flags(time_to_first_token="soon"),
        Flags(time_to_first_token="10ms", time_to_first_token_std_dev="4ms"),
        Flags(kv_cache_transfer_latency="10ms", kv_cache_transfer_latency_std_dev="4ms"),
        Flags(prefill_overhead="-1"),
        Flags(max_loras=0),
        Flags(max_loras=4, max_cpu_loras=2),
        Flags(lora_modules=["nope"]),
        Flags(lora_modules=['{"path": "p"}']),
        Flags(lora_modules=['{"name": "a", "base_model_name": "nope"}']),
        Flags(model="x", lora_modules=['{"name": "x"}']),
        Flags(fake_metrics="{"),
        Flags(fake_metrics='{"running-requests": -1}'),
        Flags(fake_metrics='{"running-requests": 1}', fake_metrics_refresh_interval="0"),
        Flags(global_cache_hit_threshold=1.5),
        Flags(max_tool_call_integer_param=1, min_tool_call_integer_param=2),
        Flags(max_tool_call_array_param_length=0),
        Flags(tool_call_not_required_param_probability=101),
        Flags(image_emission_rate=101),
        Flags(data_parallel_rank=8),
        Flags(engine="tgi"),
        Flags(max_request_body_size_mb=0),
        Flags(time_factor_under_load=0.5),
        Flags(startup_duration="-1"),
    ],
)
def test_wrong_flags_are_refused(flags):
    """One SimConfigError each."""
    with pytest.raises(SimConfigError):
        config_from_flags(flags)
