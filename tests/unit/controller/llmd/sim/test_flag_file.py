"""The Go simulator's files and its way to write flags are read."""

import pytest

from controller.llmd.sim.engine_config import SimConfigError
from controller.llmd.sim.fake_metrics import FakeLoras, FakeMetrics
from controller.llmd.sim.flag_file import flags_from, is_flag_file, plain_arguments
from controller.llmd.sim.flags import config_from_flags
from controller.llmd.sim.options import Flags


def test_a_flat_file_is_flags():
    """One model, its adapters, latencies and metrics; the port comes apart."""
    data = {
        "port": 8001,
        "model": "Qwen/Qwen2-0.5B",
        "served-model-name": ["model1", "model2"],
        "max-loras": 2,
        "lora-modules": ['{"name":"lora1","path":"/path/to/lora1"}', {"name": "lora2", "path": "p"}],
        "max-num-seqs": 7,
        "time-to-first-token": "20ms",
        "enable-kvcache": True,
        "data-parallel-size": 2,
        "failure-types": ["rate_limit"],
        "failure-injection-rate": 50,
        "fake-metrics": {"running-requests": 16, "loras": ['{"running":"a","waiting":"b","timestamp":12}']},
    }
    assert is_flag_file(data)
    given, port = flags_from(data)
    config = config_from_flags(Flags(**given))
    assert port == 8001
    model = config.models[0]
    assert model.names == ("model1", "model2", "lora1", "lora2")
    assert (model.replicas, model.engine.seqs_max, model.engine.latency.ttft_ms) == (2, 7, 20)
    assert model.engine.prefix_caching
    assert config.faults.errors == {"rate_limit": 0.5}
    loras = (FakeLoras(running="a", waiting="b", timestamp=12),)
    assert config.fake_metrics == FakeMetrics(running_requests=16, loras=loras)


def test_the_nested_form_is_the_same():
    """`latencies` and `kvcache` around the flags of each."""
    nested = {"model": "m", "latencies": {"inter-token-latency": "5ms"}, "kvcache": {"kv-cache-size": 9}}
    flat = {"model": "m", "inter-token-latency": "5ms", "kv-cache-size": 9}
    assert flags_from(nested) == flags_from(flat)


@pytest.mark.parametrize(
    "data", [{"models": []}, {"preset": "llmd-demo"}, {"model": "m", "models": []}, [], None]
)
def test_other_documents_are_not_flags(data):
    """They have the keys of SimConfig."""
    assert not is_flag_file(data)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"model": "m", "zmq-endpoint": "tcp://x"}, "zmq-endpoint is not offered"),
        ({"model": "m", "latencies": 5}, "latencies must be a mapping"),
        ({"model": "m", "port": "x"}, "port must be a number"),
        ({"model": "m", "fake-metrics": 5}, "fake-metrics must be a mapping"),
        ({"model": "m", "seed": [1]}, "seed must be one value"),
    ],
)
def test_wrong_keys_are_named(data, named):
    """One SimConfigError each."""
    with pytest.raises(SimConfigError, match=named):
        flags_from(data)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        (["--model", "m", "--seed=5"], ["--model", "m", "--seed=5"]),
        (
            ["--served-model-name", "a", "b", "--seed", "5"],
            ["--served-model-name", "a", "--served-model-name", "b", "--seed", "5"],
        ),
        (["--lora-modules={}"], ["--lora-modules", "{}"]),
        (["--enable-kvcache", "true", "--omni"], ["--enable-kvcache", "--omni"]),
        (["--enable-kvcache=false", "--omni", "False"], ["--disable-kvcache", "--no-omni"]),
        (["--failure-types"], []),
    ],
)
def test_arguments_may_be_written_as_there(written, plain):
    """Several values after one flag, and switches with a value."""
    assert plain_arguments(written) == plain
