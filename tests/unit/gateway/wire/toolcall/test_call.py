"""One call, put together from fragments."""

from __future__ import annotations

import pytest

from gateway.kernel.parse import Unfit
from gateway.wire.toolcall.call import Call, Calls, Fault, Kind, Verdict, read_arguments, says_an_object


def ended(call: Call) -> Fault | None:
    """What is wrong with a call that has come to its end."""
    call.end()
    return call.fault


@pytest.mark.parametrize(
    ("text", "value", "fault"),
    [
        ("", {}, None),
        (" \n", {}, None),
        ("{}", {}, None),
        ('{"a": 1, "b": [true]}', {"a": 1, "b": [True]}, None),
        ('{"a": 201.0}', {"a": 201}, None),
        ('{"a": {"b": [1e400]}}', {}, Fault.NOT_JSON),
        ('{"a": 1', {}, Fault.NOT_JSON),
        ("{'a': 1}", {}, Fault.NOT_JSON),
        ('{"a": NaN}', {}, Fault.NOT_JSON),
        ('{"a": "\\ud800"}', {}, Fault.NOT_JSON),
        ("\ud800", {}, Fault.NOT_JSON),
        ('{"a": 1} {"a": 2}', {}, Fault.NOT_JSON),
        ('{"a": 1, "a": 2}', {}, Fault.AMBIGUOUS),
        ('{"o": {"a": 1, "\\u0061": 2}}', {}, Fault.AMBIGUOUS),
        ("[" * 200 + "]" * 200, {}, Fault.AMBIGUOUS),
        ("[1]", {}, Fault.NOT_OBJECT),
        ("null", {}, Fault.NOT_OBJECT),
        ('"{}"', {}, Fault.NOT_OBJECT),
    ],
)
def test_arguments(text: str, value: object, fault: Fault | None) -> None:
    """Arguments are one JSON object without twins; without white space around it or with."""
    assert read_arguments(text) == (value, fault)


def test_a_number_that_no_record_can_hold() -> None:
    """It matters only to who maps it: until then it stands as unfit, and is no fault."""
    for literal in ("12345678901234567890", "25.000000000000000001"):
        value, fault = read_arguments(f'{{"a": {literal}}}')
        assert fault is None
        assert type(value["a"]) is Unfit


def test_fragments_make_a_call() -> None:
    """Names and arguments are put together in their order; null and nothing add nothing."""
    call = Call("p")
    for piece in ("re", None, "fund", ""):
        call.name_piece(piece)
    for piece in ('{"a"', None, "", ":1}"):
        call.argument_piece(piece)
    assert (call.name, call.arguments) == ("refund", '{"a":1}')
    assert ended(call) is None


def test_a_name_said_twice_is_ambiguous() -> None:
    """Some clients would call `refundrefund` and some `refund`: nobody can judge that."""
    call = Call("p")
    call.name_piece("refund")
    call.name_piece("refund")
    assert ended(call) is Fault.NAME_AMBIGUOUS
    call = Call("p")
    call.name_piece({"a": 1})
    assert ended(call) is Fault.NAME_AMBIGUOUS


def test_what_is_missing_or_no_text_is_a_fault() -> None:
    """A call without a name, and arguments that are no text, are at fault; the first fault stays."""
    assert ended(Call("p")) is Fault.NAME_MISSING
    call = Call("p", name="a")
    call.argument_piece({"a": 1})
    assert ended(call) is Fault.NOT_TEXT
    call = Call("p", name="a", fault=Fault.DISAGREES)
    call.argument_piece(7)
    assert ended(call) is Fault.DISAGREES


def test_custom_input_is_any_text() -> None:
    """The input of a custom tool is no JSON."""
    call = Call("p", Kind.CUSTOM, name="sql", pieces=["select {"])
    assert ended(call) is None


def test_what_is_oversized_grows_no_more() -> None:
    """Once a call is too large its further pieces are dropped."""
    call = Call("p", name="a", fault=Fault.OVERSIZED)
    call.argument_piece("x" * 100)
    assert call.arguments == ""


def test_verdicts() -> None:
    """A call is neither permitted nor refused before it was ruled."""
    call = Call("p")
    assert not call.permitted
    assert not call.refused
    call.verdict = Verdict(True)
    assert call.permitted
    assert not call.refused
    call.verdict = Verdict(False, "no")
    assert not call.permitted
    assert call.refused


@pytest.mark.parametrize(
    ("text", "whole"),
    [("{}", True), ('{"a":1} ', True), ('{"a":1', False), ('{"a":{}', False), ("", False), ("}", False)],
)
def test_a_whole_object_is_known(text: str, whole: bool) -> None:
    """Only a whole object is one to which nothing can be added."""
    assert says_an_object(text) is whole


def test_each_call_is_asked_about_once() -> None:
    """A call is ready once, when it ends; ending it again, or giving it up, changes nothing."""
    calls = Calls()
    first, second = calls.begin(Call("a", name="a")), calls.begin(Call("b", name="b"))
    calls.end(second)
    calls.end(second)
    assert calls.open == [first]
    assert calls.take_ready() == [second]
    calls.end_all(Fault.HELD_TOO_LONG)
    assert calls.take_ready() == [first]
    assert first.fault is Fault.HELD_TOO_LONG
    assert second.fault is None
    assert calls.take_ready() == []
    assert calls.begun == [first, second]
