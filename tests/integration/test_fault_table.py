"""The fault table: each row of backend and client faults (12 to 14) names the tests that hold it.

A row that names a test that is not there fails, so a test cannot be renamed or dropped unnoticed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_backend_faults import EITHER, PLAIN, STREAMED
from tests.integration.test_client_faults import POINTS, REQUEST

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = "tests/integration/test_backend_faults.py"
CLIENTS = "tests/integration/test_client_faults.py"
FAILOVER = "tests/integration/test_failover.py"
STREAMS = "tests/unit/gateway/wire/test_sse.py"
FILES = (BACKENDS, CLIENTS, FAILOVER, STREAMS)


def either(*names: str) -> tuple[str, ...]:
    """Faults before a body, streamed and not."""
    return (*plain(*names), *streamed(*names))


def plain(*names: str) -> tuple[str, ...]:
    """Faults of an answer in one piece: with one backend, and with another behind it under both settings."""
    return tuple(_placed(f"plain-{name}" for name in names))


def streamed(*names: str) -> tuple[str, ...]:
    """Faults of a stream."""
    return tuple(_placed(f"streamed-{name}" for name in names))


def _placed(ids: Iterator[str]) -> Iterator[str]:
    for case in ids:
        yield f"{BACKENDS}::test_a_backend_fault_has_an_honest_end[{case}]"
        for setting in ("sent", "after-send"):
            yield f"{FAILOVER}::test_a_fault_of_the_first_backend[{setting}-{case}]"


ROWS: dict[str, tuple[str, ...]] = {
    "12.1 refuse": (
        f"{BACKENDS}::test_a_backend_that_is_not_there_is_unreachable",
        f"{FAILOVER}::test_a_backend_that_is_not_there_is_passed_over",
    ),
    "12.2 reset before headers": either("resets at once", "closes at once", "resets in its head"),
    "12.3 reset after headers": (
        *plain("declares too much and resets", "resets in an answer without length"),
        *streamed("resets between events"),
    ),
    "12.4 mid-chunk": (*plain("cuts a chunk"), *streamed("cuts mid-chunk")),
    "12.5 mid-event": streamed("cuts mid-event", "cuts between events"),
    "12.6 stall at each stage": (
        *either("says nothing", "stalls in its head", "stalls after 100"),
        *plain("stalls after its head", "declares too much and stalls"),
        *streamed("stalls before its first event", "stalls mid-stream"),
    ),
    "12.7 wrong length, short": (
        *plain("declares too much and closes", "declares too much and resets"),
        *streamed("streams a length and stops short"),
    ),
    "12.8 wrong length, long": plain("declares too little", "answers twice"),
    "12.9 chunk cut": (*plain("omits the last chunk", "breaks its chunks"), *streamed("breaks its chunks")),
    "12.10 no end mark": (
        *plain("closes in an answer without length"),
        *streamed("omits its end mark", "closes without framing or end mark"),
    ),
    "12.11 1xx flood": either("floods with 1xx", "switches protocols"),
    "12.12 204 with body": either("says 204 with a body"),
    "12.13 garbage": either("speaks garbage", "speaks another protocol", "uses bare LF", "hides a NUL"),
    "12.14 endless header": either("never ends a header", "never ends its headers"),
    "12.15 endless body": tuple(
        f"{BACKENDS}::test_an_endless_answer_stays_bounded_in_memory[{stream}]"
        for stream in ("False", "True")
    ),
    "12.16 5xx storm": (
        f"{FAILOVER}::test_a_storm_is_met_with_a_share_of_itself",
        *either("says 500", "says 503"),
    ),
    "12.17 429 with silly Retry-After": either("says 429 with a silly retry-after"),
    "12.18 gzip bomb": (f"{BACKENDS}::test_a_gzip_bomb_is_relayed_and_never_unpacked",),
    "12.19 wrong encoding": (*either("compresses the framing"), *plain("compresses unasked")),
    "12.20 nothing piles up": (f"{BACKENDS}::test_nothing_piles_up_over_many_faults",),
    "13.1 any split, the same events": (f"{STREAMS}::test_any_cutting_gives_the_same_findings",),
    "13.2 what is no event of ours": streamed("sends events that are no JSON", "streams with comments"),
    "13.3 a line over the bound": (f"{STREAMS}::test_a_line_over_the_bound_is_passed_over_and_not_kept",),
    "14.1 vanish": (
        *(
            f"{CLIENTS}::test_a_client_that_vanishes_aborts_its_backend[{leave}-{point}]"
            for leave in ("close", "reset")
            for point in POINTS
        ),
        f"{CLIENTS}::test_a_request_that_breaks_off_anywhere_is_never_decided",
        f"{CLIENTS}::test_a_client_that_leaves_while_its_decision_is_persisted_forwards_nothing",
        f"{FAILOVER}::test_a_pause_ends_when_the_client_leaves",
        f"{FAILOVER}::test_a_client_that_leaves_a_second_attempt[sent-before the head-close]",
        f"{FAILOVER}::test_a_client_that_leaves_a_second_attempt[sent-in the answer-reset]",
    ),
    "14.2 slow reader": (f"{CLIENTS}::test_a_client_that_reads_nothing_is_given_up",),
    "14.3 slow writer": (
        f"{CLIENTS}::test_dripping_a_head_does_not_move_its_deadline",
        f"{CLIENTS}::test_a_body_that_drips_is_answered_408",
    ),
    "14.4 pipelining": (f"{CLIENTS}::test_pipelined_requests_are_answered_in_order",),
    "14.5 half-close": tuple(
        f"{CLIENTS}::test_a_client_that_vanishes_aborts_its_backend[half-close-{point}]" for point in POINTS
    ),
    "14.6 early data after 503": (
        f"{CLIENTS}::test_early_data_behind_a_503_is_a_request_of_its_own",
        f"{CLIENTS}::test_what_follows_a_refused_body_is_not_read_as_a_request",
    ),
}


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """The tests that there are."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *FILES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines())


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_its_tests(collected: set[str], row: str) -> None:
    """Every test that a row names is there and will run."""
    missing = [name for name in ROWS[row] if name not in collected]
    assert not missing


def test_the_table_has_the_size_that_was_aimed_at() -> None:
    """At least 30 behaviours, 120 cases of backend faults, and 50 points at which a client vanishes."""
    behaviours = {case.name for case in (*EITHER, *PLAIN, *STREAMED)}
    cases = [name for row, names in ROWS.items() if row.startswith("12.") for name in names]
    points = len(range(0, len(REQUEST) - 1, 5)) + 3 * len(POINTS) + 8
    assert len(behaviours) >= 30
    assert len(cases) >= 120
    assert points >= 50
