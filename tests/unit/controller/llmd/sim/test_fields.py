"""Fields are read within their bounds, or refused with a message that names them."""

import orjson
import pytest

from controller.llmd.sim.fields import (
    INPUTS_MAX,
    STOPS_MAX,
    ApiError,
    check_sampling,
    inputs,
    integer,
    items,
    model_name,
    number,
    read_body,
    stops,
)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff", b'{"a":NaN}'])
def test_what_is_no_json_object_is_a_400(body):
    """Before any field is looked at."""
    with pytest.raises(ApiError) as caught:
        read_body(body)
    assert caught.value.status == 400


def test_an_error_has_vllms_shape():
    """Message, type, param, and the status as the code."""
    error = ApiError(404, "gone", kind="NotFoundError", param="model")
    expected = {"message": "gone", "type": "NotFoundError", "param": "model", "code": 404}
    assert orjson.loads(error.body()) == {"error": expected}


def test_absent_fields_are_absent_and_present_ones_are_read():
    """None and missing are the same, as in the real API."""
    data = {"model": "m", "n": 3, "temperature": 0.5, "stop": "x", "list": [1], "none": None}
    assert (model_name(data), integer(data, "n"), integer(data, "none")) == ("m", 3, None)
    assert (number(data, "temperature", 0, 1), number(data, "other", 0, 1)) == (0.5, None)
    assert (items(data, "list"), items(data, "none"), stops(data), stops({})) == ([1], [], ("x",), ())
    check_sampling(data)


@pytest.mark.parametrize(
    ("value", "read"),
    [("a", ("a",)), (["a", "b"], ("a", "b")), ([1, 2], ((1, 2),)), ([[1], [2, 3]], ((1,), (2, 3)))],
)
def test_inputs_come_in_four_forms(value, read):
    """Text, texts, tokens, lists of tokens."""
    assert inputs(value, "prompt") == read


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: model_name({"model": 5}), "model"),
        (lambda: integer({"n": 1.5}, "n"), "n must be an integer"),
        (lambda: integer({"n": 0}, "n", low=1), "n must be at least 1"),
        (lambda: integer({"n": 9}, "n", high=8), "n must be at most 8"),
        (lambda: number({"t": True}, "t", 0, 1), "t must be a number between 0 and 1"),
        (lambda: number({"t": 1.1}, "t", 0, 1), "t must be a number between 0 and 1, got 1.1"),
        (lambda: check_sampling({"top_p": 2}), "top_p must be a number"),
        (lambda: items({"tools": {}}, "tools"), "tools must be a list"),
        (lambda: items({}, "messages", required=True), "messages must be a non-empty list"),
        (lambda: inputs([True], "input"), "input must hold"),
        (lambda: inputs([[1, "a"]], "input"), "input must hold text or non-empty lists"),
        (lambda: inputs(["a"] * (INPUTS_MAX + 1), "input"), "input must be text"),
        (lambda: stops({"stop": ["x"] * (STOPS_MAX + 1)}), "stop must be"),
        (lambda: stops({"stop": [""]}), "stop must be a non-empty string"),
    ],
)
def test_wrong_fields_are_named(wrong, named):
    """A 400 each."""
    with pytest.raises(ApiError, match=named) as caught:
        wrong()
    assert caught.value.status == 400
    assert caught.value.param
