"""The MCP gate of a running gateway: joins its parts to the configuration, the store and what is live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.config import Config
from gateway.kernel.clock import Clock, Randomness
from gateway.kernel.ids import IdSource
from gateway.live import Live
from gateway.pipeline.approvals import Approvals
from gateway.pipeline.gatehouse import gate_entries
from gateway.pipeline.pins import Pins
from gateway.pipeline.surroundings import Surroundings
from gateway.proxy.mcp.call import CallBench
from gateway.proxy.mcp.gate import McpGate
from gateway.proxy.mcp.hold import Holder
from gateway.proxy.mcp.learn import Learner
from gateway.proxy.mcp.passage import Deadlines, Passage
from gateway.proxy.mcp.servers import Server, make_server
from gateway.store.port import Store
from gateway.wire.mcp.state import Sealer

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class McpSurface:
    """The gate and what it stands on; `close` it after the last request."""

    gate: McpGate
    pins: Pins
    servers: Sequence[Server]

    @classmethod
    async def open(
        cls,
        config: Config,
        live: Live,
        store: Store,
        around: Surroundings,
        *,
        clock: Clock,
        ids: IdSource,
        randomness: Randomness,
    ) -> McpSurface:
        """Read the pins and make the gate. Raises SetupError and StoreUnavailableError."""
        mcp, limits = config.mcp, config.limits
        servers = [
            make_server(
                entry,
                [tool.rule() for tool in entry.tools],
                connect_s=limits.connect_s,
                keepalive_s=limits.upstream_keepalive_s,
            )
            for entry in mcp.servers
        ]
        pins = Pins(store, clock, ids)
        # Before anything is decided by it: a record must find the policy that it names.
        await store.submit(gate_entries(clock.wall_ms()))
        await pins.load()
        # Without a secret of its own each process seals what only itself can open.
        secret = (
            randomness.token_bytes(_SECRET_BYTES) if mcp.state_secret is None else mcp.state_secret.encode()
        )
        holder = Holder(Sealer(secret), clock, randomness, round(mcp.state_ttl_s * 1000))
        bench = CallBench(live, Learner(pins, clock, ids), Approvals(store, clock), holder, ids)
        passage = Passage(live, pins, Deadlines(limits.first_byte_s, limits.idle_s, mcp.listen_idle_s))
        gate = McpGate(
            servers,
            bench,
            replace(around, governor=None, retries=None),
            passage,
            origins=frozenset(mcp.origins),
            body_bytes_max=mcp.body_bytes_max,
        )
        return cls(gate, pins, servers)

    async def close(self) -> None:
        """Close every connection to the servers."""
        for server in self.servers:
            await server.backend.close()
