"""Features of a request."""

import pytest

from gateway.memory.features import Features, features_of


def _request(value=None, currency=None, rate=None, tags=None):
    action = {"type": "support.refund", "intent": "x"}
    if value is not None or currency is not None:
        amount = {"value": value, "currency": currency}
        action["amount"] = {key: item for key, item in amount.items() if item is not None}
    if tags is not None:
        action["tags"] = tags
    return {"action": action} | ({"evidence": {"fx_rate_to_usd": rate}} if rate is not None else {})


@pytest.mark.parametrize(
    ("value", "currency", "rate", "bucket"),
    [
        (0, "USD", None, "small"),
        (49.99, "USD", None, "small"),
        (50, "USD", None, "medium"),
        (199.99, "USD", None, "medium"),
        (200, "USD", None, "large"),
        (25, "EUR", 2, "medium"),
        (24.999, "EUR", 2, "small"),
        (25, "EUR", None, None),
        (25, "EUR", "2", None),
        (25, "EUR", True, None),
        (25, None, None, None),
        (None, "USD", None, None),
        (None, None, None, None),
    ],
)
def test_bucket(value, currency, rate, bucket):
    """The amount falls into its bucket by its exact value in USD, or into none where that is not known."""
    features = features_of(_request(value, currency, rate))
    assert features.amount_usd_bucket == bucket
    assert features.amount_currency == currency


def test_tokens():
    """Known features become tokens, unknown ones do not, and a tag twice counts once."""
    features = features_of(_request(5, "USD", tags=["b", "a", "b"]))
    assert features.tokens() == {
        "action_type=support.refund",
        "amount_currency=USD",
        "amount_usd_bucket=small",
        "tags[]=a",
        "tags[]=b",
    }
    assert Features("x.y").tokens() == {"action_type=x.y"}


def test_value_is_the_contracts_feature_object():
    """The feature object has the four keys of the contract, null where unknown, tags as sent."""
    assert features_of(_request(tags=["b", "a"])).value() == {
        "action_type": "support.refund",
        "amount_currency": None,
        "amount_usd_bucket": None,
        "tags": ["b", "a"],
    }


def test_nothing_private_becomes_a_feature():
    """Subject, intent and evidence do not change the features."""
    plain = _request(5, "USD")
    other = {
        **plain,
        "subject": {"id": "someone"},
        "evidence": {"email": "a@b.c", "failure_similarity_score": 1},
    }
    assert features_of(plain) == features_of(other)
