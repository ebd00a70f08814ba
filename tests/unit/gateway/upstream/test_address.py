"""Where an action may be sent: addresses are looked up, checked, and are the ones connected to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from gateway.kernel.errors import InvalidConfigError, UpstreamAddressError, UpstreamUnreachableError
from gateway.upstream.address import AddressRule, GuardedResolver
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.target import Target
from tests.kit.rawpeer import Wire, raw_server

PUBLIC = AddressRule()


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
    ],
)
def test_what_is_not_public_is_refused(text: str) -> None:
    """Loopback, private, link-local, metadata, multicast and what translates to them, in either version."""
    assert not PUBLIC.allows(ip_address(text))


@pytest.mark.parametrize("text", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_what_is_public_is_allowed(text: str) -> None:
    """Addresses that everybody reaches."""
    assert PUBLIC.allows(ip_address(text))


def test_a_network_is_allowed_by_name() -> None:
    """Only what the configuration lists, also where it is mapped into the other version."""
    rule = AddressRule.of(["10.1.0.0/16", "::1/128"])
    assert rule.allows(ip_address("10.1.2.3"))
    assert rule.allows(ip_address("::ffff:10.1.2.3"))
    assert rule.allows(ip_address("::1"))
    assert not rule.allows(ip_address("10.2.0.1"))
    assert not rule.allows(ip_address("127.0.0.1"))


def test_a_literal_is_checked_at_load() -> None:
    """An address in the configuration that is not allowed is an error with what to write."""
    target = Target("127.0.0.1", 80, tls=False, prefix="")
    with pytest.raises(InvalidConfigError) as caught:
        PUBLIC.check_literal(target, where="actions.refunds.upstream")
    assert caught.value.message.startswith("actions.refunds.upstream")
    assert "127.0.0.1/32" in (caught.value.hint or "")
    AddressRule.of(["127.0.0.0/8"]).check_literal(target, where="x")
    PUBLIC.check_literal(Target("tool.example", 80, tls=False, prefix=""), where="x")


class Looked(GuardedResolver):
    """A resolver whose names lead where a test says."""

    found: list[str]

    async def look_up(self) -> list[str]:
        return self.found


async def test_only_allowed_addresses_are_given() -> None:
    """A name that leads to both gives the allowed ones, one that leads to none is refused, unnamed."""
    resolver = Looked(Target("tool.example", 80, tls=False, prefix=""), PUBLIC)
    resolver.found = ["10.0.0.1", "1.1.1.1", "fe80::1%eth0", "1.1.1.1", "8.8.8.8"]
    assert await resolver() == ["1.1.1.1", "8.8.8.8"]
    resolver.found = ["169.254.169.254"]
    with pytest.raises(UpstreamAddressError) as caught:
        await resolver()
    assert "169.254" not in caught.value.message
    resolver.found = [f"1.1.1.{number}" for number in range(99)]
    assert len(await resolver()) == 16


async def test_the_checked_address_is_the_one_connected_to() -> None:
    """The pool connects to what the resolver gave, in turn, and never looks the name up itself."""

    async def answer(wire: Wire) -> None:
        await wire.read_all()

    async with raw_server(answer) as peer:

        async def resolve() -> list[str]:
            return ["127.0.0.2", "127.0.0.1"]

        target = Target("no-such-name.invalid", peer.port, tls=False, prefix="")
        pool = ConnectionPool(target, connect_s=2, resolve=resolve)
        connection = await pool.take()
        assert not connection.closed
        assert peer.accepted == 1
        await pool.close()


async def test_a_refused_address_sends_nothing() -> None:
    """With a name that leads to loopback nothing is connected, and the error is the agent's to see."""
    target = Target("localhost", 9, tls=False, prefix="")
    pool = ConnectionPool(target, connect_s=2, resolve=GuardedResolver(target, PUBLIC))
    with pytest.raises(UpstreamAddressError):
        await pool.take()
    allowed = GuardedResolver(target, AddressRule.of(["127.0.0.0/8", "::1/128"]))
    open_pool = ConnectionPool(target, connect_s=2, resolve=allowed)
    with pytest.raises(UpstreamUnreachableError):
        await open_pool.take()
