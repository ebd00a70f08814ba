"""What stands in an answer's way keeps to its ports."""

from __future__ import annotations

import inspect

import pytest

from gateway.pipeline.relayed import Answer, AnswerGate, Watch
from gateway.pipeline.toolgate import ToolGate, _GatedStream, _WholeAnswer
from gateway.wire.sse import StreamWatch
from gateway.wire.watches import MessageWatch, ResponseWatch

PAIRS = [
    (Answer, _GatedStream),
    (Answer, _WholeAnswer),
    (AnswerGate, ToolGate),
    (Watch, StreamWatch),
    (Watch, ResponseWatch),
    (Watch, MessageWatch),
]


@pytest.mark.parametrize(("port", "part"), PAIRS)
def test_the_parts_have_every_member(port: type, part: type) -> None:
    """Each member of a port is there, and waits where the port waits."""
    for name, member in vars(port).items():
        if name.startswith("_") or not (callable(member) or isinstance(member, property)):
            continue
        assert hasattr(part, name), name
        if callable(member):
            own = getattr(part, name)
            assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(member)
            assert list(inspect.signature(own).parameters) == list(inspect.signature(member).parameters)
