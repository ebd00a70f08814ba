"""Real traffic through a real gateway: what is decided, why, and where the records are.

    make demo          (or: python -m examples.live_demo)

Starts `lumyn serve` with the simulated llm-d on free ports and a store in a temporary folder, sends
requests through the official `openai` client and two tool actions, shows each decision as it is made,
and reads the records back. It ends with a spike of twenty seconds; `--without-spike` leaves that out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from openai import OpenAI, PermissionDeniedError
from rich.console import Console
from rich.table import Table

BAR_MISSED = 3
"""The exit code of `lumyn loadtest` where it ran and a bar was missed, as on a machine that is busy."""
OUT = Console(highlight=False, soft_wrap=True)
STYLES = {"TRUST": "green", "ABSTAIN": "red", "ESCALATE": "yellow", "QUERY": "cyan"}
REFUND_TOOL: Any = {
    "type": "function",
    "function": {
        "name": "refund",
        "description": "Refund an order",
        "parameters": {
            "type": "object",
            "properties": {"order_id": {"type": "string"}, "amount": {"type": "number"}},
            "required": ["order_id", "amount"],
        },
    },
}


@dataclass(frozen=True)
class Running:
    """Where the gateway of this demonstration listens."""

    base_url: str
    admin_url: str


@contextmanager
def gateway(folder: str) -> Iterator[Running]:
    """Run `lumyn serve` and wait until it says where it listens."""
    environment = {
        **os.environ,
        "LUMYN_STORAGE_URL": f"sqlite:{folder}/lumyn.db",
        "LUMYN_LOG_LEVEL": "warning",
    }
    environment.pop("LUMYN_BACKEND_URL", None)
    command = [sys.executable, "-m", "gateway.cli", "serve", "--port", "0", "--admin-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        found: dict[str, str] = {}
        assert process.stdout is not None
        for line in process.stdout:
            if match := re.match(r"(url|admin): (http://[0-9.]+:\d+)", line):
                found[match.group(1)] = match.group(2)
            if len(found) == 2:
                break
        else:
            raise SystemExit("the gateway did not start: its last words are above")
        yield Running(found["url"], found["admin"])
    finally:
        process.terminate()
        process.wait(15)


def read(url: str) -> Any:
    """GET some JSON."""
    with urlopen(url, timeout=10) as answer:
        return json.load(answer)


def decide(running: Running, request: dict[str, Any]) -> Any:
    """Ask the gate about a tool action."""
    body = json.dumps(request).encode()
    asked = Request(f"{running.base_url}/v0/decide", body, {"content-type": "application/json"})
    with urlopen(asked, timeout=10) as answer:
        return json.load(answer)


def say(verdict: str, text: str, reason: str) -> None:
    """Print one decision."""
    OUT.print(f"  [{STYLES[verdict]}]{verdict:<8}[/] {text} [dim]{reason}[/]")


def record_of(running: Running, decision_id: str) -> Any:
    """Read one record back, with its events; an outcome is committed just after the last byte."""
    record = read(f"{running.admin_url}/admin/decisions/{decision_id}")
    for _ in range(100):
        if "decision_event_log" in record or not record["request"]["action"]["type"].startswith("llm."):
            break
        time.sleep(0.02)
        record = read(f"{running.admin_url}/admin/decisions/{decision_id}")
    return record


def llm_requests(running: Running) -> None:
    """Send LLM requests through the unmodified client."""
    client = OpenAI(base_url=f"{running.base_url}/v1", api_key="any: this gateway has no keys", max_retries=0)
    ask: Any = [{"role": "user", "content": "Where is my order 1234?"}]
    OUT.print("\n[bold]1. LLM requests[/] through the official openai client, OPENAI_BASE_URL = the gateway")

    plain = client.chat.completions.with_raw_response.create(model="llama-8b", messages=ask, max_tokens=24)
    show_llm(running, "chat", plain.headers, plain.parse().choices[0].message.content or "")

    streamed = client.chat.completions.with_raw_response.create(
        model="llama-70b",
        messages=ask,
        max_tokens=24,
        stream=True,
        stream_options={"include_usage": True},
    )
    pieces = [part.choices[0].delta.content or "" for part in streamed.parse() if part.choices]
    show_llm(running, "chat, streamed", streamed.headers, "".join(pieces))

    tools = client.chat.completions.with_raw_response.create(
        model="llama-70b",
        messages=ask,
        tools=[REFUND_TOOL],
        tool_choice="required",
        max_tokens=64,
    )
    calls = tools.parse().choices[0].message.tool_calls or []
    named = ", ".join(call.function.name for call in calls if call.type == "function")
    show_llm(running, "chat with tools", tools.headers, f"asks for the tool call: {named}")

    greedy = client.with_options(max_retries=0)
    try:
        greedy.chat.completions.create(model="llama-8b", messages=ask, max_tokens=10_000_000)
    except PermissionDeniedError as error:
        decision_id = error.response.headers["x-lumyn-decision-id"]
        record = record_of(running, decision_id)
        say(record["verdict"], "chat, ten million tokens:", record["explanation"]["summary"])


def show_llm(running: Running, what: str, headers: Any, text: str) -> None:
    """Print what the gateway said of an LLM request, and what became of it."""
    record = record_of(running, headers["x-lumyn-decision-id"])
    fate = next(event["data"] for event in record["decision_event_log"] if event["type"] == "outcome")
    usage = fate.get("usage", {})
    reason = f"{record['reason_codes'][0]}, overhead {headers['x-lumyn-overhead-ms']} ms"
    say(record["verdict"], f"{what} to {headers['x-lumyn-model']}:", reason)
    OUT.print(f'           "{text[:70]}"', style="italic", markup=False)
    OUT.print(
        f"           fate {fate['fate']}, {usage.get('prompt_tokens', '?')} tokens in,"
        f" {usage.get('completion_tokens', '?')} out, {fate['duration_us'] / 1000:.0f} ms",
        markup=False,
    )


def tool_actions(running: Running) -> None:
    """Ask about two refunds."""
    OUT.print("\n[bold]2. Tool actions[/]: an agent asks before it acts (POST /v0/decide)")
    for amount in (12.5, 950):
        record = decide(running, refund(amount))
        say(record["verdict"], f"refund of {amount} USD:", record["explanation"]["summary"])


def refund(amount: float) -> dict[str, Any]:
    """Return the example's DecisionRequest with another amount."""
    request: dict[str, Any] = json.loads(Path(__file__).with_name("refund.json").read_text())  # noqa: TID251 - our own file
    request["action"]["amount"]["value"] = amount
    return request


