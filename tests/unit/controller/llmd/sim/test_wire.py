"""Bodies are read as vLLM reads them, and wrong ones are refused with its shape."""

from contextlib import suppress

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.wire import read_chat, read_completion, read_embedding, read_response

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
WRONG_CHAT = [
    {"model": None},
    {"model": 5},
    {"messages": None},
    {"messages": []},
    {"messages": "hi"},
    {"messages": ["hi"]},
    {"messages": [{"content": "x"}]},
    {"messages": [{"role": "user", "content": 5}]},
    {"messages": [{"role": "user", "content": [5]}]},
    {"max_tokens": 0},
    {"max_tokens": "10"},
    {"max_completion_tokens": -1},
    {"max_tokens": True},
    {"n": 0},
    {"n": 129},
    {"temperature": -1},
    {"temperature": "hot"},
    {"top_p": 2},
    {"stop": [""]},
    {"stop": 5},
    {"stop": ["x"] * 65},
    {"stream_options": {"include_usage": True}},
    {"tools": "f"},
    {"tools": [{"type": "function", "function": {}}]},
    {"tool_choice": "required"},
    {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "g"}}},
    {"priority": 1.5},
    {"seed": "x"},
]


@pytest.mark.parametrize("change", WRONG_CHAT)
def test_wrong_chat_fields_are_a_400_that_names_them(change):
    """The error carries vLLM's shape: message, BadRequestError, param, and the status as the code."""
    with pytest.raises(ApiError) as caught:
        read_chat(CHAT | change)
    error = orjson.loads(caught.value.body())["error"]
    assert (caught.value.status, error["code"], error["type"]) == (400, 400, "BadRequestError")
    assert error["message"]
    assert error["param"]


@pytest.mark.parametrize("read", [read_chat, read_completion])
def test_logprobs_are_refused_clearly(read):
    """They are not simulated, and the message says so."""
    with pytest.raises(ApiError, match="logprobs are not simulated"):
        read(CHAT | {"prompt": "x", "logprobs": True})


def test_a_full_chat_body_is_read_whole():
    """Every field that has an effect arrives; unknown ones are tolerated."""
    generation = read_chat(
        CHAT
        | {
            "n": 3,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 10,
            "max_completion_tokens": 7,
            "stop": "END",
            "seed": 4,
            "priority": -2,
            "tools": TOOLS,
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "parallel_tool_calls": False,
            "cache_salt": "s",
            "unknown": 1,
        }
    )
    assert (generation.choices, generation.stream, generation.include_usage) == (3, True, True)
    assert (generation.max_tokens, generation.stop, generation.seed, generation.priority) == (
        7,
        ("END",),
        4,
        -2,
    )
    assert (generation.tool_choice, generation.parallel_tools, generation.cache_salt) == ("=f", False, "s")
    assert generation.prompts == ("<user>\nhi\n<assistant>\n",)
    assert generation.last_user == "hi"


@pytest.mark.parametrize(
    ("prompt", "count"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), (["a", [3]], 2)]
)
def test_completions_take_text_tokens_and_lists_of_either(prompt, count):
    """OpenAI's four forms; max_tokens is 16 when not given."""
    generation = read_completion({"model": "m", "prompt": prompt})
    assert (len(generation.prompts), generation.max_tokens) == (count, 16)


@pytest.mark.parametrize("prompt", [None, [], [[]], 5, [{}], [1, "a"], ["a"] * 2049, [True]])
def test_wrong_prompts_are_refused(prompt):
    """Nothing else is a prompt, nor an input to embed."""
    with pytest.raises(ApiError, match="n times the prompts"):
        read_completion({"model": "m", "prompt": ["a"] * 100, "n": 100})
    for read, name in ((read_completion, "prompt"), (read_embedding, "input")):
        with pytest.raises(ApiError):
            read({"model": "m", name: prompt})


def test_responses_take_text_and_items():
    """Instructions come first; stored conversations are refused."""
    generation = read_response(
        {"model": "m", "input": "hi", "instructions": "be brief", "max_output_tokens": 9}
    )
    assert generation.prompts == ("<system>\nbe brief\n<user>\nhi\n<assistant>\n",)
    assert generation.max_tokens == 9
    items = [
        {"role": "user", "content": "x"},
        {"type": "function_call_output", "call_id": "1", "output": "42"},
    ]
    assert read_response({"model": "m", "input": items}).after_tool
    with pytest.raises(ApiError, match="previous_response_id"):
        read_response({"model": "m", "input": "x", "previous_response_id": "r"})


def test_embedding_options_are_checked():
    """base64 or float, dimensions at least 1."""
    assert read_embedding({"model": "m", "input": "x", "encoding_format": "base64"}).base64
    for wrong in ({"encoding_format": "hex"}, {"dimensions": 0}):
        with pytest.raises(ApiError):
            read_embedding({"model": "m", "input": "x"} | wrong)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
FIELDS = [
    "model",
    "messages",
    "prompt",
    "input",
    "tools",
    "tool_choice",
    "stop",
    "n",
    "text",
    "response_format",
]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELDS), JSON),
    st.sampled_from([read_chat, read_completion, read_response]),
)
def test_any_body_is_read_or_refused_as_the_callers_fault(data, read):
    """No JSON object raises anything but ApiError 400."""
    status = 400
    with suppress(ApiError):
        try:
            read(data)
        except ApiError as error:
            status = error.status
            raise
    assert status == 400
