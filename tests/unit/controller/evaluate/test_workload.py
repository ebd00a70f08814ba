"""`controller.evaluate.workload`: the same requests for every policy of a seed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.evaluate.scenarios import SCENARIOS
from controller.evaluate.workload import SPIKE_END_S, SPIKE_START_S


def test_a_seed_is_a_workload() -> None:
    """Equal seeds give equal requests, other seeds others, in order of time."""
    one, same = list(SCENARIOS["spike4"].jobs(1)), list(SCENARIOS["spike4"].jobs(1))
    assert one == same
    assert one != list(SCENARIOS["spike4"].jobs(2))
    assert [job.at_s for job in one] == sorted(job.at_s for job in one)


def test_streams_are_independent() -> None:
    """Other sizes leave arrivals, classes and tenants as they were."""
    chat = list(SCENARIOS["spike4"].jobs(3))
    code = list(replace(SCENARIOS["spike4"], sizes="code").jobs(3))
    assert [(job.at_s, job.kind.name, job.tenant) for job in chat] == [
        (job.at_s, job.kind.name, job.tenant) for job in code
    ]
    assert [job.input_tokens for job in chat] != [job.input_tokens for job in code]


def test_the_rate_follows_the_shape() -> None:
    """Over ten seeds the spike has four times the rate of before, and the base is what it says."""
    before = spike = 0
    for seed in range(10):
        for job in SCENARIOS["spike4"].jobs(seed):
            before += job.at_s < SPIKE_START_S
            spike += SPIKE_START_S <= job.at_s < SPIKE_END_S
    assert before / 1000 == pytest.approx(SCENARIOS["spike4"].base_rps, rel=0.12)
    assert (spike / 900) / (before / 1000) == pytest.approx(4.0, rel=0.12)


def test_classes_have_their_shares() -> None:
    """A fifth premium, half standard, the rest batch."""
    names = [job.kind.name for seed in range(5) for job in SCENARIOS["spike4"].jobs(seed)]
    assert names.count("premium") / len(names) == pytest.approx(0.2, abs=0.02)
    assert names.count("standard") / len(names) == pytest.approx(0.5, abs=0.02)


def test_the_top_ten_tenants_send_most() -> None:
    """Zipf shares: ten of a hundred tenants send 50 to 70 %."""
    tenants = [job.tenant for job in SCENARIOS["spike4"].jobs(1)]
    counts = sorted((tenants.count(name) for name in set(tenants)), reverse=True)
    assert 0.5 <= sum(counts[:10]) / len(tenants) <= 0.7


def test_a_greedy_tenant_is_greedy_in_the_spike_only() -> None:
    """Two thirds of the spike are its, and nothing outside."""
    jobs = list(SCENARIOS["greedy"].jobs(1))
    inside = [job for job in jobs if SPIKE_START_S <= job.at_s < SPIKE_END_S]
    assert sum(job.tenant == "greedy" for job in inside) / len(inside) == pytest.approx(0.66, abs=0.05)
    assert all(job.tenant != "greedy" for job in jobs if job.at_s < SPIKE_START_S)
