"""Reading one stored record, for the commands that show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli.render import fail
from gateway.cli.workspace import load_settings, use_desk
from gateway.kernel.errors import GatewayError, NotFoundError

if TYPE_CHECKING:
    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.kernel.types import JSONObject


def stored_record(decision_id: str, workspace: str | None, config: str | None) -> JSONObject:
    """Return a record with its events; report one that is not there, and leave."""
    import orjson

    async def work(desk: Desk, _: LumynConfig) -> bytes:
        try:
            return await desk.read(decision_id)
        except NotFoundError:
            raise NotFoundError(f"decision not found: {decision_id}") from None

    try:
        settings = load_settings(workspace, config)
    except GatewayError as error:
        fail(error)
    record: JSONObject = orjson.loads(use_desk(settings, work))
    return record
