"""The sections of the configuration: what holds between them, and their defaults."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config import Config, is_loopback

HASH = "sha256:" + "a" * 64
KEY = {"name": "bot", "hash": HASH}


@pytest.mark.parametrize(
    "value",
    [
        {"keys": [KEY, {**KEY, "hash": "sha256:" + "b" * 64}]},
        {"keys": [KEY, {**KEY, "name": "other"}]},
        {"backends": [{"name": "a", "url": "x"}, {"name": "a", "url": "y"}]},
        {
            "backends": [{"name": "a", "url": "x"}],
            "models": [{"name": "m", "backend": "a"}, {"name": "m", "backend": "a"}],
        },
    ],
)
def test_names_are_unique(value: dict[str, Any]) -> None:
    """Two of one name would make it a matter of order which one is meant."""
    with pytest.raises(ValueError, match="stands there twice"):
        Config.model_validate(value)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ({"listen": {"host": "0.0.0.0"}}, False),
        ({"listen": {"host": "0.0.0.0"}, "service": {"signing_secret": "s"}}, False),
        ({"listen": {"host": "0.0.0.0"}, "keys": [KEY]}, True),
        ({"listen": {"host": "::1"}}, True),
        ({"listen": {"admin_host": "0.0.0.0"}}, False),
        ({"listen": {"admin_host": "0.0.0.0"}, "keys": [KEY]}, False),
        ({"listen": {"admin_host": "0.0.0.0"}, "service": {"signing_secret": "s"}}, True),
    ],
)
def test_what_is_public_is_guarded(value: dict[str, Any], allowed: bool) -> None:
    """A public data plane needs keys: a signature guards no `/v1`. A public admin needs the secret."""
    if allowed:
        Config.model_validate(value)
    else:
        with pytest.raises(ValueError, match="is public"):
            Config.model_validate(value)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "", "localhost.example.org")],
)
def test_loopback(host: str, loopback: bool) -> None:
    """Only what surely stays on this machine counts."""
    assert is_loopback(host) is loopback


def test_models_name_their_backends() -> None:
    """Several models of several backends hold together."""
    backends = [{"name": "a", "url": "x"}, {"name": "b", "url": "y"}]
    models = [{"name": "m", "backend": "b"}, {"name": "n", "backend": "a"}]
    assert len(Config.model_validate({"backends": backends, "models": models}).models) == 2


def test_a_configuration_cannot_be_changed() -> None:
    """It is frozen once it is read."""
    with pytest.raises(ValueError, match="frozen"):
        Config().listen.port = 1  # type: ignore[misc]


def test_what_the_controller_needs_is_optional() -> None:
    """Without it there are no intents, no prices and no dialect; with it each is checked."""
    backend = {"name": "b", "url": "http://h:1/v1"}
    model = {"name": "m", "backend": "b"}
    config = Config.model_validate({"backends": [backend], "models": [model]})
    assert config.intents == ()
    assert (config.models[0].price_in, config.models[0].quality, config.models[0].context) == (0, 1, 131_072)
    assert (config.backends[0].dialect, config.backends[0].metrics_url) == ("none", None)
    for wrong in ({"quality": 2}, {"price_out": -1}, {"context": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Config.model_validate({"backends": [backend], "models": [model | wrong]})
    with pytest.raises(ValueError, match="dialect"):
        Config.model_validate({"backends": [backend | {"dialect": "llm-e"}]})


BACKENDS = [
    {"name": "a", "url": "x"},
    {"name": "b", "url": "y"},
    {"name": "c", "url": "z", "dialect": "vllm"},
]


def model(backend: Any) -> Any:
    """A model that these backends serve."""
    return Config.model_validate(
        {"backends": BACKENDS, "models": [{"name": "m", "backend": backend}]}
    ).models[0]


@pytest.mark.parametrize(
    ("backend", "shares", "replicas"),
    [
        ("a", [("a", 1.0, 0)], 1),
        (["b", "a"], [("b", 1.0, 0), ("a", 1.0, 0)], 2),
        ({"name": "a", "weight": 3}, [("a", 3.0, 0)], 1),
        ([{"name": "a", "weight": 0.5}, {"name": "b", "order": 2}], [("a", 0.5, 0), ("b", 1.0, 2)], 1),
        ([{"name": "a", "order": 1}, {"name": "b", "order": 1}], [("a", 1.0, 1), ("b", 1.0, 1)], 2),
    ],
)
def test_a_model_names_one_backend_or_several(
    backend: Any, shares: list[tuple[str, float, int]], replicas: int
) -> None:
    """A name, a list of names, or names with their shares; those that stand by are no replicas."""
    made = model(backend)
    assert [(share.name, share.weight, share.order) for share in made.backend] == shares
    assert made.replicas == replicas


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        ([], "at least 1 item"),
        (["a"] * 65, "at most 64 items"),
        (["a", "a"], "stands there twice"),
        (["a", "nobody"], "names the backend `nobody`, which is not there"),
        (["a", "c"], "must speak one dialect"),
        ({"name": "a", "weight": 0}, "greater than 0"),
        ({"name": "a", "order": -1}, "greater than or equal to 0"),
        ({"name": "a", "wait": 1}, "not permitted"),
        (5, "valid tuple"),
    ],
)
def test_shares_hold_together(backend: Any, said: str) -> None:
    """No empty list, nobody twice, nobody unknown, no two dialects, no share of nothing."""
    with pytest.raises(ValueError, match=said):
        model(backend)


def test_retries_are_off_where_they_could_surprise() -> None:
    """By default nothing is sent twice to one backend, nor to anybody once it may have been begun."""
    retries = Config().retries
    assert (retries.after_send, retries.same_backend, retries.attempts_max) == (False, False, 3)
    assert retries.statuses == (429, 502, 503, 504)


@pytest.mark.parametrize(
    ("retries", "said"),
    [
        ({"statuses": [404]}, "404 is no matter of the moment: use 408, 425, 429, or 500 and above"),
        ({"statuses": [200]}, "greater than or equal to 400"),
        ({"attempts_max": 0}, "attempts_max"),
        ({"attempts_max": 11}, "attempts_max"),
        ({"budget_ratio": 1.5}, "budget_ratio"),
        ({"total_s": 0}, "total_s"),
        ({"hedge": True}, "hedge"),
    ],
)
def test_retries_are_bounded(retries: dict[str, Any], said: str) -> None:
    """Statuses that another backend would answer alike, and bounds that are none, are refused."""
    with pytest.raises(ValueError, match=said):
        Config.model_validate({"retries": retries})


@pytest.mark.parametrize("breaker", [{"failures": 0}, {"failure_ratio": 0}, {"when_all_open": "wait"}])
def test_breakers_are_bounded(breaker: dict[str, Any]) -> None:
    """A breaker that opens without a failure is none."""
    with pytest.raises(ValueError, match=next(iter(breaker))):
        Config.model_validate({"breaker": breaker})
