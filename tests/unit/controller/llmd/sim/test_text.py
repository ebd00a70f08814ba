"""Tokens, hashes, lengths and words are deterministic and have the shapes asked for."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.llmd.sim.text import (
    BlockChain,
    answer_length,
    block_hashes,
    corpus,
    special,
    token_id,
    tokenize,
    words,
)

ROOT = Path(__file__).resolve().parents[5]
VECTORS = orjson.loads((ROOT / "vectors/sim/compat.json").read_bytes())["lengths"]


@given(st.text(max_size=200))
def test_tokens_joined_are_the_text(text):
    """Nothing is lost or added, and every token has a number."""
    tokens = tokenize(text)
    assert "".join(tokens) == text
    assert all(0 <= token_id(token) < 2**31 for token in tokens)


def test_english_comes_to_about_four_characters_a_token():
    """As real tokenizers do, so that prompts cost what they would."""
    text = "The customer asked for a refund because the parcel arrived two weeks late and was damaged. " * 20
    assert 3.5 < len(text) / len(tokenize(text)) < 5.5


@given(st.integers(0, 60), st.integers(0, 60))
def test_block_hashes_agree_exactly_on_the_shared_leading_blocks(shared, rest):
    """Two prompts share the hashes of whole equal leading blocks and no other; a salt shares nothing."""
    head = [f"t{index}" for index in range(shared)]
    left = block_hashes([*head, *["l"] * rest], 4)
    right = block_hashes([*head, *["r"] * rest], 4)
    same = sum(a == b for a, b in zip(left, right, strict=True))
    assert same == (shared // 4 if rest else len(left))
    assert not set(left) & set(block_hashes([*head, *["l"] * rest], 4, "salt"))


def test_azure_lengths_follow_the_trace():
    """Median 129 and mean about 211 of the Azure 2023 conversation trace."""
    lengths = sorted(answer_length(1, str(index), "azure-conv", None, 4000) for index in range(4000))
    assert lengths[2000] == pytest.approx(129, rel=0.1)
    assert sum(lengths) / 4000 == pytest.approx(211, rel=0.05)
    assert 7 <= lengths[0] <= lengths[-1] <= 1000


def test_sim_lengths_follow_its_histogram_and_its_mean():
    """The buckets as often as the Go simulator takes them, the bound as one of them; without a bound, 40."""
    limits = sorted((each["start"], each["end"]) for each in VECTORS if each["max_tokens"] == 600)
    shares = (0.20, 0.30, 0.20, 0.05, 0.10)
    capped = [answer_length(1, str(index), "llm-d-sim", 600, 2000) for index in range(6000)]
    for (start, end), share in zip(limits, shares, strict=True):
        assert sum(start <= length <= end for length in capped) / 6000 == pytest.approx(share, abs=0.025)
    assert sum(length == 601 for length in capped) / 6000 == pytest.approx(0.15, abs=0.025)
    assert {answer_length(1, str(index), "llm-d-sim", 4, 2000) for index in range(99)} == {1, 2, 3, 5}
    free = [answer_length(1, str(index), "llm-d-sim", None, 500) for index in range(4000)]
    assert sum(free) / 4000 == pytest.approx(41, rel=0.05)  # 40, without those below one
    assert min(free) >= 1
    assert max(answer_length(1, str(index), "llm-d-sim", None, 50) for index in range(500)) == 50


def test_sim_lengths_stay_in_the_buckets_of_the_go_program():
    """For every bound of the vectors: no length outside of all buckets, and both ends of each are reached."""
    for bound in {each["max_tokens"] for each in VECTORS if each["max_tokens"] <= 150}:
        buckets = [each for each in VECTORS if each["max_tokens"] == bound]
        found = {answer_length(1, str(index), "llm-d-sim", bound, 9999) for index in range(9000)}
        edges = {edge for each in buckets for edge in (each["start"], each["end"])} - {bound}
        assert edges <= found <= {*range(1, bound), bound + 1}


def test_special_tokens_are_one_token_each():
    """Whatever they hold; long names are cut, and cannot end the token early."""
    assert tokenize(f"a{special('a name with, commas')} b") == ["a", special("a name with, commas"), " b"]
    assert len(tokenize(special("x" * 500))) == 1
    assert len(tokenize(special("a\x03b"))) == 1


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=40), st.integers(0, 40))
def test_a_chain_goes_on_where_it_was_left(tokens, cut):
    """The hashes of both parts are those of the whole."""
    first = BlockChain.begin(4, "s").then(tokens[:cut])
    assert first.hashes + first.then(tokens[cut:]).hashes == block_hashes(tokens, 4, "s")


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=10), st.integers(0, 9000))
def test_words_are_tokens_as_many_as_asked(key, count):
    """Each piece is one token; the text begins at a sentence; the key decides."""
    taken = words(5, key, count)
    assert len(taken) == count
    assert taken == words(5, key, count)
    if count:
        assert taken[0][0].isupper()
    assert tokenize("".join(taken)) == taken


def test_seeds_differ():
    """Another seed says something else."""
    assert corpus(1) != corpus(2)
