"""An image stands beside the text."""

import orjson

from controller.llmd.sim.images import IMAGE_BLOCK, image_chunk, with_images
from controller.llmd.sim.shapes import Head


def test_a_chunk_carries_the_image():
    """With its modality, for one choice."""
    raw = image_chunk(Head("chatcmpl-1", 5, "m"), 2)
    chunk = orjson.loads(raw.removeprefix(b"data: "))
    assert (chunk["modality"], chunk["choices"][0]["index"]) == ("image", 2)
    assert chunk["choices"][0]["delta"]["content"] == [IMAGE_BLOCK]


def test_a_whole_answer_becomes_a_list():
    """Text first; a call has none."""
    body = {"choices": [{"message": {"content": "hi"}}, {"message": {"content": None, "tool_calls": []}}]}
    told = with_images(body)["choices"]
    assert told[0]["message"]["content"] == [{"type": "text", "text": "hi"}, IMAGE_BLOCK]
    assert told[1]["message"] == {"content": [IMAGE_BLOCK], "tool_calls": []}
