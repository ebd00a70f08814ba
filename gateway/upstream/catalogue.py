"""Which models there are and which backends serve each; and `GET /v1/models`, answered from it.

Models that the configuration names are known from the start. A backend that is configured without
models is asked for its own list, by `refresh`, and when somebody lists models before it has answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import orjson

from gateway.kernel.errors import UpstreamError
from gateway.upstream.backend import HttpBackend
from gateway.upstream.cluster import EQUAL, Cluster, Draw, Share

_LIST_BYTES_MAX: Final = 1024 * 1024
"""A list of 5,000 models; more than any provider has."""
_LIST_TIMEOUT_S: Final = 5.0
_MODELS_MAX: Final = 5_000


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """An answer that needs no backend. Implements `pipeline.ports.Answer`."""

    headers: tuple[tuple[bytes, bytes], ...]
    body: list[bytes]
    status: int = 200
    complete: bool = True
    framed: bool = True
    buffered: bool = True

    async def chunk(self, timeout_s: float) -> bytes:  # noqa: ARG002 - the port's signature
        """Return the body, then nothing."""
        return self.body.pop() if self.body else b""


class ModelCatalogue:
    """Implements `pipeline.judge.Catalogue`, and answers model lists as the backend `gateway`."""

    name = "gateway"

    def __init__(
        self,
        backends: Sequence[HttpBackend],
        configured: Sequence[tuple[str, str]],
        *,
        created_s: int,
        shares: Mapping[tuple[str, str], Share] | None = None,
        draw: Draw = lambda: 0.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the backends and the configured `(model, backend name)` pairs, several of a model or one.

        `shares` are the parts of those pairs that have not an equal one.
        """
        by_name = {backend.name: backend for backend in backends}
        members: dict[str, list[tuple[HttpBackend, Share]]] = {}
        for model, name in configured:
            share = (shares or {}).get((model, name), EQUAL)
            members.setdefault(model, []).append((by_name[name], share))
        self._draw = draw
        self._now = now
        self._configured = {model: Cluster(those, draw) for model, those in members.items()}
        served = {name for _, name in configured}
        self._asked = tuple(backend for backend in backends if backend.name not in served)
        self._lists: dict[str, Sequence[str]] = {}
        self._listed: dict[str, Cluster] = {}
        self._created_s = created_s

    @property
    def models_backend(self) -> ModelCatalogue:
        """The catalogue itself answers model lists."""
        return self

    def known(self) -> Sequence[str]:
        """Return every model that somebody is known to serve."""
        return list(self._configured | self._listed)

    def __contains__(self, model: object) -> bool:
        """Tell whether somebody is known to serve `model`."""
        return model in self._configured or model in self._listed

    def backend_of(self, model: str, excluding: Collection[str] = ()) -> HttpBackend | None:
        """Return who of those that serve `model` gets the next request, leaving out those named.

        Where a single backend has not told its models, it is for that backend to say no.
        """
        cluster = self._configured.get(model) or self._listed.get(model)
        if cluster is not None:
            return cluster.pick(self._now(), excluding)
        silent = [one for one in self._asked if one.name not in self._lists]
        return silent[0] if len(silent) == 1 and silent[0].name not in excluding else None

    async def refresh(self) -> None:
        """Ask each backend that has no configured models for its list; one that fails keeps its last."""
        await asyncio.gather(*(self._ask(backend) for backend in self._asked))

    async def _ask(self, backend: HttpBackend) -> None:
        try:
            answer = await backend.send("GET", "/v1/models", (), b"", first_byte_s=_LIST_TIMEOUT_S)
        except UpstreamError:
            return
        body = b""
        try:
            while (chunk := await answer.chunk(_LIST_TIMEOUT_S)) and len(body) < _LIST_BYTES_MAX:
                body += chunk
        except UpstreamError:
            return
        finally:
            backend.release(answer)
        if answer.status == 200 and (models := _model_names(body)):
            self._lists[backend.name] = models
            self._listed = self._clusters()

    def _clusters(self) -> dict[str, Cluster]:
        """Return who serves what, by the lists of those asked: of a model that several list, all."""
        members: dict[str, list[tuple[HttpBackend, Share]]] = {}
        for backend in self._asked:
            for model in dict.fromkeys(self._lists.get(backend.name, ())):
                members.setdefault(model, []).append((backend, EQUAL))
        return {model: Cluster(those, self._draw) for model, those in members.items()}

    async def send(  # noqa: D102 - as the port says
        self,
        method: str,  # noqa: ARG002 - the port's signature
        path: str,
        headers: Sequence[tuple[bytes, bytes]],  # noqa: ARG002 - the port's signature
        body: bytes,  # noqa: ARG002 - the port's signature
        *,
        first_byte_s: float,  # noqa: ARG002 - the port's signature
    ) -> LocalAnswer:
        if self._asked and len(self._lists) < len(self._asked):
            await self.refresh()
        model = unquote(path.removeprefix("/v1/models").removeprefix("/"))
        if not model:
            data = [self._described(name) for name in self.known()]
            return _local({"object": "list", "data": data})
        if model in self:
            return _local(self._described(model))
        message = f"the model `{model[:128]}` does not exist"
        error = {
            "message": message,
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
        return _local({"error": error}, status=404)

    def release(self, answer: object) -> None:
        """Nothing is held."""

    def _described(self, model: str) -> dict[str, object]:
        cluster = self._configured.get(model) or self._listed.get(model)
        owner = self.name if cluster is None else cluster.names[0]
        return {"id": model, "object": "model", "created": self._created_s, "owned_by": owner}


def _local(value: object, *, status: int = 200) -> LocalAnswer:
    body = orjson.dumps(value)
    headers = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
    return LocalAnswer(headers, [body], status)


def _model_names(body: bytes) -> list[str]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    rows = value.get("data") if isinstance(value, dict) else None
    if not isinstance(rows, list):
        return []
    names = [row.get("id") for row in rows[:_MODELS_MAX] if isinstance(row, dict)]
    return [name for name in names if isinstance(name, str) and name]
