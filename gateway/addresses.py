"""Which addresses an image may be fetched from: public ones, and what the operator allows besides."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

# IPv6 forms that carry an IPv4 address past a check of the outer one.
_TUNNELS = tuple(ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96"))


@dataclass(frozen=True, slots=True)
class AddressRule:
    """One entry of FACEBENTO_FETCH_ALLOW: a network, a host name, or a suffix with its leading dot."""

    network: IPv4Network | IPv6Network | None = None
    host: str | None = None

    def allows(self, host: str, address: Address) -> bool:
        """Tell whether this entry opens ``address``, reached under the name ``host``."""
        if self.network is not None:
            return address in self.network
        if self.host is None:
            return False
        return host == self.host or (self.host.startswith(".") and host.endswith(self.host))


def parse_rules(value: str | Iterable[AddressRule]) -> tuple[AddressRule, ...]:
    """Parse a comma-separated list of networks, hosts and suffixes. Raises ValueError."""
    if not isinstance(value, str):
        return tuple(value)
    return tuple(_parse_rule(entry) for entry in value.lower().replace(",", " ").split())


def _parse_rule(entry: str) -> AddressRule:
    try:
        return AddressRule(network=ip_network(entry))
    except ValueError as error:
        if "/" in entry or ":" in entry:
            raise ValueError(f"{entry!r} is no network ({error}), nor a host name") from None
    return AddressRule(host=entry)


def is_public(address: Address) -> bool:
    """Tell whether an address belongs to the public internet, whatever form it is written in."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None or any(address in net for net in _TUNNELS):
            return False
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def may_fetch(host: str, address: str, rules: Iterable[AddressRule]) -> bool:
    """Tell whether ``address``, to which ``host`` resolved, may be connected to."""
    parsed = ip_address(address.partition("%")[0])
    return is_public(parsed) or any(rule.allows(host.lower().rstrip("."), parsed) for rule in rules)
