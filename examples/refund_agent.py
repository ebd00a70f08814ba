"""A refund agent on plain HTTP, through every answer of the gate, to one execution.

    python -m examples.refund_agent

Starts a payment tool and `lumyn serve` in front of it, on free ports with a store in a temporary folder.
The agent asks for a refund. The gate asks for what is missing (422), then for a person (202). Ann approves.
The agent repeats the very same request, and the tool executes it: once, however often it is asked again.
Nothing here but the standard library: an agent needs no client of ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

READ = json.JSONDecoder().decode
AGENT_KEY, ANNS_KEY = "agent-key-of-the-example", "anns-key-of-the-example"
KNOWN = {
    "body:/ticket": "T-4711",
    "body:/customer": "C-42",
}
"""What the agent can find out, by the place of the request that the gate names."""


class PaymentTool(BaseHTTPRequestHandler):
    """Executes refunds, and writes down each one."""

    protocol_version = "HTTP/1.1"
    executed: list[dict[str, Any]] = []  # noqa: RUF012 - the handlers of one tool share it

    def do_POST(self) -> None:
        """Execute a refund."""
        asked = READ(self.rfile.read(int(self.headers["content-length"])).decode())
        self.executed.append(asked)
        body = json.dumps({"refund_id": f"R-{len(self.executed)}", "amount": asked["amount"]}).encode()
        self.send_response(201)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


def ask(url: str, body: dict[str, Any] | None, key: str, **headers: str) -> Answer:
    """Send one request; `idempotency_key=` becomes the header `idempotency-key`."""
    data = None if body is None else json.dumps(body).encode()
    sent = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urlopen(Request(url, data, sent), timeout=10) as got:
            return Answer(got.status, {**got.headers}, json.load(got))
    except HTTPError as error:
        return Answer(error.code, {**error.headers}, json.load(error))


def configuration(tool_port: int) -> dict[str, Any]:
    """Return the gateway's configuration; YAML reads JSON."""

    def hash_of(key: str) -> str:
        return "sha256:" + hashlib.sha256(key.encode()).hexdigest()

    return {
        "keys": [{"name": "refund-bot", "hash": hash_of(AGENT_KEY), "tenant": "acme"}],
        "operators": [{"name": "ann", "hash": hash_of(ANNS_KEY)}],
        "actions": [
            {
                "name": "refunds",
                "method": "POST",
                "path": "/orders/{order_id}/refunds",
                "type": "support.refund",
                "upstream": f"http://127.0.0.1:{tool_port}",
                "addresses": ["127.0.0.1/32"],
                "intent": "refund order {order_id}",
                "target": {"resource_type": "order", "resource_id": "path:order_id"},
                "amount": {"value": "body:/amount", "currency": "body:/currency"},
                "evidence": {
                    "order_id": "path:order_id",
                    "ticket_id": "body:/ticket",
                    "customer_id": "body:/customer",
                    "payment_instrument_risk": "body:/risk",
                },
            }
        ],
    }


@contextmanager
def gateway(folder: Path, tool_port: int) -> Iterator[tuple[str, str]]:
    """Run `lumyn serve`; give the origins of the data plane and of the admin listener."""
    config = folder / "lumyn.yaml"
    config.write_text(json.dumps(configuration(tool_port)))
    command = [sys.executable, "-m", "gateway.cli", "serve", "--port", "0", "--admin-port", "0"]
    environment = {**os.environ, "LUMYN_STORAGE_URL": f"sqlite:{folder}/lumyn.db", "LUMYN_LOG_LEVEL": "error"}
    with subprocess.Popen(
        [*command, "--config", str(config)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            found: dict[str, str] = {}
            for line in process.stdout:
                if match := re.match(r"(url|admin): (http://[0-9.]+:\d+)", line):
                    found[match[1]] = match[2]
                if len(found) == 2:
                    break
            else:
                raise SystemExit("the gateway did not start: its last words are above")
            yield found["url"], found["admin"]
        finally:
            process.terminate()


def refund(origin: str, body: dict[str, Any]) -> Answer:
    """Ask for the refund, under one name for all its tries."""
    return ask(f"{origin}/orders/O-7/refunds", body, AGENT_KEY, idempotency_key="refund-of-O-7")


def work(origin: str, admin: str) -> None:
    """Be the agent, and once the person."""
    body: dict[str, Any] = {"amount": 250, "currency": "USD"}
    answer = refund(origin, body)
    while answer.status == 422:
        print(f"422 QUERY     the gate asks: {[query['question'] for query in answer.body['queries']]}")
        for query in answer.body["queries"]:
            body[query["source"].removeprefix("body:/")] = KNOWN[query["source"]]
        answer = refund(origin, body)
    assert answer.status == 202, answer
    approval = answer.body["approval"]
    print(f"202 ESCALATE  {answer.body['reason_codes']}: approval {approval['approval_id']} is pending")

    changed = refund(origin, body | {"amount": 2500})
    print(f"{changed.status} {changed.body['reason_code']}: {changed.body['detail'][:60]}...")

    reason = {"reason": "the customer was charged twice, I checked"}
    ask(f"{admin}/admin/approvals/{approval['approval_id']}/approve", reason, ANNS_KEY)
    while ask(f"{origin}{approval['poll']}", None, AGENT_KEY).body["state"] == "pending":
        time.sleep(0.1)
    print(f"              ann approves: {reason['reason']}")

    done = refund(origin, body)
    print(f"{done.status} EXECUTED  {done.body}, by decision {done.headers['x-lumyn-decision-id']}")
    again = refund(origin, body)
    print(
        f"{again.status} REPLAYED  {again.body}, idempotent-replayed: {again.headers['idempotent-replayed']}"
    )
    assert (done.status, done.body) == (again.status, again.body)


def main() -> None:
    """Run it, and count what the tool executed."""
    tool = ThreadingHTTPServer(("127.0.0.1", 0), PaymentTool)
    threading.Thread(target=tool.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder, gateway(Path(folder), tool.server_port) as (origin, admin):
        work(origin, admin)
    tool.shutdown()
    print(f"the tool executed {len(PaymentTool.executed)} refund of {PaymentTool.executed[0]['amount']} USD")
    assert len(PaymentTool.executed) == 1


if __name__ == "__main__":
    main()
