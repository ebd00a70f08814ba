"""Tool actions over plain HTTP: each configured route decided, recorded, forwarded and relayed, or held.

Read, look whether it was executed before, decide, look what a person said where one has a say, then the
exchange. What is answered without an exchange (a repetition, a request that is none) forwards nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.auth.keys import Principal
from gateway.kernel.errors import GatewayError, RequestError
from gateway.listener.client import HttpClient
from gateway.listener.router import Handler, Route
from gateway.pipeline.actions import ActionJudge, Counter, check_cover
from gateway.pipeline.approvals import Answer, Approvals
from gateway.pipeline.carried import CarriedClient, Carrier, ReadClient
from gateway.pipeline.drive import Exchange
from gateway.pipeline.executions import Answered, Execution, Executions, Result
from gateway.pipeline.routes import ActionRoute, ReadAction, read_action
from gateway.pipeline.surroundings import Surroundings
from gateway.telemetry.log import LOG
from gateway.telemetry.metrics import Metrics
from gateway.wire.errors import v0_error_body
from gateway.wire.headers import clean_request_id

APPROVAL_HEADER: Final = "x-lumyn-approval"
_RETRY_HEADER: Final = "x-stainless-retry-count"
_COUNTED: Final = {Answer.OPENED: "asked", Answer.GOES: "used"}
_REPLAYED: Final = ("idempotent-replayed", "true")
"""Stripe's header, which clients know."""


@dataclass(frozen=True, slots=True)
class ServedRoute:
    """A route and what its exchanges share: its own deadlines."""

    route: ActionRoute
    around: Surroundings
    body_bytes_max: int


class HttpActions:
    """Serves the configured action routes."""

    def __init__(
        self,
        counter: Counter,
        served: Sequence[ServedRoute],
        approvals: Approvals,
        executions: Executions,
        metrics: Metrics,
        *,
        result_bytes_max: int,
    ) -> None:
        self._counter = counter
        self._served = served
        self._approvals = approvals
        self._executions = executions
        self._metrics = metrics
        self._result_bytes_max = result_bytes_max
        self._carrier = Carrier()

    def routes(self) -> Sequence[Route]:
        """Return what is served."""
        return [
            Route(
                one.route.method,
                one.route.path.pattern,
                self._handler(one),
                v0_error_body,
                0 if one.route.method == "GET" else one.body_bytes_max,
            )
            for one in self._served
        ]

    async def drain(self, deadline_s: float) -> None:
        """Let actions whose clients have left come to their end."""
        await self._carrier.drain(deadline_s)

    def _handler(self, served: ServedRoute) -> Handler:
        async def handle(client: HttpClient) -> None:
            principal = self._counter.live.snapshot.keys.principal(client.header("authorization"))
            check_cover(principal, served.route)
            read = await _read(served.route, principal, client)
            answered = Answered(self._result_bytes_max)
            begun = await self._begin(served.route, read, answered, client)
            if isinstance(begun, Result):
                await _replay(client, begun)
            else:
                await self._exchange(served, read, begun, answered, client)

        return handle

    async def _begin(
        self, route: ActionRoute, read: ReadAction, answered: Answered, client: HttpClient
    ) -> Execution | Result | None:
        if not route.writes:
            return None
        try:
            begun = await self._executions.begin(route.name, read.call, answered, retried=_is_retry(client))
        except GatewayError as error:
            self._metrics.repeated(error.code)
            raise
        if isinstance(begun, Result):
            self._metrics.repeated("REPLAYED")
        return begun

    async def _exchange(
        self,
        served: ServedRoute,
        read: ReadAction,
        execution: Execution | None,
        answered: Answered,
        client: HttpClient,
    ) -> None:
        judge = ActionJudge(
            self._counter, served.route, read, headers=client.raw_headers, execution=execution
        )
        if judge.escalates:
            judge.stands(await self._approvals.standing(read.call, named=client.header(APPROVAL_HEADER)))
        if execution is None:
            reader = ReadClient(client, read.body)
            exchange = Exchange(reader, judge, served.around, request_id=client.request_id)
            await self._counted(exchange, judge)
            return
        carried = CarriedClient(client, read.body, answered)
        exchange = Exchange(carried, judge, served.around, request_id=client.request_id)
        await self._carrier.carry(carried, self._counted(exchange, judge))

    async def _counted(self, exchange: Exchange, judge: ActionJudge) -> None:
        await exchange.run()
        if exchange.sighting.fate is not None and judge.answer in _COUNTED:
            self._metrics.approval(_COUNTED[judge.answer])


async def _read(route: ActionRoute, principal: Principal, client: HttpClient) -> ReadAction:
    """Read a request; one that is none leaves a line in the log and no decision (contract A18)."""
    trace = {"correlation_id": client.request_id}
    if (span := clean_request_id(client.header("traceparent"))) is not None:
        trace["span_id"] = span
    try:
        return read_action(
            route,
            principal,
            path=client.path,
            query=client.query_string,
            headers=client.raw_headers,
            body=await client.read(),
            trace=trace,
        )
    except RequestError as error:
        facts = {"reason_code": error.code, "request_id": client.request_id, "route": route.name}
        LOG.info("request refused", extra={"facts": facts})
        raise


async def _replay(client: HttpClient, result: Result) -> None:
    """Answer as the first time, and say so."""
    headers = [
        ("x-request-id", client.request_id),
        ("x-lumyn-decision-id", result.decision_id),
        _REPLAYED,
        *result.headers,
    ]
    await client.send_head(result.status, headers, length=len(result.body), flush=False)
    await client.send_chunk(result.body)
    await client.send_end()


def _is_retry(client: HttpClient) -> bool:
    """Tell whether the client's SDK says that it has tried before."""
    count = client.header(_RETRY_HEADER) or ""
    return count.isascii() and count.isdigit() and len(count) <= 4 and int(count) > 0
