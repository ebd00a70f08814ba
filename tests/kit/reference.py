"""A second evaluator of `policy.v0`: slow, obvious, and without a line of the first.

It reads the contract as a person would, once per request, from the plain document. It imports nothing
of the gateway, so that a misreading in one is not a misreading in both. It answers with what decides:
verdict, reason codes, matched rules, queries and the fields that could not be evaluated.
"""

from __future__ import annotations

import re
from decimal import Decimal

STAGES = ["REQUIREMENTS", "HARD_BLOCKS", "ESCALATIONS", "TRUST_PATHS"]
STRICTEST_FIRST = ["ABSTAIN", "QUERY", "ESCALATE", "TRUST"]
KINDS = {"fx_rate_to_usd": "rate", "previous_refund_count_90d": "whole", "customer_age_days": "whole"}
OPERATORS = ["not_in", "present", "matches", "gte", "lte", "is", "ne", "in", "gt", "lt", "any", "all"]


def decide(policy: dict, request: dict, failure_score: float = 0.0) -> dict:
    """Return the decision of one policy on one valid request."""
    advised = decide_once(policy, request, failure_score)
    unadvised = decide_once(policy, request, 0.0)
    if min(unadvised["verdict"], advised["verdict"], key=STRICTEST_FIRST.index) != advised["verdict"]:
        advised["verdict"] = unadvised["verdict"]
        advised["matched_rules"].append(("MEMORY_FLOOR", "ESCALATIONS", unadvised["verdict"]))
        advised["reason_codes"].append("MEMORY_NEVER_LOOSENS")
        advised["queries"] = questions(policy, request, advised)
    return advised


def decide_once(policy: dict, request: dict, score: float) -> dict:
    """Return the decision with this failure score, without regard to what another score would give."""
    rules = [rule for rule in policy["rules"] if applies(rule, request["action"]["type"])]
    missing = missing_keys(policy, request)
    faults = faulty_fields(rules, policy, request, score)
    matched = [rule for rule in rules if matches(rule, policy, request, missing, score)]
    if missing and not any(is_plain_requirement(rule) for rule in rules):
        matched.append(row("REQUIRED_EVIDENCE", "REQUIREMENTS", "QUERY", "MISSING_EVIDENCE"))
    if not matched:
        defaults = policy["defaults"]
        matched = [row("DEFAULT", "DEFAULT", defaults["default_verdict"], defaults["default_reason_code"])]
    if faults:
        matched.append(row("EVIDENCE_TYPES", "ESCALATIONS", "ESCALATE", "EVIDENCE_TYPE_INVALID"))
    # Sorting is stable: file order within a stage, and the engine's own row after the policy's.
    matched.sort(key=lambda rule: [*STAGES, "DEFAULT"].index(rule["stage"]))
    decision = {
        "verdict": min((rule["then"]["verdict"] for rule in matched), key=STRICTEST_FIRST.index),
        "reason_codes": [code for rule in matched for code in rule["then"]["reason_codes"]],
        "matched_rules": [(rule["id"], rule["stage"], rule["then"]["verdict"]) for rule in matched],
        "faults": faults,
    }
    decision["queries"] = questions(policy, request, decision)
    return decision


def row(rule_id: str, stage: str, verdict: str, code: str) -> dict:
    """Return a rule of the engine's own."""
    return {"id": rule_id, "stage": stage, "then": {"verdict": verdict, "reason_codes": [code]}}


def questions(policy: dict, request: dict, decision: dict) -> list:
    """Return the questions of a QUERY: only for what is missing or unusable."""
    if decision["verdict"] != "QUERY":
        return []
    by_id = {rule["id"]: rule for rule in policy["rules"]}
    asked = [
        (query["field"], query["question"])
        for rule_id, _, _ in decision["matched_rules"]
        for query in by_id.get(rule_id, {}).get("then", {}).get("queries", [])
        if query["field"] in decision["faults"] or is_missing(value_at(query["field"], request))
    ]
    # Missing evidence always fires some plain rule, the policy's own or the implied one.
    unasked = [key for key in missing_keys(policy, request) if f"evidence.{key}" not in dict(asked)]
    return asked + [(f"evidence.{key}", f"What is the {key.replace('_', ' ')}?") for key in unasked]


def value_at(field: str, request: dict) -> object:
    """Return what a query's field names in the request."""
    if field.startswith("evidence."):
        return request.get("evidence", {}).get(field[len("evidence.") :])
    value: object = request
    for step in field.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def applies(rule: dict, action_type: str) -> bool:
    """Tell whether the rule's `when` covers the action."""
    when = rule.get("when") or {}
    if "action_type" in when:
        return when["action_type"] == action_type
    if "action_type_in" in when:
        return action_type in when["action_type_in"]
    if "action_type_prefix" in when:
        return action_type.startswith(when["action_type_prefix"])
    return True


def is_plain_requirement(rule: dict) -> bool:
    """Tell whether the rule fires on missing evidence alone."""
    return rule["stage"] == "REQUIREMENTS" and not any(part in rule for part in ("if", "if_all", "if_any"))


def is_missing(value: object) -> bool:
    """Null, blank text and the empty list are missing."""
    return value is None or value == [] or (isinstance(value, str) and value.strip() == "")


def missing_keys(policy: dict, request: dict) -> list:
    """Return the required evidence that is missing."""
    required = policy.get("required_evidence", {}).get(request["action"]["type"], [])
    return [key for key in required if is_missing(request.get("evidence", {}).get(key))]


