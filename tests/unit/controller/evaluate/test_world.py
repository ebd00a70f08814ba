"""`controller.evaluate.world` and `scenarios`: what the policies are told agrees with what there is."""

from __future__ import annotations

import pytest

from controller.evaluate.scenarios import SCENARIOS, controller_config, without_caps
from controller.evaluate.world import KINDS, LADDER, PRICES, QUALITY, SLOTS, catalogue, cluster_config
from controller.intent import PressureAction


def test_the_catalogue_tells_the_cluster() -> None:
    """Prices, qualities and slots are those of the simulated models."""
    for model in cluster_config().models:
        assert (model.price_in, model.price_out) == PRICES[model.name]
        assert model.quality == QUALITY[model.name]
        assert model.engine.seqs_max * model.replicas == SLOTS[model.name]
    assert catalogue().names == LADDER


def test_shares_add_up_and_floors_differ() -> None:
    """20, 50 and 30 per cent, with one, two and three rungs."""
    assert sum(kind.share for kind in KINDS) == pytest.approx(1.0)
    assert [len(kind.intent.models) for kind in KINDS] == [1, 2, 3]


def test_a_wrong_planner_is_told_wrong_speeds_only() -> None:
    """The factor touches what the controller believes, not the cluster."""
    wrong = controller_config(SCENARIOS["planner5"]).catalogue["llama-70b"].speed
    right = controller_config(SCENARIOS["base"]).catalogue["llama-70b"].speed
    assert wrong.decode_base_s == pytest.approx(5 * right.decode_base_s)


def test_the_ablation_forbids_caps() -> None:
    """Every class loses that one permission."""
    for kind in without_caps(SCENARIOS["spike4"]).kinds:
        assert not kind.intent.allows(PressureAction.CAP_TOKENS)
        assert kind.intent.allows(PressureAction.SHED)
