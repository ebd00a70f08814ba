"""Which models there are and which backend serves each; and `GET /v1/models`, answered from it.

Models that the configuration names are known from the start. A backend that is configured without
models is asked for its own list, by `refresh`, and when somebody lists models before it has answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import orjson

from gateway.kernel.errors import UpstreamError
from gateway.upstream.backend import HttpBackend

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
    ) -> None:
        """Take the backends and the configured `(model, backend name)` pairs."""
        self._backends = tuple(backends)
        by_name = {backend.name: backend for backend in backends}
        self._configured = {model: by_name[name] for model, name in configured}
        served = {name for _, name in configured}
        self._asked = tuple(backend for backend in backends if backend.name not in served)
        self._listed: dict[str, HttpBackend] = {}
        self._answered: set[str] = set()
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

    def backend_of(self, model: str) -> HttpBackend | None:
        """Return who serves `model`.

        Where a single backend has not told its models, it is for that backend to say no.
        """
        backend = self._configured.get(model) or self._listed.get(model)
        if backend is None:
            silent = [one for one in self._asked if one.name not in self._answered]
            backend = silent[0] if len(silent) == 1 else None
        return backend

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
            self._answered.add(backend.name)
            kept = {model: server for model, server in self._listed.items() if server is not backend}
            self._listed = kept | dict.fromkeys(models, backend)

    async def send(  # noqa: D102 - as the port says
        self,
        method: str,  # noqa: ARG002 - the port's signature
        path: str,
        headers: Sequence[tuple[bytes, bytes]],  # noqa: ARG002 - the port's signature
        body: bytes,  # noqa: ARG002 - the port's signature
        *,
        first_byte_s: float,  # noqa: ARG002 - the port's signature
    ) -> LocalAnswer:
        if self._asked and len(self._answered) < len(self._asked):
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
        backend = self._configured.get(model) or self._listed.get(model)
        owner = self.name if backend is None else backend.name
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
