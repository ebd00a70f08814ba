"""The LoRA adapters of one replica: which may run together, and which must be loaded first. Pure.

As in vLLM: sequences of at most `max_loras` adapters run at a time, one that would be one more waits while
others pass it. Adapters that ran stay in the CPU's memory, `max_cpu_loras` of them, the least recently used
is dropped first; one that is not there is loaded from disk in the step that first needs it.
"""

from __future__ import annotations


class Adapters:
    """Adapters in use, by name, and those in memory. The base model, named by an empty string, is free."""

    __slots__ = ("_cpu_max", "_in_use", "_max", "_memory")

    def __init__(self, max_loras: int, max_cpu_loras: int) -> None:
        self._max = max_loras
        self._cpu_max = max(max_cpu_loras, max_loras)
        self._in_use: dict[str, int] = {}
        self._memory: dict[str, None] = {}

    def fits(self, name: str) -> bool:
        """Tell whether a sequence of this adapter may run now."""
        return not name or name in self._in_use or len(self._in_use) < self._max

    def enter(self, name: str) -> bool:
        """Count a sequence that begins to run; True when its adapter must be loaded from disk."""
        if not name:
            return False
        self._in_use[name] = self._in_use.get(name, 0) + 1
        loads = self._memory.pop(name, self) is self
        self._memory[name] = None
        while len(self._memory) > self._cpu_max:
            del self._memory[next(held for held in self._memory if held not in self._in_use)]
        return loads

    def leave(self, name: str) -> None:
        """Count a sequence that runs no more."""
        if not name:
            return
        self._in_use[name] -= 1
        if not self._in_use[name]:
            del self._in_use[name]

    def in_use(self) -> tuple[str, ...]:
        """Return the adapters of running sequences, in order of their names."""
        return tuple(sorted(self._in_use))