def matches(rule: dict, policy: dict, request: dict, missing: list, score: float) -> bool:
    """Tell whether the rule's blocks all hold."""
    if is_plain_requirement(rule):
        return bool(missing)
    every = all(holds(item, policy, request, score) for item in [rule.get("if", {}), *rule.get("if_all", [])])
    return every and any(holds(item, policy, request, score) for item in rule.get("if_any", [{}]))


def holds(conditions: dict, policy: dict, request: dict, score: float) -> bool:
    """Tell whether every condition of one object is true."""
    return all(test(key, resolve(operand, policy), request, score) for key, operand in conditions.items())


def resolve(operand: object, policy: dict) -> object:
    """Return the threshold that an operand refers to, or the operand."""
    if isinstance(operand, str) and operand.startswith("thresholds."):
        return policy["thresholds"][operand[len("thresholds.") :]]
    return operand


def split(key: str) -> tuple[str, str]:
    """Return what a condition reads, and its operator."""
    operator = next(operator for operator in OPERATORS if key.endswith(f"_{operator}"))
    return key.removesuffix(f"_{operator}"), operator


def fact(field: str, request: dict, score: float) -> object:
    """Return the value that a condition compares."""
    special = {
        "evidence.failure_similarity_score": score,
        "amount_usd": amount_usd(request),
        "amount_currency": request["action"].get("amount", {}).get("currency"),
        "tags": request["action"].get("tags", []),
        "subject.roles": request["subject"].get("roles", []),
    }
    return special[field] if field in special else value_at(field, request)


def is_number(value: object) -> bool:
    """A boolean is not a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def rate_of(request: dict) -> Decimal | None:
    """Return the exchange rate if it is a number above zero."""
    rate = request.get("evidence", {}).get("fx_rate_to_usd")
    return Decimal(str(rate)) if is_number(rate) and rate > 0 else None


def amount_usd(request: dict) -> Decimal | None:
    """Return the exact amount in US dollars, if it can be known."""
    amount = request["action"].get("amount", {})
    if amount.get("value") is None or amount.get("currency") is None:
        return None
    rate = Decimal(1) if amount["currency"] == "USD" else rate_of(request)
    return None if rate is None else Decimal(str(amount["value"])) * rate


def test(key: str, operand: object, request: dict, score: float) -> bool:
    """Tell whether one condition is true; a missing or mistyped fact makes it false."""
    field, operator = split(key)
    value = fact(field, request, score)
    if key == "evidence.fx_rate_to_usd_present":
        return (rate_of(request) is not None) == operand
    if field == "amount_currency":
        return (value == operand) == (operator == "is")
    if operator == "present":
        return (not is_missing(value)) == operand
    if operator in {"any", "all"}:
        return {"any": any, "all": all}[operator](item in value for item in operand)
    if operator in {"is", "in"}:
        return any(same(value, item) for item in ([operand] if operator == "is" else operand))
    if value is None or not has_type(wanted_types(key, operand), value):
        return False
    if operator in {"ne", "not_in"}:
        return not any(same(value, item) for item in ([operand] if operator == "ne" else operand))
    if operator == "matches":
        return re.search(operand, value) is not None
    limit = Decimal(str(operand))
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    return {"gt": number > limit, "gte": number >= limit, "lt": number < limit, "lte": number <= limit}[
        operator
    ]


def same(one: object, other: object) -> bool:
    """JSON equality: true is not 1, and 1.0 is 1."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def wanted_types(key: str, operand: object) -> list:
    """Return the types of which a present fact must be one; none means any."""
    field, operator = split(key)
    if operator in {"present", "any", "all"} or field.startswith("amount_"):
        return ["rate"] if key == "evidence.fx_rate_to_usd_present" else []
    if operator == "matches":
        return ["short text"]
    if operator in {"gt", "gte", "lt", "lte"}:
        return [KINDS.get(field.removeprefix("evidence."), "number")]
    operands = operand if isinstance(operand, list) else [operand]
    names = {bool: "boolean", str: "text", int: "number", float: "number"}
    return [names[type(item)] for item in operands if item is not None]


def has_type(types: list, value: object) -> bool:
    """Tell whether a value is of one of the types."""
    checks = {
        "boolean": isinstance(value, bool),
        "text": isinstance(value, str),
        "short text": isinstance(value, str) and len(value) <= 65536,
        "number": is_number(value),
        "whole": is_number(value) and value == int(value),
        "rate": is_number(value) and value > 0,
    }
    return not types or any(checks[name] for name in types)


def faulty_fields(rules: list, policy: dict, request: dict, score: float) -> list:
    """Return the fields that some rule compares and whose value has the wrong type."""
    faults = set()
    currency = request["action"].get("amount", {}).get("currency")
    for rule in rules:
        for item in [rule.get("if", {}), *rule.get("if_all", []), *rule.get("if_any", [])]:
            for key, operand in item.items():
                field = split(key)[0]
                if field == "amount_usd" and currency not in {None, "USD"}:
                    field, types = "evidence.fx_rate_to_usd", ["rate"]
                elif field.startswith("evidence.") and field != "evidence.failure_similarity_score":
                    types = wanted_types(key, resolve(operand, policy))
                else:
                    continue
                value = fact(field, request, score)
                if value is not None and not has_type(types, value):
                    faults.add(field)
    return sorted(faults)
