"""`controller.evaluate.report`: tables and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from controller.evaluate.bound import Bound
from controller.evaluate.matrix import Entry
from controller.evaluate.report import differences, plain, table
from controller.evaluate.run import Result
from controller.evaluate.score import score


def entry(policy: str, seed: int) -> Entry:
    """Return the entry of an empty run."""
    return Entry("s", policy, seed, score(Result("s", seed, policy, [])))


def test_a_table_has_a_line_per_policy_and_the_bound() -> None:
    """Policies in order of appearance, means over seeds, then the bound."""
    entries = [entry("none", 1), entry("controlled", 1), entry("none", 2), entry("controlled", 2)]
    lines = table(entries, (Bound(0.9, 0.8, 10),)).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["none", "controlled", "bound"]
    assert differences(entries).startswith("controlled - none")


def test_json_holds_no_infinity() -> None:
    """What never happened is null."""
    never = replace(entry("none", 1), score=replace(entry("none", 1).score, settling_s=math.inf))
    text = json.dumps(plain([never], (), [1]), allow_nan=False)
    assert '"settling_s": null' in text
