"""The stage's world: one set of values for gateway, controller, simulator and twin."""

from __future__ import annotations

from gateway.app import control_config
from gateway.config import Config
from loadtest import world


def document() -> dict:
    """The gateway's configuration."""
    return world.gateway_document(
        backend_url="http://127.0.0.1:1/v1",
        database="x.db",
        key_hashes={name: f"sha256:{index:064d}" for index, name in enumerate(world.KEYS)},
        port=0,
        admin_port=0,
    )


def test_the_twin_has_the_gateways_own_configuration() -> None:
    """The controller that the gateway makes from its file is the one that runs in virtual time, by digest."""
    made = control_config(Config.model_validate(document()))
    assert made is not None
    assert made.digest == world.controller_config().digest


def test_the_gateway_is_told_of_the_batch_places() -> None:
    """What the simulated engines hold is what the controller lets in."""
    slots = {model.name: model.engine.seqs_max for model in world.cluster().models}
    assert slots == dict(world.SLOTS)
    assert {model.name: model.in_flight_max for model in world.catalogue()} == slots


def test_classes_add_up() -> None:
    """Shares are one, each class has targets and a budget, and premium has no rung to go down."""
    assert sum(part.share for part in world.PARTS) == 1.0
    services = {service.name: service for service in world.services()}
    assert services["premium"].models == ("llama-70b",)
    assert services["premium"].ttft_s == 2.0
    assert sum(one.usd_per_hour or 0.0 for one in services.values()) == 15.0


def test_one_record_is_one_forward() -> None:
    """The gateway's own attempts are off, so that records and requests at the backend can be counted."""
    assert document()["retries"] == {"attempts_max": 1}
    assert {key["name"] for key in document()["keys"]} == {"premium", "standard", "batch", "support-agent"}
