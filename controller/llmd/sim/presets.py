"""Hardware and cluster presets of the simulator.

The 8B and 70B constants are fitted to published profiles (Vidur's linear layers, BLIS's base terms, see
`docs/simulator.md`); those of the 1B are scaled from the 8B by weight bytes, FLOPs and KV bytes, and were
never held against a measurement. Prices and quality scores are made up, in the order of public offers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from controller.llmd.sim.config import ModelConfig, SimConfig
from controller.llmd.sim.engine_config import EngineConfig, StepModel

HARDWARE: Final[Mapping[str, EngineConfig]] = MappingProxyType(
    {
        "8b-h100": EngineConfig(
            step=StepModel(floor_ms=6.2, token_ms=0.0205, kv_ms=52e-6, host_ms=0.3, attention_ms=0.6e-6),
            kv_blocks=26_300,
        ),
        "70b-h100-tp4": EngineConfig(
            step=StepModel(
                floor_ms=14.6, token_ms=0.0536, kv_ms=33e-6, host_ms=0.4, comm_ms=2.9, comm_token_ms=0.0114
            ),
            kv_blocks=30_400,
        ),
        "70b-h100-tp8": EngineConfig(
            step=StepModel(
                floor_ms=8.5, token_ms=0.0292, kv_ms=16e-6, host_ms=0.4, comm_ms=3.2, comm_token_ms=0.0115
            ),
            kv_blocks=88_700,
        ),
        "1b-h100": EngineConfig(
            step=StepModel(floor_ms=1.0, token_ms=0.0032, kv_ms=13e-6, host_ms=0.3, attention_ms=0.15e-6),
            kv_blocks=131_000,
        ),
    }
)
"""Engine configurations by accelerator; vLLM's defaults for 70 GiB cards (8192 tokens, 1024 sequences)."""


def _demo() -> SimConfig:
    """Seven GPUs: a TP4 70B, two 8B, one 1B; batches bounded as an operator with latency targets does."""
    return SimConfig(
        models=(
            ModelConfig(
                name="llama-70b",
                engine=replace(HARDWARE["70b-h100-tp4"], seqs_max=128, batched_tokens_max=2048),
                price_in=0.6,
                price_out=0.8,
                quality=0.92,
            ),
            ModelConfig(
                name="llama-8b",
                engine=replace(HARDWARE["8b-h100"], seqs_max=128, batched_tokens_max=2048),
                replicas=2,
                price_in=0.08,
                price_out=0.12,
                quality=0.8,
            ),
            ModelConfig(
                name="llama-1b",
                engine=replace(HARDWARE["1b-h100"], seqs_max=256, batched_tokens_max=2048),
                price_in=0.02,
                price_out=0.03,
                quality=0.62,
            ),
        )
    )


def _slow(config: SimConfig, factor: float) -> SimConfig:
    models = tuple(replace(m, engine=replace(m.engine, slowdown=factor)) for m in config.models)
    return replace(config, models=models)


PRESETS: Final[Mapping[str, SimConfig]] = MappingProxyType(
    {"llmd-demo": _demo(), "llmd-demo-small": _slow(_demo(), 5.0)}
)
"""Clusters by name. `llmd-demo-small` has the same models on a fifth of the accelerators' speed, so that a
spike which overloads it can be made and relayed by two CPU cores."""
