"""The memory index, against a slow oracle written from the contract."""

import time
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.memory import snapshot as module
from gateway.memory.features import Features
from gateway.memory.items import LABELS, MemoryItem, MemoryWithdrawal, encode, withdraw
from gateway.memory.similarity import similarity
from gateway.memory.snapshot import EMPTY, MemoryIndex
from gateway.memory.types import NO_ADVICE, NO_SNAPSHOT

features = st.builds(
    Features,
    st.sampled_from(["a.b", "c.d"]),
    st.sampled_from([None, "USD"]),
    st.sampled_from([None, "small", "large"]),
    st.lists(st.sampled_from("xyz"), max_size=3).map(tuple),
)
items = st.builds(
    MemoryItem,
    memory_id=st.integers(0, 40).map(lambda number: f"m{number:02}"),
    tenant_id=st.none(),
    created_at=st.integers(0, 9).map(lambda second: f"2026-01-01T00:00:0{second}Z"),
    label=st.sampled_from(LABELS),
    features=features,
    summary=st.sampled_from("st"),
)
withdrawals = st.builds(
    lambda number, action: MemoryWithdrawal(f"w{number}", None, "", action, f"m{number:02}", "wrong"),
    st.integers(0, 40),
    st.sampled_from(["a.b", "c.d"]),
)
tenants = st.sampled_from([None, "acme", "None"])
WINDOW = 4


def _oracle(log, tenant, query, top_k):
    """What contract 3 and part A 4 say, by looping over everything."""
    alive = {}
    seen = set()
    for owner, entry in log:
        if owner != tenant or entry.action_type != query.action_type:
            continue
        if isinstance(entry, MemoryWithdrawal):
            alive.pop(entry.withdraws, None)
        elif entry.memory_id not in seen:
            seen.add(entry.memory_id)
            alive[entry.memory_id] = entry
    scored = [(similarity(query.tokens(), item.features.tokens()), item) for item in alive.values()]
    failure = max((score for score, item in scored if item.label == "failure"), default=0.0)
    newest = sorted(scored, key=lambda pair: (pair[1].created_at, pair[1].memory_id))[-WINDOW:]
    best = sorted(newest, key=lambda pair: (-pair[0], pair[1].memory_id))[:top_k]
    return failure, [(item.memory_id, item.label, score, item.summary) for score, item in best]


@settings(derandomize=True, max_examples=120, deadline=None)
@given(st.lists(st.tuples(tenants, items | items | withdrawals), max_size=30), features, st.integers(1, 6))
def test_advice_agrees_with_the_oracle(log, query, top_k):
    """After every entry, scores, hits and their order are those of a plain loop over the log."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MEMORY_CANDIDATES_MAX", WINDOW)
        index = MemoryIndex()
        for length, (tenant, entry) in enumerate(log, 1):
            index.add(tenant, entry)
            for asked in {None, tenant}:
                advice = index.advise(asked, query, top_k)
                failure, hits = _oracle(log[:length], asked, query, top_k)
                assert advice.failure_score == failure
                assert [(hit.memory_id, hit.label, hit.score, hit.summary) for hit in advice.hits] == hits


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.tuples(items, st.booleans()), min_size=5, max_size=20), st.integers(1, 6))
def test_growing_log_agrees_with_the_oracle(drawn, top_k):
    """The same where ids grow with the log, as they do, and most items are newer than all before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MEMORY_CANDIDATES_MAX", WINDOW)
        index, log = MemoryIndex(), []
        for number, (item, late) in enumerate(drawn):
            grown = replace(
                item, memory_id=f"m{number:03}", features=replace(item.features, action_type="a.b")
            )
            log.append((None, grown if late else replace(grown, created_at=f"2026-01-01T00:01:{number:02}Z")))
            index.add(*log[-1])
            advice = index.advise(None, item.features, top_k)
            failure, hits = _oracle(log, None, item.features, top_k)
            assert advice.failure_score == failure
            assert [(hit.memory_id, hit.label, hit.score, hit.summary) for hit in advice.hits] == hits


def _item(number, label="failure", tags=(), tenant=None, second=0, **rest):
    made = Features("support.refund", "USD", rest.get("bucket", "small"), tags)
    return MemoryItem(
        f"m{number:04}", tenant, f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z", label, made, "s"
    )


@pytest.mark.parametrize(
    ("bucket", "tags", "score"),
    [
        ("small", ("duplicate_charge",), 1.0),
        ("small", (), 0.75),
        ("small", ("other",), 0.6),
        ("small", ("other", "third"), 0.5),
        ("medium", (), 0.4),
        ("medium", ("other",), 1 / 3),
        ("large", ("duplicate_charge",), 0.6),
        ("large", (), 0.4),
    ],
)
def test_sample_scores_of_the_contract(bucket, tags, score):
    """The sample scores that the contract prints come out exactly."""
    index = MemoryIndex()
    index.add("acme", _item(1, tags=("duplicate_charge",)))
    query = Features("support.refund", "USD", bucket, tags)
    assert index.advise("acme", query, 5).failure_score == score


