"""What stored decisions would have been under other policies: the answer to "what would have prevented it?".

Pure: a record and a policy set in, a flip or nothing out. Everything but the policy is as it was: the
request, what memory said, the mode.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.engine.replay import recorded_advice, replay
from gateway.kernel.errors import RecordError
from gateway.kernel.types import JSONObject
from gateway.policy.compile import CompiledPolicy
from gateway.policy.select import PolicySet


@dataclass(frozen=True, slots=True)
class Flip:
    """A decision whose verdict would be another."""

    decision_id: str
    created_at: str
    action_type: str
    was: str
    now: str
    was_codes: tuple[str, ...]
    now_codes: tuple[str, ...]

    def value(self) -> JSONObject:
        """Return the flip as JSON."""
        return {
            "decision_id": self.decision_id,
            "created_at": self.created_at,
            "action_type": self.action_type,
            "was": {"verdict": self.was, "reason_codes": list(self.was_codes)},
            "now": {"verdict": self.now, "reason_codes": list(self.now_codes)},
        }


@dataclass(slots=True)
class Backtest:
    """What came of deciding many records again."""

    decided: int = 0
    unreadable: list[str] = field(default_factory=list)
    """Ids of records that could not be decided again: damaged, or of another version."""
    flips: list[Flip] = field(default_factory=list)

    def add(self, records: Iterable[JSONObject], policies: PolicySet) -> None:
        """Decide some more records again."""
        for record in records:
            try:
                flip = redecide(record, policies)
            except RecordError:
                self.unreadable.append(str(record.get("decision_id", "?")))
                continue
            self.decided += 1
            if flip is not None:
                self.flips.append(flip)

    def by_reason(self) -> list[tuple[str, str, str, int]]:
        """Return (was, now, reason code, count), most frequent first.

        The codes counted are those that speak now and did not before; where there is none, those that
        no longer do.
        """
        counts: Counter[tuple[str, str, str]] = Counter()
        for flip in self.flips:
            codes = set(flip.now_codes) - set(flip.was_codes)
            words = codes or {f"without {code}" for code in set(flip.was_codes) - set(flip.now_codes)}
            counts.update((flip.was, flip.now, code) for code in words)
        return [(*key, count) for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def redecide(record: JSONObject, policies: PolicySet) -> Flip | None:
    """Return the flip of a record under these policies, or None where its verdict stands.

    Raises RecordError where the record cannot be read.
    """
    advice = recorded_advice(record)
    action_type = _action_type(record)
    decision = replay(record, policies.for_action(action_type), advice).decision
    if decision.verdict == record.get("verdict"):
        return None
    return Flip(
        decision_id=decision.decision_id,
        created_at=str(record.get("created_at")),
        action_type=action_type,
        was=str(record.get("verdict")),
        now=decision.verdict.value,
        was_codes=tuple(map(str, record.get("reason_codes") or ())),
        now_codes=decision.reason_codes,
    )


def with_policy(policies: PolicySet, new: CompiledPolicy) -> PolicySet:
    """Return the set as it would be with `new` in force: in place of its namesake, else as the main policy.

    Raises InvalidPolicyError where it names an action of another policy of the set.
    """
    if new.policy_id in {pack.policy_id for pack in policies.packs}:
        packs = tuple(new if pack.policy_id == new.policy_id else pack for pack in policies.packs)
        return PolicySet(policies.main, packs)
    return PolicySet(new, policies.packs)


def _action_type(record: JSONObject) -> str:
    request = record.get("request")
    action = request.get("action") if isinstance(request, dict) else None
    action_type = action.get("type") if isinstance(action, dict) else None
    if not isinstance(action_type, str):
        raise RecordError("the record cannot be replayed: it names no action type", code="REPLAY_DIFFERS")
    return action_type
