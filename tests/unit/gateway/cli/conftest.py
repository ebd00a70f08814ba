"""Commands run in this process, in a directory of their own and without anybody's environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from tests.kit.refunds import refund


@dataclass(frozen=True)
class Told:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


Lumyn = Callable[..., Told]


@pytest.fixture
def lumyn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lumyn:
    """Run a command in an empty directory."""
    for name in [name for name in os.environ if name.startswith("LUMYN_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*words: str, stdin: bytes | None = None) -> Told:
        result = runner.invoke(app, list(words), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Told(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def decision_id(lumyn: Lumyn) -> str:
    """A trusted refund, decided in the workspace."""
    told = lumyn("decide", stdin=orjson.dumps(refund()))
    assert told.code == 0, told.err
    found: str = orjson.loads(told.out)["decision_id"]
    return found
