"""The policies that the package carries."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.policy.builtin import GATE, PACKS, SUPPORT, built_in


@pytest.mark.parametrize("name", [SUPPORT, GATE, *PACKS])
def test_each_name_has_a_text(name: str) -> None:
    """Every name listed is a policy of the package, read as it lies there."""
    assert built_in(name) == Path(name).read_bytes()


def test_the_reference_spelling_of_a_pack_is_known() -> None:
    """`lumyn-billing.v0.yml`, as callers of the reference write it, is the billing pack."""
    assert built_in("policies/packs/lumyn-billing.v0.yml") == built_in("policies/packs/billing.v0.yml")


@pytest.mark.parametrize("name", ["policies/../pyproject.toml", "policies/__init__.py", "x.yml", ""])
def test_nothing_else_of_the_package_can_be_read(name: str) -> None:
    """A name that is not listed is no built-in, whatever file it would lead to."""
    assert built_in(name) is None


def test_every_policy_file_is_listed() -> None:
    """No policy lies in the package without a name here."""
    files = {str(path) for path in Path("policies").rglob("*.yml")}
    assert files == {SUPPORT, GATE, *PACKS}
