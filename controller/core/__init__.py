"""One controller: plan a request, take an observation, tick. Pure, shared by the loop and the evaluation."""

from controller.core.account import Condition, IntentReport
from controller.core.config import ControllerConfig, Tuning
from controller.core.controller import Controller
from controller.core.detour import detour, divert, flight_of
from controller.core.events import Change, Expiry, Outcome, Release, Submission, TickReport
from controller.core.replay import Replayed, replay

__all__ = [
    "Change",
    "Condition",
    "Controller",
    "ControllerConfig",
    "Expiry",
    "IntentReport",
    "Outcome",
    "Release",
    "Replayed",
    "Submission",
    "TickReport",
    "Tuning",
    "detour",
    "divert",
    "flight_of",
    "replay",
]
