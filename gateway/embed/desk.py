"""One store and all that is decided on it, inside one event loop: what the library and the commands share.

A desk serves many configurations: each has its policies and settings, all have the one store and the one
memory index. The store is opened on first use; while it cannot be opened, decisions are ABSTAIN.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import orjson

from gateway.auth.keys import KeyRing
from gateway.embed.config import LumynConfig
from gateway.engine.decide import EngineSettings, Stamp, abstain_on_storage
from gateway.engine.replay import Replay, recorded_advice, replay
from gateway.kernel.clock import Clock, Randomness
from gateway.kernel.errors import NotFoundError, StoreError, StoreSetupError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import EVERY_TENANT, JSONObject, Mode
from gateway.live import Live, Snapshot
from gateway.memory.snapshot import MemoryIndex
from gateway.pipeline.decisions import Decisions
from gateway.pipeline.kept import Appended, KeptDecisions
from gateway.pipeline.policies import policy_entries, policy_set
from gateway.pipeline.remember import MemoryFeed
from gateway.policy.builtin import PACKS
from gateway.policy.compile import compile_policy
from gateway.policy.select import PolicySet
from gateway.records.pack import PackContents, build_pack
from gateway.records.redact import verify_context
from gateway.store.open import open_store
from gateway.store.port import Store

CONFIGS_MAX: Final = 32
"""Configurations whose compiled policies are kept, some 300 kB each; a program has one or two."""
REOPEN_S: Final = 1.0
"""Between two attempts to open a store that could not be opened: callers are answered at once meanwhile."""


@dataclass(slots=True)
class _Setting:
    """One configuration, ready to decide under."""

    live: Live
    files: tuple[tuple[int, int, int] | None, ...]
    """What the policy files looked like when they were read."""
    decisions: Decisions | None = None
    """None until its policies are in the store."""


class Desk:
    """Decides, reads and labels on one store. Belongs to the event loop that it is used on."""

    def __init__(self, url: str, clock: Clock, randomness: Randomness) -> None:
        self._url = url
        self._clock = clock
        self._randomness = randomness
        self._ids = IdSource(clock, randomness)
        self._index = MemoryIndex()
        self._settings: OrderedDict[LumynConfig, _Setting] = OrderedDict()
        self._opening = asyncio.Lock()
        self._store: Store | None = None
        self._feed: MemoryFeed | None = None
        self._following: asyncio.Task[None] | None = None
        self._refused: StoreSetupError | None = None
        self._refused_s = 0.0

    async def decide(self, config: LumynConfig, request: JSONObject, *, will_act: bool = False) -> bytes:
        """Return the record of a validated request, durable; ABSTAIN where the store fails.

        Raises InvalidRequestError, InvalidPolicyError, InvalidConfigError and ConflictError.
        """
        verify_context(request)
        setting = self._setting(config)
        try:
            decisions = setting.decisions or await self._decisions(setting)
            if self._following is None:
                await self._follow()
            return await decisions.decide(request, will_act=will_act)
        except (StoreError, StoreSetupError):
            snapshot = setting.live.snapshot
            return abstain_on_storage(
                request,
                policies=snapshot.policies,
                settings=snapshot.engine,
                stamp=Stamp(self._ids.new(), self._clock.wall_ms()),
            ).body

    async def read(self, decision_id: str) -> bytes:
        """Return a record with its events. Raises NotFoundError, StoreError and StoreSetupError."""
        return await (await self._kept()).read(EVERY_TENANT, decision_id)

    async def append(
        self,
        decision_id: str,
        event_type: str,
        data: JSONObject,
        *,
        acted: bool = False,
    ) -> Appended:
        """Append an event. Raises as `read`, and InvalidRequestError.

        `acted`: it is the outcome of what the caller did after `decide(..., will_act=True)`.
        """
        kept = await self._kept()
        return await kept.append_event(EVERY_TENANT, decision_id, event_type, data, acted=acted)

    async def replay(self, decision_id: str) -> Replay:
        """Decide a stored decision again under the policy that decided it. Raises as `read`, RecordError."""
        record, policy_text = await self.kept(decision_id)
        policy = compile_policy(policy_text, source="the stored policy")
        return replay(record, policy, recorded_advice(record))

    async def kept(self, decision_id: str) -> tuple[JSONObject, bytes]:
        """Return a record without its events, and the text of the policy that decided it."""
        store = await self.store()
        entry = await store.decision(EVERY_TENANT, decision_id)
        if entry is None:
            raise NotFoundError(f"decision not found: {decision_id}")
        policy = await store.policy(entry.policy_hash)
        if policy is None:
            raise NotFoundError(
                f"the policy of decision {decision_id} is not stored: {entry.policy_hash}",
                hint="run `lumyn verify`",
            )
        record: JSONObject = orjson.loads(entry.body)
        return record, policy.body

    async def pack(self, decision_id: str) -> bytes:
        """Return a stored decision's pack, with its place in the ledger. Raises as `kept`."""
        record, policy = await self.kept(decision_id)
        proof = await (await self.store()).proof(decision_id)
        return build_pack(PackContents(record, policy, proof))

    def new_id(self) -> str:
        """Return a fresh ULID."""
        return self._ids.new()

    def policies(self, config: LumynConfig) -> PolicySet:
        """Return the policies of a configuration. Raises InvalidPolicyError and InvalidConfigError."""
        return self._setting(config).live.snapshot.policies

    async def store(self) -> Store:
        """Return the open store. Raises StoreSetupError."""
        async with self._opening:
            if self._store is None:
                self._store = await self._open()
            return self._store

    async def close(self) -> None:
        """Commit what is queued and close the store. Safe to call twice."""
        if self._following is not None:
            self._following.cancel()
        if self._store is not None:
            await self._store.close()

    async def _open(self) -> Store:
        if self._refused is not None and self._clock.monotonic_s() - self._refused_s < REOPEN_S:
            raise self._refused
        try:
            return await open_store(self._url, clock=self._clock, randomness=self._randomness)
        except StoreSetupError as error:
            self._refused, self._refused_s = error, self._clock.monotonic_s()
            raise

    async def _follow(self) -> None:
        """Read all memory, then keep up with it: only who decides needs to."""
        feed = self._feed_of(await self.store())
        await feed.catch_up()
        if self._following is None:
            self._following = asyncio.get_running_loop().create_task(feed.follow(), name="lumyn-memory")

    def _feed_of(self, store: Store) -> MemoryFeed:
        if self._feed is None:
            self._feed = MemoryFeed(store, self._index, lazy=True)
        return self._feed

    async def _kept(self) -> KeptDecisions:
        """Return what reads and appends; it asks for no policy, which may be broken just now."""
        store = await self.store()
        return KeptDecisions(store, self._clock, self._ids, self._feed_of(store))

    async def _decisions(self, setting: _Setting) -> Decisions:
        """Return what decides under a setting, its policies kept so that its records can be replayed."""
        store = await self.store()
        policies = setting.live.snapshot.policies
        await store.submit(policy_entries(policies, self._clock.wall_ms()))
        feed = self._feed_of(store)
        setting.decisions = Decisions(setting.live, store, self._clock, self._ids, feed)
        return setting.decisions

    def _setting(self, config: LumynConfig) -> _Setting:
        """Return a configuration's setting, read anew where one of its policy files has changed."""
        files = tuple(map(_look, (str(config.policy_path), *(config.packs or ()))))
        setting = self._settings.get(config)
        if setting is None or setting.files != files:
            setting = self._settings[config] = _Setting(Live(_snapshot(config, self._index)), files)
            if len(self._settings) > CONFIGS_MAX:
                self._settings.popitem(last=False)
        return setting


def _snapshot(config: LumynConfig, index: MemoryIndex) -> Snapshot:
    mode = None if config.mode is None else Mode(config.mode)
    return Snapshot(
        policies=policy_set(
            str(config.policy_path),
            PACKS if config.packs is None else config.packs,
            default_packs=config.packs is None,
        ),
        memory=index,
        engine=EngineSettings(
            mode=mode,
            redaction_profile=config.redaction_profile,
            advisory_allowed=config.advisory_allowed or mode is Mode.ADVISORY,
        ),
        keys=KeyRing(()),
        top_k=config.top_k,
    )


def _look(path: str) -> tuple[int, int, int] | None:
    """Return what tells a changed file from an unchanged one; None for what is no file (a built-in)."""
    try:
        found = os.stat(path)  # noqa: PTH116 - asked at every decision: a Path takes four times as long
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
