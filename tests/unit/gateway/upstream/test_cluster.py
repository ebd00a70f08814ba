"""Which backend gets the next request."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.kernel.draws import Draws
from gateway.upstream.breaker import Breaker, BreakerSettings
from gateway.upstream.cluster import EQUAL, Cluster, Share, pick_two
from tests.kit.seeded import SeededRandomness

ONE_FAILURE = BreakerSettings(failures=1, open_s=5.0)


@dataclass
class Server:
    """A backend as far as the choice looks at it."""

    name: str
    in_flight: int = 0
    breaker: Breaker = field(default_factory=lambda: Breaker(ONE_FAILURE, lambda: 0.0))

    def fall(self, now_s: float = 0.0) -> None:
        """Open its breaker."""
        self.breaker.failed(self.breaker.sent(now_s), now_s)


def draws(seed: int = 3) -> Draws:
    """Numbers that are the same in every run."""
    return Draws(SeededRandomness(seed))


def cluster(*members: Any) -> Cluster:
    """A cluster of servers, or of pairs of server and share."""
    pairs = [member if isinstance(member, tuple) else (member, EQUAL) for member in members]
    return Cluster(pairs, draws())


def chosen(one: Cluster, count: int, *, keep: bool = False) -> Counter[str]:
    """Who is chosen how often; `keep` leaves each request in flight."""
    counts: Counter[str] = Counter()
    for _ in range(count):
        picked: Any = one.pick(0.0)
        counts[picked.name] += 1
        picked.in_flight += keep
    return counts


def test_a_lone_backend_is_always_chosen() -> None:
    """Also while its breaker is open: there is nowhere else to go. Excluded, it is nobody."""
    server = Server("a")
    one = cluster(server)
    server.fall()
    assert one.pick(0.0) is server
    assert one.pick(0.0, {"a"}) is None
    assert one.names == ("a",)


def test_the_less_busy_of_two_is_chosen() -> None:
    """With two backends both are always looked at."""
    a, b = Server("a", in_flight=3), Server("b", in_flight=2)
    assert chosen(cluster(a, b), 50) == {"b": 50}


def test_weights_count_in_flight_and_when_idle() -> None:
    """A backend of weight 3 holds three times as much, and gets three of four requests that find all idle."""
    a, b = Server("a"), Server("b")
    heavy = cluster((a, Share(weight=3.0)), (b, Share(weight=1.0)))
    idle = chosen(heavy, 4000)
    assert 0.72 < idle["a"] / 4000 < 0.78
    chosen(heavy, 400, keep=True)
    assert abs(a.in_flight - 300) <= 2


def test_many_at_once_do_not_all_go_to_the_same() -> None:
    """What was chosen a moment ago is not in flight yet: of 100 in one instant each of four gets some."""
    servers = [Server(name) for name in "abcd"]
    counts = chosen(cluster(*servers), 100)
    assert min(counts.values()) >= 10
    assert len(counts) == 4


def test_load_stays_level() -> None:
    """Of 1,000 requests that stay, no backend of ten holds a fifth more than another."""
    servers = [Server(str(number)) for number in range(10)]
    chosen(cluster(*servers), 1000, keep=True)
    loads = [server.in_flight for server in servers]
    assert max(loads) <= 1.2 * min(loads)


def test_the_same_randomness_gives_the_same_choices() -> None:
    """The choice depends on nothing else."""
    first, second = (
        [cluster_.pick(0.0).name for _ in range(50)]  # type: ignore[union-attr]
        for cluster_ in (cluster(Server("a"), Server("b")), cluster(Server("a"), Server("b")))
    )
    assert first == second
    assert set(first) == {"a", "b"}


def test_an_open_breaker_takes_a_backend_out() -> None:
    """The others get its part; at its time one request, and no second, is its probe."""
    a, b = Server("a"), Server("b", in_flight=100)
    one = cluster(a, b)
    a.fall()
    assert chosen(one, 20) == {"b": 20}
    assert [one.pick(5.0).name for _ in range(3)] == ["a", "b", "b"]  # type: ignore[union-attr]


def test_where_all_are_open_the_soonest_is_tried() -> None:
    """A first request goes to the one that is due first; a further one goes nowhere."""
    a, b = Server("a"), Server("b")
    one = cluster(a, b)
    a.fall(1.0)
    b.fall(0.0)
    assert one.pick(2.0) is b
    assert one.pick(2.0, {"b"}) is None


def test_a_higher_order_stands_by() -> None:
    """It gets nothing while one of the lower order can take it, however busy, and everything else then."""
    a, b, spare = Server("a", in_flight=500), Server("b", in_flight=500), Server("spare")
    one = cluster(a, b, (spare, Share(order=1)))
    assert "spare" not in chosen(one, 50)
    a.fall()
    assert chosen(one, 20) == {"b": 20}
    b.fall()
    assert chosen(one, 20) == {"spare": 20}
    assert one.pick(0.0, {"spare"}) is None


def test_who_is_excluded_is_not_chosen() -> None:
    """A further attempt goes to another backend, to nobody where there is none left."""
    a, b = Server("a"), Server("b", in_flight=9)
    one = cluster(a, b)
    assert one.pick(0.0, {"a"}) is b
    assert one.pick(0.0, {"a", "b"}) is None


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0], [5.0, 0.1, 0.1], [1.0] * 9])
def test_two_different_ones_are_drawn(weights: list[float]) -> None:
    """By weight, never the same twice, and each comes up."""
    draw = draws()
    seen = {pick_two(weights, draw) for _ in range(2000)}
    assert all(first != second for first, second in seen) or len(weights) == 1
    assert {index for pair in seen for index in pair} == set(range(len(weights)))


def test_the_edges_of_a_draw() -> None:
    """0 draws the first, and what is just below 1 the last, whatever the sums of floats are."""
    assert pick_two([0.1, 0.2, 0.3], lambda: 0.0) == (0, 1)
    assert pick_two([0.1] * 10, lambda: 1.0 - 2**-32) == (9, 8)
