"""YAML in, configuration out, or an error that names the key."""

from dataclasses import asdict

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controller.llmd.sim.config import SimConfig, preset
from controller.llmd.sim.engine_config import SimConfigError

GOOD = """
seed: 7
time_scale: 5
router: {version: "0.10", objectives: {gold: 10}}
faults: {errors: {rate_limit: 0.1}}
models:
  - name: big
    hardware: 70b-h100-tp4
    engine: {seqs_max: 32}
    replicas: 2
    price_in: 0.6
    price_out: 0.8
    quality: 0.9
  - name: custom
    engine:
      step: {floor_ms: 3, token_ms: 0.01}
"""


def test_a_document_is_read_with_hardware_and_defaults():
    """What stands in it wins over the hardware, which wins over the defaults."""
    config = SimConfig.from_yaml(GOOD)
    assert (config.seed, config.time_scale, config.router.version) == (7, 5.0, "0.10")
    assert config.router.objectives == {"gold": 10}
    big, custom = config.models
    assert (big.engine.seqs_max, big.engine.kv_blocks, big.replicas) == (32, 30_400, 2)
    assert custom.engine.step.floor_ms == 3
    assert config.faults.errors == {"rate_limit": 0.1}


def test_a_preset_can_be_started_from():
    """Top-level keys replace the preset's."""
    config = SimConfig.from_yaml("preset: llmd-demo\nseed: 9\n")
    assert (config.seed, config.models) == (9, preset("llmd-demo").models)


def test_every_preset_survives_the_way_through_yaml():
    """What is written out is read back equal."""
    for name in ("llmd-demo", "llmd-demo-small"):
        text = yaml.safe_dump(_plain(asdict(preset(name))))
        assert SimConfig.from_yaml(text) == preset(name)


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("models: [", "no YAML"),
        ("5", "mapping"),
        ("models: []", "at least one"),
        ("seed: 1", "models"),
        ("preset: nope", "unknown preset"),
        ("models: [{name: a, hardware: nope}]", "unknown 'nope'"),
        ("models: [{name: a, hardware: 8b-h100, engine: 5}]", "mapping"),
        ("preset: llmd-demo\nspeed: 5", "speed"),
        ("preset: llmd-demo\nseed: x", "seed"),
        ("preset: llmd-demo\nrouter: {versionn: 1}", "router.versionn"),
        ("models: [{name: a, hardware: 8b-h100, engine: {seqs_max: 0}}]", "seqs_max"),
        ("a: &a [1]\nb: *a", "aliases"),
        ("x: " + "y" * 300_000, "characters"),
        ("[" * 1500, "nested|YAML"),
    ],
)
def test_wrong_documents_are_refused_by_name(text, word):
    """Every mistake is one SimConfigError that says where."""
    with pytest.raises(SimConfigError, match=word):
        SimConfig.from_yaml(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    """Nothing but SimConfigError comes out."""
    with pytest.raises(SimConfigError):
        SimConfig.from_yaml(text)
