from ipaddress import ip_address

import pytest

from gateway.addresses import AddressRule, is_public, may_fetch, parse_rules

PUBLIC = {"v4": "93.184.215.14", "v6": "2606:4700:4700::1111"}
NOT_PUBLIC = {
    "loopback v4": "127.0.0.1",
    "loopback v4, another": "127.255.255.254",
    "loopback v6": "::1",
    "private 10/8": "10.0.0.1",
    "private 172.16/12": "172.31.255.255",
    "private 192.168/16": "192.168.1.1",
    "unique local v6": "fd00::1",
    "site local v6": "fec0::1",
    "link-local v4, cloud metadata": "169.254.169.254",
    "link-local v6": "fe80::1",
    "carrier-grade NAT": "100.64.0.1",
    "multicast v4": "224.0.0.1",
    "multicast v4, globally scoped": "233.252.0.1",
    "multicast v6": "ff0e::1",
    "reserved v4": "240.0.0.1",
    "reserved v6": "4000::1",
    "broadcast": "255.255.255.255",
    "documentation v4": "192.0.2.1",
    "documentation v6": "2001:db8::1",
    "benchmarking": "198.18.0.1",
    "unspecified v4": "0.0.0.0",
    "this network": "0.1.2.3",
    "unspecified v6": "::",
    "v4-mapped loopback": "::ffff:127.0.0.1",
    "v4-mapped public": "::ffff:8.8.8.8",
    "v4-compatible loopback": "::127.0.0.1",
    "6to4 of a private address": "2002:0a00:0001::1",
    "NAT64 of loopback": "64:ff9b::7f00:1",
    "NAT64 with a local prefix": "64:ff9b:1::7f00:1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
}


@pytest.mark.parametrize("address", PUBLIC.values(), ids=PUBLIC.keys())
def test_a_public_address_may_be_fetched_without_a_rule(address: str) -> None:
    assert is_public(ip_address(address))
    assert may_fetch("example.com", address, ())


@pytest.mark.parametrize("address", NOT_PUBLIC.values(), ids=NOT_PUBLIC.keys())
def test_an_address_that_is_not_public_may_not_be_fetched_without_a_rule(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not may_fetch("example.com", address, ())


def test_an_address_with_a_zone_is_judged_without_it() -> None:
    assert not may_fetch("example.com", "fe80::1%eth0", ())
    assert may_fetch("example.com", "fe80::1%eth0", parse_rules("fe80::/10"))


@pytest.mark.parametrize(
    ("rules", "host", "address"),
    [
        pytest.param("10.0.0.0/8", "files.lan", "10.1.2.3", id="network v4"),
        pytest.param("fd00::/8", "files.lan", "fd00::1", id="network v6"),
        pytest.param("10.1.2.3", "files.lan", "10.1.2.3", id="one address"),
        pytest.param("files.lan", "files.lan", "10.1.2.3", id="host"),
        pytest.param("Files.LAN", "fILES.lan.", "10.1.2.3", id="host, in another case and fully qualified"),
        pytest.param(".lan", "files.lan", "10.1.2.3", id="suffix"),
        pytest.param(".lan", "a.files.lan", "10.1.2.3", id="suffix, deeper"),
        pytest.param("192.168.0.0/16, .lan , files", "files", "10.1.2.3", id="last one of several"),
    ],
)
def test_a_rule_opens_a_private_address(rules: str, host: str, address: str) -> None:
    assert may_fetch(host, address, parse_rules(rules))


@pytest.mark.parametrize(
    ("rules", "host", "address"),
    [
        pytest.param("10.0.0.0/8", "files.lan", "192.168.0.1", id="outside of the network"),
        pytest.param("10.0.0.0/8", "files.lan", "fd00::1", id="network of the other family"),
        pytest.param("127.0.0.0/8", "files.lan", "::ffff:127.0.0.1", id="mapped form of an address in the network"),
        pytest.param("10.1.2.3", "files.lan", "10.1.2.4", id="another address"),
        pytest.param("files.lan", "a.files.lan", "10.1.2.3", id="below a host"),
        pytest.param("files.lan", "myfiles.lan", "10.1.2.3", id="host that only ends alike"),
        pytest.param(".files.lan", "files.lan", "10.1.2.3", id="suffix without a name before it"),
        pytest.param(".lan", "files.lan.example.com", "10.1.2.3", id="suffix in the middle"),
        pytest.param("", "files.lan", "10.1.2.3", id="no rule"),
    ],
)
def test_a_rule_opens_nothing_else(rules: str, host: str, address: str) -> None:
    assert not may_fetch(host, address, parse_rules(rules))


def test_an_empty_rule_opens_nothing() -> None:
    assert not may_fetch("files.lan", "10.1.2.3", [AddressRule()])


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "10.0.0.0/33", "300.0.0.0/8", "files.lan/8", "fd00::zz", "files:80"])
def test_a_bad_network_is_refused_by_name(entry: str) -> None:
    with pytest.raises(ValueError, match=entry):
        parse_rules(f"10.0.0.0/8,{entry}")


def test_rules_that_are_parsed_already_stay_as_they_are() -> None:
    rules = parse_rules("10.0.0.0/8 files.lan")
    assert parse_rules(rules) == rules
