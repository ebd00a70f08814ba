"""Over real sockets: a conversation finds what was said before in the prefix cache."""

import pytest

from tests.kit.simulator import HI, TOOLS, serving

LONG = [{"role": "user", "content": "Tell me of the order, please. " * 20}]


def held(usage, block=16):
    """Return the tokens that a turn leaves in full blocks: all but the last sampled one are computed."""
    return (usage.prompt_tokens + usage.completion_tokens - 1) // block * block


async def test_a_second_turn_finds_the_first_answer():
    """Its prompt is cached up to the last full block of question and answer, and no further."""
    async with serving() as (_, client, _http):
        first = await client.chat.completions.create(model="big", messages=LONG, max_tokens=60)
        answer = {"role": "assistant", "content": first.choices[0].message.content}
        turn = [*LONG, answer, {"role": "user", "content": "And then, what? " * 10}]
        second = await client.chat.completions.create(model="big", messages=turn, max_tokens=5)
        assert first.usage.prompt_tokens_details.cached_tokens == 0
        assert second.usage.prompt_tokens_details.cached_tokens == held(first.usage)
        other = [*LONG, {"role": "assistant", "content": "No."}, *turn[2:]]
        third = await client.chat.completions.create(model="big", messages=other, max_tokens=5)
        assert third.usage.prompt_tokens_details.cached_tokens < held(first.usage)


async def test_a_tool_result_finds_the_calls_that_asked_for_it():
    """Chat, responses and messages: the calls come back as they were said."""
    async with serving() as (_, client, _http):
        chat = await client.chat.completions.create(
            model="big", messages=LONG, tools=TOOLS, tool_choice="required"
        )
        calls = chat.choices[0].message.tool_calls
        turn = [*LONG, {"role": "assistant", "tool_calls": [call.model_dump() for call in calls]}]
        turn += [{"role": "tool", "tool_call_id": call.id, "content": "done " * 20} for call in calls]
        after = await client.chat.completions.create(model="big", messages=turn, tools=TOOLS, max_tokens=5)
        assert after.usage.prompt_tokens_details.cached_tokens == held(chat.usage)

        tools = [TOOLS[0]["function"] | {"type": "function"}]
        asked = {"model": "small", "tools": tools, "max_output_tokens": 200}
        said = await client.responses.create(input=LONG, tool_choice="required", **asked)
        items = [*LONG, *(item.model_dump() for item in said.output)]
        items += [
            {"type": "function_call_output", "call_id": item.call_id, "output": "done " * 20}
            for item in said.output
        ]
        after = await client.responses.create(input=items, **asked)
        whole = said.usage.input_tokens + said.usage.output_tokens
        assert after.usage.input_tokens_details.cached_tokens == (whole - 1) // 16 * 16
        assert after.output_text


@pytest.mark.parametrize("salted", [True, False])
async def test_a_cache_salt_shares_nothing(salted):
    """The same question with another salt is computed anew."""
    async with serving() as (_, client, _http):
        cached = []
        for salt in ("a", "b" if salted else "a"):
            answer = await client.chat.completions.create(
                model="big", messages=LONG + HI, max_tokens=2, extra_body={"cache_salt": salt}
            )
            cached.append(answer.usage.prompt_tokens_details.cached_tokens)
        assert cached[0] == 0
        assert (cached[1] == 0) is salted


async def test_the_client_streams_function_calls_of_responses():
    """Its own accumulation of the stream's events is the whole answer; ids, names and arguments agree."""
    asked = {
        "model": "small",
        "input": "refund it",
        "tools": [TOOLS[0]["function"] | {"type": "function", "strict": False}],
        "tool_choice": "required",
    }
    async with serving() as (_, client, _http):
        whole = await client.responses.create(**asked)
        async with client.responses.stream(**asked) as stream:
            names = [event.type async for event in stream]
            final = await stream.get_final_response()
        [call], [streamed] = whole.output, final.output
        assert (streamed.call_id, streamed.name, streamed.arguments) == (
            call.call_id,
            call.name,
            call.arguments,
        )
        assert names[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
        assert names[-3:] == [
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
        assert set(names[3:-3]) == {"response.function_call_arguments.delta"}
