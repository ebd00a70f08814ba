"""Exact money."""

from decimal import Context, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.amounts import amount_of, amount_usd, decimal_of, decimal_text, is_amount
from gateway.kernel.bounds import AMOUNT_SCALE_MAX
from gateway.kernel.canon import canonical_bytes
from gateway.kernel.parse import parse_json

FUZZ = settings(derandomize=True, max_examples=300, deadline=None)
numbers = st.integers(0, 2**53 - 1) | st.floats(0, 1e9) | st.decimals(0, 10**7, places=2).map(float)


def _fraction(number):
    """The value of a number's canonical text, read by other means than the code under test."""
    return Fraction(canonical_bytes(number).decode())


@FUZZ
@given(numbers, numbers)
def test_product_is_exact(value, rate):
    """The amount in USD is the exact product of what the two canonical texts say."""
    usd = amount_usd(value, "EUR", rate)
    if not (is_amount(value) and is_amount(rate)):
        assert usd is None
        return
    assert type(usd) is Decimal
    assert Fraction(decimal_text(usd)) == _fraction(value) * _fraction(rate)


@FUZZ
@given(numbers)
def test_usd_needs_no_rate(value):
    """An amount in USD is the value itself, whatever rate is sent along."""
    assert amount_usd(value, "USD", None) == amount_usd(value, "USD", 7) == amount_of(value)


@FUZZ
@given(st.decimals(-(10**20), 10**20, allow_nan=False, allow_infinity=False, places=12))
def test_text_is_canonical(value):
    """The text of a decimal has no exponent, no idle zero and no sign of zero, and means the same."""
    text = decimal_text(value)
    assert Decimal(text) == value
    assert "E" not in text
    assert text != "-0"
    assert not ("." in text and text.endswith(("0", ".")))


@pytest.mark.parametrize(
    ("value", "currency", "rate", "expected"),
    [
        (5, "EUR", 1.1, "5.5"),
        (0.1, "EUR", 3, "0.3"),
        (1.1, "GBP", 1.1, "1.21"),
        (4.35, "USD", None, "4.35"),
        (-0.0, "USD", None, "0"),
        (100, "JPY", 0.00625, "0.625"),
        (9007199254740991, "EUR", 9007199254740991, "81129638414606663681390495662081"),
        (1 / 3, "EUR", 1 / 3, "0.11111111111111108888888888888889"),
    ],
)
def test_products(value, currency, rate, expected):
    """Products that binary floats or a 28-digit context get wrong are right."""
    usd = amount_usd(value, currency, rate)
    assert usd is not None
    assert decimal_text(usd) == expected


@pytest.mark.parametrize(
    ("value", "currency", "rate"),
    [
        (None, "USD", None),
        (5, None, 1),
        (5, "EUR", None),
        (5, "usd", None),
        (5, "EUR", "1.1"),
        (5, "EUR", True),
        (True, "USD", None),
        ("5", "USD", None),
        (-5, "USD", None),
        (5, "EUR", -1),
        (float("nan"), "USD", None),
        (float("inf"), "USD", None),
        (10**400, "USD", None),
        (1e300, "USD", None),
        (5e-324, "USD", None),
        ([5], "USD", None),
        (5, 840, 1),
    ],
)
def test_what_is_not_known(value, currency, rate):
    """Missing, mistyped, negative or unbounded numbers give None and never raise."""
    assert amount_usd(value, currency, rate) is None


def test_scale_bound():
    """The bound on decimal places is exact."""
    assert is_amount(float(f"1e-{AMOUNT_SCALE_MAX}"))
    assert not is_amount(float(f"1e-{AMOUNT_SCALE_MAX + 1}"))


@FUZZ
@given(st.floats(allow_nan=False, min_value=-1e15, max_value=1e15))
def test_number_from_text(value):
    """A number's decimal is the one that its canonical text spells, as is that of the value read back."""
    text = canonical_bytes(value).decode()
    assert decimal_of(value) == Decimal(text) == decimal_of(parse_json(text))


def test_no_ambient_precision():
    """The decimal context of the calling thread changes no amount, product or text."""
    with localcontext(Context(prec=2)):
        usd = amount_usd(1234.5678, "EUR", 1.2345)
        assert usd is not None
        assert decimal_text(usd) == "1524.0739491"
        assert amount_of(1234.5678) == Decimal("1234.5678")
