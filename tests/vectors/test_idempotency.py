"""The idempotency vectors: what a repeated `request_id` gives, on a real store.

A case is a list of steps in one store; `gives` is `new`, the index of the step whose record comes back
byte for byte, or the code of the error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from gateway.kernel.errors import GatewayError
from gateway.records.request import read_request
from tests.kit.gateways import RunningGateway, running_gateway

CASES: Final = orjson.loads(Path("vectors/idempotency/cases.json").read_bytes())["cases"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_idempotency(case: dict[str, Any], tmp_path: Path) -> None:
    """Each step gives a new decision, an earlier one's bytes, or the error that the case names."""
    given: list[bytes | str] = []
    async with running_gateway(tmp_path) as one:
        for step in case["steps"]:
            given.append(await _answer(one, step["request"]))
            if step["gives"] == "new":
                assert given[-1] not in given[:-1]
            elif isinstance(step["gives"], int):
                assert given[-1] == given[step["gives"]]
            else:
                assert given[-1] == step["gives"]


async def _answer(one: RunningGateway, request: dict[str, Any]) -> bytes | str:
    try:
        return await one.gateway._decisions.decide(read_request(orjson.dumps(request)))
    except GatewayError as error:
        return error.code
