"""The configuration: what there is to set (`parts`), and how it is read (`read`)."""

from gateway.config.actions import ActionConfig, OperatorConfig
from gateway.config.answers import PassthroughConfig, ToolCallsConfig
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
from gateway.config.tools import ToolConfig

__all__ = [
    "ActionConfig",
    "BackendConfig",
    "Config",
    "KeyConfig",
    "ModelConfig",
    "OperatorConfig",
    "PassthroughConfig",
    "PolicyConfig",
    "RetriesConfig",
    "ToolCallsConfig",
    "ToolConfig",
    "is_loopback",
    "load_config",
]
