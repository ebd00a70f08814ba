"""`controller.core.config`: a digest that names everything, and the bias of the majority."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.catalogue import Catalogue
from controller.core.config import ControllerConfig, Tuning
from controller.intent import Bias, IntentSet
from tests.kit.control import catalogue, intent, model


def config(**fields: object) -> ControllerConfig:
    """Return a configuration with one intent."""
    values: dict[str, object] = {"catalogue": catalogue(), "intents": IntentSet([intent()])}
    return ControllerConfig(**{**values, **fields})  # type: ignore[arg-type]


OTHERS = {
    "price": {"catalogue": Catalogue([model("large", price=0.7), model("mid"), model("small")])},
    "order": {"catalogue": Catalogue(reversed(catalogue().models))},
    "speed": {"catalogue": Catalogue(dataclasses.replace(m, speed=m.speed.scaled(2.0)) for m in catalogue())},
    "intents": {"intents": IntentSet([intent("other")])},
    "lengths": {"lengths_prior": (1.0, 2.0)},
    "tuning": {"tuning": Tuning(recovery=1.0)},
}


def test_equal_configurations_have_one_digest() -> None:
    """Made twice from the same values, and whatever digest was handed in, the name is the same."""
    assert config().digest == config().digest == config(digest="sha256:forged").digest
    assert config().digest.startswith("sha256:")
    assert len(config().digest) == len("sha256:") + 64


def test_every_part_is_in_the_digest() -> None:
    """A change of any part gives a digest of its own."""
    digests = {name: config(**fields).digest for name, fields in OTHERS.items()}
    assert len({config().digest, *digests.values()}) == 1 + len(OTHERS)


@pytest.mark.parametrize("field", dataclasses.fields(Tuning), ids=lambda field: field.name)
def test_every_knob_is_in_the_digest(field: dataclasses.Field[object]) -> None:
    """No tuning can be changed without the ticks showing it."""
    value = getattr(Tuning(), field.name)
    other = not value if isinstance(value, bool) else value * 2
    tuned = dataclasses.replace(Tuning(), **{field.name: other})
    assert config(tuning=tuned).digest != config().digest


def test_a_digest_does_not_depend_on_the_process() -> None:
    """Another interpreter with another hash seed finds the same digest."""
    code = "from tests.unit.controller.core.test_config import config; print(config().digest)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == config().digest


def test_new_intents_change_nothing_else() -> None:
    """The digest follows the intents; models, lengths and tuning stay, and so does the old value."""
    old = config(tuning=Tuning(price=False), lengths_prior=(3.0, 4.0))
    before = old.digest
    new = old.with_intents(IntentSet([intent("other")]))
    assert (new.catalogue, new.tuning, new.lengths_prior) == (old.catalogue, old.tuning, old.lengths_prior)
    assert [kind.name for kind in new.intents.intents] == ["other"]
    assert new.digest != before == old.digest
    assert new.with_intents(old.intents).digest == before


def biased(biases: list[Bias]) -> Bias:
    """Return the bias of a configuration whose intents ask for `biases`."""
    kinds = [intent(f"i{index}", bias=bias) for index, bias in enumerate(biases)]
    return config(intents=IntentSet(kinds)).bias


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(Bias), max_size=7), st.randoms(use_true_random=False))
def test_only_a_majority_moves_the_bias(biases: list[Bias], random: object) -> None:
    """More than half of the intents decide, in whatever order they stand; anything else is balanced."""
    shuffled = list(biases)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    majority = [bias for bias in Bias if biases.count(bias) > len(biases) / 2]
    assert biased(shuffled) is (majority[0] if majority else Bias.BALANCED)


def test_a_tie_is_balanced() -> None:
    """One for quality and one for latency share the models: neither gets its way."""
    assert biased([Bias.QUALITY, Bias.LATENCY]) is Bias.BALANCED
    assert biased([Bias.QUALITY, Bias.QUALITY, Bias.LATENCY]) is Bias.QUALITY
    assert biased([Bias.LATENCY, Bias.LATENCY, Bias.BALANCED]) is Bias.LATENCY
