"""Which models there are, told by configuration or by backends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import orjson
import pytest

from gateway.upstream import catalogue as module
from gateway.upstream.backend import HttpBackend
from gateway.upstream.catalogue import ModelCatalogue
from gateway.upstream.cluster import Share
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.target import Target
from tests.kit.rawpeer import Wire, raw_server


def answer(body: bytes, status: int = 200) -> bytes:
    """A backend's answer."""
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body


def listing(*models: str) -> bytes:
    """A model list."""
    return answer(orjson.dumps({"object": "list", "data": [{"id": model} for model in models]}))


class Lists:
    """A backend that answers model lists, and can be told another answer."""

    def __init__(self, says: bytes) -> None:
        self.says = says
        self.asked = 0

    async def converse(self, wire: Wire) -> None:
        while True:
            assert (await wire.read_request()).start == "GET /v1/models HTTP/1.1"
            self.asked += 1
            await wire.send(self.says)
            if not self.says.startswith(b"HTTP/1.1 200"):
                return


@contextlib.asynccontextmanager
async def backends_of(*lists: Lists) -> AsyncIterator[list[HttpBackend]]:
    """A backend for each list, named b0, b1, ..."""
    async with contextlib.AsyncExitStack() as stack:
        backends = []
        for number, one in enumerate(lists):
            server = await stack.enter_async_context(raw_server(one.converse))
            pool = ConnectionPool(Target("127.0.0.1", server.port, tls=False, prefix=""))
            backends.append(HttpBackend(f"b{number}", pool))
            stack.push_async_callback(pool.close)
        yield backends


async def get(catalogue: ModelCatalogue, path: str) -> tuple[int, dict[str, object]]:
    """Ask the catalogue as the relay does."""
    found = await catalogue.send("GET", path, (), b"", first_byte_s=5)
    body = await found.chunk(5)
    assert await found.chunk(5) == b""
    assert dict(found.headers)[b"content-length"] == b"%d" % len(body)
    catalogue.release(found)
    return found.status, orjson.loads(body)


async def test_configured_models_are_known_without_asking() -> None:
    """A backend with configured models serves those, and is never asked for its list."""
    lists = Lists(listing("other"))
    async with backends_of(lists) as [backend]:
        catalogue = ModelCatalogue([backend], [("m", "b0")], created_s=7)
        await catalogue.refresh()
        assert (catalogue.known(), catalogue.backend_of("m"), catalogue.backend_of("other")) == (
            ["m"],
            backend,
            None,
        )
        assert catalogue.models_backend is catalogue
        status, body = await get(catalogue, "/v1/models")
    described = {"id": "m", "object": "model", "created": 7, "owned_by": "b0"}
    assert (status, body) == (200, {"object": "list", "data": [described]})
    assert lists.asked == 0


async def test_backends_are_asked_for_their_models() -> None:
    """Each backend without configured models is asked; its models lead to it, the configured ones first."""
    async with backends_of(
        Lists(listing("a", "both")), Lists(listing("b", "both", "m")), Lists(b"")
    ) as backends:
        catalogue = ModelCatalogue(backends, [("m", "b2")], created_s=0)
        await catalogue.refresh()
        assert sorted(catalogue.known()) == ["a", "b", "both", "m"]
        assert catalogue.backend_of("a") is backends[0]
        assert catalogue.backend_of("b") is backends[1]
        assert catalogue.backend_of("m") is backends[2]
        assert catalogue.backend_of("nobody") is None


async def test_a_single_silent_backend_may_say_no_itself() -> None:
    """While the only backend has not told its models, any model is sent to it."""
    async with backends_of(Lists(b"garbage\r\n\r\n")) as [backend]:
        catalogue = ModelCatalogue([backend], [], created_s=0)
        await catalogue.refresh()
        assert catalogue.backend_of("anything") is backend
        assert (await get(catalogue, "/v1/models"))[1]["data"] == []


async def test_two_silent_backends_may_not() -> None:
    """Where it could be one of several, nobody is guessed."""
    async with backends_of(Lists(b""), Lists(b"")) as backends:
        catalogue = ModelCatalogue(backends, [], created_s=0)
        assert catalogue.backend_of("anything") is None


