"""The command line as real processes: a prompt, a pipe, and a gateway beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import orjson

from tests.kit.processes import ROOT, gateway_process
from tests.kit.refunds import refund

LABEL_S = 1.0
"""How soon a label of another process must reach a running gateway (design, decision 10)."""


def _lumyn(
    directory: Path, *words: str, stdin: bytes = b"", **variables: str
) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LUMYN_")}
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    run = [sys.executable, "-m", "gateway.cli", *words]
    return subprocess.run(
        run, cwd=directory, env=environment, input=stdin, capture_output=True, timeout=60, check=False
    )


def _decide(port: int, value: float) -> dict[str, Any]:
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/v0/decide",
        data=orjson.dumps(refund(value)),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        found: dict[str, Any] = orjson.loads(answer.read())
    return found


def test_from_nothing_to_a_replayed_pack(tmp_path: Path) -> None:
    """init, decide from a pipe, label, export and replay, each a process of its own, as a person would."""
    assert _lumyn(tmp_path, "init").returncode == 0
    decided = _lumyn(tmp_path, "decide", stdin=orjson.dumps(refund()))
    record = orjson.loads(decided.stdout)
    assert (decided.returncode, decided.stderr, record["verdict"]) == (0, b"", "TRUST")
    assert _lumyn(tmp_path, "label", record["decision_id"], "--failure").returncode == 0
    second = orjson.loads(_lumyn(tmp_path, "decide", stdin=orjson.dumps(refund(19))).stdout)
    assert second["verdict"] == "ESCALATE"
    assert _lumyn(tmp_path, "export", second["decision_id"], "--out", "p.zip").stdout == b"p.zip\n"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    replayed = _lumyn(elsewhere, "replay", "../p.zip")
    assert (replayed.returncode, replayed.stdout.splitlines()[0]) == (0, b"ok")
    assert _lumyn(tmp_path, "verify").returncode == 0


def test_one_request_has_one_digest_at_the_prompt_in_a_program_and_over_http(tmp_path: Path) -> None:
    """Library, command line and HTTP give the same inputs digest, verdict and policy hash."""
    program = (
        "import sys, json; from lumyn import LumynConfig, decide\n"
        "print(json.dumps(decide(json.load(sys.stdin), config=LumynConfig(store_path='l.db'))))\n"
    )
    run = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    text = orjson.dumps(refund(21))
    library = subprocess.run(
        run, cwd=tmp_path, env=environment, input=text, capture_output=True, timeout=60, check=True
    )
    prompt = _lumyn(tmp_path, "decide", stdin=text)
    with gateway_process(tmp_path) as gateway:
        records = [orjson.loads(library.stdout), orjson.loads(prompt.stdout), _decide(gateway.port, 21)]
    digests = {record["determinism"]["inputs_digest"] for record in records}
    hashes = {record["policy"]["policy_hash"] for record in records}
    assert (len(digests), len(hashes), {record["verdict"] for record in records}) == (1, 1, {"TRUST"})


def test_a_label_at_the_prompt_reaches_a_running_gateway_within_a_second(tmp_path: Path) -> None:
    """A gateway that runs holds the next like refund within a second after `lumyn label` has ended."""
    with gateway_process(tmp_path) as gateway:
        decision_id = _decide(gateway.port, 20)["decision_id"]
        url = f"sqlite:{tmp_path}/lumyn.db"
        labelled = _lumyn(tmp_path, "label", decision_id, "--failure", LUMYN_STORAGE_URL=url)
        ended = time.monotonic()
        assert labelled.returncode == 0, labelled.stderr
        while _decide(gateway.port, 20)["verdict"] == "TRUST":
            assert time.monotonic() - ended < LABEL_S, "the label has not arrived"


def test_a_wrong_word(tmp_path: Path) -> None:
    """What is wrong usage ends with 2 and says so on standard error; nothing goes to standard output."""
    told = _lumyn(tmp_path, "decide", "--colour")
    assert (told.returncode, told.stdout) == (2, b"")
    assert b"No such option" in told.stderr
