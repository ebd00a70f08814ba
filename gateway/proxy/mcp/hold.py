"""What a held call gets for an answer, and what its next round must know.

Where the client speaks the stateless revision and shows forms, it is asked on the wire: for evidence that is
missing, or whether the approval has been given. Everybody else gets a tool result that says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.engine.decide import Decision
from gateway.kernel.bounds import MCP_ROUNDS_MAX
from gateway.kernel.clock import Clock, Randomness
from gateway.kernel.errors import GatewayError, PendingError, ProtocolError, RefusedError, UpstreamBrokenError
from gateway.kernel.types import JSONObject
from gateway.proxy.mcp.answers import Rewrite
from gateway.proxy.mcp.ask import Ask
from gateway.proxy.mcp.inspect import Inspection
from gateway.proxy.mcp.reply import AnsweredError
from gateway.wire.mcp.answers import Refusal, ask_approval, ask_evidence, may_ask, refused, wants_task
from gateway.wire.mcp.body import input_state, with_state
from gateway.wire.mcp.revision import Era
from gateway.wire.mcp.state import NONCE_BYTES, Held, Sealer, is_ours

_EVIDENCE = "evidence."


@dataclass(frozen=True, slots=True)
class Holder:
    """Makes answers for held calls."""

    sealer: Sealer
    clock: Clock
    randomness: Randomness
    ttl_ms: int
    """How long a held call may come back."""

    def answer(self, ask: Ask, tool: str, seen: Inspection, refusal: Refusal) -> GatewayError:
        """Return what the exchange tells the caller of a call that is not carried out."""
        code = None if refusal.error is None else refusal.error.code
        if wants_task(ask.message.params):
            # It awaits a task and would not know a tool's result.
            return RefusedError(refusal.text, code=code)
        asked = self._question(ask, tool, seen, refusal)
        return AnsweredError(refused(refusal, ask.era) if asked is None else asked, code=code)

    def _question(self, ask: Ask, tool: str, seen: Inspection, refusal: Refusal) -> JSONObject | None:
        if ask.era is not Era.STATELESS or not may_ask(ask.message.meta):
            return None
        if seen.held is not None and seen.held.rounds >= MCP_ROUNDS_MAX:
            return None
        pending = isinstance(refusal.error, PendingError)
        fields = () if pending else self._askable(ask, tool, refusal)
        if not pending and not fields:
            return None
        held = self._held(ask, seen, refusal.decision_id, approval_id=refusal.approval_id, asked=fields)
        try:
            state = self.sealer.seal(held, ask.binding(tool), self.randomness.token_bytes(NONCE_BYTES))
        except ProtocolError:
            return None
        if pending:
            return ask_approval(refusal, state)
        return ask_evidence(refusal, ask.server.kinds, state)

    def _askable(self, ask: Ask, tool: str, refusal: Refusal) -> tuple[str, ...]:
        """Return the evidence to ask for; none where an argument is missing: only another call can give it.

        An answer that stood for an argument would let one thing be judged and another be done.
        """
        rule = ask.server.tools.rule_of(tool)
        mapped = frozenset[str]() if rule is None else rule.evidence.keys()
        names = tuple(query["field"].removeprefix(_EVIDENCE) for query in refusal.queries)
        plain = all(query["field"].startswith(_EVIDENCE) for query in refusal.queries)
        return names if plain and refusal.error is None and mapped.isdisjoint(names) else ()

    def _held(
        self,
        ask: Ask,
        seen: Inspection,
        decision_id: str,
        *,
        approval_id: str | None = None,
        asked: tuple[str, ...] = (),
        released_under: str | None = None,
        carried: JSONObject | None = None,
    ) -> Held:
        return Held(
            decision_id=decision_id,
            arguments_digest=ask.text.arguments_digest({}),
            expires_ms=self.clock.wall_ms() + self.ttl_ms,
            approval_id=approval_id,
            asked=asked,
            answers=seen.answers,
            rounds=1 if seen.held is None else seen.held.rounds + 1,
            carried=carried_on(ask, seen) if carried is None else carried,
            released_under=released_under,
        )

    def rewriting(
        self, ask: Ask, tool: str, seen: Inspection, decision: Decision, *, approval_id: str | None
    ) -> Rewrite:
        """Return what seals a server's own question, so that its next round rides on this decision."""

        def rewrite(message: str) -> str:
            state = input_state(message)
            carried = {} if state is None else {"requestState": state}
            held = self._held(
                ask,
                seen,
                decision.decision_id,
                approval_id=approval_id,
                released_under=decision.policy_hash,
                carried=carried,
            )
            try:
                token = self.sealer.seal(held, ask.binding(tool), self.randomness.token_bytes(NONCE_BYTES))
            except ProtocolError as error:
                raise UpstreamBrokenError(error.message) from None
            return with_state(message, token)

        return rewrite


def carried_on(ask: Ask, seen: Inspection) -> JSONObject:
    """Return the members of the call that belong to its server, from this round and those before."""
    ours = is_ours(ask.message.params.get("requestState"))
    before = {} if seen.held is None else seen.held.carried
    return {**before, **ask.text.of_server(state_is_ours=ours)}


def forwarded_body(ask: Ask, seen: Inspection) -> bytes:
    """Return the bytes that go on: those that came, unless something of ours is among them."""
    responses = ask.message.params.get("inputResponses")
    ours = isinstance(responses, dict) and any(key.startswith("lumyn.") for key in responses)
    if seen.held is None and not ours:
        return ask.body
    return ask.text.for_server(carried_on(ask, seen))
