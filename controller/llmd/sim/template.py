"""Messages to one prompt: the chat template of every simulated model. Pure; raises `ApiError` only.

What a model said comes back in a later prompt token for token as it was computed, so that a follow-up finds
it in the prefix cache, as with real templates. The name of a called function and a tile of an image are
special tokens (`text.special`): one token each, whatever they hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from controller.llmd.sim.fields import ApiError, items
from controller.llmd.sim.text import digest, special

IMAGE_TOKENS: Final = 256
"""What an image or audio part counts for; models differ between 85 and 2,880."""
_RESULTS: Final = {"tool", "function_call_output"}


@dataclass(slots=True)
class Rendered:
    """A prompt under construction; `last_user` is the text of the last user message, without images."""

    text: list[str] = field(default_factory=list)
    last_user: str = ""
    last_role: str = ""

    @property
    def after_tool(self) -> bool:
        """The last message is the result of a tool."""
        return self.last_role in _RESULTS


def call_text(name: str, arguments: str) -> str:
    """Return the text of a tool call, as the model says it."""
    return special(name) + arguments


def render(messages: list[Any], name: str) -> Rendered:
    """Flatten chat messages or items of the Responses API; `name` is the field's, for errors."""
    rendered = Rendered()
    for index, message in enumerate(messages):
        where = f"{name}[{index}]"
        if not isinstance(message, dict):
            raise ApiError(400, f"{where} must be an object", param=name)
        role = message.get("role") or message.get("type")
        if not isinstance(role, str) or not role:
            raise ApiError(400, f"{where}.role must be a string", param=name)
        if role == "function_call":
            _call_item(message, rendered, where)
            continue
        text, media = _content(message.get("content", message.get("output")), f"{where}.content")
        calls = "".join(_call(call, where) for call in items(message, "tool_calls"))
        rendered.text.append(f"<{role}>\n{text}{media}{calls}\n")
        rendered.last_role = role
        if role == "user":
            rendered.last_user = text
    rendered.text.append("<assistant>\n")
    return rendered


def _call_item(item: dict[str, Any], rendered: Rendered, where: str) -> None:
    """Render a call of the Responses API; several in a row are what one answer said."""
    text = call_text(_text(item, "name", where), _text(item, "arguments", where))
    if rendered.last_role == "function_call":
        rendered.text[-1] = f"{rendered.text[-1][:-1]}{text}\n"
    else:
        rendered.text.append(f"<assistant>\n{text}\n")
    rendered.last_role = "function_call"


def _call(call: Any, where: str) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise ApiError(400, f"{where}.tool_calls must hold functions", param="messages")
    return call_text(_text(function, "name", where), _text(function, "arguments", where))


def _text(holder: dict[str, Any], name: str, where: str) -> str:
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ApiError(400, f"{where}: {name} of a call must be a string", param=name)
    return value


def _content(content: Any, where: str) -> tuple[str, str]:
    """Return the text of a message, and what stands for its images."""
    if content is None or isinstance(content, str):
        return content or "", ""
    if not isinstance(content, list):
        raise ApiError(400, f"{where} must be text or a list of parts", param=where)
    texts, media = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, dict) and isinstance(part.get("type"), str):
            media.append(special(digest(str(part))[:8]) * IMAGE_TOKENS)
        else:
            raise ApiError(400, f"{where} holds a part without a type", param=where)
    return "".join(texts), "".join(media)
