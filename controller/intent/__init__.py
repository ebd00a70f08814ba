"""Intents: what a customer declares about latency, cost and quality, and which one covers a request."""

from controller.intent.feasible import infeasible_targets
from controller.intent.read import read_intents
from controller.intent.select import IntentSet
from controller.intent.types import (
    Bias,
    Budget,
    Intent,
    IntentProblem,
    InvalidIntentError,
    Latency,
    Match,
    PressureAction,
    ServiceClass,
    Subject,
)

__all__ = [
    "Bias",
    "Budget",
    "Intent",
    "IntentProblem",
    "IntentSet",
    "InvalidIntentError",
    "Latency",
    "Match",
    "PressureAction",
    "ServiceClass",
    "Subject",
    "infeasible_targets",
    "read_intents",
]
