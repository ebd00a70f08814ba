"""Seeded policies and requests for the differential and property tests: dense in edges, cheap to make."""

from __future__ import annotations

from random import Random

ACTION_TYPES = ["support.refund", "support.note", "billing.pay", "mcp.files_read"]
STAGES = ["REQUIREMENTS", "HARD_BLOCKS", "ESCALATIONS", "TRUST_PATHS"]
VERDICTS = ["TRUST", "ABSTAIN", "ESCALATE", "QUERY"]
CODES = ["CREDIT_SMALL", "MISSING_EVIDENCE", "CHARGEBACK_RISK_BLOCK", "CLOSE_TICKET_OK", "TOOL_CALL_OK"]
KEYS = [
    "chargeback_risk",
    "previous_refund_count_90d",
    "customer_age_days",
    "manual_approval",
    "region",
    "note",
    "fx_rate_to_usd",
]
NUMBERS = [0, 1, 2, 2.5, 0.35, 14, 25, 25.0, 200, -1, 0.1, 1000000]
TEXTS = ["low", "high", "EU", "", "  ", "25", "thresholds", "naïve"]
VALUES = [*NUMBERS, *TEXTS, None, True, False, [], ["low"], {"a": 1}]
THRESHOLDS = {"small": 25, "risk": 0.35, "name": "low", "yes": True, "names": ["low", 2]}
PATTERNS = ["^lo", "a.b", "w$", "[0-9]+", "^$"]


def make_policy(random: Random) -> dict:
    """Return a valid policy document with up to eight rules."""
    required = {
        random.choice(ACTION_TYPES): random.sample(KEYS[3:], random.randint(0, 2))
        for _ in range(random.randint(0, 2))
    }
    return {
        "schema_version": "policy.v0",
        "policy_id": "generated",
        "policy_version": "1",
        "defaults": {
            "mode": random.choice(["enforce", "advisory"]),
            "default_verdict": random.choice(VERDICTS),
            "default_reason_code": "NO_MATCH_DEFAULT_ESCALATE",
        },
        "thresholds": THRESHOLDS,
        "required_evidence": required,
        "rules": [make_rule(random, f"G{number}") for number in range(random.randint(1, 8))],
    }


def make_rule(random: Random, rule_id: str) -> dict:
    """Return one valid rule."""
    then: dict = {"verdict": random.choice(VERDICTS), "reason_codes": random.choices(CODES, k=1)}
    if random.random() < 0.4:
        field = random.choice(
            [f"evidence.{random.choice(KEYS)}", "action.target.system", "action.amount.value"]
        )
        then["queries"] = [{"field": field, "question": f"{rule_id}?"}]
    if random.random() < 0.2:
        then["obligations"] = [{"type": "check", "title": rule_id}]
    rule: dict = {"id": rule_id, "stage": random.choice(STAGES), "then": then}
    scope = random.randint(0, 4)
    if scope == 0:
        rule["when"] = {"action_type": random.choice(ACTION_TYPES)}
    elif scope == 1:
        rule["when"] = {"action_type_in": random.sample(ACTION_TYPES, random.randint(0, 3))}
    elif scope == 2:
        rule["when"] = {"action_type_prefix": random.choice(["support.", "mcp.", "mcp.files", "x"])}
    if random.random() < 0.6:
        rule["if"] = make_conditions(random)
    if random.random() < 0.3:
        rule["if_all"] = [make_conditions(random) for _ in range(random.randint(0, 2))]
    if random.random() < 0.3:
        rule["if_any"] = [make_conditions(random) for _ in range(random.randint(0, 3))]
    return rule


def make_conditions(random: Random) -> dict:
    """Return one condition object of up to two conditions."""
    return dict(make_condition(random) for _ in range(random.choice([0, 1, 1, 1, 2])))


def make_condition(random: Random) -> tuple[str, object]:
    """Return one condition of any operator, often over a threshold."""
    pick = random.randint(0, 11)
    number = random.choice([*NUMBERS, "thresholds.small", "thresholds.risk"])
    if pick == 0:
        return f"amount_usd_{random.choice(['gt', 'gte', 'lt', 'lte'])}", number
    if pick == 1:
        return f"amount_currency_{random.choice(['is', 'ne'])}", random.choice(["USD", "EUR", None])
    if pick == 2:
        return f"{random.choice(['tags', 'subject.roles'])}_{random.choice(['any', 'all'])}", ["vip", "new"]
    if pick == 3:
        return f"evidence.failure_similarity_score_{random.choice(['gte', 'lt', 'gt'])}", random.choice(
            [0, 0.35, 0.8]
        )
    if pick == 4:
        return "evidence.fx_rate_to_usd_present", random.choice([True, False])
    if pick == 5:
        key = random.choice(["action.target.system", "subject.id", f"evidence.{random.choice(KEYS)}"])
        return f"{key}_matches", random.choice(PATTERNS)
    key = random.choice(KEYS)
    if pick in {6, 7}:
        if key in {"previous_refund_count_90d", "customer_age_days"}:
            number = random.choice([0, 1, 2, 14, 25.0, "thresholds.small"])
        return f"evidence.{key}_{random.choice(['gt', 'gte', 'lt', 'lte'])}", number
    if pick == 8:
        return f"evidence.{key}_present", random.choice([True, False, "thresholds.yes"])
    if pick == 9:
        members = random.sample([*NUMBERS, *TEXTS, True, None], random.randint(0, 3))
        return f"evidence.{key}_{random.choice(['in', 'not_in'])}", random.choice(
            [members, "thresholds.names"]
        )
    scalars = [*NUMBERS, *TEXTS, True, False, None, "thresholds.name", "thresholds.small"]
    place = random.choice([f"evidence.{key}", "action.target.system", "subject.id"])
    return f"{place}_{random.choice(['is', 'ne'])}", random.choice(scalars)


def make_request(random: Random) -> dict:
    """Return a valid `decision_request.v0`."""
    action: dict = {"type": random.choice([*ACTION_TYPES, "mcp.other", "other.thing"]), "intent": "generated"}
    if random.random() < 0.6:
        amount = {"value": random.choice([0, 1, 25, 25.0, 24.99, 200.01, 1000000]), "currency": "USD"}
        if random.random() < 0.5:
            amount["currency"] = random.choice(["EUR", "usd"])
        if random.random() < 0.2:
            del amount[random.choice(["value", "currency"])]
        action["amount"] = amount
    if random.random() < 0.4:
        action["tags"] = random.sample(["vip", "new", "low"], random.randint(0, 3))
    if random.random() < 0.4:
        action["target"] = {"system": random.choice(TEXTS)}
    subject = {"type": "agent", "id": random.choice(["low", "a1"])}
    if random.random() < 0.3:
        subject["roles"] = random.sample(["vip", "new"], random.randint(0, 2))
    request = {
        "schema_version": "decision_request.v0",
        "subject": subject,
        "action": action,
        "context": {"mode": "digest_only", "digest": "sha256:" + "0" * 64},
    }
    if random.random() < 0.9:
        request["evidence"] = {key: random.choice(VALUES) for key in KEYS if random.random() < 0.6}
    return request
