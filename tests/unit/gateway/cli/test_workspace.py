"""Flags over environment over file over defaults."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from gateway.cli.workspace import load_settings
from tests.kit.refunds import refund


def test_precedence_of_the_store(lumyn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stronger source wins: default, file, environment, flag."""
    assert load_settings(None, None).storage.url == "sqlite:.lumyn/lumyn.db"
    Path("c.yaml").write_text("storage: {url: 'sqlite:file.db'}\n")
    assert load_settings(None, "c.yaml").storage.url == "sqlite:file.db"
    monkeypatch.setenv("LUMYN_CONFIG_PATH", "c.yaml")
    assert load_settings(None, None).storage.url == "sqlite:file.db"
    monkeypatch.setenv("LUMYN_STORAGE_URL", "sqlite:env.db")
    assert load_settings(None, "c.yaml").storage.url == "sqlite:env.db"
    assert load_settings("w", "c.yaml").storage.url == "sqlite:w/lumyn.db"


def test_precedence_of_the_policy(lumyn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace's policy decides by default; a configured one wins over it; the flag over that."""
    lumyn("init")
    lumyn("init", "--workspace", "w")
    assert load_settings(None, None).policy.path == ".lumyn/policy.yml"
    monkeypatch.setenv("LUMYN_POLICY_PATH", "policies/packs/billing.v0.yml")
    assert load_settings(None, None).policy.path == "policies/packs/billing.v0.yml"
    assert load_settings("w", None).policy.path == "w/policy.yml"
    assert load_settings("empty", None).policy.path == "policies/packs/billing.v0.yml"


def test_every_command_uses_the_configured_store(lumyn, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a store from the environment a decision lands there, and no workspace is made."""
    monkeypatch.setenv("LUMYN_STORAGE_URL", "sqlite:elsewhere.db")
    decision_id = orjson.loads(lumyn("decide", stdin=orjson.dumps(refund())).out)["decision_id"]
    assert Path("elsewhere.db").exists()
    assert not Path(".lumyn").exists()
    assert lumyn("show", decision_id).code == 0
    assert lumyn("show", decision_id, "--workspace", ".lumyn").code == 1


@pytest.mark.parametrize(
    "words", [("show", "x"), ("explain", "x"), ("label", "x", "--failure"), ("records", "ls"), ("verify",)]
)
def test_a_missing_workspace_is_told_and_not_made(lumyn, words: tuple[str, ...]) -> None:
    """Commands that read say what is missing and how to make it."""
    told = lumyn(*words)
    assert told.code == 1
    assert told.err.splitlines()[0] == "error: workspace not found: .lumyn"
    assert "hint: run `lumyn init`" in told.err
    assert not Path(".lumyn").exists()


def test_a_wrong_configuration_is_told(lumyn) -> None:
    """A key that is unknown ends with 1 and names the key."""
    Path("c.yaml").write_text("storag: {}\n")
    told = lumyn("records", "ls", "--config", "c.yaml")
    assert told.code == 1
    assert "storag" in told.err


def test_serve_uses_the_workspace_it_is_given(lumyn) -> None:
    """With --workspace the store and the policy of `serve` are the workspace's own."""
    lumyn("init", "--workspace", "w", "--policy-template", "policies/packs/billing.v0.yml")
    lines = lumyn("serve", "--dry-run", "--workspace", "w").out.splitlines()
    assert "storage_url: sqlite:w/lumyn.db" in lines
    assert "policy_path: w/policy.yml" in lines
