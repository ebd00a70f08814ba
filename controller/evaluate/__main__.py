"""`python -m controller.evaluate --scenario spike4 --policies all`: run, print the table, write JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from controller.evaluate.matrix import run_bounds, run_matrix, search_split
from controller.evaluate.report import differences, plain, table
from controller.evaluate.scenarios import ABLATIONS, MAIN_POLICIES, POLICIES, SCENARIOS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    policies = _policies(options.policies)
    seeds = _seeds(options.seeds)
    for name in options.scenario:
        if name not in SCENARIOS:
            print(f"no scenario {name!r}; known: {', '.join(SCENARIOS)}", file=sys.stderr)
            return 2
    written = {}
    for name in options.scenario:
        scenario = SCENARIOS[name]
        print(f"\n{name}: {scenario.about}; seeds {options.seeds}")
        split = search_split(scenario) if "tuned" in policies else None
        if split is not None:
            print(f"tuned: {dict(split.shares)}, large limit {split.large_limit} (searched on seed 1)")
        entries = run_matrix(name, policies, seeds, processes=options.processes, split=split)
        bounds = run_bounds(name, seeds, processes=options.processes) if options.bound else ()
        print(table(entries, bounds))
        if options.differences:
            print(differences(entries))
        for entry in entries:
            if entry.mode_changes and options.verbose:
                print(f"seed {entry.seed} {entry.policy}: {'; '.join(entry.mode_changes)}")
        written[name] = plain(entries, bounds, seeds)
    if options.json is not None:
        options.json.write_text(json.dumps(written, indent=1, allow_nan=False) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="controller.evaluate", description=__doc__)
    parser.add_argument(
        "--scenario", nargs="+", default=["spike4"], help=f"one or more of {', '.join(SCENARIOS)}"
    )
    parser.add_argument(
        "--policies", default="all", help=f"all, ablations, or a list of {', '.join(POLICIES)}"
    )
    parser.add_argument("--seeds", default="11-15", help="such as 1-3 or 11,12 (tuned on 1-3)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--bound", action="store_true", help="solve the clairvoyant bound too (needs scipy)")
    parser.add_argument("--differences", action="store_true", help="print paired differences with intervals")
    parser.add_argument("--verbose", action="store_true", help="print changes of the guard's mode")
    parser.add_argument("--json", type=Path, help="write every score to this file")
    return parser


def _policies(text: str) -> tuple[str, ...]:
    if text == "all":
        return MAIN_POLICIES
    if text == "ablations":
        return ("controlled", *ABLATIONS)
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in POLICIES]
    if unknown:
        raise SystemExit(f"no policy {unknown[0]!r}; known: {', '.join(POLICIES)}")
    return names


def _seeds(text: str) -> tuple[int, ...]:
    seeds: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        seeds += range(int(low), int(high or low) + 1)
    return tuple(seeds)


if __name__ == "__main__":
    sys.exit(main())
