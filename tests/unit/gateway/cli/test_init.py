"""`lumyn init`."""

from __future__ import annotations

from pathlib import Path


def test_a_workspace_is_made_once_and_kept(lumyn) -> None:
    """Policy and store are made, their absolute paths printed; a policy that was edited stays."""
    told = lumyn("init")
    root = Path.cwd() / ".lumyn"
    assert told.out.splitlines() == [
        f"workspace: {root}",
        f"policy: {root}/policy.yml",
        f"db: {root}/lumyn.db",
    ]
    policy = root / "policy.yml"
    policy.write_text(policy.read_text() + "# mine\n")
    assert lumyn("init").code == 0
    assert policy.read_text().endswith("# mine\n")
    assert lumyn("init", "--force").code == 0
    assert not policy.read_text().endswith("# mine\n")
    assert (root / "lumyn.db").stat().st_size > 0


def test_another_template_and_directory(lumyn) -> None:
    """The policy comes from the template that is named."""
    told = lumyn("init", "--workspace", "w", "--policy-template", "policies/packs/billing.v0.yml")
    assert told.code == 0
    assert "lumyn-billing" in Path("w/policy.yml").read_text()


def test_a_template_that_is_none_makes_nothing(lumyn) -> None:
    """A missing template and one that is no policy end with 1, and nothing is made."""
    Path("bad.yml").write_text("a: b\n")
    told = lumyn("init", "--policy-template", "no.yml")
    assert (told.code, told.err.splitlines()[0]) == (1, "error: policy template not found: no.yml")
    assert lumyn("init", "--policy-template", "bad.yml").code == 1
    assert not Path(".lumyn").exists()


def test_a_place_that_cannot_be_written_is_told(lumyn) -> None:
    """A file where the directory should be is an error of one line and a hint."""
    Path("taken").write_text("")
    told = lumyn("init", "--workspace", "taken")
    assert told.code == 1
    assert told.err.startswith("error: cannot make the workspace taken: ")
    assert "hint: " in told.err