BAD = {
    "an error": answer(b'{"data":[{"id":"x"}]}', 500),
    "no JSON": answer(b"<html>"),
    "no list": answer(b'{"data":{"id":"x"}}'),
    "no object": answer(b'["x"]'),
    "nameless": answer(b'{"data":[{},{"id":4},{"id":""},"x"]}'),
    "broken off": b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{",
}


@pytest.mark.parametrize("says", BAD.values(), ids=BAD.keys())
async def test_a_bad_list_keeps_the_last_good_one(says: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that fails to list keeps what it listed before."""
    monkeypatch.setattr(module, "_LIST_TIMEOUT_S", 0.1)
    lists = Lists(listing("a"))
    async with backends_of(lists) as [backend]:
        catalogue = ModelCatalogue([backend], [], created_s=0)
        await catalogue.refresh()
        lists.says = says
        await catalogue.refresh()
        assert catalogue.known() == ["a"]
        assert backend.in_flight == 0


async def test_a_new_list_replaces_the_old_one() -> None:
    """A model that is no longer served is no longer known."""
    lists = Lists(listing("a"))
    async with backends_of(lists) as [backend]:
        catalogue = ModelCatalogue([backend], [], created_s=0)
        await catalogue.refresh()
        lists.says = listing("b")
        await catalogue.refresh()
        assert catalogue.known() == ["b"]


async def test_an_endless_list_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list over the bound is no list, and its connection is closed."""
    monkeypatch.setattr(module, "_LIST_BYTES_MAX", 1000)
    lists = Lists(listing(*[f"model-{number}" for number in range(50_000)]))
    async with backends_of(lists) as [backend]:
        catalogue = ModelCatalogue([backend], [], created_s=0)
        await catalogue.refresh()
        assert catalogue.known() == []
        assert backend.in_flight == 0


@pytest.mark.parametrize("path", ["org/llama%20x", "org%2Fllama%20x"])
async def test_one_model_is_described_or_missing(path: str) -> None:
    """A single model is found by its name, also where the name needs percent signs; another is a 404."""
    async with backends_of(Lists(listing("org/llama x"))) as [backend]:
        catalogue = ModelCatalogue([backend], [], created_s=3)
        status, body = await get(catalogue, f"/v1/models/{path}")
        assert (status, body["id"], body["owned_by"]) == (200, "org/llama x", "b0")
        status, body = await get(catalogue, "/v1/models/none")
    assert (status, body["error"]["code"], body["error"]["param"]) == (404, "model_not_found", "model")  # type: ignore[index]


async def test_a_list_is_asked_for_until_it_has_come() -> None:
    """Listing models asks a silent backend again, and an answered one not."""
    lists = Lists(answer(b"", 503))
    async with backends_of(lists) as [backend]:
        catalogue = ModelCatalogue([backend], [], created_s=0)
        for _ in range(2):
            assert (await get(catalogue, "/v1/models"))[1]["data"] == []
        lists.says = listing("a")
        assert (await get(catalogue, "/v1/models/a"))[0] == 200
        asked = lists.asked
        await get(catalogue, "/v1/models")
    assert asked == lists.asked == 3


async def test_a_model_of_several_backends_is_balanced() -> None:
    """Configured twice or listed by two, a model is served by both; one that is left out is not chosen."""
    both = Lists(listing("m", "m", "only")), Lists(listing("m"))
    async with backends_of(*both) as [one, other]:
        configured = ModelCatalogue([one, other], [("m", "b0"), ("m", "b1")], created_s=0)
        listed = ModelCatalogue([one, other], [], created_s=0)
        await listed.refresh()
        for catalogue in (configured, listed):
            assert catalogue.backend_of("m", {"b0"}) is other
            assert catalogue.backend_of("m", {"b1"}) is one
            assert catalogue.backend_of("m", {"b0", "b1"}) is None
        assert listed.backend_of("only") is one
        assert listed.backend_of("only", {"b0"}) is None
        _, body = await get(listed, "/v1/models/m")
        assert body["owned_by"] == "b0"


async def test_shares_are_those_of_the_pair() -> None:
    """A backend stands by for one model and serves another."""
    async with backends_of(Lists(listing()), Lists(listing())) as [one, other]:
        pairs = [("m", "b0"), ("m", "b1"), ("n", "b0")]
        shares = {("m", "b0"): Share(order=1)}
        catalogue = ModelCatalogue([one, other], pairs, created_s=0, shares=shares)
        assert [catalogue.backend_of(model) for model in ("m", "m", "n")] == [other, other, one]
