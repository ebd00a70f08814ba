"""What a simulated model says: prompts counted, answers planned before they are computed. Pure.

An answer depends on the seed, the rendered prompt, the body's `seed` and the number of the choice, and on
nothing else: the same question gets the same answer from every model, replica and process, so that two
arms of a comparison carry the same lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson

from controller.llmd.sim.config import ModelConfig, SimConfig
from controller.llmd.sim.draws import uniform
from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.schema_values import SchemaValues
from controller.llmd.sim.text import BlockChain, answer_length, digest, special, tokenize, words
from controller.llmd.sim.wire import Generation, Tool


@dataclass(frozen=True, slots=True)
class Prompt:
    """A counted prompt: tokens, the chain of its full blocks, and the key of all draws about it.

    Without prefix caching there is no chain, and `prefix` is empty.
    """

    tokens: int
    chain: BlockChain | None
    key: str
    text: str

    @property
    def prefix(self) -> tuple[int, ...]:
        """The hashes of the full blocks."""
        return self.chain.hashes if self.chain is not None else ()

    def blocks_of(self, answer: Answer) -> tuple[int, ...]:
        """Return the hashes of the full blocks that the answer adds to the prompt's."""
        return self.chain.then(answer.said).hashes if self.chain is not None else ()


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call. Its name is one token, its arguments are `pieces`."""

    call_id: str
    name: str
    pieces: tuple[str, ...]

    @property
    def arguments(self) -> str:
        """The arguments as JSON text; cut short when `max_tokens` ended them."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Answer:
    """One choice: text in `pieces`, one a token, or `calls`. `tokens` is what it costs to generate.

    `said` are the tokens as they are computed: a stop string is among them, and not among the pieces.
    """

    pieces: tuple[str, ...]
    calls: tuple[Call, ...]
    finish_reason: str
    tokens: int
    said: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


COLD: Final = Answer((), (), "cache_threshold", 0)
"""The answer to a prompt of which too little was cached."""


def count_prompt(model: ModelConfig, prompt: str | Sequence[int], *, salt: str = "") -> Prompt:
    """Count a prompt for `model` and hash its blocks."""
    text = prompt if isinstance(prompt, str) else " ".join(map(str, prompt))
    tokens = tokenize(text) if isinstance(prompt, str) else [str(token) for token in prompt]
    engine = model.engine
    chain = BlockChain.begin(engine.block_tokens, salt).then(tokens) if engine.prefix_caching else None
    return Prompt(max(len(tokens), 1), chain, digest(text), text)


def room_for(model: ModelConfig, prompt: Prompt, max_tokens: int | None) -> int:
    """Return the most tokens an answer may have. Raise `ApiError` 400 when the context is too short."""
    context = model.engine.context_max
    asked = 0 if max_tokens is None else max_tokens
    if prompt.tokens + max(asked, 1) > context:
        message = (
            f"This model's maximum context length is {context} tokens. However, you requested "
            f"{prompt.tokens + asked} tokens ({prompt.tokens} in the messages, {asked} in the completion). "
            "Please reduce the length of the messages or completion."
        )
        raise ApiError(400, message, param="max_tokens")
    return max_tokens if max_tokens is not None else context - prompt.tokens


def plan_answer(config: SimConfig, generation: Generation, prompt: Prompt, choice: int, room: int) -> Answer:
    """Return the answer to one choice of one prompt, at most `room` tokens long."""
    answer = _drawn(config, generation, prompt, f"{prompt.key}/{generation.seed}/{choice}", room)
    return replace(answer, finish_reason="remote_decode") if generation.remote_decode else answer


def _drawn(config: SimConfig, generation: Generation, prompt: Prompt, key: str, room: int) -> Answer:
    calls = _calls(config, generation, key)
    if calls:
        return _cut_calls(calls, room)
    if generation.schema is not None:
        value = SchemaValues(config.seed, key, generation.schema, config.tools).value(generation.schema)
        return _cut_text(tokenize(orjson.dumps(value).decode()), room, ())
    if config.mode == "echo":
        return _cut_text(tokenize(generation.last_user or prompt.text), room, generation.stop)
    wanted = answer_length(config.seed, key, config.lengths, generation.max_tokens, room)
    wanted = room + 1 if generation.ignore_eos else max(wanted, generation.min_tokens)
    return _cut_text(words(config.seed, key, min(wanted, room + 1)), room, generation.stop)


def _cut_text(pieces: list[str], room: int, stops: tuple[str, ...]) -> Answer:
    finish = "length" if len(pieces) > room else "stop"
    said = pieces = pieces[:room] or ["."]
    if stops:
        text = "".join(pieces)
        found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
        if found:
            # the stop string's tokens are computed, and not sent: they count
            kept, cost, at = [], 0, 0
            for piece in pieces:
                cost += 1
                kept.append(piece[: max(min(found) - at, 0)])
                at += len(piece)
                if at > min(found):
                    break
            return Answer(tuple(kept), (), "stop", cost, tuple(said[:cost]))
    return Answer(tuple(pieces), (), finish, len(pieces), tuple(said))


def _calls(config: SimConfig, generation: Generation, key: str) -> tuple[Call, ...]:
    tools, choice = generation.tools, generation.tool_choice
    if choice == "none":
        return ()
    if choice == "auto":
        if generation.after_tool or uniform(config.seed, "tool", key) >= config.tool_call_rate:
            return ()
        tools = _some(config, tools, key, parallel=generation.parallel_tools)
    elif choice == "required":
        tools = _some(config, tools, key, parallel=generation.parallel_tools)
    else:
        tools = tuple(tool for tool in tools if tool.name == choice[1:])[:1]
    return tuple(_call(config, tool, f"{key}/{index}") for index, tool in enumerate(tools))


def _some(config: SimConfig, tools: tuple[Tool, ...], key: str, *, parallel: bool) -> tuple[Tool, ...]:
    """Choose one tool, or two in parallel for every third request."""
    first = int(uniform(config.seed, "which", key) * len(tools))
    count = 2 if parallel and len(tools) > 1 and uniform(config.seed, "parallel", key) < 1 / 3 else 1
    return tuple(tools[(first + index) % len(tools)] for index in range(count))


def _call(config: SimConfig, tool: Tool, key: str) -> Call:
    value = SchemaValues(config.seed, key, tool.parameters, config.tools).value(tool.parameters)
    arguments = orjson.dumps(value if isinstance(value, dict) else {}).decode()
    return Call(f"call_{digest(str(config.seed), key)[:24]}", tool.name, tuple(tokenize(arguments)))


def _cut_calls(calls: tuple[Call, ...], room: int) -> Answer:
    kept: list[Call] = []
    for call in calls:
        if room < 1:
            break
        pieces = call.pieces[: room - 1]
        kept.append(Call(call.call_id, call.name, pieces))
        room -= 1 + len(call.pieces)
    said = tuple(token for call in kept for token in (special(call.name), *call.pieces))
    return Answer((), tuple(kept), "length" if room < 0 else "tool_calls", len(said), said)
