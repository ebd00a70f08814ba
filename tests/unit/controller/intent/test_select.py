"""`controller.intent.select`: which intent covers a request."""

from __future__ import annotations

from controller.intent import Intent, IntentSet, Match, ServiceClass, Subject

ACME = Intent(name="acme", match=Match(tenant="acme"))
ACME_CODE = Intent(name="acme-code", match=Match(tenant="acme", route="code"))
KEYED = Intent(name="keyed", match=Match(key="bot"))
ANY = Intent(name="any", match=Match())
SET = IntentSet([ANY, ACME, ACME_CODE, KEYED])


def test_the_most_specific_match_wins() -> None:
    """Two fields beat one, a key beats a tenant, and the catch-all comes last."""
    assert SET.select(Subject(tenant="acme", route="code")).name == "acme-code"
    assert SET.select(Subject(tenant="acme", route="chat")).name == "acme"
    assert SET.select(Subject(key="bot", tenant="acme", route="code")).name == "keyed"
    assert SET.select(Subject(tenant="other")).name == "any"


def test_without_a_match_the_default_changes_nothing() -> None:
    """A request that no intent covers gets no targets and no permissions."""
    chosen = IntentSet([ACME]).select(Subject(tenant="other"))
    assert (chosen.name, chosen.on_pressure, chosen.models) == ("default", (), ())


def test_a_named_intent_is_followed_only_among_the_keys_own() -> None:
    """`x-lumyn-intent` cannot reach an intent that the key does not hold."""
    subject = Subject(tenant="acme")
    assert SET.select(subject, wanted="keyed", permitted=("keyed", "any")).name == "keyed"
    assert SET.select(subject, wanted="keyed", permitted=("any",)).name == "any"
    assert SET.select(subject, wanted="keyed").name == "acme"


def test_a_tier_may_lower_a_class_and_never_raise_it() -> None:
    """`service_tier: flex` makes a standard request batch; `priority` gives nothing."""
    lowered = SET.select(Subject(tenant="acme"), service_tier="flex")
    assert lowered.service_class is ServiceClass.BATCH
    assert lowered.priority < ACME.priority
    assert lowered.weight < ACME.weight
    assert SET.select(Subject(tenant="acme"), service_tier="priority") == ACME
    assert SET.select(Subject(tenant="acme"), service_tier="auto") == ACME


def test_lookup_by_name() -> None:
    """Names are found, others are None."""
    assert SET.get("acme") == ACME
    assert SET.get("absent") is None
