"""The gateway as an operator runs it: `lumyn serve` in a process of its own, on free ports."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 20.0


@dataclass
class Process:
    """A gateway that listens."""

    popen: subprocess.Popen[str]
    port: int
    admin_port: int
    started_s: float
    """From the fork to the line that says where it listens."""
    stderr: Path

    def stop(self, deadline_s: float = 15.0) -> int:
        """Ask it to end, as a supervisor does; return its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(deadline_s)

    def resident_mb(self) -> float:
        """Resident memory, in MB."""
        pages = int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def gateway_process(
    folder: Path,
    backend_url: str | None = None,
    *,
    launch: Sequence[str] = (sys.executable, "-m", "gateway.cli"),
    **environment: str,
) -> Iterator[Process]:
    """Start a gateway with its store in `folder` and wait until it listens; at the end it is dead.

    `launch` is what is run with the arguments of `lumyn`: it must become the gateway, under its own pid.
    """
    variables = {
        **os.environ,
        "LUMYN_STORAGE_URL": f"sqlite:{folder}/lumyn.db",
        "PYTHONUNBUFFERED": "1",
        **environment,
    }
    variables.pop("LUMYN_BACKEND_URL", None)
    if backend_url is not None:
        variables["LUMYN_BACKEND_URL"] = backend_url
    stderr = folder / "stderr.log"
    began = time.monotonic()
    with stderr.open("a") as log:
        popen = subprocess.Popen(
            [*launch, "serve", "--port", "0", "--admin-port", "0"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=variables,
        )
    # Someone who stops listening is as bad as one who never answers: bound the wait for the first lines.
    watchdog = threading.Timer(START_S, popen.kill)
    watchdog.start()
    try:
        port = _port(popen, r"openai_base_url: http://[^:]+:(\d+)/v1", stderr)
        admin_port = _port(popen, r"admin: http://[^:]+:(\d+)/", stderr)
        watchdog.cancel()
        yield Process(popen, port, admin_port, time.monotonic() - began, stderr)
    finally:
        watchdog.cancel()
        if popen.poll() is None:
            popen.kill()
            popen.wait(10)
        assert popen.stdout is not None
        popen.stdout.close()


def _port(popen: subprocess.Popen[str], pattern: str, stderr: Path) -> int:
    assert popen.stdout is not None
    for line in popen.stdout:
        if match := re.match(pattern, line.strip()):
            return int(match.group(1))
    raise AssertionError(f"the gateway ended with {popen.wait()}: {stderr.read_text()[-2000:]}")
