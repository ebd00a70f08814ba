"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys

from gateway.cli.main import Commands


def test_every_command_of_the_contract_is_there(lumyn) -> None:
    """Help lists each command with a sentence, and each has a help of its own."""
    told = lumyn("--help")
    assert told.code == 0
    for name in Commands.table:
        assert f"\n  {name} " in told.out
        assert lumyn(name, "--help").code == 0


def test_no_command_and_an_unknown_one_are_wrong_usage(lumyn) -> None:
    """Both end with 2."""
    assert lumyn().code == 2
    assert lumyn("nothing").code == 2
    assert lumyn("version", "--nothing").code == 2


def test_a_command_loads_only_what_it_needs() -> None:
    """`lumyn version` loads no server, no event loop, no database and no rich (typer loads pydantic)."""
    code = (
        "import sys; sys.argv = ['lumyn', 'version']\n"
        "from gateway.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = ('aiohttp', 'uvloop', 'asyncio', 'rich', 'sqlite3', 'yaml', 'orjson')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
