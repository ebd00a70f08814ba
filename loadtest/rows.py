"""One line of JSON a request: the run's own data, from which every figure is made. Locust writes the same.

Instants are seconds since the run began; latencies are seconds from the instant at which a request was due.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from controller.evaluate.arms.data import COMPLETE, Called, Offered, Service

KINDS: Final = ("ask", "act")


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one request or tool action."""

    kind: str
    """`ask` is an LLM request, `act` a tool action."""
    request_id: str
    service: str
    """The class; empty for tool actions."""
    at_s: float
    """When it was due."""
    lag_s: float
    """How late it was first sent."""
    status: str
    """`complete`, `shed`, `expired`, `rejected`, `failed`, `timeout` or `unfinished`."""
    http_status: int | None = None
    ttft_s: float | None = None
    e2e_s: float | None = None
    """Until the whole answer, where it came."""
    tokens_in: int = 0
    tokens_out: int = 0
    chunks: int = 0
    model: str = ""
    """The model that served it."""
    actions: tuple[str, ...] = ()
    """What the gateway did to it."""
    verdict: str = ""
    decision_id: str = ""
    tries: int = 1
    error: str = ""

    def line(self) -> bytes:
        """Return it as a line of JSON."""
        return orjson.dumps(asdict(self)) + b"\n"


def read_rows(path: Path) -> tuple[Row, ...]:
    """Return the rows of a file, in order of their due times. Raise ValueError, OSError."""
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            value = orjson.loads(line)
            rows.append(Row(**{**value, "actions": tuple(value.get("actions", ()))}))
        except (TypeError, orjson.JSONDecodeError) as error:
            raise ValueError(f"{path}, line {number}: no row of a load test: {error}") from error
    return tuple(sorted(rows, key=lambda row: (row.at_s, row.request_id)))


def cost_uusd(row: Row, prices: Mapping[str, tuple[float, float]]) -> float:
    """Return what a request cost in micro-dollars; `prices` are dollars a million tokens read and written."""
    price_in, price_out = prices.get(row.model, (0.0, 0.0))
    return row.tokens_in * price_in + row.tokens_out * price_out


def offered(
    rows: Iterable[Row],
    services: Iterable[Service],
    prices: Mapping[str, tuple[float, float]],
    causes: Mapping[str, str],
) -> tuple[Offered, ...]:
    """Return the LLM requests as a comparison has them; `causes` come from the records, by decision."""
    by_name = {service.name: service for service in services}
    return tuple(_offered(row, by_name[row.service], prices, causes) for row in rows if row.kind == "ask")


def _offered(
    row: Row, service: Service, prices: Mapping[str, tuple[float, float]], causes: Mapping[str, str]
) -> Offered:
    met = row.status == COMPLETE and service.meets(row.ttft_s, row.e2e_s)
    return Offered(
        request_id=row.request_id,
        service=row.service,
        at_s=row.at_s,
        status=row.status,
        met=met,
        model=row.model,
        ttft_s=row.ttft_s,
        e2e_s=row.e2e_s,
        tokens_in=row.tokens_in,
        tokens_out=row.tokens_out,
        cost_uusd=cost_uusd(row, prices),
        capped="TOKENS_CAPPED" in row.actions,
        cause=causes.get(row.decision_id, ""),
        tries=row.tries,
        lag_s=row.lag_s,
        http_status=row.http_status,
        decision_id=row.decision_id,
    )


def called(rows: Iterable[Row]) -> tuple[Called, ...]:
    """Return the tool actions as a comparison has them."""
    return tuple(
        Called(row.at_s, row.e2e_s, row.verdict, row.lag_s, row.decision_id)
        for row in rows
        if row.kind == "act"
    )


def summary(rows: Iterable[Row]) -> dict[str, Any]:
    """Return counts by kind and status."""
    counts: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
    for row in rows:
        counts[row.kind][row.status] = counts[row.kind].get(row.status, 0) + 1
    return counts
