"""The page of the command line is what the commands say."""

from __future__ import annotations

from pathlib import Path

from gateway.cli.main import Commands
from gateway.cli.manual import manual


def test_the_page_is_up_to_date() -> None:
    """`docs/cli.md` is exactly what `python -m gateway.cli.manual` prints."""
    assert Path("docs/cli.md").read_text() == manual()


def test_the_page_names_every_command_and_exit_code() -> None:
    """Each command has a heading, and 0, 1 and 2 are explained."""
    page = manual()
    for name in Commands.table:
        assert f"## `lumyn {name}" in page
    assert all(f"{code}: " in page for code in (0, 1, 2))
