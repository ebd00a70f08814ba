"""The policies in force: where they are found, which give way, how they are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import PolicyConfig
from gateway.kernel.errors import InvalidConfigError, InvalidPolicyError
from gateway.pipeline.policies import load_policies, load_policy, policy_entries, policy_set, read_policy

LLM = "policies/packs/llm.v0.yml"
MAIN = "policies/lumyn-support.v0.yml"
ROOT = Path(__file__).resolve().parents[4]


def test_the_defaults_load() -> None:
    """The main policy and its packs, each naming the action types that are its own."""
    policies = load_policies(PolicyConfig())
    assert policies.main.policy_id == "lumyn-support"
    assert policies.for_action("llm.chat_completion").policy_id == "lumyn-llm"
    assert policies.for_action("support.refund") is policies.main


def test_a_file_goes_before_a_built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is looked for from the working directory first."""
    monkeypatch.chdir(tmp_path)
    text, source = read_policy(MAIN)
    assert (text, source) == ((ROOT / MAIN).read_bytes(), MAIN)
    (tmp_path / "policies").mkdir()
    (tmp_path / MAIN).write_bytes(b"own")
    assert read_policy(MAIN)[0] == b"own"


@pytest.mark.parametrize("path", ["none.yml", "policies/none.yml", "policies/../pyproject.toml", "", "."])
def test_a_policy_that_is_nowhere(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, and no path leads out of the built-in ones."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidConfigError, match="policy not found"):
        read_policy(path)


def test_a_policy_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is the system's, in one line."""
    file = tmp_path / "p.yml"
    file.write_text("x")

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InvalidConfigError, match="permission denied"):
        read_policy(str(file))


def test_default_packs_give_way_and_chosen_ones_clash(tmp_path: Path) -> None:
    """A main policy that names a pack's action decides it; packs that were asked for must not clash."""
    main = tmp_path / "main.yml"
    main.write_text(Path(ROOT / LLM).read_text().replace("policy_id: lumyn-llm", "policy_id: mine"))
    given = policy_set(str(main), [LLM], default_packs=True)
    assert given.packs == ()
    assert given.for_action("llm.chat_completion").policy_id == "mine"
    with pytest.raises(InvalidPolicyError, match="named by two policies"):
        policy_set(str(main), [LLM], default_packs=False)


def test_a_wrong_policy_names_its_place(tmp_path: Path) -> None:
    """Line and column, and the file in the hint."""
    file = tmp_path / "p.yml"
    file.write_text("schema_version: policy.v0\nrules: 5\n")
    with pytest.raises(InvalidPolicyError, match="line 2, column") as caught:
        load_policy(str(file))
    assert str(file) in (caught.value.hint or "")


def test_every_policy_is_kept_under_its_hash() -> None:
    """What decided can be read again: the text as it was loaded."""
    policies = load_policies(PolicyConfig())
    entries = policy_entries(policies, 7)
    assert [entry.entry_id for entry in entries] == [policy.policy_hash for policy in policies.policies]
    assert entries[0].body == (ROOT / MAIN).read_bytes()
    assert {entry.at_ms for entry in entries} == {7}
