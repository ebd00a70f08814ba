"""Commands about one stored decision: show, explain, label, export, replay."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.kit.refunds import refund


@pytest.mark.parametrize("words", [("show",), ("explain",), ("export",), ("replay",), ("label", "--failure")])
def test_an_unknown_id_is_told(lumyn, decision_id: str, words: tuple[str, ...]) -> None:
    """Each command ends with 1 and names the id."""
    del decision_id
    told = lumyn(words[0], "01ARZ3NDEKTSV4RRFFQ69G5FAV", *words[1:])
    assert told.code == 1
    assert told.err.startswith("error: decision not found: 01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_show_is_indented_or_in_one_line(lumyn, decision_id: str) -> None:
    """Pretty by default, compact on demand, the same value."""
    pretty, compact = lumyn("show", decision_id).out, lumyn("show", decision_id, "--compact").out
    assert len(pretty.splitlines()) > 50
    assert len(compact.splitlines()) == 1
    assert orjson.loads(pretty) == orjson.loads(compact)


def test_explain_names_the_rules(lumyn, decision_id: str) -> None:
    """The lines of the contract, in plain words."""
    lines = lumyn("explain", decision_id).out.splitlines()
    assert lines[0] == f"decision_id: {decision_id}"
    assert lines[2] == "verdict: TRUST"
    assert "  - TRUST_PATHS:R050 effect=TRUST reasons=[REFUND_SMALL_LOW_RISK]" in lines
    markdown = lumyn("explain", decision_id, "--markdown").out
    assert markdown.startswith(f"# Lumyn decision `{decision_id}`\n")
    assert len(markdown.splitlines()) <= 40


@pytest.mark.parametrize(
    "words",
    [
        ("--label", "failure", "--summary", "twice"),
        ("--failure", "--note", "twice"),
        ("--label", " FAILURE "),
    ],
)
def test_both_spellings_of_a_label(lumyn, decision_id: str, words: tuple[str, ...]) -> None:
    """However it is spelt, the next like refund is escalated, and the event says where it came from."""
    told = lumyn("label", decision_id, *words)
    assert [line.split(":")[0] for line in told.out.splitlines()] == ["event_id", "memory_id"]
    record = orjson.loads(lumyn("decide", stdin=orjson.dumps(refund(19))).out)
    assert record["verdict"] == "ESCALATE"
    (event,) = orjson.loads(lumyn("show", decision_id).out)["decision_event_log"]
    assert (event["data"]["label"], event["data"]["source"]) == ("failure", "cli")


def test_a_label_that_is_none(lumyn, decision_id: str) -> None:
    """Another word ends with 1; none, or two, with 2."""
    assert lumyn("label", decision_id, "--label", "good").code == 1
    assert lumyn("label", decision_id).code == 2
    assert lumyn("label", decision_id, "--failure", "--success").code == 2


def test_a_pack_is_the_same_twice_and_replays_anywhere(lumyn, decision_id: str) -> None:
    """Exported twice the bytes are the same; without the workspace the pack still replays."""
    assert lumyn("export", decision_id, "--pack", "--out", "a.zip").out == "a.zip\n"
    assert lumyn("export", decision_id, "--out", "b.zip").code == 0
    assert Path("a.zip").read_bytes() == Path("b.zip").read_bytes()
    Path(".lumyn").rename("away")
    told = lumyn("replay", "a.zip")
    assert told.code == 0
    names = [line.split(":")[0] for line in told.out.splitlines()]
    assert names == [
        "ok",
        "decision_id",
        "verdict",
        "policy_hash",
        "context_digest",
        "inputs_digest",
        "obligations",
    ]


def test_replay_from_the_store_and_as_json(lumyn, decision_id: str) -> None:
    """An id replays what is stored."""
    assert lumyn("replay", decision_id).out.startswith("ok\n")
    assert orjson.loads(lumyn("replay", decision_id, "--json").out)["ok"] is True
    assert lumyn("replay", decision_id, "--markdown").out.startswith("# Lumyn replay `")


def test_an_altered_pack_does_not_replay(lumyn, decision_id: str) -> None:
    """A changed byte ends with 1 and says what was changed; what is no pack is told apart."""
    lumyn("export", decision_id, "--out", "a.zip")
    data = Path("a.zip").read_bytes()
    Path("a.zip").write_bytes(data.replace(b"refund_trust_usd: 25", b"refund_trust_usd: 99"))
    told = lumyn("replay", "a.zip")
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith("error: ")
    Path("n.zip").write_text("no zip")
    assert "no zip file" in lumyn("replay", "n.zip").err
    assert lumyn("replay", "missing.zip").code == 1
    assert "neither a .zip file nor a decision id" in lumyn("replay", "thing").err


def test_export_of_json_and_its_refusals(lumyn, decision_id: str) -> None:
    """JSON goes to standard output or a file; a pack needs a file; a bad path is told."""
    assert orjson.loads(lumyn("export", decision_id).out)["decision_id"] == decision_id
    told = lumyn("export", decision_id, "--pack")
    assert (told.code, told.err.splitlines()[0]) == (
        1,
        "error: decision pack export requires a file path (not stdout)",
    )
    assert "cannot write no/where.json" in lumyn("export", decision_id, "--out", "no/where.json").err
