"""`lumyn version`."""

from __future__ import annotations

from gateway.cli.version import package_version


def test_the_version_is_printed(lumyn) -> None:
    """One line: what is installed, or `source`."""
    assert lumyn("version").out == f"{package_version()}\n"
