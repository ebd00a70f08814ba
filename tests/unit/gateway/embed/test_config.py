"""The library's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.embed.config import LumynConfig
from gateway.kernel.errors import InvalidConfigError


def test_equal_configurations_are_one_key() -> None:
    """A configuration made anew at each call, from a Path or a string, is the same key."""
    assert LumynConfig(store_path=Path("a/b.db")) == LumynConfig(store_path="a/b.db")
    assert len({LumynConfig(packs=("x",)), LumynConfig(packs=("x",))}) == 1


def test_the_default_store_is_the_workspace() -> None:
    """Without a path decisions are kept in `.lumyn/lumyn.db`."""
    assert LumynConfig().url == "sqlite:.lumyn/lumyn.db"
    assert LumynConfig(storage_url="postgresql://h/d").url == "postgresql://h/d"


@pytest.mark.parametrize(
    "wrong",
    [
        {"store_path": "a.db", "storage_url": "sqlite:a.db"},
        {"mode": "strict"},
        {"redaction_profile": "some"},
        {"top_k": -1},
        {"top_k": 101},
        {"top_k": True},
        {"top_k": "5"},
    ],
)
def test_a_wrong_value_is_refused_where_it_is_made(wrong: dict) -> None:
    """Each wrong value raises at once, with a hint."""
    with pytest.raises(InvalidConfigError) as caught:
        LumynConfig(**wrong)
    assert caught.value.hint


def test_a_file_is_read_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's keys arrive, and a variable of the contract is stronger than the file."""
    file = tmp_path / "lumyn.yaml"
    file.write_text("storage: {url: 'sqlite:/x/y.db'}\nmemory: {top_k: 7}\npolicy: {mode: advisory}\n")
    monkeypatch.setenv("LUMYN_TOP_K", "3")
    found = LumynConfig.from_file(file)
    assert (found.url, found.top_k, found.mode, found.packs) == ("sqlite:/x/y.db", 3, "advisory", None)


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """`from_env` reads the variables of the contract."""
    monkeypatch.setenv("LUMYN_STORAGE_URL", "sqlite:/from/env.db")
    monkeypatch.setenv("LUMYN_REDACTION_PROFILE", "strict")
    found = LumynConfig.from_env()
    assert (found.url, found.redaction_profile) == ("sqlite:/from/env.db", "strict")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A named file that is missing is never an empty configuration."""
    with pytest.raises(InvalidConfigError, match="cannot be read"):
        LumynConfig.from_file(tmp_path / "no.yaml")
