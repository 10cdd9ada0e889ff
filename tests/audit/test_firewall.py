"""The kernel's firewalls: as Debian's tools fill them in a network namespace, and as recorded answers that go wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stockade.audit.facts import firewall, netlink, nftables, xtables
from stockade.audit.facts.chains import Base, Step, settled
from stockade.audit.facts.fact import Outcome
from stockade.audit.facts.host import Host
from stockade.audit.firewall import amounts_to

HERE = Path(__file__).with_name("network")
VERSIONS = {"network.firewall.ipv4": 4, "network.firewall.ipv6": 6}
LOCAL = {4: "127.0.0.0/8", 6: "::1/128"}
NOTHING = {
    "policies": dict.fromkeys(("INPUT", "FORWARD", "OUTPUT"), "ACCEPT"),
    "loopback": False,
    "loopback_out": False,
}
GUARDED = {"policies": dict.fromkeys(("INPUT", "FORWARD", "OUTPUT"), "DROP"), "loopback": True, "loopback_out": True}
AMOUNTS = {"nothing": NOTHING, "legacy": GUARDED, "iptables-nft": GUARDED, "inet": GUARDED, "asleep": NOTHING}


def rule(target: str, **said: str) -> dict[str, str]:
    return {"input": "", "output": "", "source": "", "target": target, **said}


def kept(version: int) -> dict[str, tuple[list[dict[str, str]], int]]:
    """Of the chains that Debian's tools were told to make, the rules that decide alone, and how many others there are.

    The kernel's own way to tell a rule differs between the three; what the rules say does not."""
    both = [rule("ACCEPT", input="lo"), rule("DROP", source=LOCAL[version])]
    iptables = ([*both, rule("REJECT", input="!wg0")], 2)
    site = [rule("ACCEPT", input="eth+", source="10.0.0.0/9")] if version == 4 else []
    return {"legacy": iptables, "iptables-nft": iptables, "inet": ([*both, *site, rule("REJECT")], 1)}


