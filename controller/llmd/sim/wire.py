"""OpenAI bodies in: bounded, checked, as one `Generation` or `Embedding`. Pure; raises `ApiError` only.

Messages and shapes follow vLLM's: 400 `BadRequestError`, 404 `NotFoundError`, `{"error": {message, type,
param, code}}` with the status as the code. Unknown fields are tolerated, as vLLM does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import orjson

Api = Literal["chat", "completion", "response", "message"]

CHOICES_MAX: Final = 128
"""OpenAI's bound on `n`."""
INPUTS_MAX: Final = 2048
"""OpenAI's bound on the inputs of one embeddings call, and ours on prompts of one completions call."""
STOPS_MAX: Final = 64
"""Stop strings of one request; OpenAI takes 4, vLLM any number."""
IMAGE_TOKENS: Final = 256
"""What an image or audio part counts for; models differ between 85 and 2,880."""


class ApiError(Exception):
    """An answer that is an error. `kind` is vLLM's error type; `plain` sends the message as text."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "BadRequestError",
        param: str | None = None,
        headers: dict[str, str] | None = None,
        plain: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.headers = headers or {}
        self.plain = plain

    def body(self) -> bytes:
        """Return the error object as JSON."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}
        return orjson.dumps({"error": error})


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the caller offers."""

    name: str
    parameters: Any


@dataclass(frozen=True, slots=True)
class Generation:
    """A request for text. `prompts` are rendered; `last_user` is what echo mode repeats."""

    api: Api
    model: str
    prompts: tuple[str | tuple[int, ...], ...]
    last_user: str
    choices: int = 1
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    stop: tuple[str, ...] = ()
    seed: int = 0
    priority: int = 0
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "none"
    parallel_tools: bool = True
    schema: Any = None
    cache_salt: str = ""
    echo: bool = False
    after_tool: bool = False
    extra_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Embedding:
    """A request for vectors."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None
    base64: bool


@dataclass(slots=True)
class _Rendered:
    text: list[str] = field(default_factory=list)
    last_user: str = ""
    last_role: str = ""
    extra_tokens: int = 0


def read_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"invalid JSON in the request body: {error}") from error
    if not isinstance(data, dict):
        raise ApiError(400, "the request body must be a JSON object")
    return data


def read_chat(data: dict[str, Any]) -> Generation:
    """Read a chat completions body."""
    rendered = _render(_list(data, "messages", required=True), "messages")
    if data.get("logprobs") or data.get("top_logprobs"):
        raise ApiError(
            400, "logprobs are not simulated: leave logprobs and top_logprobs out", param="logprobs"
        )
    maximum = _integer(data, "max_completion_tokens", low=1)
    if maximum is None:
        maximum = _integer(data, "max_tokens", low=1)
    tools = tuple(_tool(tool, "function") for tool in _list(data, "tools"))
    return _generation(data, "chat", rendered, maximum, tools, _schema(data.get("response_format")))


def read_completion(data: dict[str, Any]) -> Generation:
    """Read a completions body; a prompt is text, tokens, or a list of either."""
    if data.get("logprobs") is not None:
        raise ApiError(400, "logprobs are not simulated: leave logprobs out", param="logprobs")
    prompts = _inputs(data.get("prompt"), "prompt")
    maximum = _integer(data, "max_tokens", low=1)
    last = prompts[-1] if isinstance(prompts[-1], str) else ""
    rendered = _Rendered([], last)
    generation = _generation(data, "completion", rendered, 16 if maximum is None else maximum, (), None)
    if len(prompts) * generation.choices > INPUTS_MAX:
        raise ApiError(400, f"n times the prompts must be at most {INPUTS_MAX}", param="n")
    return replace(generation, prompts=prompts, echo=data.get("echo") is True)


def read_response(data: dict[str, Any]) -> Generation:
    """Read a responses body."""
    if data.get("previous_response_id"):
        message = "responses are not stored here: send the whole input instead of previous_response_id"
        raise ApiError(400, message, param="previous_response_id")
    given = data.get("input")
    items = (
        [{"role": "user", "content": given}]
        if isinstance(given, str)
        else _list(data, "input", required=True)
    )
    if isinstance(data.get("instructions"), str):
        items = [{"role": "system", "content": data["instructions"]}, *items]
    text = data.get("text")
    shape = text.get("format") if isinstance(text, dict) else None
    tools = tuple(_tool(tool, None) for tool in _list(data, "tools"))
    maximum = _integer(data, "max_output_tokens", low=1)
    return _generation(data, "response", _render(items, "input"), maximum, tools, _schema(shape))


def read_embedding(data: dict[str, Any]) -> Embedding:
    """Read an embeddings body."""
    shape = data.get("encoding_format", "float")
    if not isinstance(shape, str) or shape not in {"float", "base64"}:
        raise ApiError(400, "encoding_format must be float or base64", param="encoding_format")
    return Embedding(
        _model(data),
        _inputs(data.get("input"), "input"),
        _integer(data, "dimensions", low=1),
        shape == "base64",
    )


