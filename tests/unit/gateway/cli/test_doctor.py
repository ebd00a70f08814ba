"""`lumyn doctor`: what is wrong, and how to mend it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import orjson
import pytest


def test_a_workspace_that_is_well(lumyn, decision_id: str) -> None:
    """The first line is ok, then the counts of the contract."""
    lumyn("label", decision_id, "--failure")
    told = lumyn("doctor")
    facts = dict(line.split(": ", 1) for line in told.out.splitlines()[1:])
    assert (told.code, told.out.splitlines()[0]) == (0, "ok")
    assert {"decisions": "1", "decision_events": "1", "memory_items": "1"}.items() <= facts.items()
    assert facts["policy_hash"].startswith("sha256:")


def test_what_is_missing_is_made_by_fix(lumyn) -> None:
    """No workspace, no policy, no db: each is told, and --fix makes it."""
    told = lumyn("doctor")
    assert told.code == 1
    assert "error: workspace not found: .lumyn" in told.err
    assert "mend: run `lumyn init` or `lumyn doctor --fix`" in told.err
    assert lumyn("doctor", "--fix").code == 0
    Path(".lumyn/policy.yml").unlink()
    assert "error: policy not found: .lumyn/policy.yml" in lumyn("doctor").err
    Path(".lumyn/lumyn.db").unlink()
    assert "error: db not found: .lumyn/lumyn.db" in lumyn("doctor").err
    assert lumyn("doctor", "--fix").code == 0


def test_fix_replaces_nothing(lumyn) -> None:
    """A policy that is invalid and a db that is damaged are told, and left as they are."""
    lumyn("init")
    Path(".lumyn/policy.yml").write_text("nonsense: 1\n")
    Path(".lumyn/lumyn.db").write_text("garbage " * 1000)
    told = lumyn("doctor", "--fix")
    assert told.code == 1
    assert "invalid policy" in told.err
    assert "is damaged: file is not a database" in told.err
    assert Path(".lumyn/policy.yml").read_text() == "nonsense: 1\n"


def test_a_newer_schema_is_told(lumyn) -> None:
    """A store of a later version says which version to install."""
    lumyn("init")
    connection = sqlite3.connect(".lumyn/lumyn.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    problems = orjson.loads(lumyn("doctor", "--json").out)["problems"]
    assert [problem["mend"] for problem in problems] == ["install the newer version of lumyn that wrote it"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_told(lumyn) -> None:
    """A store and a directory that cannot be written are told, with what to allow."""
    lumyn("init")
    Path(".lumyn/lumyn.db").chmod(0o400)
    Path(".lumyn").chmod(0o500)
    told = lumyn("doctor")
    Path(".lumyn").chmod(0o700)
    assert "is read-only" in told.err
    assert "cannot write in .lumyn" in told.err


def test_a_server_that_does_not_answer_is_told(lumyn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostgreSQL that refuses the connection is a problem, and no crash."""
    pytest.importorskip("asyncpg")
    monkeypatch.setenv("LUMYN_STORAGE_URL", "postgresql://nobody@127.0.0.1:1/none")
    told = lumyn("doctor")
    assert told.code == 1
    assert "storage: postgresql" in told.out
    assert told.err.startswith("error: ")