@pytest.fixture(scope="module")
def lived() -> dict[str, dict[str, Any]]:
    """What a process says in namespaces of its own, state by state."""
    own = ["--map-root-user"] if os.geteuid() else []
    command = ["unshare", *own, "--net", "--pid", "--fork", "--mount-proc", sys.executable, str(HERE / "driver.py")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return {one["name"]: one for one in map(json.loads, ran.stdout.splitlines())}


@pytest.fixture(scope="module")
def recorded() -> dict[str, dict[str, Any]]:
    return {one["name"]: one["answers"] for one in json.loads((HERE / "recorded.json").read_text())}


def answers(told: list[list[tuple[int, str]]]) -> tuple[netlink_told, netlink_told, netlink_told]:
    tables, chains, rules = ([(kind, bytes.fromhex(said)) for kind, said in part] for part in told)
    return tables, chains, rules


netlink_told = list[tuple[int, bytes]]


def chains_of(state: dict[str, Any], version: xtables.Version) -> list[dict[str, Any]]:
    found = []
    if version.names in state:
        bases, chains = xtables.table(version, *map(bytes.fromhex, state[version.names]))
        found += [settled(base, chains, version.family) for base in bases]
    several, newer = nftables.tables(answers(state["nf_tables"]))
    return found + [settled(base, newer, version.family) for family, base in several if family in (1, version.family)]


@pytest.mark.parametrize("state", AMOUNTS)
def test_what_debians_tools_made_is_read(lived: dict[str, dict[str, Any]], state: str) -> None:
    if lacking := [one["lacking"] for one in lived.values() if "lacking" in one]:
        pytest.skip(f"this kernel has not all tables: {lacking[0]}")
    for name, version in VERSIONS.items():
        chains = lived[state]["facts"][name]["value"]["chains"]
        assert amounts_to(chains, version) == AMOUNTS[state]
        if state in kept(version):
            inputs = [
                (one["rules"], one["other"]) for one in chains if one["hook"] == "INPUT" and one["policy"] == "DROP"
            ]
            assert inputs == [kept(version)[state]]


def test_who_may_not_ask_is_told_nothing(lived: dict[str, dict[str, Any]]) -> None:
    for state, why in {"may not ask": "not permitted", "elsewhere": "another network namespace"}.items():
        for fact in lived[state]["facts"].values():
            assert fact["outcome"] == "unreadable"
            assert why in fact["why"]


@pytest.mark.parametrize("state", [one for one in AMOUNTS if one != "nothing"])
def test_recorded_answers_say_the_same(recorded: dict[str, Any], state: str) -> None:
    for version, number in ((xtables.IPV4, 4), (xtables.IPV6, 6)):
        chains = chains_of(recorded[state], version)
        assert amounts_to(chains, number) == AMOUNTS[state]
        if state in kept(number):
            assert (kept(number)[state]) in [(one["rules"], one["other"]) for one in chains if one["hook"] == "INPUT"]


@pytest.mark.parametrize("version", [xtables.IPV4, xtables.IPV6], ids=["ipv4", "ipv6"])
def test_a_table_that_is_none_is_refused(recorded: dict[str, Any], version: xtables.Version) -> None:
    info, entries = map(bytes.fromhex, recorded["legacy"][version.names])
    sound = xtables.table(version, info, entries)
    for length in range(0, len(entries), 8):
        with pytest.raises(ValueError, match=r"\w"):
            xtables.table(version, info, entries[:length])
    for length in range(len(info)):
        with pytest.raises(ValueError, match=r"\w"):
            xtables.table(version, info[:length], entries)
    different = 0
    for at in range(len(entries)):
        spoilt = entries[:at] + bytes([entries[at] ^ 0xFF]) + entries[at + 1 :]
        try:
            bases, chains = xtables.table(version, info, spoilt)
            for base in bases:
                settled(base, chains, version.family)
            different += (bases, chains) != sound
        except ValueError:
            different += 1
    # Most of a table is padding, counters and the comment, which decide nothing.
    assert different > 200


def test_netlink_that_is_cut_off_is_refused(recorded: dict[str, Any]) -> None:
    tables, chains, rules = answers(recorded["inet"]["nf_tables"])
    for at, (kind, said) in enumerate(rules):
        for length in range(len(said)):
            cut = [*rules[:at], (kind, said[:length]), *rules[at + 1 :]]
            try:
                several, found = nftables.tables((tables, chains, cut))
                for family, base in several:
                    settled(base, found, family)
            except (ValueError, LookupError):
                continue
            # A message may end between two attributes: then what it said after them is not known, and no rule grew.
            assert sum(map(len, found.values())) == len(rules)
    for kind in (nftables.NEW_TABLE, 0, 2):
        with pytest.raises(ValueError, match="was asked for"):
            nftables.tables((tables, [(kind, chains[0][1])], rules))
    for content in (b"\1", b"\4\0\0\0\0", b"\20\0\1\0" + b"x" * 4, b"\0" * 16):
        with pytest.raises(ValueError, match=r"cut off|wrong length"):
            list(netlink.messages(content))
        with pytest.raises(ValueError, match=r"cut off|wrong length"):
            list(netlink.attributes(content))


def test_jumps_that_do_not_end_are_refused() -> None:
    jump = Step("JUMP", to="a")
    base = Base("x", "INPUT", "DROP", 0, "a")
    with pytest.raises(ValueError, match="deeper"):
        settled(base, {"a": [jump]}, 2)
    with pytest.raises(ValueError, match="not there"):
        settled(base, {"a": [Step("JUMP", to="b")]}, 2)
    wide = {n: [Step("JUMP", to=n + 1)] * 100 for n in range(8)} | {8: []}
    with pytest.raises(ValueError, match="more than"):
        settled(Base("x", "INPUT", "DROP", 0, 0), wide, 2)


def test_what_ends_a_chain_early_is_seen() -> None:
    accept, back = Step("ACCEPT"), Step("RETURN")
    chains = {
        "a": [Step("JUMP", to="b"), Step("DROP", input="eth0"), Step("GOTO", to="b"), accept],
        "b": [back, accept],
    }
    found = settled(Base("x", "INPUT", "DROP", 0, "a"), chains, 2)
    assert found["rules"] == [rule("DROP", input="eth0")]
    # In a chain that the kernel calls, going back is the policy's turn.
    leaves = {"a": [Step("RETURN", input="eth0"), Step("RETURN", source="10.0.0.0/8", family=10)]}
    assert settled(Base("x", "INPUT", "DROP", 0, "a"), leaves, 2)["rules"] == [rule("DROP", input="eth0")]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (PermissionError(1, "Operation not permitted"), Outcome.UNREADABLE),
        (OSError(5, "Input/output error"), Outcome.MALFORMED),
        (ValueError("an attribute that is cut off"), Outcome.MALFORMED),
        (OSError(22, "Invalid argument"), Outcome.VALUE),
    ],
)
def test_the_outcome_says_what_nf_tables_answered(
    monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: Outcome
) -> None:
    def fails() -> Any:
        raise error

    monkeypatch.setattr(nftables, "ask", fails)
    monkeypatch.setattr(firewall, "elsewhere", lambda host: None)
    with Host("/") as host:
        facts = firewall.collect(host)
    assert {fact.outcome for fact in facts.values()} <= {outcome, Outcome.ABSENT}
    assert facts["network.firewall.ipv4"].outcome is outcome


def test_a_module_is_not_loaded_by_the_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in {
        "proc/modules": "ext4 1 1 - Live 0x0\n",
        "proc/sys/kernel/osrelease": "6.1.0\n",
        "lib/modules/6.1.0/modules.builtin": "kernel/fs/ext4/ext4.ko\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)

    def magic(descriptor: int) -> int:
        return 0x9FA0 if Path(f"/proc/self/fd/{descriptor}").readlink().name == "proc" else 0xEF53

    with Host(str(tmp_path), "live", magic) as host:
        assert not firewall.loaded(host)
        (tmp_path / "proc/modules").write_text("nf_tables 1 1 - Live 0x0\n")
        assert firewall.loaded(host)
        (tmp_path / "proc/modules").write_text("")
        (tmp_path / "lib/modules/6.1.0/modules.builtin").write_text("kernel/net/netfilter/nf_tables.ko\n")
        assert firewall.loaded(host)
