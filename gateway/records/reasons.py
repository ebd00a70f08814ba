"""The registry of reason codes, read from the package's own `schemas/reason_codes.v0.json` on first use.

A code never changes its meaning and is never removed. A policy may declare codes of its own; those are
the policy's business and do not come here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from gateway.kernel.parse import parse_json

# The codes that code emits by itself; all others come from policies. A test holds them to the registry.
NO_MATCH_DEFAULT_ESCALATE: Final = "NO_MATCH_DEFAULT_ESCALATE"
STORAGE_UNAVAILABLE: Final = "STORAGE_UNAVAILABLE"
MEMORY_UNAVAILABLE: Final = "MEMORY_UNAVAILABLE"
MEMORY_NEVER_LOOSENS: Final = "MEMORY_NEVER_LOOSENS"
MISSING_EVIDENCE: Final = "MISSING_EVIDENCE"
EVIDENCE_TYPE_INVALID: Final = "EVIDENCE_TYPE_INVALID"
FAILURE_MEMORY_SIMILAR_ESCALATE: Final = "FAILURE_MEMORY_SIMILAR_ESCALATE"
INVALID_REQUEST_SCHEMA: Final = "INVALID_REQUEST_SCHEMA"
INVALID_POLICY: Final = "INVALID_POLICY"
IDEMPOTENCY_CONFLICT: Final = "IDEMPOTENCY_CONFLICT"


@cache
def reason_codes() -> Mapping[str, str]:
    """Return every code of the registry with its description, in the order of the registry."""
    document = parse_json(files("schemas").joinpath("reason_codes.v0.json").read_bytes())
    return MappingProxyType({entry["code"]: entry["description"] for entry in document["codes"]})


def is_reason_code(code: str) -> bool:
    """Tell whether the registry has `code`."""
    return code in reason_codes()
