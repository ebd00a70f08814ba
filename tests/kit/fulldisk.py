"""Disks that fill up under a running gateway and are freed again, and clients that go on all the while.

A fault is made from outside, so that nothing of the product knows of it: a file size limit that the kernel
puts on the process (`prlimit`), or a small tmpfs of the process's own, mounted in a namespace, that a filler
file takes up to the last byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import orjson

TMPFS_BYTES = 24 << 20
FILE_BYTES_MAX = 4096
"""Less than any file of a store has, so that every write behind its beginning is refused."""


class DiskFault(Protocol):
    """How a disk fills up. `launch` stands before the gateway's own command line."""

    name: ClassVar[str]

    def launch(self, directory: Path, command: Sequence[str]) -> list[str]: ...

    def fill(self, pid: int, directory: Path) -> None: ...

    def free(self, pid: int, directory: Path) -> None: ...

    def hold(self, pid: int, directory: Path) -> contextlib.AbstractContextManager[Path]:
        """The store's directory as the test sees it, also when the gateway has gone."""
        ...


class FileLimit:
    """RLIMIT_FSIZE, put on the process and taken off it again: EFBIG on every write."""

    name = "file limit"

    def launch(self, directory: Path, command: Sequence[str]) -> list[str]:
        directory.mkdir()
        return [*command]

    def fill(self, pid: int, directory: Path) -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, resource.RLIM_INFINITY))

    def free(self, pid: int, directory: Path) -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def hold(self, pid: int, directory: Path) -> contextlib.AbstractContextManager[Path]:
        return contextlib.nullcontext(directory)


class SmallDisk:
    """A tmpfs that only the gateway sees, filled to the last byte: ENOSPC."""

    name = "full tmpfs"

    def launch(self, directory: Path, command: Sequence[str]) -> list[str]:
        directory.mkdir()
        script = f'mount -t tmpfs -o size={TMPFS_BYTES} tmpfs "$0" && exec "$@"'
        return ["unshare", "-Urm", "sh", "-c", script, str(directory), *command]

    def fill(self, pid: int, directory: Path) -> None:
        with (
            _inside(pid, directory, "filler").open("ab", buffering=0) as filler,
            contextlib.suppress(OSError),
        ):
            while True:
                filler.write(bytes(1 << 16))

    def free(self, pid: int, directory: Path) -> None:
        _inside(pid, directory, "filler").unlink()

    @contextlib.contextmanager
    def hold(self, pid: int, directory: Path) -> Iterator[Path]:
        descriptor = os.open(_inside(pid, directory), os.O_PATH | os.O_DIRECTORY)
        try:
            yield Path(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)

    @staticmethod
    def refusal(directory: Path) -> str:
        """Why such a disk cannot be made here, in one line; empty where it can."""
        command = SmallDisk().launch(directory / "tried", ["true"])
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        except OSError as error:
            return str(error)
        return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def _inside(pid: int, directory: Path, name: str = "") -> Path:
    """A path as that process sees it."""
    return Path(f"/proc/{pid}/root{directory}") / name


@dataclass(frozen=True)
class Answer:
    """What one request got, and when."""

    request_id: str
    status: int
    retry_after: str | None
    at_s: float
    took_s: float


@dataclass
class Crowd:
    """Clients that send one request after another, refused or not, until they are told to stop."""

    port: int
    answers: list[Answer] = field(default_factory=list)
    stopping: bool = False

    async def client(self, name: str, pause_s: float = 0.002) -> None:
        """One connection at a time; where the gateway closes it, another."""
        number = 0
        while not self.stopping:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                while not self.stopping and not reader.at_eof():
                    number += 1
                    await self._ask(reader, writer, f"{name}-{number}", stream=number % 2 == 0)
                    await asyncio.sleep(pause_s)
            finally:
                writer.close()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request_id: str, *, stream: bool
    ) -> None:
        question = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
        body = orjson.dumps(question | ({"stream": True} if stream else {}))
        began_s = time.monotonic()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"x-request-id: %b\r\ncontent-length: %d\r\n\r\n%b" % (request_id.encode(), len(body), body)
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        took_s = time.monotonic() - began_s
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        if "chunked" in lines.get("transfer-encoding", ""):
            await reader.readuntil(b"0\r\n\r\n")
        else:
            await reader.readexactly(int(lines["content-length"]))
        status = int(head.split(" ", 2)[1])
        self.answers.append(Answer(request_id, status, lines.get("retry-after"), began_s, took_s))

    async def more(self, since_s: float, count: int, within_s: float = 10.0) -> list[Answer]:
        """Wait for so many answers to requests that began at or after a moment, and return them."""
        async with asyncio.timeout(within_s):
            while True:
                found = [answer for answer in self.answers if answer.at_s >= since_s]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def crowd(port: int, clients: int) -> AsyncIterator[Crowd]:
    """Run a crowd; at the end every client has had its last answer."""
    found = Crowd(port)
    tasks = [asyncio.create_task(found.client(f"client{n}")) for n in range(clients)]  # noqa: TID251
    try:
        yield found
    finally:
        found.stopping = True
        await asyncio.wait_for(asyncio.gather(*tasks), 20)
