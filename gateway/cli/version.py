"""`lumyn version`: what is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from gateway.cli.render import OUT


def package_version() -> str:
    """Return the installed version, or `source` where the project runs from a checkout."""
    try:
        return version("lumyn-gateway")
    except PackageNotFoundError:
        return "source"


def version_command() -> None:
    """Print the version."""
    OUT.print(package_version())
