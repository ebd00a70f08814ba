"""OpenAI bodies in: bounded, checked, as one `Generation` or `Embedding`. Pure; raises `ApiError` only.

Messages and shapes follow vLLM's: 400 `BadRequestError`, 404 `NotFoundError`, `{"error": {message, type,
param, code}}` with the status as the code. Unknown fields are tolerated, as vLLM does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from controller.llmd.sim.fields import (
    INPUTS_MAX,
    ApiError,
    check_sampling,
    inputs,
    integer,
    items,
    model_name,
    number,
    stops,
)
from controller.llmd.sim.template import Rendered, render

Api = Literal["chat", "completion", "response", "message", "generate"]

CHOICES_MAX: Final = 128
"""OpenAI's bound on `n`."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the caller offers."""

    name: str
    parameters: Any


@dataclass(frozen=True, slots=True)
class Generation:
    """A request for text. `prompts` are rendered; `last_user` is what echo mode repeats.

    `hit_rate_min` is the body's `cache_hit_threshold`; `remote_prefill` and `remote_decode` are of its
    `kv_transfer_params`: the prompt was computed elsewhere, or the rest of the answer will be.
    """

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
    hit_rate_min: float | None = None
    remote_prefill: bool = False
    remote_decode: bool = False


@dataclass(frozen=True, slots=True)
class Embedding:
    """A request for vectors."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None
    base64: bool


def read_chat(data: dict[str, Any]) -> Generation:
    """Read a chat completions body."""
    rendered = render(items(data, "messages", required=True), "messages")
    if data.get("logprobs") or data.get("top_logprobs"):
        raise ApiError(
            400, "logprobs are not simulated: leave logprobs and top_logprobs out", param="logprobs"
        )
    maximum = integer(data, "max_completion_tokens", low=1)
    if maximum is None:
        maximum = integer(data, "max_tokens", low=1)
    tools = tuple(_tool(tool, "function") for tool in items(data, "tools"))
    return _generation(data, "chat", rendered, maximum, tools, _schema(data.get("response_format")))


def read_completion(data: dict[str, Any]) -> Generation:
    """Read a completions body; a prompt is text, tokens, or a list of either."""
    if data.get("logprobs") is not None:
        raise ApiError(400, "logprobs are not simulated: leave logprobs out", param="logprobs")
    prompts = inputs(data.get("prompt"), "prompt")
    maximum = integer(data, "max_tokens", low=1)
    last = prompts[-1] if isinstance(prompts[-1], str) else ""
    rendered = Rendered([], last)
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
    turns = (
        [{"role": "user", "content": given}]
        if isinstance(given, str)
        else items(data, "input", required=True)
    )
    if isinstance(data.get("instructions"), str):
        turns = [{"role": "system", "content": data["instructions"]}, *turns]
    text = data.get("text")
    shape = text.get("format") if isinstance(text, dict) else None
    tools = tuple(_tool(tool, None) for tool in items(data, "tools"))
    maximum = integer(data, "max_output_tokens", low=1)
    return _generation(data, "response", render(turns, "input"), maximum, tools, _schema(shape))


def read_generate(data: dict[str, Any]) -> Generation:
    """Read a body of vLLM's `/inference/v1/generate`: token ids in, token ids out."""
    tokens = data.get("token_ids")
    sampling = data.get("sampling_params")
    if not isinstance(tokens, list) or not tokens or not all(type(token) is int for token in tokens):
        raise ApiError(400, "token_ids must be a non-empty list of token ids", param="token_ids")
    if not isinstance(sampling, dict):
        raise ApiError(400, "sampling_params must be an object", param="sampling_params")
    extra = sampling.get("extra_args")
    inner = extra if isinstance(extra, dict) else {}  # real ones look for the transfer in there too
    body = sampling | {
        "model": data.get("model"),
        "stream": data.get("stream"),
        "stream_options": data.get("stream_options"),
        "kv_transfer_params": data.get("kv_transfer_params") or inner.get("kv_transfer_params"),
    }
    maximum = integer(sampling, "max_tokens", low=1)
    generation = _generation(body, "generate", Rendered(), maximum, (), None)
    return replace(generation, prompts=(tuple(tokens),), choices=1)


def read_embedding(data: dict[str, Any]) -> Embedding:
    """Read an embeddings body."""
    shape = data.get("encoding_format", "float")
    if not isinstance(shape, str) or shape not in {"float", "base64"}:
        raise ApiError(400, "encoding_format must be float or base64", param="encoding_format")
    return Embedding(
        model_name(data),
        inputs(data.get("input"), "input"),
        integer(data, "dimensions", low=1),
        shape == "base64",
    )


def _generation(
    data: dict[str, Any],
    api: Api,
    rendered: Rendered,
    maximum: int | None,
    tools: tuple[Tool, ...],
    schema: Any,
) -> Generation:
    stream = data.get("stream") is True
    options = data.get("stream_options")
    if options is not None and not stream:
        raise ApiError(400, "stream options can only be defined when stream is true", param="stream_options")
    check_sampling(data)
    transfer = _transfer(data)
    if stream and transfer.get("do_remote_decode") is True:
        raise ApiError(400, "Prefill does not support streaming", param="stream")
    return Generation(
        api=api,
        model=model_name(data),
        prompts=("".join(rendered.text),),
        last_user=rendered.last_user,
        choices=integer(data, "n", low=1, high=CHOICES_MAX) or 1,
        stream=stream,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        max_tokens=maximum,
        min_tokens=integer(data, "min_tokens", low=0) or 0,
        ignore_eos=data.get("ignore_eos") is True,
        stop=stops(data),
        seed=integer(data, "seed") or 0,
        priority=integer(data, "priority") or 0,
        tools=tools,
        tool_choice=_tool_choice(data, tools),
        parallel_tools=data.get("parallel_tool_calls") is not False,
        schema=schema,
        cache_salt=str(data.get("cache_salt") or ""),
        after_tool=rendered.after_tool,
        hit_rate_min=number(data, "cache_hit_threshold", 0.0, 1.0),
        remote_prefill=transfer.get("do_remote_prefill") is True,
        remote_decode=transfer.get("do_remote_decode") is True,
    )


def _transfer(data: dict[str, Any]) -> dict[str, Any]:
    transfer = data.get("kv_transfer_params")
    if transfer is not None and not isinstance(transfer, dict):
        raise ApiError(400, "kv_transfer_params must be an object", param="kv_transfer_params")
    return transfer or {}


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
