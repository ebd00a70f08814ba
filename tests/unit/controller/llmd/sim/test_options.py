"""Every flag of a configuration is a flag of the command, with help, and has an effect."""

import re
import typing
from dataclasses import fields
from pathlib import Path

import typer

from controller.llmd.sim.command import app
from controller.llmd.sim.options import Flags

ROOT = Path(__file__).resolve().parents[5]
SECTION_C = """
    port model served-model-name max-model-len max-num-seqs max-waiting-queue-length mode seed
    latency-calculator time-to-first-token time-to-first-token-std-dev inter-token-latency
    inter-token-latency-std-dev kv-cache-transfer-latency kv-cache-transfer-latency-std-dev
    prefill-overhead prefill-time-per-token prefill-time-std-dev kv-cache-transfer-time-per-token
    kv-cache-transfer-time-std-dev time-factor-under-load failure-injection-rate failure-types
    fake-metrics enable-kvcache kv-cache-size block-size global-cache-hit-threshold lora-modules
    max-loras max-cpu-loras max-tool-call-integer-param min-tool-call-integer-param
    max-tool-call-number-param min-tool-call-number-param max-tool-call-array-param-length
    min-tool-call-array-param-length tool-call-not-required-param-probability
    object-tool-call-not-required-field-probability data-parallel-size data-parallel-rank
    startup-duration enable-sleep-mode omni default-embedding-dimensions ssl-certfile ssl-keyfile
    self-signed-certs engine enable-request-id-headers config hash-seed image-emission-rate
    time-to-generate-image time-to-generate-image-std-dev fake-metrics-refresh-interval
    max-request-body-size-mb
"""
"""The flags of llm-d-inference-sim that are offered (llm-d.md C1, and its configuration.md)."""


def options_of():
    """Return the command's options by their names without hyphens in front."""
    command = typer.main.get_command(app)
    return {name.removeprefix("--"): option for option in command.params for name in option.opts}


def test_the_flags_of_the_go_simulator_are_there():
    """By the names that it has."""
    assert set(SECTION_C.split()) <= options_of().keys()


def test_every_field_is_an_option_with_help():
    """None is left over, none is missing, and what it is by default is said."""
    options = options_of()
    for field in fields(Flags):
        help_text = options[field.name.replace("_", "-")].help
        assert len(help_text or "") > 10, field.name
    hints = typing.get_type_hints(Flags, include_extras=True)
    assert all(field.default is None and "Annotated" in str(hints[field.name]) for field in fields(Flags))


def test_every_flag_is_read():
    """`flags.py` names each of them, so that none is accepted and then forgotten."""
    source = (ROOT / "controller/llmd/sim/flags.py").read_text()
    latency = (ROOT / "controller/llmd/sim/latency_fields.py").read_text()
    named = set(re.findall(r"flags\.(\w+)", source)) | set(re.findall(r'"(\w+)"', source))
    named |= {name.replace("-", "_") for name in re.findall(r'"([\w-]+)"', latency)}
    assert {field.name for field in fields(Flags)} <= named
