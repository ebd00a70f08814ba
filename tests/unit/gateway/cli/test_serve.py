"""`lumyn serve`, as far as it does not listen: the rest is integration."""

from __future__ import annotations

from pathlib import Path

from gateway.pipeline.policies import load_policy


def _facts(out: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in out.splitlines()[1:])


def test_a_dry_run_prints_what_would_run(lumyn) -> None:
    """The facts of the contract, from defaults, and no store is made."""
    told = lumyn("serve", "--dry-run")
    assert told.code == 0
    facts = _facts(told.out)
    assert facts["storage_url"] == "sqlite:.lumyn/lumyn.db"
    assert (facts["mode"], facts["redaction_profile"], facts["top_k"]) == ("enforce", "default", "5")
    assert facts["signing"] == "disabled"
    assert not Path(".lumyn").exists()


def test_serve_uses_the_workspace_it_is_given(lumyn) -> None:
    """With --workspace the store and the policy are its own."""
    lumyn("init", "--workspace", "w", "--policy-template", "policies/packs/billing.v0.yml")
    facts = _facts(lumyn("serve", "--dry-run", "--workspace", "w").out)
    assert facts["storage_url"] == "sqlite:w/lumyn.db"
    assert facts["policy_hash"] == load_policy("policies/packs/billing.v0.yml").policy_hash


def test_a_password_is_not_printed(lumyn, monkeypatch) -> None:
    """The storage URL is shown without its password."""
    monkeypatch.setenv("LUMYN_STORAGE_URL", "postgresql://me:secret@host/db")
    out = lumyn("serve", "--dry-run").out
    assert "secret" not in out
    assert "postgresql://me:***@host/db" in out


def test_what_it_cannot_start_with_ends_with_2(lumyn) -> None:
    """A public address without keys, and a policy that is none, are refused before anything listens."""
    assert lumyn("serve", "--dry-run", "--host", "0.0.0.0").code == 2
    Path("c.yaml").write_text("policy: {path: no.yml}\n")
    told = lumyn("serve", "--dry-run", "--config", "c.yaml")
    assert (told.code, told.err.splitlines()[0]) == (2, "error: policy not found: no.yml")
