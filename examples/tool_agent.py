"""An agent on the unmodified `openai` client: it streams, calls tools, and knows of no gateway.

    python -m examples.tool_agent

Starts `lumyn serve` with `examples/shop.config.yml` and the simulated llm-d on free ports. The model calls
two tools at once: the refund is allowed and arrives, the closing of the account is not and never reaches
the agent; it reads why in the model's text, and goes on.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from openai import OpenAI

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "examples/shop.config.yml"
TURNS_MAX = 4
SEED = 1
"""The simulated model calls what it is given; with this seed it calls both tools at once."""


def tool(name: str, properties: dict[str, Any]) -> Any:
    """A tool as the API wants it. What the simulated model may say is fixed by the schema."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [
    tool("issue_refund", {"order_id": {"const": "o-17"}, "amount": {"const": 12.5}}),
    tool("close_account", {"customer_id": {"const": "c-4"}}),
]
DONE: list[str] = []
"""What the agent has really done."""
HANDS: dict[str, Callable[..., str]] = {
    "issue_refund": lambda order_id, amount: DONE.append(f"refund {order_id} {amount}") or "refunded",
    "close_account": lambda customer_id: DONE.append(f"close {customer_id}") or "closed",
}


def one_turn(client: OpenAI, messages: list[Any], choice: str) -> dict[str, Any]:
    """Stream one answer; return it as the message that goes back into the conversation."""
    text, calls = "", {}
    stream = client.chat.completions.create(
        model="llama-8b",
        messages=messages,
        tools=TOOLS,
        tool_choice=choice,  # type: ignore[arg-type]
        max_tokens=96,
        seed=SEED,
        stream=True,
    )
    for chunk in stream:
        for one in chunk.choices:
            text += one.delta.content or ""
            for part in one.delta.tool_calls or []:
                call = calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
                call["id"] += part.id or ""
                call["name"] += (part.function and part.function.name) or ""
                call["arguments"] += (part.function and part.function.arguments) or ""
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [
            {
                "id": call["id"],
                "type": "function",
                "function": {"name": call["name"], "arguments": call["arguments"]},
            }
            for call in calls.values()
        ]
    return message


def converse(client: OpenAI) -> list[Any]:
    """Run the loop until the model calls nothing any more."""
    messages: list[Any] = [{"role": "user", "content": "Refund order o-17 and close my account."}]
    for turn in range(TURNS_MAX):
        answer = one_turn(client, messages, "auto" if turn else "required")
        messages.append(answer)
        if answer["content"]:
            print(f"model: {answer['content'].strip()[:300]}")
        for call in answer.get("tool_calls", []):
            name = call["function"]["name"]
            arguments = json.loads(call["function"]["arguments"])  # noqa: TID251 - as any client does
            result = HANDS[name](**arguments)
            print(f"agent: {name} -> {result}")
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        if not answer.get("tool_calls"):
            break
    return messages


@contextmanager
def gateway(folder: str) -> Iterator[dict[str, str]]:
    """Run `lumyn serve` and wait until it says where it listens."""
    environment = {
        **os.environ,
        "LUMYN_STORAGE_URL": f"sqlite:{folder}/lumyn.db",
        "LUMYN_LOG_LEVEL": "warning",
    }
    environment.pop("LUMYN_BACKEND_URL", None)
    ports = ["--port", "0", "--admin-port", "0"]
    command = [sys.executable, "-m", "gateway.cli", "serve", "--config", str(CONFIG), *ports]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)
    try:
        found: dict[str, str] = {}
        assert process.stdout is not None
        for line in process.stdout:
            if match := re.match(r"(openai_base_url|admin): (http://\S+)", line):
                found[match.group(1)] = match.group(2)
            if len(found) == 2:
                break
        else:
            raise SystemExit("the gateway did not start: its last words are above")
        yield found
    finally:
        process.terminate()
        process.wait(15)


def main() -> None:
    """Run the agent, then show what stands on record."""
    with tempfile.TemporaryDirectory() as folder, gateway(folder) as running:
        converse(OpenAI(base_url=running["openai_base_url"], api_key="any", max_retries=0))
        print(f"done: {DONE}")
        with urlopen(running["admin"] + "?limit=50", timeout=10) as answer:
            page = json.load(answer)
        for record in reversed(page["decisions"]):
            action = record.get("action_type") or record["request"]["action"]["type"]
            print(f"record: {record['verdict']:<8} {action:<20} {', '.join(record['reason_codes'])}")


if __name__ == "__main__":
    main()
