"""The kit itself: a gateway in the test's loop between a raw client and a raw backend."""

from __future__ import annotations

from tests.kit.gateways import StartGateway, chat_body
from tests.kit.rawpeer import Message, Wire, post, raw_client, raw_server

ANSWER = b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}'


async def test_a_request_goes_through_and_its_outcome_is_found(start_gateway: StartGateway) -> None:
    """A request from a raw client reaches the raw backend, and the kit finds the one outcome."""
    seen: list[Message] = []

    async def backend_script(wire: Wire) -> None:
        seen.append(await wire.read_request())
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))

    async with raw_server(backend_script) as backend:
        gateway = await start_gateway(backend_url=backend.url)
        async with raw_client(gateway.port) as client:
            await client.send(post("/v1/chat/completions", chat_body()))
            answer = await client.read_answer()
        [outcome] = await gateway.outcomes()
    assert (answer.status, answer.body) == (200, ANSWER)
    assert [message.body for message in seen] == [chat_body()]
    assert outcome["fate"] == "complete"
    assert outcome["usage"] == {"prompt_tokens": 1, "completion_tokens": 2}
