"""The compat formula gives what the Go simulator's own code gives (`vectors/sim/compat.json`)."""

import math
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.llmd.sim.engine_config import CompatLatency, KvTransfer
from controller.llmd.sim.formula import drawn_ms, first_token_ms, load_factor, transfer_ms

ROOT = Path(__file__).resolve().parents[5]
VECTORS = orjson.loads((ROOT / "vectors/sim/compat.json").read_bytes())["latencies"]


def latency_of(vector):
    """Return the vector's latencies as configurations."""
    ms = {name: value / 1000 for name, value in vector["config_us"].items()}
    latency = CompatLatency(
        calculator=vector["calculator"],
        ttft_ms=ms["ttft"],
        ttft_std_ms=ms["ttft_std"],
        itl_ms=ms["itl"],
        itl_std_ms=ms["itl_std"],
        prefill_overhead_ms=ms["overhead"],
        prefill_token_ms=ms["token"],
        prefill_std_ms=ms["prefill_std"],
        factor_under_load=vector["factor_under_load"],
    )
    transfer = KvTransfer(
        latency_ms=ms["latency"],
        latency_std_ms=ms["latency_std"],
        token_ms=ms["transfer_token"],
        token_std_ms=ms["transfer_std"],
    )
    return latency, transfer


def first_token_of(vector):
    """Return the (mean, deviation) of the vector's time to first token."""
    latency, transfer = latency_of(vector)
    if vector["remote_prefill"]:
        return transfer_ms(transfer, latency.calculator, vector["prompt_tokens"])
    factor = load_factor(vector["factor_under_load"], vector["running"], vector["seqs_max"])
    tokens = {"prompt_tokens": vector["prompt_tokens"], "cached_tokens": vector["cached_tokens"]}
    return first_token_ms(latency, factor=factor, **tokens)


def test_the_vectors_cover_every_branch():
    """Each calculator, with and without a fixed time, here and elsewhere."""
    kinds = {(each["calculator"], each["remote_prefill"]) for each in VECTORS}
    assert len(kinds) == 6
    assert {each["config_us"]["ttft"] > 0 for each in VECTORS if each["calculator"] == ""} == {True, False}


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_means_and_deviations_are_those_of_the_go_program(vector):
    """To the nanosecond that its own integers lose a token: what is drawn from, before anything is cut."""
    mean, deviation = first_token_of(vector)
    lost_ms = 1e-6 * (vector["prompt_tokens"] + 2)
    assert mean == pytest.approx(vector["ttft_mean_ns"] / 1e6, abs=lost_ms)
    assert deviation == pytest.approx(vector["ttft_std_ns"] / 1e6)
    factor = load_factor(vector["factor_under_load"], vector["running"], vector["seqs_max"])
    itl = vector["config_us"]["itl"] / 1000 * factor
    assert itl == pytest.approx(vector["itl_mean_ns"] / 1e6, abs=2e-6)


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_draws_are_cut_as_the_go_program_cuts(vector):
    """Whole milliseconds of mean, deviation and result, within 70 % of the mean."""
    drawn = drawn_ms(*first_token_of(vector), vector["normal"], whole_ms=True)
    assert drawn == pytest.approx(
        vector["ttft_whole_ms"], abs=1 if vector["ttft_mean_ns"] % 10**6 < 2000 else 0
    )
    factor = load_factor(vector["factor_under_load"], vector["running"], vector["seqs_max"])
    itl, deviation = (vector["config_us"][name] / 1000 for name in ("itl", "itl_std"))
    assert drawn_ms(itl * factor, deviation, vector["normal"], whole_ms=True) == vector["itl_whole_ms"]


@given(st.floats(1, 10), st.integers(2, 300), st.data())
def test_the_load_factor_is_linear_in_running(factor, places, data):
    """1 with one running, the factor with all places taken, and on the line between."""
    running = data.draw(st.integers(1, places))
    share = (running - 1) / (places - 1)
    assert load_factor(factor, running, places) == pytest.approx(1 + (factor - 1) * share)
    assert load_factor(factor, 1, places) == load_factor(factor, running, 1) == 1
    assert load_factor(factor, places, places) == pytest.approx(factor)


@given(st.floats(0, 1e4), st.floats(0, 1e4), st.floats(-9, 9), st.booleans())
def test_draws_stay_within_70_percent(mean, deviation, normal, whole):
    """On both sides, whatever the deviation."""
    drawn = drawn_ms(mean, deviation, normal, whole_ms=whole)
    assert math.floor(0.3 * math.floor(mean)) <= drawn <= 1.7 * mean + 1e-9
