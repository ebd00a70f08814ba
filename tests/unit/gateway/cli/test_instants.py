"""Instants as people write them."""

from __future__ import annotations

import pytest
import typer

from gateway.cli.instants import instant_ms
from gateway.system import SystemClock


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000_000),
        ("2023-11-14T22:13:20", 1_700_000_000_000),
        ("2023-11-14", 1_699_920_000_000),
        (None, None),
    ],
)
def test_dates_and_times(text: str | None, wanted: int | None) -> None:
    """RFC 3339, a date alone, and UTC where no zone is given."""
    assert instant_ms(text, "--since") == wanted


@pytest.mark.parametrize(("text", "age_s"), [("90s", 90), ("5m", 300), ("24h", 86_400), ("2w", 1_209_600)])
def test_ages(text: str, age_s: int) -> None:
    """A number and a unit count back from now."""
    found = instant_ms(text, "--since")
    assert found is not None
    assert abs(SystemClock().wall_ms() - age_s * 1000 - found) < 60_000


@pytest.mark.parametrize("text", ["", "now", "7", "-7d", "2023-13-01", "7y"])
def test_other_spellings_are_wrong_usage(text: str) -> None:
    """Anything else is a usage error."""
    with pytest.raises(typer.BadParameter):
        instant_ms(text, "--since")
