"""Which policy decides an action."""

from __future__ import annotations

import orjson
import pytest

from gateway.kernel.errors import InvalidPolicyError
from gateway.policy.compile import CompiledPolicy, compile_policy
from gateway.policy.select import PolicySet


def policy(name: str, when: dict | None = None) -> CompiledPolicy:
    """Return a policy of one rule."""
    then = {"verdict": "TRUST", "reason_codes": ["CREDIT_SMALL"]}
    document = {
        "schema_version": "policy.v0",
        "policy_id": name,
        "policy_version": "1",
        "defaults": {"mode": "enforce", "default_verdict": "QUERY", "default_reason_code": "CREDIT_SMALL"},
        "rules": [{"id": "A", "stage": "TRUST_PATHS", "then": then, "when": when or {}}],
    }
    return compile_policy(orjson.dumps(document), source=f"{name}.yml")


MAIN = policy("main", {"action_type": "demo.main"})
EXACT = policy("exact", {"action_type": "mcp.files_read"})
SHORT = policy("short", {"action_type_prefix": "mcp."})
LONG = policy("long", {"action_type_prefix": "mcp.files"})


@pytest.mark.parametrize(
    ("action_type", "name"),
    [
        ("demo.main", "main"),
        ("demo.unknown", "main"),
        ("mcp.files_read", "exact"),
        ("mcp.files_write", "long"),
        ("mcp.other", "short"),
    ],
)
def test_names_go_before_prefixes_and_long_before_short(action_type: str, name: str) -> None:
    """The policy that names the type decides, else the longest prefix, else the main one."""
    assert PolicySet(MAIN, (SHORT, LONG, EXACT)).for_action(action_type).policy_id == name


@pytest.mark.parametrize("when", [{"action_type": "demo.main"}, {"action_type_in": ["x.y", "demo.main"]}])
def test_two_policies_may_not_name_one_action(when: dict) -> None:
    """A second policy for an action type is refused, with both by name."""
    with pytest.raises(
        InvalidPolicyError, match=r"`demo.main` is named by two policies, main \(main.yml\) and other"
    ):
        PolicySet(MAIN, (policy("other", when),))


def test_two_policies_may_not_name_one_prefix() -> None:
    """The same prefix twice is refused as well."""
    with pytest.raises(InvalidPolicyError, match="named by two policies"):
        PolicySet(MAIN, (SHORT, policy("other", {"action_type_prefix": "mcp."})))


def test_the_digest_names_the_set() -> None:
    """Equal sets have equal digests; another pack, order or main policy gives another one."""
    digests = {
        PolicySet(MAIN).digest,
        PolicySet(MAIN, (SHORT, EXACT)).digest,
        PolicySet(MAIN, (EXACT, SHORT)).digest,
        PolicySet(EXACT, (MAIN,)).digest,
    }
    assert len(digests) == 4
    assert PolicySet(MAIN, (SHORT,)).digest == PolicySet(MAIN, (SHORT,)).digest
    assert PolicySet(MAIN, (SHORT,)).policies == (MAIN, SHORT)
