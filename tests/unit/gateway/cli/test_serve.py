"""`lumyn serve` up to the moment it would listen; that it serves is tests/integration's."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.app import Ports
from gateway.cli import serve
from gateway.cli.main import app
from gateway.config import Config

RUN = CliRunner()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty directory, with no variable of ours set."""
    monkeypatch.chdir(tmp_path)
    for name in ("LUMYN_BACKEND_URL", "LUMYN_CONFIG_PATH", "LUMYN_STORAGE_URL"):
        monkeypatch.delenv(name, raising=False)


def facts(output: str) -> dict[str, str]:
    """Read `name: value` lines."""
    return dict(line.split(": ", 1) for line in output.splitlines() if ": " in line)


def test_a_dry_run_checks_everything_and_listens_nowhere(tmp_path: Path) -> None:
    """It prints the settings in force and makes no store."""
    done = RUN.invoke(app, ["serve", "--dry-run"])
    assert done.exit_code == 0, done.output
    said = facts(done.output)
    assert done.output.startswith("Lumyn service\n")
    assert said["policy_path"] == "policies/lumyn-support.v0.yml"
    assert said["policy_hash"].startswith("sha256:")
    assert (said["mode"], said["redaction_profile"], said["top_k"]) == ("enforce", "default", "5")
    assert said["signing"] == "disabled"
    assert said["keys"] == "none: one local tenant, loopback only"
    assert said["backends"] == "embedded simulated llm-d"
    assert not (tmp_path / ".lumyn/lumyn.db").exists()


def test_what_is_configured_is_shown_without_secrets(tmp_path: Path) -> None:
    """Passwords and secrets do not reach the terminal."""
    file = tmp_path / "c.yaml"
    digest = "sha256:" + "a" * 64
    file.write_text(
        "storage: {url: 'postgresql://user:hunter2@host:5432/db'}\nservice: {signing_secret: hunter3}\n"
        f"policy: {{mode: null}}\nkeys: [{{name: bot, hash: '{digest}'}}]\n"
        "backends: [{name: pool, url: 'http://h:1/v1', api_key: hunter4}]\n"
    )
    done = RUN.invoke(app, ["serve", "--dry-run", "--config", str(file)])
    assert done.exit_code == 0, done.output
    said = facts(done.output)
    assert said["storage_url"] == "postgresql://user:***@host:5432/db"
    assert (said["signing"], said["keys"], said["mode"]) == ("enabled", "1", "as the policy says")
    assert said["backends"] == "pool http://h:1/v1"
    assert "hunter" not in done.output


@pytest.mark.parametrize("arguments", [["--config", "none.yaml"], ["--host", "0.0.0.0"]])
def test_what_it_cannot_start_with_is_exit_two(arguments: list[str]) -> None:
    """A file that is not there and a public address without keys: one error, nothing printed as if it ran."""
    done = RUN.invoke(app, ["serve", "--dry-run", *arguments])
    assert done.exit_code == 2
    assert "error: " in done.output
    assert "Lumyn service" not in done.output


def test_flags_reach_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Host and ports as given, and the rest by default."""
    ran: list[Config] = []
    monkeypatch.setattr(serve, "_run", lambda settings, _: ran.append(settings))
    done = RUN.invoke(app, ["serve", "--host", "::1", "--port", "0", "--admin-port", "1"])
    assert done.exit_code == 0, done.output
    [settings] = ran
    assert (settings.listen.host, settings.listen.port, settings.listen.admin_port) == ("::1", 0, 1)


@pytest.mark.parametrize(("host", "origin"), [("127.0.0.1", "http://127.0.0.1:5"), ("::1", "http://[::1]:5")])
def test_it_says_where_it_listens(host: str, origin: str, capsys: pytest.CaptureFixture[str]) -> None:
    """URLs that can be pasted, also for IPv6."""
    serve._print_ready(Config.model_validate({"listen": {"host": host}}), Ports(5, 6))
    assert facts(capsys.readouterr().out) == {
        "url": origin,
        "openai_base_url": f"{origin}/v1",
        "admin": "http://127.0.0.1:6/admin/decisions",
    }


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:a/b@c.db", "sqlite:a/b@c.db"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://user@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user:p@ss@host/db", "postgresql://user:***@host/db"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    """Whatever stands between the user and the host is replaced."""
    assert serve._without_password(url) == shown


def test_a_dry_run_checks_the_intents(tmp_path: Path) -> None:
    """What the gateway would refuse at its start is refused here, each problem with its pointer."""
    file = tmp_path / "c.yaml"
    file.write_text("intents: [{name: chat, quality: {models: [gpt-9]}}, {latency: {ttft_ms: soon}}]\n")
    done = RUN.invoke(app, ["serve", "--dry-run", "--config", str(file)])
    assert done.exit_code == 2
    assert "/intents/0/quality/models: no model 'gpt-9' is configured" in done.output
    assert "/intents/1/latency/ttft_ms" in done.output
