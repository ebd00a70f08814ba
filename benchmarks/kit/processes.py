"""Starts the processes of a benchmark on free ports, and reads what CPU they used."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).resolve().parents[2]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far, user and system, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def _running(
    arguments: list[str], environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _line(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.match(pattern, line.strip()):
            return match.group(1)
    raise RuntimeError(f"{process.args} ended with {process.wait()} and never printed {pattern}")


@contextlib.contextmanager
def upstream() -> Iterator[int]:
    """Run the fast upstream; give its port."""
    with _running(["-m", "benchmarks.kit.upstream"]) as process:
        yield int(_line(process, r"(\d+)$"))


@contextlib.contextmanager
def paced() -> Iterator[int]:
    """Run the upstream that streams at a pace; give its port."""
    with _running(["-m", "benchmarks.kit.paced"]) as process:
        yield int(_line(process, r"(\d+)$"))


@contextlib.contextmanager
def echo() -> Iterator[tuple[int, int]]:
    """Run the bare JSON echo; give its port and pid."""
    with _running(["-m", "benchmarks.kit.echo"]) as process:
        yield int(_line(process, r"(\d+)$")), process.pid


@contextlib.contextmanager
def passthrough(port: int) -> Iterator[tuple[int, int]]:
    """Run the bare pass-through to `port`; give its port and pid."""
    with _running(["-m", "benchmarks.kit.passthrough", f"http://127.0.0.1:{port}"]) as process:
        yield int(_line(process, r"(\d+)$")), process.pid


@contextlib.contextmanager
def gateway(port: int, *, config: str = "") -> Iterator[tuple[int, int]]:
    """Run the gateway with its defaults, or a configuration, before `port`; give its port and pid."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "LUMYN_BACKEND_URL": f"http://127.0.0.1:{port}/v1",
            "LUMYN_STORAGE_URL": f"sqlite:{folder}/lumyn.db",
        }
        arguments = ["-m", "gateway.cli", "serve", "--port", "0", "--admin-port", "0"]
        if config:
            Path(folder, "config.yml").write_text(config)
            arguments += ["--config", f"{folder}/config.yml"]
        with _running(arguments, environment) as process:
            yield int(_line(process, r"openai_base_url: http://[^:]+:(\d+)/v1")), process.pid
