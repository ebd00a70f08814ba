"""The policies that the package carries: their names, and their text.

They are read from the package and never from the working directory, so that a folder of that name there
cannot change what a name means.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

SUPPORT: Final = "policies/lumyn-support.v0.yml"
"""What decides where nothing else is configured."""
PACKS: Final = (
    "policies/packs/llm.v0.yml",
    "policies/packs/account.v0.yml",
    "policies/packs/billing.v0.yml",
    "policies/packs/mcp-tools.v0.yml",
)
"""What else decides where nothing else is configured; none of them names an action of another."""

GATE: Final = "policies/gate.v0.yml"
"""What decides where the gateway itself has found a reason; no configuration names it or replaces it."""


def built_in(name: str) -> bytes | None:
    """Return the text of a built-in policy, or None where there is none of that name.

    The reference implementation calls its packs `policies/packs/lumyn-<name>.v0.yml`; both spellings do.
    """
    plain = name.replace("policies/packs/lumyn-", "policies/packs/")
    if plain not in {SUPPORT, GATE, *PACKS}:
        return None
    return files("policies").joinpath(*plain.split("/")[1:]).read_bytes()
