"""The lean client: kept connections, whole answers, honest errors."""

from __future__ import annotations

import asyncio

import pytest

from loadtest import client
from loadtest.client import AnswerError, Client, Head, read_origin, trouble
from tests.kit.loads import answering, plain, streamed
from tests.kit.rawpeer import Message, Wire, raw_server


def test_base_urls_are_read() -> None:
    """Scheme, host, port and path; what is none is said."""
    origin = read_origin("https://gateway.example/v1/")
    assert (origin.scheme, origin.host, origin.port, origin.path) == ("https", "gateway.example", 443, "/v1")
    assert read_origin("http://[::1]:8080").url == "http://[::1]:8080"
    for wrong in ("gateway:8080", "ftp://x/v1", "http://", ""):
        with pytest.raises(ValueError, match="no base URL"):
            read_origin(wrong)


async def test_pieces_come_with_their_instants() -> None:
    """Each piece of a stream is handed on when it arrives, with the head; the end has its instant too."""
    pieces: list[tuple[Head, bytes, float]] = []

    async def script(wire: Wire) -> None:
        await wire.read_request()
        answer = streamed()
        cut = answer.index(b"data:")
        await wire.send(answer[: cut + 60])
        await asyncio.sleep(0.05)
        await wire.send(answer[cut + 60 :])

    async with raw_server(script) as server:
        asking = Client(read_origin(f"http://127.0.0.1:{server.port}/v1"))
        head = await asking.exchange(
            asking.request("POST", "/v1/chat", b"{}"), lambda *piece: pieces.append(piece)
        )
        asking.close()
    assert (head.status, head.streamed, head.headers["x-lumyn-model"]) == (200, True, "llama-8b")
    assert b"".join(piece for _, piece, _ in pieces).endswith(b"data: [DONE]\n\n")
    instants = [at for _, _, at in pieces]
    assert instants == sorted(instants)
    assert head.done_s - instants[0] >= 0.04


async def test_connections_are_kept_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next request takes the same connection; one that was idle too long is not met again."""
    ports: list[int] = []

    async def script(wire: Wire) -> None:
        ports.append(wire.writer.get_extra_info("peername")[1])
        while True:
            await wire.read_request()
            await wire.send(plain({"n": len(ports)}))

    async with raw_server(script) as server:
        asking = Client(read_origin(f"http://127.0.0.1:{server.port}"))
        for _ in range(3):
            head, _ = await asking.read("GET", "/")
            assert head.status == 200
        assert len(ports) == 1
        monkeypatch.setattr(client, "IDLE_S", 0.0)
        await asking.read("GET", "/")
        asking.close()
    assert len(ports) == 2


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "broke off"),
        (b"no http at all\r\n\r\n", "no HTTP"),
        (b"", "broke off"),
    ],
)
async def test_what_is_no_whole_answer_is_an_error(said: bytes, why: str) -> None:
    """A connection that ends early, or speaks something else, is no answer."""

    async def script(wire: Wire) -> None:
        await wire.read_request()
        await wire.send(said)

    async with raw_server(script) as server:
        asking = Client(read_origin(f"http://127.0.0.1:{server.port}"))
        with pytest.raises(AnswerError, match=why):
            await asking.read("GET", "/")
        asking.close()


async def test_nobody_there_is_an_error_in_words() -> None:
    """The message is one that a person can read."""
    async with raw_server(answering(lambda _: None)) as server:
        port = server.port
    asking = Client(read_origin(f"http://127.0.0.1:{port}"))
    with pytest.raises(ConnectionRefusedError) as caught:
        await asking.read("GET", "/")
    assert trouble(caught.value) == "connection refused"
    assert trouble(TimeoutError()) == "it took too long"
    assert trouble(AnswerError("it broke")) == "it broke"
    assert trouble(OSError()) == "OSError"


async def test_an_endless_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is longer than any of ours ends the exchange, and closes its connection."""
    monkeypatch.setattr(client, "BODY_BYTES_MAX", 100)
    async with raw_server(answering(lambda _: plain({"x": "y" * 1000}))) as server:
        asking = Client(read_origin(f"http://127.0.0.1:{server.port}"))
        with pytest.raises(AnswerError, match="over 100 bytes"):
            await asking.read("GET", "/")
        asking.close()


async def test_a_request_says_what_it_is() -> None:
    """Host, length and the headers asked for; a GET without a body has no length."""
    seen: list[Message] = []

    def answer(message: Message) -> bytes:
        seen.append(message)
        return plain({})

    async with raw_server(answering(answer)) as server:
        asking = Client(read_origin(f"http://127.0.0.1:{server.port}"))
        await asking.read("POST", "/x", b'{"a":1}', {"authorization": "Bearer k"})
        await asking.read("GET", "/y")
        asking.close()
    assert [one.start for one in seen] == ["POST /x HTTP/1.1", "GET /y HTTP/1.1"]
    assert seen[0].body == b'{"a":1}'
    assert seen[0].header("authorization") == "Bearer k"
    assert seen[1].header("content-length") is None
