"""The block pool never hands out what it does not have, and forgets the oldest cached block first."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controller.llmd.sim.blocks import BlockPool


class PoolMachine(RuleBasedStateMachine):
    """Sequences take, publish, share and release blocks in any order."""

    def __init__(self):
        super().__init__()
        self.pool = BlockPool(24)
        self.held = []

    @rule(count=st.integers(0, 12), name=st.integers(0, 3))
    def begin(self, count, name):
        hashes = [name * 100 + index for index in range(count)]
        shared = hashes[: self.pool.match(hashes)]
        needed = count - len(shared) + self.pool.idle_among(shared)
        if needed > self.pool.available:
            assert not self.pool.take(self.pool.available + 1)
            return
        self.pool.share(shared)
        assert self.pool.take(count - len(shared))
        private, known = count - len(shared), list(shared)
        for block in hashes[len(shared) :]:
            if self.pool.publish(block):
                private -= 1
                known.append(block)
        self.held.append((private, known))

    @rule(data=st.data())
    def end(self, data):
        if self.held:
            private, known = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
            self.pool.release(private, known)

    @invariant()
    def counts_agree(self):
        referenced = {block for _, known in self.held for block in known}
        private = sum(private for private, _ in self.held)
        assert self.pool.available == 24 - private - len(referenced)
        assert self.pool.usage == (private + len(referenced)) / 24
        assert len(self.pool._idle) <= self.pool.available


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@given(st.integers(1, 30))
def test_taking_forgets_the_least_recently_released_blocks(count):
    """Idle blocks give way one by one, ends of prompts first."""
    pool = BlockPool(30)
    assert pool.take(10)
    for block in range(10):
        pool.publish(block)
    pool.release(0, list(range(10)))
    assert pool.take(count)
    assert pool.match(list(range(10))) == min(10, 30 - count)
