"""`lumyn policy`."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from gateway.pipeline.policies import load_policy
from gateway.policy.builtin import SUPPORT
from tests.kit.refunds import refund

STRICT = load_policy(SUPPORT).text.replace(b"refund_trust_usd: 25", b"refund_trust_usd: 10")


@pytest.mark.parametrize("words", [(SUPPORT,), ("--path", SUPPORT), ()])
def test_validate_prints_what_the_contract_says(lumyn, words: tuple[str, ...]) -> None:
    """By position, by --path or as configured: ok, id, version and hash."""
    told = lumyn("policy", "validate", *words)
    policy = load_policy(SUPPORT)
    assert told.out.splitlines() == [
        "ok",
        f"policy_id: {policy.policy_id}",
        f"policy_version: {policy.policy_version}",
        f"policy_hash: {policy.policy_hash}",
    ]
    assert lumyn("policy", "hash", *words).out == f"{policy.policy_hash}\n"


def test_every_problem_has_its_place(lumyn) -> None:
    """An invalid policy ends with 1 and a line for each problem; a missing one is named."""
    Path("bad.yml").write_text("schema_version: policy.v0\nfoo: 1\nbar: 2\n")
    told = lumyn("policy", "validate", "bad.yml")
    assert told.code == 1
    assert told.err.startswith("invalid policy:\n- line ")
    assert "line 3, column 1" in told.err
    assert lumyn("policy", "validate", "no.yml").err.startswith("error: policy not found: no.yml")
    assert lumyn("policy", "validate", "a.yml", "--path", "b.yml").code == 2


def test_lint_fails_on_errors_only(lumyn) -> None:
    """The built-in policy has no finding; an unused threshold is told, and JSON has its place."""
    assert lumyn("policy", "lint").out == "ok\n"
    Path("p.yml").write_bytes(STRICT.replace(b"thresholds:\n", b"thresholds:\n  unused_one: 3\n"))
    told = lumyn("policy", "lint", "p.yml")
    assert "unused_one" in told.out
    (finding,) = orjson.loads(lumyn("policy", "lint", "p.yml", "--json").out)
    assert finding["line"] > 1


def test_cases_that_differ_fail(lumyn) -> None:
    """A case that holds passes; under another limit it is told and ends with 1; no file of cases is told."""
    case = {"name": "small", "request": refund(), "expect": {"verdict": "TRUST"}}
    Path("cases.json").write_bytes(orjson.dumps({"cases": [case]}))
    assert lumyn("policy", "test", "cases.json").out == "1 cases, 0 differences\n"
    Path("p.yml").write_bytes(STRICT)
    told = lumyn("policy", "test", "cases.json", "--path", "p.yml")
    assert told.code == 1
    assert told.err == "small: verdict is 'ESCALATE', and 'TRUST' was expected\n"
    Path("none.json").write_text("[]")
    assert lumyn("policy", "test", "none.json").code == 1
    assert lumyn("policy", "test", "missing.json").code == 1


def test_a_difference_is_named(lumyn) -> None:
    """A changed threshold is one change with both values."""
    Path("p.yml").write_bytes(STRICT)
    assert (
        lumyn("policy", "diff", SUPPORT, "p.yml").out
        == "changed thresholds.refund_trust_usd\n  - 25\n  + 10\n"
    )
    (change,) = orjson.loads(lumyn("policy", "diff", SUPPORT, "p.yml", "--json").out)
    assert change["where"] == "thresholds.refund_trust_usd"
    assert lumyn("policy", "diff", SUPPORT, SUPPORT).out == "no difference\n"


def test_a_backtest_lists_the_flips_of_a_changed_limit(lumyn) -> None:
    """On the demo's store a lower limit flips the trusted refund, counted by its reason."""
    lumyn("demo", "--story")
    Path("p.yml").write_bytes(STRICT)
    told = lumyn("policy", "backtest", "--policy", "p.yml")
    lines = told.out.splitlines()
    assert lines[0] == "2 decisions decided again, 1 verdicts would flip"
    assert "TRUST\tESCALATE\tNO_MATCH_DEFAULT_ESCALATE\t1" in lines
    found = orjson.loads(lumyn("policy", "backtest", "--policy", "p.yml", "--json").out)
    (flip,) = found["flips"]
    assert (flip["was"]["verdict"], flip["now"]["verdict"]) == ("TRUST", "ESCALATE")
    nothing = lumyn("policy", "backtest", "--policy", "p.yml", "--since", "2099-01-01")
    assert nothing.out == "0 decisions decided again, 0 verdicts would flip\n"
    assert lumyn("policy", "backtest").code == 2
