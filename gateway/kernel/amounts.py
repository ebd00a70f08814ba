"""Money as exact decimals, made from the canonical text of a JSON number; never a binary float.

A double stands for the decimal that RFC 8785 prints for it: 0.1 is one tenth. The strict reader has
refused every literal that says something else, so this is what the caller wrote (contract 1.5).
All functions are total: what is not an amount gives None or False, and the caller says why.
"""

from __future__ import annotations

from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Final

from gateway.kernel.bounds import AMOUNT_SCALE_MAX, WHOLE_MAX
from gateway.kernel.types import JSON

USD: Final = "USD"
# Two factors of at most 17 digits make at most 34: the product is exact, and Inexact proves it.
_EXACT: Final = Context(prec=40, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])


def decimal_of(value: JSON) -> Decimal | None:
    """Return the decimal that a JSON number spells, or None for anything else (bool and str included).

    NaN, infinities and whole numbers beyond 2**53-1 are no JSON numbers by the number rule.
    """
    kind = type(value)
    # `not <=` so that NaN is refused as well.
    if kind not in {int, float} or not abs(value) <= WHOLE_MAX:
        return None
    # repr gives the digits of ECMAScript's spelling, perhaps with another exponent: the same decimal.
    return Decimal(value) if kind is int else Decimal(repr(value))


def amount_of(value: JSON) -> Decimal | None:
    """Return an amount or a rate: a number, not negative, of at most `AMOUNT_SCALE_MAX` places; else None."""
    number = decimal_of(value)
    if number is None or number < 0:
        return None
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -AMOUNT_SCALE_MAX:
        return None
    # Not abs(), which rounds to whatever precision the caller's thread has set. -0.0 is 0.
    return number.copy_abs()


def is_amount(value: JSON) -> bool:
    """Tell whether `value` can be an amount or a rate."""
    return amount_of(value) is not None


def amount_usd(value: JSON, currency: JSON, fx_rate: JSON) -> Decimal | None:
    """Return the amount in USD, exactly, or None where it is not known.

    The value itself where the currency is exactly `USD`; value x rate where a rate is given; None where
    value or currency is missing, or either number is no amount (`is_amount` tells that from missing).
    """
    amount = amount_of(value)
    if amount is None or not isinstance(currency, str):
        return None
    if currency == USD:
        return amount
    rate = amount_of(fx_rate)
    return None if rate is None else _EXACT.multiply(amount, rate)


def decimal_text(value: Decimal) -> str:
    """Return the one text of a finite decimal: no exponent, no trailing zeros, no plus, `0` for any zero."""
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
