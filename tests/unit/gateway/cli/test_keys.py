"""`lumyn keys`."""

from __future__ import annotations

from hashlib import sha256

import orjson

from gateway.auth.keys import KeyRing, Principal


def test_a_new_key_opens_what_its_hash_guards(lumyn) -> None:
    """The printed hash in a key ring lets the printed key in; two keys differ."""
    found = orjson.loads(lumyn("keys", "new", "--json").out)
    ring = KeyRing([(found["hash"], Principal("bot", "acme"))])
    assert ring.principal(f"Bearer {found['key']}").name == "bot"
    assert found["hash"] == "sha256:" + sha256(found["key"].encode()).hexdigest()
    assert len(found["key"]) > 40
    told = lumyn("keys", "new")
    assert [line.split(":")[0] for line in told.out.splitlines()] == ["key", "hash"]
    assert found["key"] not in told.out
