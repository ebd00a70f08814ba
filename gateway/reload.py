"""What a running gateway reads anew, at SIGHUP or when files have changed; the last good version stays.

    part.read()      in a thread: read and check everything, change nothing; SetupError says what is wrong
    publish()        keep what must be on record, then swap the live snapshot

A file that is being written is not read: it must have looked the same twice, and must look so still when it
has been read. One that has vanished is waited for: an editor may be about to put another in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from gateway.config import PolicyConfig
from gateway.kernel.canon import canonical_bytes
from gateway.kernel.clock import Clock
from gateway.kernel.errors import InvalidPolicyError, SetupError, StoreError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import JSONObject
from gateway.live import Live
from gateway.pipeline.policies import load_policies, policy_entries
from gateway.policy.select import PolicySet
from gateway.records.types import ControlEntry
from gateway.store.port import Store
from gateway.telemetry.log import LOG

LOOK_S: Final = 1.0
"""How often files are looked at: a change is in force within two looks, and a look is a few system calls."""

_PROBLEMS_MAX: Final = 20
"""In one line of the log; `lumyn policy validate` lists them all."""

Publish: TypeAlias = Callable[[], Awaitable[JSONObject | None]]
"""Makes what was read current; returns what the log says of it, None where nothing is new."""
Look: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""How each file looked: inode, size and time of change; None for one that is not there."""


class Part(Protocol):
    """Something that is made from files."""

    @property
    def name(self) -> str:
        """What it is, in a word for log and metrics."""
        ...

    def files(self) -> Sequence[str]:
        """Return the files that it is made from."""
        ...

    def read(self) -> Publish:
        """Read and check it; changes nothing, and runs in a thread. Raises SetupError."""
        ...


class PolicyPart:
    """The policies in force."""

    name = "policies"

    def __init__(self, config: PolicyConfig, live: Live, store: Store, clock: Clock, ids: IdSource) -> None:
        self._config = config
        self._live = live
        self._store = store
        self._clock = clock
        self._ids = ids

    def files(self) -> Sequence[str]:
        """Return the main policy and the packs."""
        return (self._config.path, *self._config.packs)

    def read(self) -> Publish:
        """Read and compile all of them. Raises InvalidPolicyError or InvalidConfigError."""
        return partial(self._publish, load_policies(self._config))

    async def _publish(self, policies: PolicySet) -> JSONObject | None:
        """Commit the policies, and that they were changed; from then on decisions are made under them."""
        before, after = _hashes(self._live.snapshot.policies), _hashes(policies)
        if before == after:
            return None
        at_ms = self._clock.wall_ms()
        body = canonical_bytes({"before": before, "after": after})
        change = ControlEntry(self._ids.new(), at_ms, self.name, body)
        await self._store.submit((*policy_entries(policies, at_ms), change))
        self._live.publish(replace(self._live.snapshot, policies=policies))
        return {"policy_hash": policies.main.policy_hash, "policies": len(after)}


class Reloader:
    """Watches files, and reads anew when they change or when it is asked to."""

    def __init__(
        self,
        parts: Sequence[Part],
        count: Callable[[str, str], None],
        *,
        watch: bool,
        look_s: float = LOOK_S,
    ) -> None:
        """`count` is told what was read anew and what came of it; without `watch` it only does as asked."""
        self._parts = tuple(parts)
        self._count = count
        self._watch = watch
        self._look_s = look_s
        self._asked = asyncio.Event()
        self._applied = {part.name: look_at(part.files()) for part in parts}
        self._last = dict(self._applied)
        # A file may have changed between its first reading and this look at it.
        self._due = {part.name for part in parts} if watch else set()
        self._unkept: set[str] = set()

    def ask(self) -> None:
        """Read everything anew, soon; called by a signal."""
        self._asked.set()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_s if self._watch or self._due else None):
                    await self._asked.wait()
            asked = self._asked.is_set()
            self._asked.clear()
            for part in self._parts:
                await self.look(part, asked=asked)

    async def look(self, part: Part, *, asked: bool) -> None:
        """Read a part anew if it is asked for, or if it has changed and lies still."""
        name = part.name
        now = await asyncio.to_thread(look_at, part.files())
        still = now == self._last[name]
        self._last[name] = now
        changed = name in self._due or (self._watch and now != self._applied[name])
        if asked or (changed and still and not self._vanished(name, now)):
            await self._renew(part, now, asked=asked)

    def _vanished(self, name: str, now: Look) -> bool:
        """Tell whether a file is gone that was there: what is read in its place is not what was meant."""
        pairs = zip(self._applied[name], now, strict=True)
        return any(was is not None and found is None for was, found in pairs)

    async def _renew(self, part: Part, now: Look, *, asked: bool) -> None:
        name = part.name
        self._due.add(name)
        try:
            publish = await asyncio.to_thread(part.read)
            if await asyncio.to_thread(look_at, part.files()) != now:
                return
            said = await publish()
        except SetupError as error:
            self._settled(name, now)
            LOG.error(f"{name} not reloaded", extra={"facts": _problems(error)})
            self._count(name, "refused")
        except StoreError as error:
            # What is not on record is not in force: it is due until the store is back.
            if name not in self._unkept:
                LOG.warning(f"{name} not reloaded", extra={"facts": {"problems": [error.message]}})
                self._count(name, "unkept")
            self._unkept.add(name)
        else:
            self._settled(name, now)
            if said is not None:
                LOG.info(f"{name} reloaded", extra={"facts": said})
                self._count(name, "applied")
            elif asked:
                LOG.info(f"{name} unchanged")
                self._count(name, "unchanged")

    def _settled(self, name: str, now: Look) -> None:
        self._applied[name] = now
        self._due.discard(name)
        self._unkept.discard(name)


def look_at(files: Sequence[str]) -> Look:
    """Return how files look now."""
    return tuple(map(_one, files))


def _one(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _hashes(policies: PolicySet) -> list[str]:
    return [policy.policy_hash for policy in policies.policies]


def _problems(error: SetupError) -> JSONObject:
    """Return what is wrong, each with line and column where there are any; the last good version stays."""
    if isinstance(error, InvalidPolicyError):
        problems = [str(problem) for problem in error.problems[:_PROBLEMS_MAX]]
        return {"source": error.source, "problems": problems, "in_force": "the last good version"}
    return {"problems": [error.message], "in_force": "the last good version"}