def records(running: Running) -> None:
    """Show what is on record, newest first."""
    table = Table(width=110, title="GET /admin/decisions", title_justify="left")
    for name in ("decision", "action", "verdict", "reason", "fate"):
        table.add_column(name)
    for row in read(f"{running.admin_url}/admin/decisions")["decisions"]:
        record = record_of(running, row["decision_id"])
        fates = [
            event["data"]["fate"]
            for event in record.get("decision_event_log", ())
            if event["type"] == "outcome"
        ]
        verdict = record["verdict"]
        table.add_row(
            record["decision_id"],
            record["request"]["action"]["type"],
            f"[{STYLES[verdict]}]{verdict}[/]",
            record["reason_codes"][0],
            fates[0] if fates else "-",
        )
    OUT.print("\n[bold]3. The records[/]: each was committed to disk before anything was forwarded")
    OUT.print(table)


def spike() -> None:
    """Play four times the load on two gateways side by side; a bar that is missed is shown, and no error."""
    OUT.print(
        "\n[bold]4. A spike[/]: four times the load on two gateways at once, the controller in bypass (none) "
        "and on (controlled); 20 seconds"
    )
    sys.stdout.flush()
    done = subprocess.run([sys.executable, "-m", "gateway.cli", "loadtest", "spike", "--short"], check=False)
    if done.returncode not in {0, BAR_MISSED}:
        raise SystemExit(done.returncode)
    OUT.print("  open loadtest-report/report.html; `make spike` plays the whole of it in under three minutes")


def main() -> None:
    """Run the demonstration."""
    with tempfile.TemporaryDirectory() as folder:
        OUT.print("[bold]Lumyn Gateway[/]: starting, with the simulated llm-d and a temporary store")
        with gateway(folder) as running:
            OUT.print(f"  gateway {running.base_url}/v1   admin {running.admin_url}/admin/decisions")
            llm_requests(running)
            tool_actions(running)
            records(running)
        size = Path(folder, "lumyn.db").stat().st_size
        OUT.print(f"\nstopped; the ledger of this run took {size // 1024} kB")
    if "--without-spike" not in sys.argv[1:]:
        spike()
    OUT.print("\n[bold]Where to look next[/]")
    OUT.print("  make serve                    the same gateway, to keep; then, in another terminal:")
    OUT.print("  export OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=any")
    OUT.print("  curl -s 127.0.0.1:8081/admin/decisions?verdict=TRUST")
    OUT.print("  LUMYN_BACKEND_URL=http://your-llm-d/v1 make serve      your own backend")


if __name__ == "__main__":
    main()
