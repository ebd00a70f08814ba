"""The batch plans steps within its budget, places and blocks, and keeps exact counts."""

from dataclasses import replace

from controller.llmd.sim.batch import Batch, Sequence
from controller.llmd.sim.presets import HARDWARE
from controller.llmd.sim.types import EngineRequest

CONFIG = replace(HARDWARE["8b-h100"], kv_blocks=64, context_max=1024, seqs_max=4, batched_tokens_max=100)


def sequence(name, prompt, output=10):
    """Return a sequence that has just arrived."""
    return Sequence(EngineRequest(str(name), prompt, output), 0, int(name), 0.0, prompt)


def test_a_prompt_over_the_budget_is_computed_in_chunks():
    """250 tokens at 100 a step are 100, 100 and 50, and the place is kept in between."""
    batch = Batch(CONFIG)
    batch.waiting.push(sequence(0, 250))
    chunks = []
    for _ in range(3):
        chunks.append(batch.plan().prefill_tokens)
        batch.advance(1)
        whole = batch.end_chunks()
    assert chunks == [100, 100, 50]
    assert [each.request.request_id for each in whole] == ["0"]
    assert len(batch.running) == 1


def test_decodes_take_the_budget_first():
    """With two decodes running a prompt gets 98 of 100 tokens."""
    batch = Batch(CONFIG)
    for name in range(2):
        batch.waiting.push(sequence(name, 20))
    batch.plan()
    batch.advance(1)
    for each in batch.end_chunks():
        each.generated = 1
        batch.decode(each)
    batch.waiting.push(sequence(2, 300))
    plan = batch.plan()
    assert (plan.decodes, plan.prefill_tokens, plan.context_tokens) == (2, 98, 40)


def test_nothing_is_admitted_without_budget():
    """A prompt under way that takes the whole step leaves the next one waiting."""
    batch = Batch(CONFIG)
    for name in range(2):
        batch.waiting.push(sequence(name, 250))
    batch.plan()
    assert (len(batch.running), len(batch.waiting)) == (1, 1)
    batch.advance(1)
    batch.end_chunks()
    batch.plan()
    assert (len(batch.running), len(batch.waiting)) == (1, 1)


def test_places_and_blocks_bound_admission():
    """Not more than seqs_max run, and none whose whole prompt does not fit beside those under way."""
    batch = Batch(replace(CONFIG, batched_tokens_max=1000))
    for name in range(6):
        batch.waiting.push(sequence(name, 20))
    batch.plan()
    assert (len(batch.running), len(batch.waiting)) == (4, 2)
    narrow = Batch(CONFIG)
    narrow.waiting.push(sequence(0, 600))
    narrow.waiting.push(sequence(1, 600))
    narrow.plan()
    assert len(narrow.running) == 1


def test_an_adapter_without_a_place_is_passed_by_and_keeps_its_rank():
    """Two adapters at a time: the third waits in front of what came later."""
    batch = Batch(replace(CONFIG, max_loras=2, batched_tokens_max=1000, seqs_max=8))
    for name, lora in enumerate(("x", "y", "z", "", "x", "z")):
        each = sequence(name, 20)
        each.request = replace(each.request, lora=lora)
        batch.waiting.push(each)
    plan = batch.plan()
    assert [each.request.request_id for each in batch.running] == ["0", "1", "3", "4"]
    assert [each.request.request_id for each in batch.waiting.members()] == ["2", "5"]
    assert (plan.lora_loads, batch.adapters.in_use()) == (2, ("x", "y"))


def test_repeats_stop_before_the_first_end_and_before_the_blocks_run_out():
    """A stride never passes a finish, and never needs a block that is not there."""
    batch = Batch(CONFIG)
    batch.waiting.push(sequence(0, 16, output=400))
    batch.plan()
    batch.advance(1)
    only = batch.end_chunks()[0]
    only.generated = 1
    batch.decode(only)
    batch.plan()
    assert batch.repeats_max() == 399
    assert batch.pool.take(batch.pool.available - 2)
    # the planned step has its block; two more blocks carry 32 steps after the 16 of this one
    assert batch.repeats_max() == 48
