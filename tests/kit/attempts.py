"""Golden conversations with further attempts: a `Playbook` whose request may go elsewhere.

    book = AttemptBook() << "read" << "decide" << "commit decision" << SEND >> UpstreamUnreachableError("no")
    book = book << "elsewhere not pool-a" >> "pool-b" << "commit note:attempt" << f"{SEND} pool-b" ...

The replies to `elsewhere` and `instead` are the name of a backend, None for none. Pauses are calls too, so
that nobody waits for them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from gateway.pipeline.further import Retries
from gateway.pipeline.ports import Admitted, Asked, Ending, Further, Headers, Terms
from gateway.pipeline.retry import Repeats, RetryBudget, RetrySettings
from tests.kit.playbook import Playbook, _Backend, _Ports

SEND = "send POST /v1/chat/completions"
JUDGED = {"verdict": "TRUST"}
OTHER_BODY = b'{"model":"small"}'


@dataclass
class AttemptPorts(_Ports):
    """Also the one who knows where else a request may go."""

    repeats: Repeats = Repeats.FREELY
    renewed: Headers | None = None
    """The governor's headers that a further attempt was given."""

    def decide(self, body: bytes) -> Admitted:
        return replace(super().decide(body), onward=self)

    def elsewhere(
        self, admitted: Admitted, excluding: Collection[str], headers: Headers | None
    ) -> Further | None:
        self.renewed = headers
        return self._further(admitted, self.at_once(f"elsewhere not {' '.join(sorted(excluding))}"))

    def instead(self, admitted: Admitted, terms: Terms, excluding: Collection[str]) -> Further | None:
        name = self.at_once(f"instead {terms.model} not {' '.join(sorted(excluding))}")
        changed = replace(admitted, body=OTHER_BODY, model=terms.model, actions=terms.actions)
        return self._further(changed, name)

    # --- the governor ----------------------------------------------------------------------------

    def headers(self, asked: Asked) -> tuple[tuple[str, str], ...]:
        del asked
        return (("x-llm-d-slo-ttft-ms", "7"),)

    def detour(self, asked: Asked, without: Any) -> Terms | None:
        del asked
        got: Terms | None = self.at_once(f"detour without {' '.join(sorted(without))}")
        return got

    def diverted(self, asked: Asked, terms: Terms, ending: Ending) -> None:
        del asked
        self.told.append((f"diverted to {terms.model}", ending))

    def again(self, admitted: Admitted, headers: Headers | None) -> Admitted:
        del headers
        self.at_once("again")
        return admitted

    def _further(self, admitted: Admitted, name: Any) -> Further | None:
        if name is None:
            return None
        to = "" if name == "pool-a" else f" {name}"
        return Further(replace(admitted, backend=_Backend(name, self, to, admitted.body)), JUDGED)


class AttemptBook(Playbook):
    """A script of an exchange that may have further attempts."""

    ports_type = AttemptPorts

    def __init__(self, repeats: Repeats = Repeats.FREELY, **settings: Any) -> None:
        super().__init__()
        self.settings = RetrySettings(**settings)
        self.repeats = repeats
        self.shared: Retries | None = None
        """What the last run left behind."""
        self.requests = 0

    def retries(self, ports: _Ports) -> Retries | None:
        assert isinstance(ports, AttemptPorts)
        ports.repeats = self.repeats

        async def sleep(pause_s: float) -> None:
            await ports.waits(f"pause {pause_s:g}")

        budget = RetryBudget(self.settings, 0.0)
        self.shared = Retries(self.settings, budget, ports.clock, lambda: 0.5, sleep, lambda: self.requests)
        return self.shared
