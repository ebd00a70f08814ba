"""What one replica has on its accelerator: the running sequences, their blocks, the next step's plan. Pure.

The scheduler half of `engine.Engine`, which adds time. A step is planned by `Batch.plan`, which may preempt
and admit, and ended by `Batch.advance` and `Batch.end_chunks`. Every running decode advances in every step;
so the state of a decode is one number, the step count at which its cache would have been empty (`zero`),
and nothing is touched per token: block needs follow from counts of `zero` modulo the block size, ends from a
table by step count.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Hashes
from dataclasses import dataclass, field
from heapq import heappop, heappush

from controller.llmd.sim.adapters import Adapters
from controller.llmd.sim.blocks import BlockPool
from controller.llmd.sim.engine_config import EngineConfig
from controller.llmd.sim.types import EngineRequest
from controller.llmd.sim.waiting import FcfsQueue, PriorityQueue


@dataclass(slots=True, eq=False)
class Sequence:
    """A request inside the engine.

    `target` tokens must be computed before the next token is sampled. `computed` and `private` (blocks)
    are exact while the prompt is computed, and follow from `zero` while it `decodes`. `chain` are the hashes
    of its full blocks, prompt and answer, `shared` those it references, `published` how many of the chain
    were offered to the prefix cache.
    """

    request: EngineRequest
    priority: int
    order: int
    arrived_at_s: float
    target: int
    chain: Hashes[int] = ()
    computed: int = 0
    generated: int = 0
    private: int = 0
    shared: list[int] = field(default_factory=list)
    published: int = 0
    cached_tokens: int = -1
    chunk: int = 0
    decodes: bool = False
    zero: int = 0
    finish_step: int = 0
    scheduled_at_s: float = -1.0
    first_token_at_s: float = -1.0
    stalled_at_s: float = -1.0
    preemptions: int = 0


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What the next step computes; `preempted` lost their place while it was planned.

    `cold` were taken from the queue to end at once, since too little of their prompts is cached; `lora_loads`
    adapters come from disk.
    """

    prefill_tokens: int
    decodes: int
    context_tokens: int
    attention_pairs: int
    preempted: tuple[Sequence, ...]
    cold: tuple[Sequence, ...] = ()
    lora_loads: int = 0


