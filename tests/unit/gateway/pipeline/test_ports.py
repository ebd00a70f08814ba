"""The ports: what the real parts offer is what the pipeline asks for."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from controller.governor import Governor as ControllerGovernor
from controller.governor import Terms as ControllerTerms
from gateway.listener.client import HttpClient
from gateway.pipeline.judge import LlmJudge
from gateway.pipeline.ports import Admitted, Backend, Client, Governor, Judge, Recorder, Terms
from gateway.pipeline.relayed import Answer
from gateway.store.sqlite import SqliteStore
from gateway.upstream.backend import HttpBackend
from gateway.upstream.catalogue import LocalAnswer, ModelCatalogue
from gateway.upstream.connection import Connection
from tests.kit.playbook import verdict

PAIRS = [
    (Recorder, SqliteStore),
    (Answer, Connection),
    (Answer, LocalAnswer),
    (Backend, HttpBackend),
    (Backend, ModelCatalogue),
    (Client, HttpClient),
    (Judge, LlmJudge),
    (Governor, ControllerGovernor),
    (Terms, ControllerTerms),
]


@pytest.mark.parametrize(("port", "part"), PAIRS)
def test_the_real_parts_have_every_member(port: type, part: type) -> None:
    """Each member of a port is there, waits where the port waits, and takes the same parameters by name."""
    made = set(getattr(part, "__slots__", ())) | set(vars(part)) | {"status", "headers", "complete", "framed"}
    for name, member in vars(port).items():
        if name.startswith("_") or not (callable(member) or isinstance(member, property)):
            continue
        assert name in made or hasattr(part, name), f"{part.__name__} has no {name}"
        if not isinstance(member, property):
            theirs = getattr(part, name)
            assert asyncio.iscoroutinefunction(theirs) == asyncio.iscoroutinefunction(member), name
            wanted = member.__code__.co_varnames[
                : member.__code__.co_argcount + member.__code__.co_kwonlyargcount
            ]
            given = theirs.__code__.co_varnames[
                : theirs.__code__.co_argcount + theirs.__code__.co_kwonlyargcount
            ]
            assert wanted == given, name


def test_what_was_admitted_cannot_be_changed() -> None:
    """The bytes that were judged are the bytes that are forwarded."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict().body = b""  # type: ignore[misc]
    assert {field.name for field in dataclasses.fields(Admitted)} >= {
        "decision",
        "entries",
        "backend",
        "body",
    }
