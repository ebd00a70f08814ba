"""The configuration: precedence, validation, and errors that never show a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import BackendConfig, Config, load_config
from gateway.kernel.errors import InvalidConfigError
from gateway.kernel.types import Mode


@pytest.fixture
def write(tmp_path: Path):
    """Write a configuration file, return its path."""

    def write_text(text: str) -> str:
        file = tmp_path / "lumyn.yaml"
        file.write_text(text)
        return str(file)

    return write_text


def test_nothing_gives_the_defaults() -> None:
    """Without file and variables the defaults hold, and blank variables are none."""
    assert load_config(None, {}) == Config()
    assert (
        load_config(None, {"LUMYN_MODE": " ", "LUMYN_BACKEND_URL": "", "LUMYN_CONFIG_PATH": ""}) == Config()
    )


def test_precedence(write) -> None:
    """Flags go before variables, variables before the file, the file before the defaults."""
    path = write("listen: {port: 1, admin_port: 2}\nstorage: {url: 'sqlite:file'}\nmemory: {top_k: 3}\n")
    config = load_config(path, {"LUMYN_STORAGE_URL": "sqlite:variable"}, {"listen": {"port": 9}})
    assert (config.listen.port, config.listen.admin_port) == (9, 2)
    assert (config.storage.url, config.memory.top_k) == ("sqlite:variable", 3)
    assert load_config(None, {"LUMYN_CONFIG_PATH": path}).memory.top_k == 3


@pytest.mark.parametrize(
    ("name", "text", "where", "value"),
    [
        ("LUMYN_STORAGE_URL", "sqlite:x", ("storage", "url"), "sqlite:x"),
        ("LUMYN_POLICY_PATH", "p.yml", ("policy", "path"), "p.yml"),
        ("LUMYN_MODE", "advisory", ("policy", "mode"), Mode.ADVISORY),
        ("LUMYN_REDACTION_PROFILE", "strict", ("redaction", "profile"), "strict"),
        ("LUMYN_TOP_K", "7", ("memory", "top_k"), 7),
        ("LUMYN_SIGNING_SECRET", "s", ("service", "signing_secret"), "s"),
        ("LUMYN_LOG_LEVEL", "WARNING", ("log", "level"), "warning"),
    ],
)
def test_variables(name: str, text: str, where: tuple[str, str], value: object) -> None:
    """Each variable of the contract has its key."""
    config = load_config(None, {name: text})
    assert getattr(getattr(config, where[0]), where[1]) == value


def test_the_backend_variable(write) -> None:
    """LUMYN_BACKEND_URL is the one backend, as variables go before the file and flags before variables."""
    variable = {"LUMYN_BACKEND_URL": "http://a/v1"}
    [backend] = load_config(None, variable).backends
    assert (backend.name, backend.url) == ("default", "http://a/v1")
    path = write(
        "backends: [{name: pool, url: 'http://b', api_key: theirs}, {name: other, url: 'http://c'}]\n"
        "models: [{name: m, backend: [pool, other], quality: 0.5}, {name: n, backend: other}]"
    )
    config = load_config(path, variable)
    assert config.backends == (BackendConfig(name="default", url="http://a/v1"),)
    assert [(model.name, model.backend[0].name, len(model.backend)) for model in config.models] == [
        ("m", "default", 1),
        ("n", "default", 1),
    ]
    assert config.models[0].quality == 0.5
    assert len(load_config(path, {"LUMYN_BACKEND_URL": "  "}).backends) == 2
    flags = {"backends": [{"name": "f", "url": "http://f"}], "models": []}
    assert [one.name for one in load_config(path, variable, flags).backends] == ["f"]


@pytest.mark.parametrize("models", ["models: 5", "models: [5]", "models: {a: 1}"])
def test_the_backend_variable_mends_nothing(write, models: str) -> None:
    """A section of models that is none is still an error, with its place."""
    with pytest.raises(InvalidConfigError, match="models"):
        load_config(write(models), {"LUMYN_BACKEND_URL": "http://a/v1"})


def test_references(write) -> None:
    """`${NAME}` is replaced wherever it stands; one that is not set is an error with its place."""
    path = write("backends: [{name: p, url: 'http://${HOST}:${PORT}', api_key: '${KEY}'}]")
    [backend] = load_config(path, {"HOST": "h", "PORT": "1", "KEY": ""}).backends
    assert (backend.url, backend.api_key) == ("http://h:1", "")
    with pytest.raises(InvalidConfigError, match=r"backends\[0\].api_key: the variable KEY is not set"):
        load_config(path, {"HOST": "h", "PORT": "1"})


def test_an_empty_file_is_no_error(write) -> None:
    """Comments alone say nothing."""
    assert load_config(write("# nothing\n\n  # at all\n"), {}) == Config()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "must hold a mapping"),
        ("null", "must hold a mapping"),
        ("listen: {port: 1, port: 2}", "line 1, column"),
        ("listen: {prot: 1}", "listen.prot"),
        ("listen: {port: 70000}", "listen.port"),
        ("listen: 5", "listen: "),
        ("policy: null", "policy: "),
        ("limits: {drain_s: 0}", "limits.drain_s"),
        ("limits: {idle_s: .inf}", "line 1, column"),
        ("redaction: {profile: some}", "redaction.profile"),
        ("keys: [{name: 'a b', hash: x}]", "keys.0.hash"),
        ("models: [{name: Llama, backend: Nobody}]", "model `Llama` names the backend `Nobody`"),
    ],
)
def test_what_is_wrong_is_named(write, text: str, said: str) -> None:
    """One line for each thing that is wrong, with its key or its place in the file."""
    with pytest.raises(InvalidConfigError) as caught:
        load_config(write(text), {"LUMYN_MODE": "enforce"})
    assert said in caught.value.message


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    """A gateway that starts with other rules than asked is worse than one that does not start."""
    with pytest.raises(InvalidConfigError, match="no such file"):
        load_config(str(tmp_path / "none.yaml"), {})


def test_an_error_never_shows_a_value(write) -> None:
    """A secret in the wrong place does not reach a terminal."""
    with pytest.raises(InvalidConfigError) as caught:
        load_config(write("service: {signing_secret: [hunter2]}\nkeys: [{name: x, hash: hunter2}]"), {})
    assert "hunter2" not in caught.value.message + (caught.value.hint or "")
