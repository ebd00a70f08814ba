"""Anthropic Messages bodies in: read as the chat completion that they stand for, as vLLM does. Pure.

`system` becomes a system message, `tool_use` blocks the calls of an assistant message, `tool_result` blocks
messages of the role tool. Blocks of other types are passed over. Raises `ApiError` only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import orjson

from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.wire import Generation, read_chat

_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_SAME: Final[tuple[str, ...]] = (
    "model",
    "stream",
    "temperature",
    "top_p",
    "seed",
    "priority",
    "ignore_eos",
    "cache_salt",
)
"""Fields with one meaning in both APIs; the last four are vLLM's own."""


def read_message(data: dict[str, Any], *, counting: bool = False) -> Generation:
    """Read a messages body; when `counting`, that of `count_tokens`, which has no `max_tokens`."""
    if data.get("max_tokens") is None and not counting:
        raise ApiError(400, "max_tokens is required", param="max_tokens")
    chat: dict[str, Any] = {name: data[name] for name in _SAME if name in data}
    chat["messages"] = [*_system(data.get("system")), *_messages(data.get("messages"))]
    chat["max_tokens"] = data.get("max_tokens")
    chat["tools"] = [_tool(tool, index) for index, tool in enumerate(_list(data, "tools"))]
    if data.get("stop_sequences") is not None:
        chat["stop"] = _list(data, "stop_sequences")
    choice = data.get("tool_choice")
    if choice is not None:
        chat["tool_choice"] = _tool_choice(choice)
        chat["parallel_tool_calls"] = choice.get("disable_parallel_tool_use") is not True
    return replace(read_chat(chat), api="message")


def _list(data: dict[str, Any], name: str) -> list[Any]:
    value = data.get(name)
    if value is not None and not isinstance(value, list):
        raise ApiError(400, f"{name} must be a list", param=name)
    return value or []


def _system(system: Any) -> list[dict[str, Any]]:
    if not system:
        return []
    if not isinstance(system, str | list):
        raise ApiError(400, "system must be text or a list of text blocks", param="system")
    return [{"role": "system", "content": system}]


def _messages(messages: Any) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "messages must be a non-empty list", param="messages")
    chat: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise ApiError(400, f"{where} must be an object", param="messages")
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant"):
            raise ApiError(400, f"{where}.role must be user or assistant", param="messages")
        if isinstance(content, str):
            chat.append({"role": role, "content": content})
        elif isinstance(content, list):
            chat += _blocks(role, content, f"{where}.content")
        else:
            raise ApiError(400, f"{where}.content must be text or a list of blocks", param="messages")
    return chat


def _blocks(role: str, blocks: list[Any], where: str) -> list[dict[str, Any]]:
    """Return the results of tools first, then the message itself: the order of a conversation."""
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        at = f"{where}[{index}]"
        kind = block.get("type") if isinstance(block, dict) else None
        if not isinstance(kind, str):
            raise ApiError(400, f"{at} must be an object with a type", param="messages")
        if kind == "text":
            parts.append({"type": "text", "text": _text(block, "text", at)})
        elif kind == "image":
            if not isinstance(block.get("source"), dict):
                raise ApiError(400, f"{at} is an image without a source", param="messages")
            parts.append({"type": "image_url", "source": block["source"]})
        elif kind == "tool_use":
            calls.append(_call(block, at))
        elif kind == "tool_result":
            _text(block, "tool_use_id", at)
            results.append({"role": "tool", "content": block.get("content")})
    if parts or calls:
        results.append({"role": role, "content": parts, "tool_calls": calls})
    return results


def _call(block: dict[str, Any], at: str) -> dict[str, Any]:
    arguments = block.get("input", {})
    if not isinstance(arguments, dict):
        raise ApiError(400, f"{at}.input must be an object", param="messages")
    function = {"name": _text(block, "name", at), "arguments": orjson.dumps(arguments).decode()}
    return {"id": _text(block, "id", at), "type": "function", "function": function}


def _text(block: dict[str, Any], name: str, at: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise ApiError(400, f"{at}.{name} must be a string", param="messages")
    return value


def _tool(tool: Any, index: int) -> dict[str, Any]:
    if not isinstance(tool, dict) or not isinstance(tool.get("name"), str) or not tool["name"]:
        raise ApiError(400, f"tools[{index}].name must be a non-empty string", param="tools")
    schema = tool.get("input_schema", {})
    if not isinstance(schema, dict):
        raise ApiError(400, f"tools[{index}].input_schema must be an object", param="tools")
    return {"type": "function", "function": {"name": tool["name"], "parameters": schema}}


def _tool_choice(choice: Any) -> Any:
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "tool" and isinstance(choice.get("name"), str):
        return {"type": "function", "function": {"name": choice["name"]}}
    if not isinstance(kind, str) or kind not in _CHOICES:
        message = "tool_choice must be an object of type auto, any, none, or tool with a name"
        raise ApiError(400, message, param="tool_choice")
    return _CHOICES[kind]
