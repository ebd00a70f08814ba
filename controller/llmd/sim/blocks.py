"""The block-granular KV cache of one replica, with a prefix cache over full prompt blocks.

Blocks are counted, not placed: a block either is private to one sequence, or holds a full block of a
prompt and is known by the hash of everything up to its end. A known block that nobody references stays
until its place is needed, least recently released first (vLLM's block pool does the same). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence


class BlockPool:
    """Counts of private, referenced and idle blocks. No method blocks; `take` fails by returning False."""

    __slots__ = ("_idle", "_private", "_references", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._private = 0
        self._references: dict[int, int] = {}
        self._idle: dict[int, None] = {}

    @property
    def available(self) -> int:
        """Blocks that can be handed out now, idle cached ones included."""
        return self.capacity - self._private - len(self._references)

    @property
    def usage(self) -> float:
        """Share of blocks that sequences hold, 0..1, as `vllm:kv_cache_usage_perc`."""
        return (self._private + len(self._references)) / self.capacity

    def match(self, hashes: Sequence[int]) -> int:
        """Return how many leading hashes are cached."""
        references, idle = self._references, self._idle
        count = 0
        for block in hashes:
            if block not in references and block not in idle:
                break
            count += 1
        return count

    def idle_among(self, hashes: Sequence[int]) -> int:
        """Return how many of these cached blocks nobody references: taking them uses up `available`."""
        return sum(block in self._idle for block in hashes)

    def share(self, hashes: Sequence[int]) -> None:
        """Reference cached blocks once more."""
        for block in hashes:
            if block in self._idle:
                del self._idle[block]
                self._references[block] = 1
            else:
                self._references[block] += 1

    def take(self, count: int) -> bool:
        """Hand out `count` private blocks, forgetting idle ones as needed; False when there are too few."""
        if count > self.available:
            return False
        self._private += count
        overfull = self._private + len(self._references) + len(self._idle) - self.capacity
        for _ in range(overfull):
            del self._idle[next(iter(self._idle))]
        return True

    def publish(self, block: int) -> bool:
        """Make one private block known by its hash; False when another copy is known already."""
        if block in self._references:
            return False
        self._idle.pop(block, None)
        self._private -= 1
        self._references[block] = 1
        return True

    def forget(self) -> None:
        """Forget every known block that nobody references."""
        self._idle.clear()

    def release(self, private: int, hashes: Sequence[int]) -> None:
        """Give back a sequence's blocks. Ends of prompts go idle first: they are the first forgotten."""
        self._private -= private
        for block in reversed(hashes):
            left = self._references[block] - 1
            if left:
                self._references[block] = left
            else:
                del self._references[block]
                self._idle[block] = None
