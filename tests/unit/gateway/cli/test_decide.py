"""`lumyn decide`."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.kit.refunds import refund


def test_a_file_by_either_spelling_and_standard_input(lumyn) -> None:
    """FILE, --in FILE, a hyphen and nothing give the same decision; it is stored, in canonical order."""
    Path("r.json").write_bytes(orjson.dumps(refund()))
    digests = set()
    for words in (("r.json",), ("--in", "r.json"), ("-",), ()):
        told = lumyn("decide", *words, stdin=Path("r.json").read_bytes())
        assert told.code == 0
        record = orjson.loads(told.out)
        assert list(record) == sorted(record)
        assert told.out.endswith("\n")
        digests.add(record["determinism"]["inputs_digest"])
        assert orjson.loads(lumyn("show", record["decision_id"]).out) == record
    assert len(digests) == 1


def test_a_verdict_is_no_error(lumyn) -> None:
    """What is escalated ends with 0."""
    told = lumyn("decide", stdin=orjson.dumps(refund(999)))
    assert (told.code, orjson.loads(told.out)["verdict"]) == (0, "ESCALATE")


def test_the_record_goes_into_a_file(lumyn) -> None:
    """--out writes there and prints nothing; --pretty indents."""
    told = lumyn("decide", "--out", "out.json", "--pretty", stdin=orjson.dumps(refund()))
    assert (told.code, told.out) == (0, "")
    assert Path("out.json").read_text().startswith('{\n  "created_at"')


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"{", "error: invalid json in standard input: "),
        (b'{"a":1,"a":2}', "error: invalid json in standard input: "),
        (b"[]", "error: expected a JSON object in standard input"),
        (b"{}", "error: /schema_version "),
    ],
)
def test_bad_input_is_one_line_and_stores_nothing(lumyn, text: bytes, line: str) -> None:
    """What is no JSON, no object and no request ends with 1 and makes no workspace."""
    told = lumyn("decide", stdin=text)
    assert told.code == 1
    assert told.err.startswith(line)
    assert not Path(".lumyn").exists()


def test_a_missing_file_and_two_files(lumyn) -> None:
    """A file that is not there ends with 1, naming two with 2."""
    assert lumyn("decide", "no.json").err.startswith("error: file not found: no.json")
    assert lumyn("decide", "a.json", "--in", "b.json").code == 2


def test_a_store_that_fails_is_an_abstain_and_no_error(lumyn) -> None:
    """With a damaged store the record says STORAGE_UNAVAILABLE and the command ends with 0."""
    lumyn("init")
    Path(".lumyn/lumyn.db").write_text("garbage " * 1000)
    told = lumyn("decide", stdin=orjson.dumps(refund()))
    assert told.code == 0
    assert orjson.loads(told.out)["reason_codes"] == ["STORAGE_UNAVAILABLE"]


def test_an_invalid_policy_is_told_with_its_line(lumyn) -> None:
    """A workspace policy that is broken ends with 1 and every problem with its place."""
    lumyn("init")
    Path(".lumyn/policy.yml").write_text("schema_version: policy.v0\nnonsense: 1\n")
    told = lumyn("decide", stdin=orjson.dumps(refund()))
    assert told.code == 1
    assert "- line 2, column 1: " in told.err
