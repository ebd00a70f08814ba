"""What experience memory compares: a few deterministic features of a request, as a set of tokens.

The features are those of contract 3 and no others: action type, currency, size of the amount, tags.
Free text, evidence and subjects never become features, so nothing private enters a memory item.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from gateway.kernel.amounts import amount_usd
from gateway.kernel.types import JSON, JSONObject

SMALL_USD: Final = Decimal(50)
MEDIUM_USD: Final = Decimal(200)


@dataclass(frozen=True, slots=True)
class Features:
    """The features of one request. `amount_usd_bucket` is small, medium, large or None (not known)."""

    action_type: str
    amount_currency: str | None = None
    amount_usd_bucket: str | None = None
    tags: tuple[str, ...] = ()

    def tokens(self) -> frozenset[str]:
        """Return `key=value` for each known feature and `tags[]=tag` for each tag; twins collapse."""
        tokens = {f"action_type={self.action_type}", *[f"tags[]={tag}" for tag in self.tags]}
        if self.amount_currency is not None:
            tokens.add(f"amount_currency={self.amount_currency}")
        if self.amount_usd_bucket is not None:
            tokens.add(f"amount_usd_bucket={self.amount_usd_bucket}")
        return frozenset(tokens)

    def value(self) -> JSONObject:
        """Return the feature object as a memory item keeps it."""
        return {
            "action_type": self.action_type,
            "amount_currency": self.amount_currency,
            "amount_usd_bucket": self.amount_usd_bucket,
            "tags": list(self.tags),
        }


def features_of(request: JSONObject) -> Features:
    """Return the features of a validated DecisionRequest, as sent or as a record holds it."""
    action = request["action"]
    amount = action.get("amount", {})
    currency = amount.get("currency")
    rate = request.get("evidence", {}).get("fx_rate_to_usd")
    return Features(
        action_type=action["type"],
        amount_currency=currency,
        amount_usd_bucket=_bucket(amount.get("value"), currency, rate),
        tags=tuple(action.get("tags", ())),
    )


def _bucket(value: JSON, currency: JSON, rate: JSON) -> str | None:
    usd = amount_usd(value, currency, rate)
    if usd is None:
        return None
    if usd < SMALL_USD:
        return "small"
    return "medium" if usd < MEDIUM_USD else "large"
