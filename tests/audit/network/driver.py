"""Runs in namespaces of its own: fills the kernel's firewalls with Debian's tools, and says what the audit reads there.

A line of JSON for each state: name, facts, and the kernel's own answers in hexadecimal (`answers`), or what the kernel
lacks. The lines with answers are recorded.json, for kernels without these tables and for all that goes wrong.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import struct
import subprocess

from stockade.audit.facts import firewall, nftables, xtables
from stockade.audit.facts.host import Host

LIBC = ctypes.CDLL(None, use_errno=True)
LOCAL = {"iptables": "127.0.0.0/8", "ip6tables": "::1"}
INET = """table inet f {
 chain input { type filter hook input priority 10; policy drop;
  iif lo accept; ip saddr 127.0.0.0/8 drop; ip6 saddr ::1 drop; ct state established accept; jump more; }
 chain more { iifname "eth*" ip saddr 10.0.0.0/9 counter accept; reject; }
 chain forward { type filter hook forward priority 0; policy drop; }
 chain output { type filter hook output priority 0; policy drop; oifname "lo" accept; }
 chain names { type nat hook output priority 0; policy accept; }
}
"""


def run(line: str, given: str = "") -> None:
    subprocess.run(line.split(), check=True, capture_output=True, text=True, input=given)


def guarded(tool: str) -> None:
    """A firewall as the benchmark wants it, with a chain of its own in between and conditions that are the site's."""
    base = tool.partition("-")[0]
    for hook in ("INPUT", "FORWARD", "OUTPUT"):
        run(f"{tool} -P {hook} DROP")
    run(f"{tool} -A INPUT -i lo -m comment --comment local -j ACCEPT")
    run(f"{tool} -N SITE")
    run(f"{tool} -A INPUT -j SITE")
    run(f"{tool} -A SITE -s {LOCAL[base]} -j DROP")
    run(f"{tool} -A SITE -p tcp --dport 22 -j ACCEPT")
    run(f"{tool} -A SITE -d {LOCAL[base]} -j ACCEPT")
    run(f"{tool} -A INPUT -i eth+ -j LOG")
    run(f"{tool} -A INPUT ! -i wg0 -j REJECT")
    run(f"{tool} -A OUTPUT -o lo -j ACCEPT")


def cleared(tool: str) -> None:
    run(f"{tool} -F")
    run(f"{tool} -X")
    for hook in ("INPUT", "FORWARD", "OUTPUT"):
        run(f"{tool} -P {hook} ACCEPT")


def legacy() -> None:
    for one in LOCAL:
        guarded(f"{one}-legacy")


def newer() -> None:
    for one in LOCAL:
        cleared(f"{one}-legacy")
        guarded(f"{one}-nft")


def inet() -> None:
    run("nft flush ruleset")
    run("nft -f -", INET)


def asleep() -> None:
    run("nft add table inet f { flags dormant; }")


def may_not_ask() -> None:
    """Without CAP_NET_ADMIN."""
    head = struct.pack("=Ii", 0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    if LIBC.capget(head, sets):
        raise OSError(ctypes.get_errno(), "capget")
    for place in range(3):
        sets[place] &= ~(1 << 12)
    if LIBC.capset(head, sets):
        raise OSError(ctypes.get_errno(), "capset")


def elsewhere() -> None:
    """In another network namespace than PID 1."""
    if LIBC.unshare(0x40000000):
        raise OSError(ctypes.get_errno(), "unshare")


def told(name: str) -> dict[str, object]:
    with Host("/") as host:
        facts = {name: fact.as_dict() for name, fact in firewall.collect(host).items()}
    answers: dict[str, object] = {}
    with contextlib.suppress(OSError):
        for version in (xtables.IPV4, xtables.IPV6):
            if "legacy" in name:
                answers[version.names] = [part.hex() for part in xtables.ask(version)]
        answers["nf_tables"] = [[[kind, said.hex()] for kind, said in part] for part in nftables.ask()]
    return {"name": name, "facts": facts, "answers": answers}


def main() -> None:
    states = {
        "nothing": lambda: None,
        "legacy": legacy,
        "iptables-nft": newer,
        "inet": inet,
        "asleep": asleep,
        "may not ask": may_not_ask,
        "elsewhere": elsewhere,
    }
    for name, make in states.items():
        try:
            make()
        except subprocess.CalledProcessError as error:
            print(json.dumps({"name": name, "lacking": f"{' '.join(error.cmd)}: {error.stderr.strip()}"}), flush=True)
            continue
        print(json.dumps(told(name)), flush=True)


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    child = os.fork()  # PID 1 keeps the network namespace that the host of this play has
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    main()
