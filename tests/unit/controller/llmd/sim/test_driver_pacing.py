"""The server keeps 300 streams at ten tokens a second each in pace, on a core of its own."""

import subprocess
import sys
from pathlib import Path

import orjson

from tests.kit.pacing import STEP_S

ROOT = Path(__file__).resolve().parents[5]
STREAMS, STEPS = 300, 60


def paced(*flags):
    """Return the figures of one measurement in a process of its own."""
    command = [sys.executable, "-m", "tests.kit.pacing", str(STREAMS), str(STEPS), *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=100)
    return orjson.loads(done.stdout)


def is_steady(figures):
    """Gaps within 10 % of a step at p99, and nobody astray by as much after all steps, on half a core."""
    bar_ms = 100 * STEP_S
    return figures["drift_p99_ms"] < bar_ms and figures["stray_max_ms"] < bar_ms and figures["core"] < 0.5


def test_300_streams_keep_their_gaps():
    """Neighbours on the machine slow the core itself down at times: the best of five counts."""
    tries = []
    while len(tries) < 5 and not any(map(is_steady, tries)):
        tries.append(paced())
    assert any(map(is_steady, tries)), tries
    assert tries[-1]["gaps"] > STREAMS * STEPS / 2


def test_the_measure_finds_relative_sleeps():
    """A driver that sleeps from when it is done, not until the next deadline, goes astray step by step."""
    figures = paced("--relative")
    assert not is_steady(figures)
    assert figures["stray_max_ms"] > 200 * STEP_S
