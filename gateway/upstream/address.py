"""Where an action may be sent: a host's addresses, looked up by us, checked, and connected to as they are.

A name in the configuration says what was meant; its addresses say where it leads today. Whoever owns the
name's DNS could point it at a metadata service or into the operator's network, also between a check and a
connection: so the addresses that were checked are the ones that are connected to. Only what is reachable
by everybody is allowed, and the networks that the route names.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, TypeAlias

from gateway.kernel.errors import InvalidConfigError, UpstreamAddressError
from gateway.upstream.target import Target

Address: TypeAlias = IPv4Address | IPv6Address
_NAT64: Final = ip_network("64:ff9b::/96")
_ADDRESSES_MAX: Final = 16
"""Addresses of one name that are tried: a few stand in DNS, and each may take the whole connect time."""


@dataclass(frozen=True, slots=True)
class AddressRule:
    """The networks that are allowed beside everything public."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, networks: Sequence[str]) -> AddressRule:
        """Read networks in CIDR notation. Raises ValueError."""
        return cls(tuple(ip_network(network) for network in networks))

    def allows(self, address: Address) -> bool:
        """Tell whether an address may be connected to."""
        if any(address in network for network in self.networks):
            return True
        if isinstance(address, IPv6Address) and (inner := _embedded(address)) is not None:
            return self.allows(inner)
        return address.is_global and not address.is_multicast

    def check_literal(self, target: Target, *, where: str) -> None:
        """Refuse a target that is an address, and one that is not allowed. Raises InvalidConfigError."""
        try:
            address = ip_address(target.host)
        except ValueError:
            return  # A name: it is looked up when it is used.
        if not self.allows(address):
            raise InvalidConfigError(
                f"{where}: {address} is not public",
                hint=f"if it is meant, allow it: `addresses: [{address}/{address.max_prefixlen}]`",
            )


class GuardedResolver:
    """Looks a target up, and gives only the addresses that are allowed."""

    def __init__(self, target: Target, rule: AddressRule) -> None:
        self._target = target
        self._rule = rule

    async def __call__(self) -> list[str]:
        """Return the allowed addresses. Raises UpstreamAddressError where there are none, and OSError."""
        found = dict.fromkeys(await self.look_up())
        allowed = [text for text in found if self._rule.allows(ip_address(text.partition("%")[0]))]
        if not allowed:
            # The words reach clients: they never name the address.
            raise UpstreamAddressError("the action's host leads to an address that is not allowed")
        return allowed[:_ADDRESSES_MAX]

    async def look_up(self) -> list[str]:
        """Return what the host's name leads to. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._target.host, self._target.port, type=socket.SOCK_STREAM)
        return [str(entry[4][0]) for entry in found]


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for, where a network would translate it."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
