"""Redaction and the digest of a context."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.canon import canonical_bytes, digest
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.pointer import resolve
from gateway.records.redact import (
    PROFILES,
    SECRET_NAMES,
    effective_profile,
    redact_request,
    verify_context,
)

CANARY = "canary-7f3a"
names = st.sampled_from(["a", "b/c", "note", "Email", "PASSWORD", "token", "tokens", "x~y", "raw", "é"])
inlines = st.dictionaries(
    names,
    st.recursive(
        st.integers(0, 3) | st.just(CANARY),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)
profiles = st.sampled_from([*PROFILES, "unknown"])


def _request(inline=None, mode="inline", profile=None):
    context = {"mode": mode, "digest": digest(inline or {})}
    if inline is not None:
        context["inline"] = inline
    if profile is not None:
        context["redaction"] = {"profile": profile, "fields_removed": ["/made/up"]}
    return {"action": {"type": "a.b"}, "evidence": {"email": "kept"}, "context": context}


def _secret_pointers(value, path="/context/inline"):
    """Every outermost member with a secret name, found by a plain walk."""
    found = []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        here = f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}"
        if isinstance(key, str) and key.lower() in SECRET_NAMES:
            found.append(here)
        elif isinstance(item, (dict, list)):
            found += _secret_pointers(item, here)
    return found


@settings(derandomize=True, max_examples=200, deadline=None)
@given(inlines, profiles, st.none() | profiles)
def test_what_is_removed_and_told(inline, floor, asked):
    """What is gone is exactly what fields_removed says, in order, and the input is not changed."""
    request = _request(inline, profile=asked)
    before = copy.deepcopy(request)
    redacted = redact_request(request, floor)
    assert request == before
    context = redacted["context"]
    profile = effective_profile(asked, floor)
    if profile == "default":
        expected = sorted(_secret_pointers(inline))
    else:
        top = [f"/context/inline/{key.replace('~', '~0').replace('/', '~1')}" for key in inline]
        expected = sorted(top) if profile == "strict" else []
    assert context["redaction"] == {"profile": profile, "fields_removed": expected}
    for pointer in expected:
        resolve(request, pointer)
        with pytest.raises(KeyError):
            resolve(redacted, pointer)
    assert not _secret_pointers(context["inline"]) or profile == "off"
    assert context["inline"] == inline or expected
    assert {**redacted, "context": 0} == {**request, "context": 0}


@settings(derandomize=True, max_examples=100, deadline=None)
@given(inlines, profiles, profiles)
def test_a_request_can_only_tighten(inline, floor, asked):
    """Whatever a request asks for, no more is kept than the configured profile keeps."""
    kept = canonical_bytes(redact_request(_request(inline, profile=asked), floor)["context"]["inline"])
    floored = canonical_bytes(redact_request(_request(inline), floor)["context"]["inline"])
    assert len(kept) <= len(floored)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(inlines)
def test_same_whatever_the_order_of_keys(inline):
    """The order in which members were sent does not show in the redacted request."""
    turned = dict(reversed(inline.items()))
    assert canonical_bytes(redact_request(_request(inline))) == canonical_bytes(
        redact_request(_request(turned))
    )


@pytest.mark.parametrize(
    ("asked", "floor", "effective"),
    [
        (None, "off", "off"),
        ("off", "default", "default"),
        ("off", "strict", "strict"),
        ("strict", "off", "strict"),
        ("default", "off", "default"),
        ("nonsense", "off", "default"),
        ("nonsense", "strict", "strict"),
        ("off", "nonsense", "default"),
        (7, "off", "off"),
    ],
)
def test_effective_profile(asked, floor, effective):
    """The stricter of the two counts, and an unknown one counts as default."""
    assert effective_profile(asked, floor) == effective


@pytest.mark.parametrize("mode", ["digest_only", "reference"])
@pytest.mark.parametrize("profile", PROFILES)
def test_content_of_another_mode_is_dropped(mode, profile):
    """Inline content sent along with another mode does not reach the record under any profile."""
    redacted = redact_request(_request({"note": CANARY}, mode=mode), profile)
    assert CANARY not in repr(redacted)
    assert redacted["context"]["redaction"]["fields_removed"] == ["/context/inline"]


def test_without_content():
    """A context without content gets the metadata and is otherwise as sent."""
    request = _request(mode="digest_only", profile="off")
    redacted = redact_request(request, "default")
    assert redacted["context"] == {
        **request["context"],
        "redaction": {"profile": "default", "fields_removed": []},
    }


def test_every_secret_name_in_any_case():
    """Each listed name goes, however it is cased, and names that only contain one stay."""
    inline = {name.upper(): 1 for name in SECRET_NAMES} | {name + "x": 1 for name in SECRET_NAMES}
    kept = redact_request(_request(inline))["context"]["inline"]
    assert set(kept) == {name + "x" for name in SECRET_NAMES}


@settings(derandomize=True, max_examples=100, deadline=None)
@given(inlines, st.sampled_from(["inline", "digest_only", "reference"]))
def test_true_digest(inline, mode):
    """The digest of the content passes, and that of any other content does not, in every mode."""
    verify_context(_request(inline, mode=mode))
    with pytest.raises(InvalidRequestError) as caught:
        verify_context(
            _request(inline, mode=mode)
            | {"context": {**_request(inline, mode=mode)["context"], "inline": {**inline, "more": 1}}}
        )
    assert caught.value.pointer == "/context/digest"


def test_nothing_to_verify():
    """Without content any digest passes."""
    verify_context(_request(mode="digest_only"))
