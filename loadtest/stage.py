"""What a run is played on: a simulated llm-d and a gateway before it, as child processes on free ports.

Each arm gets a fresh stage: an empty ledger and a controller that knows nothing. The children have a session
of their own, so that Ctrl-C reaches this process alone, which then stops them in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from controller.llmd.sim.config import SimConfig, as_json
from loadtest import world

START_S: Final = 60.0
"""A cold Python on a busy machine takes ten."""
STOP_S: Final = 30.0
"""A gateway drains for 25 s at the most."""
LEDGER: Final = "ledger"
"""The directory of a stage that an earlier run's records are removed from."""
_ROOT: Final = Path(__file__).resolve().parents[1]
_LINE_BYTES_MAX: Final = 1 << 16


class StageError(Exception):
    """Something that a run needs is not there; the message says what, `hint` what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run sends its requests, and with which credentials."""

    base_url: str
    """The OpenAI base URL."""
    admin_url: str | None
    backend_url: str | None = None
    """The origin of the simulator, where it is ours."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """API keys, by the names of `world.KEYS`."""
    config_path: Path | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports to listen on; 0 takes a free one."""

    gateway: int = 0
    admin: int = 0
    backend: int = 0


class Child:
    """A child process that says where it listens, and is stopped at the end."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path) -> None:
        self.name = name
        self._arguments = arguments
        self._folder = folder
        self._log = folder / f"{name.replace(' ', '-')}.log"
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Tell whether it has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self, patterns: Mapping[str, str]) -> dict[str, str]:
        """Start it and return what its lines say, by name of the pattern. Raise StageError."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=self._folder,
                env=_environment(),
                start_new_session=True,
                limit=_LINE_BYTES_MAX,
            )
        found: dict[str, str] = {}
        try:
            async with asyncio.timeout(START_S):
                while len(found) < len(patterns):
                    if not (line := await self._line()):
                        break
                    for name, pattern in patterns.items():
                        if match := re.match(pattern, line):
                            found[name] = match.group(1)
        except TimeoutError:
            await self.stop()
            raise StageError(
                f"the {self.name} did not start within {START_S:.0f} s: see {self._log}"
            ) from None
        if len(found) < len(patterns):
            await self._process.wait()
            raise StageError(
                f"the {self.name} did not start: {self.last_words()}",
                hint="where a port is taken, choose --port, --admin-port, --sim-port; 0 takes a free one",
            )
        return found

    async def stop(self) -> None:
        """End it: politely, then not."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                # what it still prints is read, or a full pipe would keep it from ending
                while await self._line():
                    pass
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def last_words(self) -> str:
        """Return the last line that it wrote about itself."""
        with contextlib.suppress(OSError):
            lines = self._log.read_text(errors="replace").strip().splitlines()
            errors = [line for line in lines if line.startswith(("error", "lumyn"))] or lines
            if errors:
                return errors[-1].removeprefix("error: ")[:500]
        return "it left no word"

    async def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode(errors="replace")


def _environment() -> dict[str, str]:
    """Return this process's environment without what would change the children's configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LUMYN_")}
    path = os.pathsep.join(filter(None, (str(_ROOT), kept.get("PYTHONPATH", ""))))
    return {**kept, "PYTHONPATH": path}


@contextlib.asynccontextmanager
async def stage(
    folder: Path, cluster: SimConfig, ports: Ports
) -> AsyncIterator[tuple[Place, Sequence[Child]]]:
    """Run a simulated llm-d and a gateway in `folder`; give where they are. Raise StageError, OSError."""
    sim_config = _prepare(folder, cluster)
    keys = {name: secrets.token_urlsafe(32) for name in world.KEYS}
    async with contextlib.AsyncExitStack() as stack:
        backend = Child(
            "simulator",
            ["controller.llmd.sim", "--config", str(sim_config), "--port", str(ports.backend)],
            folder,
        )
        stack.push_async_callback(backend.stop)
        found = await backend.start({"url": r"simulated llm-d at (http://\S+)/v1"})
        document = world.gateway_document(
            backend_url=f"{found['url']}/v1",
            database=str(folder / LEDGER / "lumyn.db"),
            key_hashes={name: _hash(key) for name, key in keys.items()},
            port=ports.gateway,
            admin_port=ports.admin,
        )
        gateway_config = _written(folder / "gateway.yaml", orjson.dumps(document))
        gateway = Child("gateway", ["gateway.cli", "serve", "--config", str(gateway_config)], folder)
        stack.push_async_callback(gateway.stop)
        said = await gateway.start({"url": r"openai_base_url: (\S+)", "admin": r"admin: (http://[^/]+)"})
        place = Place(said["url"], said["admin"], found["url"], keys, gateway_config)
        yield place, (backend, gateway)


def _prepare(folder: Path, cluster: SimConfig) -> Path:
    """Make the folder, without the ledger of an earlier run; return the simulator's configuration in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / LEDGER).exists():
            shutil.rmtree(folder / LEDGER)
        return _written(folder / "cluster.json", orjson.dumps(as_json(cluster)))
    except OSError as error:
        raise StageError(f"cannot write into {folder}: {(error.strerror or 'failed').lower()}") from None


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _hash(key: str) -> str:
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


async def verify_ledger(place: Place, folder: Path) -> tuple[bool, str]:
    """Check the ledger of a stage that has ended: whether its chain holds, and what was said of it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli", "verify", "--config", str(place.config_path),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        cwd=folder, env=_environment(), start_new_session=True,
    )  # fmt: skip
    said, _ = await process.communicate()
    lines = said.decode(errors="replace").strip().splitlines()
    return process.returncode == 0, lines[-1] if lines else "verify said nothing"
