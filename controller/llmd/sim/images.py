"""Images that a simulated omni model gives after its text, in chat completions. Pure.

As in llm-d-inference-sim: the same 1x1 transparent PNG every time, as a further chunk with the modality
`image`, or as the second block of a content that becomes a list.
"""

from __future__ import annotations

from typing import Any, Final

from controller.llmd.sim.shapes import Head, sse

_PNG: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
IMAGE_BLOCK: Final = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PNG}"}}


def image_chunk(head: Head, choice: int) -> bytes:
    """Return the event that carries the image of a choice."""
    delta = {"role": "assistant", "content": [IMAGE_BLOCK]}
    chunk = {
        "id": head.answer_id,
        "object": "chat.completion.chunk",
        "created": head.created,
        "model": head.model,
        "choices": [{"index": choice, "delta": delta, "logprobs": None, "finish_reason": None}],
        "modality": "image",
    }
    return sse(chunk)


def with_images(body: dict[str, Any]) -> dict[str, Any]:
    """Return a whole chat completion with an image beside the text of every choice."""
    choices = []
    for choice in body["choices"]:
        message = choice["message"]
        text = [{"type": "text", "text": message["content"]}] if message["content"] is not None else []
        choices.append(choice | {"message": message | {"content": [*text, IMAGE_BLOCK]}})
    return body | {"choices": choices}
