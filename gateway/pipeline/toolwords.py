"""What a model is told of a tool call that was not permitted: why, what to do, and where it stands."""

from __future__ import annotations

from typing import Final

from gateway.engine.decide import Decision
from gateway.kernel.errors import GatewayError, PendingError
from gateway.kernel.types import Verdict
from gateway.wire.toolcall.call import Fault

_NAME_CHARS_MAX: Final = 64
_QUESTIONS_MAX: Final = 10
FAULTS: Final[dict[Fault, str]] = {
    Fault.NOT_JSON: "its arguments are not valid JSON",
    Fault.AMBIGUOUS: "its arguments hold a key twice, or nest too deep",
    Fault.NOT_OBJECT: "its arguments are no JSON object",
    Fault.NOT_TEXT: "its arguments did not come as text",
    Fault.NAME_MISSING: "it has no name",
    Fault.NAME_AMBIGUOUS: "its name came more than once",
    Fault.DISAGREES: "its parts contradict each other",
    Fault.OVERSIZED: "its arguments are too large",
    Fault.HELD_TOO_LONG: "its arguments did not end in time",
    Fault.UNREADABLE: "the answer could not be read",
    Fault.LATE_FRAGMENT: "more of it came behind its end",
    Fault.TOO_MANY: "the answer holds too many calls",
    Fault.EVENT_TOO_LARGE: "an event of the answer is too large",
}
"""What was wrong, as a sentence goes on behind `was not permitted:`."""
_MENDABLE: Final = frozenset({Fault.NOT_JSON, Fault.AMBIGUOUS, Fault.NOT_OBJECT, Fault.OVERSIZED})


def refusal_text(
    name: str, decision: Decision, *, why: str | None, told: GatewayError | None, mendable: bool, brief: bool
) -> str:
    """Return the text that stands in the place of a refused call.

    `why` is what the gateway itself found, `told` what became of its approval, `mendable` that another try
    may do better. `brief` says nothing but the reference: a text that explains is also one that teaches.
    """
    call = f"Tool call `{_printable(name)}` was not permitted"
    reference = f"Reference: decision {decision.decision_id}."
    if brief:
        return f"[{call}. Do not retry. {reference}]"
    codes = ", ".join(decision.reason_codes)
    if why is not None:
        advice = "Mend it and call again." if mendable else "Do not repeat it."
        return f"[{call}: {why} ({codes}). {advice} {reference}]"
    if isinstance(told, PendingError):
        return (
            f"[{call} yet: a person must approve it ({codes}) and has been asked, approval "
            f"{told.approval_id}. Make the very same call again once it is approved. {reference}]"
        )
    if told is not None:
        return f"[{call}: {told.message} ({told.code}). {reference}]"
    if decision.verdict is Verdict.QUERY:
        asked = "; ".join(_question(query) for query in decision.record["queries"][:_QUESTIONS_MAX])
        return f"[{call}: more must be known ({codes}): {asked}. Call again with that. {reference}]"
    return f"[{call}: the policy does not allow it ({codes}). Do not repeat it. {reference}]"


def mendable(fault: Fault) -> bool:
    """Tell whether a model can do better at its next try."""
    return fault in _MENDABLE


def _question(query: dict[str, str]) -> str:
    field = query["field"].removeprefix("evidence.")
    question = query.get("question", "")
    return f"{field} ({question})" if question else field


def _printable(name: str) -> str:
    return "".join(char if char.isprintable() and char != "`" else "?" for char in name[:_NAME_CHARS_MAX])
