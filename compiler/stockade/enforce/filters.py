"""The stricter of two seccomp profiles: what both the runtime's and the type's allow, and nothing else.

Only rules of the type's profile stay, narrowed. Where what both allow cannot be said in one profile so that every
runtime means the same by it, the call is not allowed at all.
"""

from __future__ import annotations

from stockade.enforce.refusal import WELL_FORMED, refuse
from stockade.enforce.shape import listing, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]
    Test = tuple[int, int, int, str]

_ALLOWED = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
_KEPT_FLAGS = ("SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC")
_MOST = 64
_EPERM = 1
_ALL = (1 << 64) - 1


class Said:
    """What a profile says of each call: allowed whatever the arguments, denied, or allowed under one of some tests."""

    def __init__(self, profile: Json) -> None:
        self.otherwise = text(profile, "defaultAction") in _ALLOWED
        self.allowed: set[str] = set()
        self.denied: set[str] = set()
        self.tests: dict[str, list[frozenset[Test]]] = {}
        refused: dict[str, list[frozenset[Test]]] = {}
        for entry in listing(profile, "syscalls", dict, "linux.seccomp."):
            allowed = text(entry, "action") in _ALLOWED
            names = listing(entry, "names", str, "linux.seccomp.syscalls.") or [text(entry, "name")]
            if said := listing(entry, "args", dict, "linux.seccomp.args."):
                tests = frozenset(map(_test, said))
                for name in names:
                    (self.tests if allowed else refused).setdefault(name, []).append(tests)
            else:
                (self.allowed if allowed else self.denied).update(names)
        # Which of two rules wins is not the same everywhere; what one of them denies is denied.
        for name, others in refused.items():
            kept = [tests for tests in self.tests.get(name, ()) if all(_apart(tests, other) for other in others)]
            self.tests[name] = kept
            if name in self.allowed:
                self.denied.add(name)
        self.allowed -= self.denied

    def of(self, name: str) -> bool | list[frozenset[Test]]:
        """True, False, or the tests of which one must hold."""
        if name in self.allowed or name in self.denied:
            return name in self.allowed
        if name in self.tests:
            return False if self.otherwise else self.tests[name]
        return self.otherwise

    def not_whole(self, names: set[str]) -> list[str]:
        """Those of `names` that are not allowed whatever the arguments, sorted."""
        if self.otherwise:
            names = names & (self.denied | self.tests.keys())
        return sorted(names - self.allowed)


def stricter(asked: Json, own: Json, mine: Said | None = None) -> Json:
    """The profile that allows what both `asked`, which may be empty, and `own` allow; raises Refused.

    `mine` is what `own` says, where that is known already.
    """
    if not asked:
        return own
    theirs = Said(asked)
    mine = mine or Said(own)
    gone: set[str] = set()
    added: dict[tuple[tuple[Test, ...], ...], list[str]] = {}
    narrowed: set[str] = set()
    # Most calls are allowed by both without a test, which sets tell of all of them at once.
    for name in theirs.not_whole(mine.allowed | mine.tests.keys()):
        said, answer = mine.of(name), theirs.of(name)
        found = _meet(said, answer)
        if type(said) is list and found == set(said):
            continue
        if found:
            narrowed.add(name)
            added.setdefault(tuple(sorted(tuple(sorted(tests)) for tests in found)), []).append(name)
        else:
            gone.add(name)
    result = {key: value for key, value in own.items() if key not in ("syscalls", "architectures", "flags")}
    result["architectures"] = _architectures(asked, own)
    if flags := [flag for flag in listing(asked, "flags", str, "linux.seccomp.") if flag in _KEPT_FLAGS]:
        result["flags"] = flags
    result["syscalls"] = _entries(own, gone | narrowed, gone)
    for ways, names in sorted(added.items(), key=lambda item: item[1]):
        result["syscalls"] += [
            {"names": names, "action": "SCMP_ACT_ALLOW", "args": [_spelled(test) for test in tests]} for tests in ways
        ]
    return result


def _entries(own: Json, moved: set[str], gone: set[str]) -> list[Json]:
    """The type's entries without the calls that have others now; those that are gone are denied by name."""
    result = []
    denied = False
    for entry in own["syscalls"]:
        names = entry["names"]
        if entry["action"] in _ALLOWED:
            if not moved.isdisjoint(names):
                names = [name for name in names if name not in moved]
        elif entry.get("args"):
            names = [name for name in names if name not in gone]
        elif gone and not denied and entry.get("errnoRet") == _EPERM:
            names, denied = sorted({*names, *gone}), True
        if names:
            result.append({**entry, "names": names})
    if gone and not denied:
        result.append({"names": sorted(gone), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM})
    return result


def _meet(mine: bool | list[frozenset[Test]], theirs: bool | list[frozenset[Test]]) -> set[frozenset[Test]]:
    """The tests of which one must hold for both to allow, as far as they can be said; none where nothing is left."""
    if theirs is False or mine is False or theirs is True:
        return set()
    left: list[frozenset[Test]] = [frozenset()] if mine is True else mine
    found = {one | other for one in left for other in theirs}
    # Two tests of one argument in one rule are joined by OR in runc, so such a rule cannot be said.
    plain = {tests for tests in found if len({test[0] for test in tests}) == len(tests)}
    return plain if len(plain) <= _MOST else set()


def _apart(tests: frozenset[Test], others: frozenset[Test]) -> bool:
    """Whether no call can meet both, as far as one argument alone shows it."""
    return any(one[0] == other[0] and _exclude(one, other) for one in tests for other in others)


def _exclude(one: Test, other: Test) -> bool:
    if "SCMP_CMP_NE" in (one[3], other[3]):
        same = one[1] == other[1]
        return same and {one[3], other[3]} == {"SCMP_CMP_NE", "SCMP_CMP_EQ"}
    (mask, value), (other_mask, other_value) = _bits(one), _bits(other)
    if mask and other_mask:
        return bool((value ^ other_value) & mask & other_mask)
    (low, high), (other_low, other_high) = _line(one), _line(other)
    return high < other_low or other_high < low


def _bits(test: Test) -> tuple[int, int]:
    """The bits that a test looks at, and what they must be; none where it compares sizes."""
    _, value, other, op = test
    if op == "SCMP_CMP_MASKED_EQ":
        return value, other & value
    return (_ALL, value) if op == "SCMP_CMP_EQ" else (0, 0)


def _line(test: Test) -> tuple[int, int]:
    _, value, _, op = test
    return {
        "SCMP_CMP_EQ": (value, value),
        "SCMP_CMP_LE": (0, value),
        "SCMP_CMP_LT": (0, value - 1),
        "SCMP_CMP_GE": (value, _ALL),
        "SCMP_CMP_GT": (value + 1, _ALL),
    }.get(op, (0, _ALL))


def _test(test: Json) -> Test:
    index, value, other = number(test, "index"), number(test, "value"), number(test, "valueTwo")
    if index is None or not 0 <= index < 6:
        raise refuse(WELL_FORMED, f"linux.seccomp: there is no argument {index}")
    return index, value or 0, other or 0, text(test, "op")


def _spelled(test: Test) -> Json:
    index, value, other, op = test
    return {"index": index, "value": value, **({"valueTwo": other} if other else {}), "op": op}


def _architectures(asked: Json, own: Json) -> list[str]:
    listed = listing(asked, "architectures", str, "linux.seccomp.")
    common = [name for name in own["architectures"] if name in listed] if listed else list(own["architectures"])
    if not common:
        raise refuse(WELL_FORMED, "linux.seccomp: no architecture of the type is among the runtime's")
    return common
