"""The limits: each has its reason, and those that depend on one another stand in the right order."""

from __future__ import annotations

import ast
from pathlib import Path

from gateway.kernel import bounds
from gateway.kernel.bounds import KIB, MIB

UNITS = {"KIB", "MIB"}


def test_every_limit_has_its_reason() -> None:
    """Behind each constant stands why it is what it is; a neighbour's reason may speak for two."""
    body = ast.parse(Path(bounds.__file__).read_text()).body
    silent = 0
    for at, node in enumerate(body):
        if isinstance(node, ast.AnnAssign):
            name = node.target.id  # type: ignore[union-attr]
            after = body[at + 1] if at + 1 < len(body) else None
            silent += name not in UNITS and not isinstance(after, ast.Expr)
    assert silent <= 1, "YAML_DEPTH_MAX shares its reason with YAML_NODES_MAX; no other may be silent"


def test_every_limit_is_positive() -> None:
    """A bound of nothing would refuse everything."""
    limits = {name: value for name, value in vars(bounds).items() if name.isupper()}
    assert len(limits) > 30
    assert all(value if isinstance(value, frozenset) else value > 0 for value in limits.values())


def test_limits_fit_one_another() -> None:
    """What lies inside something else has the smaller bound, and who must wait longer does."""
    assert (KIB, MIB) == (1024, 1024 * 1024)
    assert bounds.EVENT_BODY_BYTES_MAX <= bounds.DECIDE_BODY_BYTES_MAX <= bounds.LLM_BODY_BYTES_MAX
    assert bounds.JSON_DEPTH_MAX < bounds.CANON_DEPTH_MAX < bounds.LOOSE_DEPTH_MAX
    assert bounds.STORE_BATCH_MAX <= bounds.STORE_QUEUE_MAX
    assert bounds.UPSTREAM_KEEPALIVE_S < 5.0, "uvicorn closes after 5 s"
    assert bounds.KEEPALIVE_S > 60.0, "load balancers close after 60 s"
    assert bounds.DRAIN_S < 30.0, "Kubernetes kills after 30 s"
    assert bounds.UPSTREAM_CONNECT_S < bounds.UPSTREAM_IDLE_S <= bounds.UPSTREAM_FIRST_BYTE_S
