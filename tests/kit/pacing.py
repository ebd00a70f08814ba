"""How evenly the simulator's server emits its tokens on a core of its own, however busy the machine is.

    python -m tests.kit.pacing STREAMS STEPS [--relative]

The server runs on an event loop whose clock is the CPU time of its thread plus the time that it would have
slept. So every microsecond that the server itself spends delays what is due, as on a core of its own, and
what other processes take from this machine delays nothing. Sockets are real; the clients are another
process, and no time is skipped before all their requests are sent. An emission is the call that hands a
token to its connection. `--relative` breaks the driver on purpose: it sleeps from when it is done instead of
until the next deadline. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import selectors
import subprocess
import sys
import time
from itertools import pairwise

from aiohttp import web

from controller.llmd.sim import server as sim_server
from controller.llmd.sim.config import ModelConfig, RouterConfig, SimConfig
from controller.llmd.sim.driver import Driver
from controller.llmd.sim.engine_config import EngineConfig, StepModel

STEP_S = 0.1
"""Ten tokens a second for everybody, whatever the batch."""
ENGINE = EngineConfig(
    step=StepModel(floor_ms=99.7, token_ms=1e-6, seq_ms=0.0),
    overhead_ms=0.0,
    seqs_max=8192,
    kv_blocks=400_000,
)
CONFIG = SimConfig(models=(ModelConfig(name="m", engine=ENGINE),), router=RouterConfig(flow_control=False))
CLIENT = """
import selectors, socket, sys
port, streams, tokens = map(int, sys.argv[1:])
chosen = selectors.DefaultSelector()
token = b'"delta":{"content"'
for index in range(streams):
    peer = socket.create_connection(("127.0.0.1", port))
    body = b'{"model":"m","messages":[{"role":"user","content":"q%d"}],"max_tokens":%d,' % (index, tokens)
    body += b'"ignore_eos":true,"stream":true}'
    head = b"POST /v1/chat/completions HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: application/json\\r\\n"
    peer.sendall(head + b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)
    chosen.register(peer, selectors.EVENT_READ, [0, b""])
print("sent", flush=True)
left = streams
while left:
    for key, _ in chosen.select():
        data = key.fileobj.recv(65536)
        key.data[0] += (key.data[1] + data).count(token) - key.data[1].count(token)
        key.data[1] = data[-40:]
        if b"[DONE]" in key.data[1] or not data:
            assert key.data[0] == tokens, key.data
            chosen.unregister(key.fileobj)
            left -= 1
"""


class _Skipping(selectors.DefaultSelector):
    """Looks at the sockets without waiting; a wait for a timer is skipped and counted, unless held."""

    skipped_s = 0.0
    held = True

    def select(self, timeout=None):
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None or self.held:
            return super().select(timeout)
        self.skipped_s += timeout
        return ready


class CpuClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is the CPU time of its thread and what it skipped."""

    def __init__(self):
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self):
        return time.thread_time() + self._skipping.skipped_s

    def release(self):
        """Let time pass: before, only what the server computes takes time."""
        self._skipping.held = False


class RelativeDriver(Driver):
    """Wrong on purpose: engine time is the sum of the sleeps, so that all work between them is lost."""

    _slept_s = 0.0

    def now(self):
        return self._slept_s

    def _arm(self):
        due = self._cluster.next_event_time()
        if self._timer is None and due < float("inf"):
            self._timer = self._loop.call_later(due - self._slept_s, self._rise, due)

    def _rise(self, due):
        self._slept_s = due
        self._fire()


async def measured(streams, tokens):
    """Serve `streams` clients; return their emission times, one list each."""
    loop = asyncio.get_running_loop()
    times = {}
    write = web.StreamResponse.write

    async def noted(response, data):
        times.setdefault(id(response), []).append(loop.time())
        await write(response, data)

    web.StreamResponse.write = noted
    sim = sim_server.EmbeddedSim(CONFIG, None, loop.time)
    base = await sim.start()
    arguments = [base.rpartition(":")[2], str(streams), str(tokens)]
    with subprocess.Popen([sys.executable, "-c", CLIENT, *arguments], stdout=subprocess.PIPE) as client:
        sent = asyncio.Event()
        loop.add_reader(client.stdout, sent.set)
        await sent.wait()
        loop.remove_reader(client.stdout)
        assert client.stdout.readline() == b"sent\n"
        loop.release()
        gc.collect()
        gc.freeze()  # as the command does
        while len(times) < streams or sim.driver._channels:
            await asyncio.sleep(STEP_S)
        assert client.wait(60) == 0
    await sim.stop()
    return list(times.values())


def figures(emissions, busy_s):
    """Return what the emission times say, from when the last has begun until the first ends."""
    begin = max(times[0] for times in emissions) + STEP_S
    end = min(times[-1] for times in emissions) - STEP_S
    gaps, strays = [], []
    for times in emissions:
        steady = [at for at in times if begin <= at < end]
        gaps += [after - before for before, after in pairwise(steady)]
        strays.append(abs(steady[-1] - steady[0] - (len(steady) - 1) * STEP_S))
    drifts = sorted(abs(gap - STEP_S) for gap in gaps)
    return {
        "gaps": len(gaps),
        "drift_p99_ms": 1000 * drifts[int(len(drifts) * 0.99)],
        "drift_max_ms": 1000 * drifts[-1],
        "stray_max_ms": 1000 * max(strays),
        "core": busy_s / (max(times[-1] for times in emissions) - min(times[0] for times in emissions)),
        "cpu_us_a_token": 1e6 * busy_s / sum(map(len, emissions)),
    }


def main():
    """Measure and print."""
    reader = argparse.ArgumentParser()
    reader.add_argument("streams", type=int)
    reader.add_argument("steps", type=int)
    reader.add_argument("--relative", action="store_true")
    asked = reader.parse_args()
    if asked.relative:
        sim_server.Driver = RelativeDriver
    began = time.thread_time()
    with asyncio.Runner(loop_factory=CpuClockLoop) as runner:
        emissions = runner.run(measured(asked.streams, asked.steps))
    sys.stdout.write(json.dumps(figures(emissions, time.thread_time() - began)))


if __name__ == "__main__":
    main()
