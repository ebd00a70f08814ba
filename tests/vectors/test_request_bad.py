"""The bodies of `vectors/request_bad`: each refused with its status, reason code and pointer."""

from __future__ import annotations

import orjson
import pytest

from gateway.kernel.errors import RequestError
from gateway.records.request import read_request
from tests.kit.vectors import ROOT

CASES = orjson.loads((ROOT / "vectors/request_bad/cases.json").read_bytes())["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_bad_request_is_refused(case: dict) -> None:
    """A body that is no DecisionRequest is refused, with a pointer to what is wrong where there is one."""
    with pytest.raises(RequestError) as caught:
        read_request(case["body"].encode())
    found = {"status": caught.value.status, "reason_code": caught.value.code, "pointer": caught.value.pointer}
    assert found == case["expect"]
