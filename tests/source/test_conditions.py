"""Several conditional rules on one call: they add up, in whatever order they are written."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

from stockade.model.syscalls import numbers
from stockade.seccomp.semantics import decide
from stockade.source.files import SourceFile, read_files
from stockade.source.load import build

SHIPPED = Path(__file__).resolve().parents[2] / "policy"
ENTRIES = (
    "    - {call: personality, persona: 0x8, why: one}\n",
    "    - {call: personality, persona: 0x20000, why: another}\n",
    "    - {call: personality, persona: {from: 3, to: 5}, why: a third}\n",
)


def test_conditional_rules_on_one_call_add_up_in_any_order() -> None:
    met = set()
    for entries in permutations(ENTRIES):
        text = "container: odd\nextends: ordinary\nwhy: x\nwidens: {syscalls: tries them}\nsyscalls:\n  allow-when:\n"
        policy = build([*read_files(SHIPPED), SourceFile("containers/odd.yaml", (text + "".join(entries)).encode())])
        syscalls = policy.containers["odd"].syscalls
        nr = numbers("x86_64")["personality"]
        allowed = {
            n for n in (0, 2, 3, 5, 6, 8, 0x20000) if not decide(syscalls, "x86_64", nr, (n, 0, 0, 0, 0, 0)).errno
        }
        assert allowed == {3, 5, 8, 0x20000}
        met.add(tuple((rule.call, rule.conditions) for rule in syscalls.rules))
    assert len(met) == 1