def _generation(
    data: dict[str, Any],
    api: Api,
    rendered: _Rendered,
    maximum: int | None,
    tools: tuple[Tool, ...],
    schema: Any,
) -> Generation:
    stream = data.get("stream") is True
    options = data.get("stream_options")
    if options is not None and not stream:
        raise ApiError(400, "stream options can only be defined when stream is true", param="stream_options")
    _numbers(data)
    return Generation(
        api=api,
        model=_model(data),
        prompts=("".join(rendered.text),),
        last_user=rendered.last_user,
        choices=_integer(data, "n", low=1, high=CHOICES_MAX) or 1,
        stream=stream,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        max_tokens=maximum,
        min_tokens=_integer(data, "min_tokens", low=0) or 0,
        ignore_eos=data.get("ignore_eos") is True,
        stop=_stops(data),
        seed=_integer(data, "seed") or 0,
        priority=_integer(data, "priority") or 0,
        tools=tools,
        tool_choice=_tool_choice(data, tools),
        parallel_tools=data.get("parallel_tool_calls") is not False,
        schema=schema,
        cache_salt=str(data.get("cache_salt") or ""),
        after_tool=rendered.last_role in {"tool", "function_call_output"},
        extra_tokens=rendered.extra_tokens,
    )


def _model(data: dict[str, Any]) -> str:
    model = data.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError(400, "model must be a non-empty string", param="model")
    return model


def _numbers(data: dict[str, Any]) -> None:
    for name, low, high in (("temperature", 0.0, 100.0), ("top_p", 0.0, 1.0)):
        value = data.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ApiError(
                400, f"{name} must be a number between {low:g} and {high:g}, got {value!r}", param=name
            )


def _integer(data: dict[str, Any], name: str, low: int = -(2**63), high: int = 2**63) -> int | None:
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ApiError(400, f"{name} must be an integer, got {value!r}", param=name)
    if value < low:
        raise ApiError(400, f"{name} must be at least {low}, got {value}.", param=name)
    if value > high:
        raise ApiError(400, f"{name} must be at most {high}, got {value}.", param=name)
    return value


def _list(data: dict[str, Any], name: str, *, required: bool = False) -> list[Any]:
    value = data.get(name)
    if value is None and not required:
        return []
    if not isinstance(value, list) or (required and not value):
        raise ApiError(400, f"{name} must be a {'non-empty ' if required else ''}list", param=name)
    return value


def _inputs(value: Any, name: str) -> tuple[str | tuple[int, ...], ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value or len(value) > INPUTS_MAX:
        message = f"{name} must be text, tokens, or a list of 1 to {INPUTS_MAX} of either"
        raise ApiError(400, message, param=name)
    if all(isinstance(item, int) and not isinstance(item, bool) for item in value):
        value = [value]
    inputs: list[str | tuple[int, ...]] = []
    for item in value:
        if isinstance(item, str):
            inputs.append(item)
        elif isinstance(item, list) and item and all(isinstance(token, int) for token in item):
            inputs.append(tuple(item))
        else:
            raise ApiError(400, f"{name} must hold text or non-empty lists of token ids", param=name)
    return tuple(inputs)


def _stops(data: dict[str, Any]) -> tuple[str, ...]:
    value = data.get("stop")
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if (
        not isinstance(stops, list)
        or len(stops) > STOPS_MAX
        or not all(isinstance(s, str) and s for s in stops)
    ):
        raise ApiError(400, f"stop must be a non-empty string or a list of up to {STOPS_MAX}", param="stop")
    return tuple(stops)


def _render(messages: list[Any], name: str) -> _Rendered:
    """Flatten messages into one prompt, a plain chat template."""
    rendered = _Rendered()
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise ApiError(400, f"{name}[{index}] must be an object", param=name)
        role = message.get("role") or message.get("type")
        if not isinstance(role, str) or not role:
            raise ApiError(400, f"{name}[{index}].role must be a string", param=name)
        text = _content(message.get("content", message.get("output")), rendered, f"{name}[{index}].content")
        text += "".join(str(call) for call in _list(message, "tool_calls"))
        rendered.text.append(f"<{role}>\n{text}\n")
        rendered.last_role = role
        if role == "user":
            rendered.last_user = text
    rendered.text.append("<assistant>\n")
    return rendered


def _content(content: Any, rendered: _Rendered, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise ApiError(400, f"{where} must be text or a list of parts", param=where)
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, dict) and isinstance(part.get("type"), str):
            rendered.extra_tokens += IMAGE_TOKENS
        else:
            raise ApiError(400, f"{where} holds a part without a type", param=where)
    return "".join(texts)


def _tool(tool: Any, nested: str | None) -> Tool:
    function = tool.get(nested) if isinstance(tool, dict) and nested else tool
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise ApiError(400, "a tool must be a function with a name", param="tools")
    return Tool(function["name"], function.get("parameters") or {})


def _tool_choice(data: dict[str, Any], tools: tuple[Tool, ...]) -> str:
    """Return none, auto, required, or the name of the one function to call after a `=`."""
    choice = data.get("tool_choice")
    if choice is None:
        return "auto" if tools else "none"
    if choice == "none":
        return "none"
    if not tools:
        raise ApiError(400, "when using tool_choice, tools must be set", param="tool_choice")
    if isinstance(choice, str) and choice in {"auto", "required"}:
        return choice
    function = choice.get("function", choice) if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not any(tool.name == name for tool in tools):
        raise ApiError(400, "tool_choice names no function of tools", param="tool_choice")
    return f"={name}"


def _schema(shape: Any) -> Any:
    """Return the JSON schema that the answer must fit; `{}` for any JSON object, None for text."""
    if not isinstance(shape, dict):
        return None
    if shape.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    if shape.get("type") == "json_schema":
        inner = shape.get("json_schema", shape)
        return inner.get("schema", {}) if isinstance(inner, dict) else {}
    return None
