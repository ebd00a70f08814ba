"""`lumyn show`."""

from __future__ import annotations

import orjson


def test_show_is_indented_or_in_one_line(lumyn, decision_id: str) -> None:
    """Pretty by default, compact on demand, the same value."""
    pretty, compact = lumyn("show", decision_id).out, lumyn("show", decision_id, "--compact").out
    assert len(pretty.splitlines()) > 50
    assert len(compact.splitlines()) == 1
    assert orjson.loads(pretty) == orjson.loads(compact)
