"""`lumyn version`: what is installed."""

from __future__ import annotations

from gateway.cli.render import say


def package_version() -> str:
    """Return the installed version, or `source` where the project runs from a checkout."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lumyn-gateway")
    except PackageNotFoundError:
        return "source"


def version_command() -> None:
    """Print the version."""
    say(package_version())
