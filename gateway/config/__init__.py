"""The configuration: what there is to set (`parts`), and how it is read (`read`)."""

from gateway.config.parts import (
    BackendConfig,
    Config,
    KeyConfig,
    ModelConfig,
    PolicyConfig,
    RetriesConfig,
    is_loopback,
)
from gateway.config.read import load_config

__all__ = [
    "BackendConfig",
    "Config",
    "KeyConfig",
    "ModelConfig",
    "PolicyConfig",
    "RetriesConfig",
    "is_loopback",
    "load_config",
]
