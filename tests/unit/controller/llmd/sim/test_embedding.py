"""Vectors are of length one, and of their text alone."""

import base64
import struct

import pytest

from controller.llmd.sim.answer import Prompt
from controller.llmd.sim.embedding import embedding_body, vector
from controller.llmd.sim.shapes import Head

PROMPTS = [Prompt(3, None, "k1", "a"), Prompt(4, None, "k2", "b")]


def test_vectors_are_units_by_seed_and_key():
    """Others differ."""
    assert sum(value * value for value in vector(1, "k", 50)) == pytest.approx(1)
    assert vector(1, "k", 5) == vector(1, "k", 5)
    assert len({tuple(vector(*case, 5)) for case in ((1, "k"), (2, "k"), (1, "l"))}) == 3


def test_both_formats_say_the_same():
    """Floats, or the same as base64 of 32-bit ones; tokens are summed."""
    head = Head("embd-1", 5, "m")
    plain = embedding_body(head, PROMPTS, 1, 4, as_base64=False)
    packed = embedding_body(head, PROMPTS, 1, 4, as_base64=True)
    for left, right in zip(plain["data"], packed["data"], strict=True):
        assert struct.unpack("<4f", base64.b64decode(right["embedding"])) == pytest.approx(left["embedding"])
    assert plain["usage"]["total_tokens"] == 7
    assert [each["index"] for each in plain["data"]] == [0, 1]