class Batch:
    """The running sequences of one replica. Blocks of the step in flight are already taken."""

    def __init__(self, config: EngineConfig) -> None:
        self.pool = BlockPool(config.kv_blocks)
        self.waiting: FcfsQueue[Sequence] | PriorityQueue[Sequence] = (
            PriorityQueue() if config.scheduling == "priority" else FcfsQueue()
        )
        self.running: dict[Sequence, None] = {}
        self.decoding: dict[Sequence, None] = {}
        self.chunked: list[Sequence] = []
        self.count = 0
        self.prefix_queries = 0
        self.prefix_hits = 0
        self.adapters = Adapters(config.max_loras, config.max_cpu_loras)
        self._config = config
        self._prefilling: dict[Sequence, None] = {}
        self._finishing: dict[int, dict[Sequence, None]] = {}
        self._finish_steps: list[int] = []
        self._crossing = [0] * config.block_tokens
        self._passed: list[Sequence] = []
        self._cold: list[Sequence] = []
        self._loads = 0
        self.context = 0

    # --- planning a step -------------------------------------------------------------------------

    def plan(self) -> StepPlan:
        """Fill the next step: decodes, prompts under way, then waiting ones; take the blocks it writes."""
        preempted: list[Sequence] = []
        self.chunked = []
        while not self.pool.take(self._crossing[self.count % self._config.block_tokens]):
            preempted.append(self._preempt())
        budget = self._config.batched_tokens_max - len(self.decoding)
        for sequence in list(self._prefilling):
            if budget <= 0:
                break
            budget -= self._chunk(sequence, budget, preempted)
        self._passed, self._cold, self._loads = [], [], 0
        if not preempted and budget > 0:
            for sequence in self._admit():
                budget -= self._chunk(sequence, budget, preempted)
                if budget <= 0:
                    break
        for sequence in reversed(self._passed):
            self.waiting.push_back(sequence)
        return self._planned(preempted)

    def _planned(self, preempted: list[Sequence]) -> StepPlan:
        chunked = self.chunked = [sequence for sequence in self.chunked if sequence.chunk]
        return StepPlan(
            prefill_tokens=sum(sequence.chunk for sequence in chunked),
            decodes=len(self.decoding),
            context_tokens=self.context + sum(sequence.computed for sequence in chunked),
            attention_pairs=sum(sequence.chunk * sequence.computed for sequence in chunked),
            preempted=tuple(preempted),
            cold=tuple(self._cold),
            lora_loads=self._loads,
        )

    def _chunk(self, sequence: Sequence, budget: int, preempted: list[Sequence]) -> int:
        """Schedule the next piece of a prompt; 0 when it lost its place to find the blocks."""
        if sequence not in self._prefilling:
            return 0
        chunk = min(sequence.target - sequence.computed, budget)
        blocks = self._blocks(sequence.computed + chunk) - sequence.private - len(sequence.shared)
        while not self.pool.take(blocks):
            victim = self._preempt()
            preempted.append(victim)
            if victim is sequence:
                return 0
        sequence.private += blocks
        sequence.chunk = chunk
        self.chunked.append(sequence)
        return chunk

    def _admit(self) -> Iterator[Sequence]:
        """Take waiting sequences in, in order, while a place and the blocks of the whole prompt are free.

        Those whose adapter has no place are passed over and keep their rank.
        """
        pledged = sum(self._pledge(sequence) for sequence in self._prefilling)
        while self.waiting and len(self.running) < self._config.seqs_max:
            sequence = self.waiting.head()
            if not self.adapters.fits(sequence.request.lora):
                self._passed.append(self.waiting.take())
                continue
            hits = self._hits(sequence)
            if self._is_cold(sequence, hits):
                self._cold.append(self.waiting.take())
                continue
            needed = self._blocks(sequence.target) - len(hits)
            if needed + pledged + self.pool.idle_among(hits) > self.pool.available:
                return
            self.waiting.take()
            self.pool.share(hits)
            sequence.shared = hits
            sequence.published = len(hits)
            sequence.computed = len(hits) * self._config.block_tokens
            if sequence.cached_tokens < 0:
                sequence.cached_tokens = sequence.computed
                if self._config.prefix_caching:
                    self.prefix_queries += sequence.target
                    self.prefix_hits += sequence.computed
            if sequence.request.remote_prefill and not sequence.preemptions:
                # the cache of the prompt is there; its last token is computed here, to sample from it
                sequence.computed = max(sequence.computed, sequence.target - 1)
            self._loads += self.adapters.enter(sequence.request.lora)
            self.running[sequence] = None
            self._prefilling[sequence] = None
            yield sequence
            pledged += self._pledge(sequence) if sequence in self._prefilling else 0

    def _is_cold(self, sequence: Sequence, hits: list[int]) -> bool:
        """Tell whether a sequence that comes for the first time finds too little of its prompt."""
        request = sequence.request
        cached = len(hits) * self._config.block_tokens
        return sequence.cached_tokens < 0 and cached < request.hit_rate_min * request.prompt_tokens

    def _pledge(self, sequence: Sequence) -> int:
        return self._blocks(sequence.target) - sequence.private - len(sequence.shared)

    def _hits(self, sequence: Sequence) -> list[int]:
        """The cached leading blocks; never all of the prompt, since its last token must be computed."""
        if not self._config.prefix_caching or not sequence.chain:
            return []
        whole = (sequence.target - 1) // self._config.block_tokens
        prefix = sequence.chain[:whole]
        return list(prefix[: self.pool.match(prefix)])

    def _preempt(self) -> Sequence:
        """Take everything from the last admitted, or least urgent, sequence and let it wait at the front."""
        if self._config.scheduling == "priority":
            victim = max(self.running, key=lambda sequence: (sequence.priority, sequence.order))
        else:
            victim = next(reversed(self.running))
        self.leave(victim, in_step=False)
        victim.target = victim.request.prompt_tokens + victim.generated
        victim.computed = victim.published = victim.chunk = 0
        victim.preemptions += 1
        self.waiting.push_back(victim)
        return victim

    # --- ending a step ---------------------------------------------------------------------------

    def advance(self, steps: int) -> list[Sequence]:
        """Count `steps` done, the first planned, the rest equal to it; return the sequences that ended."""
        if steps > 1:
            self.pool.take(self._blocks_after(steps))
        self.count += steps
        self.context += steps * len(self.decoding)
        finished = list(self._finishing.get(self.count, ()))
        for sequence in finished:
            self.leave(sequence, in_step=False)
            sequence.generated = sequence.request.output_tokens
        return finished

    def end_chunks(self) -> list[Sequence]:
        """Count the step's chunks as computed; return the sequences whose prompt is whole, still running."""
        whole = []
        for sequence in self.chunked:
            if not sequence.chunk:
                continue
            sequence.computed += sequence.chunk
            sequence.chunk = 0
            self._publish(sequence)
            if sequence.computed == sequence.target:
                del self._prefilling[sequence]
                whole.append(sequence)
        self.chunked = []
        return whole

    def _publish(self, sequence: Sequence) -> None:
        """Offer the full blocks that are computed now to the prefix cache."""
        if not self._config.prefix_caching:
            return
        chain = sequence.chain
        full = min(sequence.computed // self._config.block_tokens, len(chain))
        for index in range(sequence.published, full):
            if self.pool.publish(chain[index]):
                sequence.private -= 1
                sequence.shared.append(chain[index])
        sequence.published = max(full, sequence.published)

    def decode(self, sequence: Sequence) -> None:
        """Let a sequence with a whole prompt and a first token join the decodes."""
        sequence.decodes = True
        sequence.zero = self.count - sequence.computed
        sequence.finish_step = self.count + sequence.request.output_tokens - sequence.generated
        if sequence.finish_step not in self._finishing:
            self._finishing[sequence.finish_step] = {}
            heappush(self._finish_steps, sequence.finish_step)
        self._finishing[sequence.finish_step][sequence] = None
        self._crossing[sequence.zero % self._config.block_tokens] += 1
        self.context += sequence.computed
        self.decoding[sequence] = None

    def leave(self, sequence: Sequence, *, in_step: bool) -> None:
        """Free a running sequence's place and blocks. `in_step`: the step in flight has taken its block."""
        del self.running[sequence]
        self.adapters.leave(sequence.request.lora)
        self._prefilling.pop(sequence, None)
        if sequence.decodes:
            sequence.decodes = False
            del self.decoding[sequence]
            sequence.computed = self.count - sequence.zero
            sequence.generated = sequence.request.output_tokens - (sequence.finish_step - self.count)
            sequence.private = self._blocks(sequence.computed + in_step) - len(sequence.shared)
            self.context -= sequence.computed
            self._crossing[sequence.zero % self._config.block_tokens] -= 1
            ending = self._finishing[sequence.finish_step]
            del ending[sequence]
            if not ending:
                del self._finishing[sequence.finish_step]
            # vLLM publishes a block as it fills; who asks before the end has seen half an answer only
            self._publish(sequence)
        self.pool.release(sequence.private, sequence.shared)
        sequence.private = sequence.chunk = 0
        sequence.shared = []

    # --- looking ahead ---------------------------------------------------------------------------

    def repeats_max(self) -> int:
        """How many steps, from the planned one, leave a batch of decodes as it is: no end, blocks suffice."""
        while self._finish_steps[0] not in self._finishing:
            heappop(self._finish_steps)
        steps = self._finish_steps[0] - self.count
        if self._blocks_after(steps) <= self.pool.available:
            return steps
        low, high = 1, steps
        while high - low > 1:
            middle = (low + high) // 2
            if self._blocks_after(middle) <= self.pool.available:
                low = middle
            else:
                high = middle
        return low

    def uncomputed(self) -> int:
        """Return the prompt tokens that wait or are not computed yet."""
        inside = sum(sequence.target - sequence.computed for sequence in self._prefilling)
        return inside + sum(sequence.target for sequence in self.waiting.members())

    def _blocks_after(self, steps: int) -> int:
        """How many blocks the decodes need for the steps after the planned one, up to `steps` in all."""
        size = self._config.block_tokens
        cycles, rest = divmod(steps - 1, size)
        start = self.count + 1
        return cycles * len(self.decoding) + sum(
            self._crossing[(start + step) % size] for step in range(rest)
        )

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self._config.block_tokens)
