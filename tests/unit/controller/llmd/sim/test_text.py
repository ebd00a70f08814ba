"""Tokens, hashes, lengths and words are deterministic and have the shapes asked for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.llmd.sim.text import answer_length, block_hashes, corpus, token_id, tokenize, words


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
    lengths = sorted(answer_length(1, str(index), "azure-conv", None) for index in range(4000))
    assert lengths[2000] == pytest.approx(129, rel=0.1)
    assert sum(lengths) / 4000 == pytest.approx(211, rel=0.05)
    assert 7 <= lengths[0] <= lengths[-1] <= 1000


def test_sim_lengths_follow_its_histogram_and_its_mean():
    """With max_tokens the six buckets, without it a mean of 40."""
    capped = [answer_length(1, str(index), "llm-d-sim", 600) for index in range(4000)]
    for bucket, share in enumerate((0.20, 0.30, 0.20, 0.05, 0.10, 0.15)):
        found = sum(bucket * 100 < length <= (bucket + 1) * 100 for length in capped) / 4000
        assert found == pytest.approx(share, abs=0.03)
    free = [answer_length(1, str(index), "llm-d-sim", None) for index in range(4000)]
    assert sum(free) / 4000 == pytest.approx(40, rel=0.05)
    assert min(free) >= 1


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
