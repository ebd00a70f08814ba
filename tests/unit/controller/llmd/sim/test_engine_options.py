"""Answers in the cache, prompts computed elsewhere, prompts too cold, adapters from disk."""

from dataclasses import replace

import pytest

from controller.llmd.sim.engine import Engine
from controller.llmd.sim.engine_config import KvTransfer
from controller.llmd.sim.types import EngineRequest
from tests.unit.controller.llmd.sim.test_engine import EIGHT_B, finished, run, ttft


def test_an_answer_is_found_by_the_next_turn():
    """Its full blocks are known after the end; the last token sampled was never computed."""
    turn = EngineRequest("a", 64, 33, prefix=(1, 2, 3, 4), answer_blocks=(5, 6))
    later = EngineRequest("b", 120, 5, prefix=(1, 2, 3, 4, 5, 6, 7))
    _, events = run(EIGHT_B, [(0.0, turn), (5.0, later)])
    assert finished(events)["b"].cached_tokens == 96
    _, events = run(EIGHT_B, [(0.0, replace(turn, output_tokens=32)), (5.0, later)])
    assert finished(events)["b"].cached_tokens == 80
    _, events = run(EIGHT_B, [(0.0, turn), (5.0, later)], cancels=[(0.15, "a")])
    assert 64 <= finished(events)["b"].cached_tokens < 96
    _, events = run(replace(EIGHT_B, prefix_caching=False), [(0.0, turn), (5.0, later)])
    assert finished(events)["b"].cached_tokens == 0


def test_a_prompt_computed_elsewhere_waits_for_its_cache_and_one_token():
    """TTFT is the transfer and a step; the blocks are held; an arrival in between overtakes."""
    config = replace(EIGHT_B, transfer=KvTransfer(token_ms=0.1))
    remote = EngineRequest("r", 1000, 5, remote_prefill=True)
    _, events = run(config, [(0.0, remote), (0.01, EngineRequest("local", 1000, 5))])
    done = finished(events)
    assert ttft(done["r"]) == pytest.approx(0.015 + 0.100 + 0.0066, abs=0.0005)
    assert done["local"].first_token_at_s < done["r"].first_token_at_s
    alone = Engine(config)
    alone.submit(remote, 0.0)
    alone.advance(0.12)
    assert alone.load().kv_usage == pytest.approx(63 / EIGHT_B.kv_blocks, rel=0.02)
    fixed = Engine(config)
    fixed.set_latency(None, KvTransfer(latency_ms=30), 0.0)
    fixed.submit(remote, 0.0)
    assert fixed.next_event_time() == pytest.approx(0.045)


def test_too_cold_a_prompt_ends_at_once():
    """Less cached than asked for: an end without a token, and without a place."""
    prefix = tuple(range(62))
    warm = EngineRequest("warm", 1000, 2, prefix=prefix)
    asks = [(1.0, replace(warm, request_id="ok", hit_rate_min=0.9))]
    asks += [(1.0, EngineRequest("cold", 1000, 2, prefix=prefix[:20], hit_rate_min=0.9))]
    engine, events = run(EIGHT_B, [(0.0, warm), *asks])
    done = finished(events)
    assert (done["ok"].cold, done["ok"].output_tokens) == (False, 2)
    assert (done["cold"].cold, done["cold"].output_tokens, done["cold"].cached_tokens) == (True, 0, 0)
    assert done["cold"].at_s == pytest.approx(1.015)
    assert engine.load().unfinished == 0


def test_an_adapter_from_disk_makes_its_step_longer():
    """The first time, and again after another one took its place in memory."""
    config = replace(EIGHT_B, max_loras=1, lora_load_ms=50)
    asks = [(at, EngineRequest(str(at), 100, 2, lora=lora)) for at, lora in enumerate("xxyx")]
    for memory, slow in ((1, {"0", "2", "3"}), (2, {"0", "2"})):
        _, events = run(replace(config, max_cpu_loras=memory), asks)
        assert {name for name, event in finished(events).items() if ttft(event) > 0.06} == slow