def test_failure_is_never_masked():
    """An old failure still counts when newer and nearer items of other labels fill the window."""
    index = MemoryIndex()
    index.add(None, _item(0, tags=("x",)))
    for number in range(1, 700):
        index.add(None, _item(number, label="success", tags=("x",), second=number))
    advice = index.advise(None, Features("support.refund", "USD", "small", ("x",)), 2)
    assert advice.failure_score == 1.0
    assert [hit.label for hit in advice.hits] == ["success", "success"]


def test_withdrawal():
    """A withdrawn item neither scores nor shows, the next older one takes its place, and the log grows."""
    index = MemoryIndex()
    for number in range(501):
        index.add("acme", _item(number, label="failure" if number == 500 else "success", second=number))
    query = Features("support.refund", "USD", "small")
    before = index.advise("acme", query, 501)
    assert (before.failure_score, len(before.hits), before.hits[0].memory_id) == (1.0, 500, "m0001")
    index.add("acme", withdraw(_item(500), memory_id="w1", at_ms=0, summary="mislabelled"))
    after = index.advise("acme", query, 501)
    assert (after.failure_score, len(after.hits), after.hits[0].memory_id) == (0.0, 500, "m0000")
    assert after.snapshot.startswith("memory:502:")


def test_withdrawal_stays_in_its_tenant():
    """Nobody withdraws another tenant's item by naming it."""
    index = MemoryIndex()
    index.add("acme", _item(1))
    index.add("other", withdraw(_item(1), memory_id="w1", at_ms=0, summary="not yours"))
    assert index.advise("acme", Features("support.refund", "USD", "small"), 5).failure_score == 1.0


def test_tenants_are_apart():
    """No tenant's items, counts or digests reach another, nor one that spells None."""
    index = MemoryIndex()
    query = Features("support.refund", "USD", "small")
    index.add("acme", _item(1))
    before = index.advise("acme", query, 5)
    for other in (None, "None", "", "Acme"):
        assert index.advise(other, query, 5) == NO_ADVICE
        index.add(other, _item(2))
    assert index.advise("acme", query, 5) == before


def test_no_memory():
    """Without items, or with top_k 0, memory says nothing and names no snapshot."""
    index = MemoryIndex()
    query = Features("support.refund")
    assert index.advise(None, query, 5) is NO_ADVICE
    index.add(None, _item(1))
    assert index.advise(None, query, 0) is NO_ADVICE
    assert index.prefix(None, "other.type") is EMPTY


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(items, min_size=1, max_size=8), st.data())
def test_snapshot_names_the_prefix(log, data):
    """The snapshot depends on every byte and the order of the log, and on nothing else."""
    log = [entry for entry in log if entry.action_type == log[0].action_type]

    def name(entries):
        index = MemoryIndex()
        for entry in entries:
            index.add(None, entry)
        return index.prefix(None, log[0].action_type).name

    bodies = EMPTY
    for entry in log:
        bodies = bodies.extended(encode(entry))
    assert name(log) == bodies.name
    assert name(log).startswith(f"memory:{len(log)}:")
    assert name(log[:-1]) != name(log)
    shuffled = data.draw(st.permutations(log))
    assert (name(shuffled) == name(log)) == (shuffled == log)


def test_prefix_chains_digests():
    """The digest of a prefix is the chain that the docstring says, and an empty one is the known name."""
    first = sha256(sha256(b"a").digest())
    second = sha256(first.digest() + sha256(b"b").digest())
    assert EMPTY.name == NO_SNAPSHOT
    assert EMPTY.extended(b"a").name == f"memory:1:{first.hexdigest()}"
    assert EMPTY.extended(b"a").extended(b"b").name == f"memory:2:{second.hexdigest()}"


def test_body_and_item_are_the_same_entry():
    """An entry added as bytes from the store gives the same advice as one added as a value."""
    one, two = MemoryIndex(), MemoryIndex()
    one.add("acme", _item(1))
    assert two.add_body("acme", encode(_item(1))) == _item(1)
    query = Features("support.refund", "USD", "small")
    assert one.advise("acme", query, 5) == two.advise("acme", query, 5)


def test_lookup_stays_flat():
    """With 20 times the items, all distinct, the best of many lookups takes at most 4 times as long."""

    def best_s(count):
        index = MemoryIndex()
        for number in range(count):
            index.add(None, _item(number, tags=(f"t{number}", "x"), second=number % 3600))
        query = Features("support.refund", "USD", "small", ("x", "t7"))
        index.advise(None, query, 5)
        times = []
        for _ in range(50):
            start = time.perf_counter()
            index.advise(None, query, 5)
            times.append(time.perf_counter() - start)
        return min(times)

    assert best_s(10_000) < 4 * best_s(500)
