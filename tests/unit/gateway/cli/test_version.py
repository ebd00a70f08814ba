"""`lumyn version`."""

from __future__ import annotations

from importlib import metadata

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.cli.version import package_version


def test_the_installed_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the installed package says of itself."""
    monkeypatch.setattr(metadata, "version", lambda name: f"{name} 1.2.3")
    assert package_version() == "lumyn-gateway 1.2.3"
    assert CliRunner().invoke(app, ["version"]).output == "lumyn-gateway 1.2.3\n"


def test_a_checkout_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an installed package it is the source that runs."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert package_version() == "source"
