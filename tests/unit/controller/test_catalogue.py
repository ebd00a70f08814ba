"""`controller.catalogue`."""

from __future__ import annotations

import pytest

from controller.catalogue import Catalogue, Speed
from tests.kit.control import catalogue, model


def test_dollars_per_million_tokens_times_tokens_are_micro_dollars() -> None:
    """1,000 tokens in at 0.6 and 100 out at 1.2 cost 720 micro-dollars, rounded up."""
    assert model("m", price=0.6).cost_uusd(1000, 100) == 720
    assert model("m", price=0.6).cost_uusd(1, 0) == 1


def test_two_models_of_one_name_are_refused() -> None:
    """A name must say which model is meant."""
    with pytest.raises(ValueError, match="same name"):
        Catalogue((model("m"), model("m")))


def test_lookup_by_name() -> None:
    """Known names are found in order; unknown ones are None or a KeyError."""
    models = catalogue()
    assert models.names == ("large", "mid", "small")
    assert models["mid"].quality == 0.80
    assert models.get("absent") is None
    assert "large" in models
    assert "absent" not in models


def test_a_scaled_speed_is_wrong_in_every_coefficient() -> None:
    """Evaluation makes planners wrong by a factor, in all four numbers."""
    assert Speed(1.0, 2.0, 3.0, 4.0).scaled(5.0) == Speed(5.0, 10.0, 15.0, 20.0)
