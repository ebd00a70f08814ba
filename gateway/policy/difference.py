"""What changed between two policies, rule by rule, in words for a review. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.kernel.canon import canonical_bytes
from gateway.kernel.types import JSON, JSONObject
from gateway.policy.compile import CompiledPolicy


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs. `what` is added, removed, changed or moved; texts are canonical JSON."""

    what: str
    where: str
    before: str | None
    after: str | None

    def value(self) -> JSONObject:
        """Return the change as JSON."""
        return {"what": self.what, "where": self.where, "before": self.before, "after": self.after}


def changes(old: CompiledPolicy, new: CompiledPolicy) -> tuple[Change, ...]:
    """Return every change from one policy to another; rules are told apart by their id."""
    before, after = old.shape.root.value, new.shape.root.value
    return (*_members(before, after), *_rules(before["rules"], after["rules"]))


def _members(before: JSONObject, after: JSONObject) -> Iterator[Change]:
    """Compare all but the rules, two levels deep: thresholds and required evidence by their names."""
    for name in sorted((before.keys() | after.keys()) - {"rules"}):
        one, other = before.get(name), after.get(name)
        if isinstance(one, dict) or isinstance(other, dict):
            yield from _mapping(name, one or {}, other or {})
        else:
            yield from _value(name, name in before, one, name in after, other)


def _mapping(name: str, before: Mapping[str, JSON], after: Mapping[str, JSON]) -> Iterator[Change]:
    for key in sorted(before.keys() | after.keys()):
        yield from _value(f"{name}.{key}", key in before, before.get(key), key in after, after.get(key))


def _rules(before: list[JSONObject], after: list[JSONObject]) -> Iterator[Change]:
    old = {rule["id"]: rule for rule in before}
    new = {rule["id"]: rule for rule in after}
    for rule_id in dict.fromkeys([*old, *new]):
        where = f"rules.{rule_id}"
        if rule_id in old and rule_id in new:
            for part in sorted(old[rule_id].keys() | new[rule_id].keys()):
                yield from _value(
                    f"{where}.{part}",
                    part in old[rule_id],
                    old[rule_id].get(part),
                    part in new[rule_id],
                    new[rule_id].get(part),
                )
        else:
            yield from _value(where, rule_id in old, old.get(rule_id), rule_id in new, new.get(rule_id))
    # Order inside a stage decides in which order reasons are listed.
    kept_before = [rule["id"] for rule in before if rule["id"] in new]
    kept_after = [rule["id"] for rule in after if rule["id"] in old]
    if kept_before != kept_after:
        yield Change("moved", "rules", _text(kept_before), _text(kept_after))


def _value(where: str, was_there: bool, before: JSON, is_there: bool, after: JSON) -> Iterator[Change]:
    if not was_there:
        yield Change("added", where, None, _text(after))
    elif not is_there:
        yield Change("removed", where, _text(before), None)
    elif (one := _text(before)) != (other := _text(after)):
        yield Change("changed", where, one, other)


def _text(value: JSON) -> str:
    return canonical_bytes(value).decode()
