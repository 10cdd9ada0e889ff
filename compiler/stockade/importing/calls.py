"""Says in the policy language what a seccomp profile means: groups, names, conditions, address families."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Any

from stockade.model.names import FAMILIES
from stockade.model.seccomp import ALLOWED, Action, Condition, SyscallRule, Verdict
from stockade.model.syscalls import NAMES, argument, arguments_of, constants_of, numbers
from stockade.seccomp.judge import Place, PolicyJudge, places
from stockade.seccomp.outline import Box, Intervals, merged
from stockade.seccomp.profile import Profile
from stockade.seccomp.prove import spell_verdict
from stockade.seccomp.regions import Domain, Region, witness
from stockade.source.syscalls import DENYING

SOCKETS = ("socket", "socketpair")
LOGGED = Verdict(Action.LOG)
WHY = "as in the imported profile"
MAX_LISTED = 64
WORD = 0xFFFFFFFF


@dataclass(slots=True)
class Importer:
    """Turns one profile, resolved for 64-bit architectures, into parts of a container type; `notes` fill on the way."""

    profile: Profile
    groups: Mapping[str, tuple[str, ...]]
    notes: list[str] = field(default_factory=list)

    def syscalls(self) -> dict[str, Any]:
        """The value of `syscalls`: plain lists, mappings, texts and numbers, in the order to write them."""
        policy = self.profile.policy
        here = set().union(*(numbers(arch) for arch in self.profile.archs))
        by_call: dict[str, list[SyscallRule]] = defaultdict(list)
        for rule in policy.rules:
            if rule.call in here:
                by_call[rule.call].append(rule)
        forms = {call: self._forms_for(call, rules, ALLOWED) for call, rules in by_call.items() if call not in SOCKETS}
        always = {call for call, found in forms.items() if {} in found}
        said: dict[str, Any] = {}
        denied = policy.denied
        if denied == ALLOWED:
            said["allow"] = "all"
        else:
            said["allow"] = self.grouped(always, here)
            said["allow-when"] = [
                {"call": call, **form, "why": WHY}
                for call, found in sorted(forms.items())
                if call not in always
                for form in found
            ]
        said["allow-when"] = [*said.get("allow-when", ()), *self._logged(by_call, here)]
        said["deny"] = self._deny(by_call, here)
        said["denied"] = self._errno(denied, "what no rule answers") if denied != ALLOWED else "EPERM"
        said["unknown"] = "ENOSYS"
        self._said_of(policy.unknown, by_call)
        return said

    def sockets(self) -> tuple[str | list[str], list[dict[str, Any]]]:
        """The address families, and what `deny` has to say of `socket` and `socketpair` beside them."""
        cases = {call: self._socket_cases(call) for call in SOCKETS}
        families: set[int] = set()
        beyond = False
        for by_verdict in cases.values():
            for box in by_verdict.get(ALLOWED, ()):
                families |= {number for number in range(64) if _has(box[0], number)}
                beyond |= _has(box[0], WORD)
        if beyond and len(families) == 64:
            listed: str | list[str] = "all"
        else:
            names = {number: name for name, (number, _) in FAMILIES.items()}
            listed = [names[number] for number in sorted(families) if number in names]
            if strange := sorted(families - set(names)):
                self.notes.append(f"denied: sockets of families without a name here: {', '.join(map(str, strange))}")
            if beyond:
                self.notes.append("denied: sockets of families above 63, which no kernel has")
            families &= set(names)
        denials = []
        for call, by_verdict in cases.items():
            for verdict, boxes in sorted(by_verdict.items(), key=lambda item: spell_verdict(item[0])):
                if verdict != ALLOWED and (families or verdict != self.profile.policy.denied):
                    denials += self._socket_denials(call, verdict, boxes, families, listed == "all")
        return listed, denials

    def grouped(self, calls: set[str], here: set[str]) -> list[str]:
        """Groups that are allowed as a whole, then the other calls by name."""
        left = set(calls)
        used = []
        for name, members in sorted(self.groups.items()):
            present = set(members) & here
            if present and present <= calls and not present & set(SOCKETS):
                used.append(f"@{name}")
                left -= present
        return used + sorted(left)

    def _logged(self, by_call: Mapping[str, list[SyscallRule]], here: set[str]) -> list[dict[str, Any]]:
        """What is allowed and logged: calls whatever their arguments together, then the others one by one."""
        plain = sorted((call, rules) for call, rules in by_call.items() if call not in SOCKETS)
        forms = {call: self._forms_for(call, rules, LOGGED) for call, rules in plain}
        whole = {call for call, found in forms.items() if {} in found}
        entries = [{"call": self.grouped(whole, here), "action": "log", "why": WHY}] if whole else []
        for call, found in forms.items():
            if call not in whole:
                entries += [{"call": call, **form, "action": "log", "why": WHY} for form in found]
        return entries

    def _deny(self, by_call: Mapping[str, list[SyscallRule]], here: set[str]) -> list[dict[str, Any]]:
        alike: dict[tuple[tuple[str, str], ...], set[str]] = defaultdict(set)
        found = []
        for call, rules in sorted(by_call.items()):
            if call in SOCKETS:
                continue
            for verdict in sorted({rule.verdict for rule in rules} - {ALLOWED, LOGGED}, key=spell_verdict):
                answer = self._answer(verdict, f"`{call}`")
                forms = self._forms_for(call, rules, verdict)
                if {} in forms:
                    alike[tuple(answer.items())].add(call)
                else:
                    found += [{"call": call, **form, **answer, "why": WHY} for form in forms]
        whole = [
            {"call": self.grouped(calls, here), **dict(answer), "why": WHY} for answer, calls in sorted(alike.items())
        ]
        return whole + found

    def _answer(self, verdict: Verdict, what: str) -> dict[str, str]:
        """The keys by which an entry of `deny` answers as the profile does."""
        if verdict.action in DENYING and not verdict.data and verdict.action is not Action.NOTIFY:
            return {"action": str(verdict.action)}
        return {"errno": self._errno(verdict, what)}

    def _errno(self, verdict: Verdict, what: str) -> str:
        """The error by which the language refuses what the profile answers so."""
        if verdict.action is Action.ERRNO and verdict.errno in errno.errorcode:
            return errno.errorcode[verdict.errno]
        self.notes.append(f"EPERM instead of {spell_verdict(verdict)}, which cannot be said here: {what}")
        return "EPERM"

    def _forms_for(self, call: str, rules: Iterable[SyscallRule], verdict: Verdict) -> list[dict[str, Any]]:
        """The conditions under which rules give this verdict, as the language writes them: a mapping an entry.

        An empty mapping stands for no condition.
        """
        narrowed = []
        for rule in rules:
            fitted = [self._fit(call, condition) for condition in rule.conditions]
            if rule.verdict != verdict:
                continue
            if None not in fitted:
                narrowed.append(tuple(one for one in fitted if one and not _always(one)))
        found: list[dict[str, Any]] = []
        for conditions in _joined(narrowed):
            written = [[(self._label(call, c.argument)[0], form) for form in self._spell(call, c)] for c in conditions]
            found += [dict(choice) for choice in product(*written)]
        return found

    def _label(self, call: str, index: int) -> tuple[str, int]:
        """(name, width) of an argument as the language has it."""
        for name in arguments_of(call):
            if argument(call, name)[0] == index:
                return name, argument(call, name)[1]
        return f"arg{index}", 64

    def _fit(self, call: str, condition: Condition) -> Condition | None:
        """A condition on 64 bits as one on the width that the kernel reads; None where it can then never hold."""
        name, width = self._label(call, condition.argument)
        if width == 64:
            return condition
        note = f"`{call}`: `{name}` is compared as the 32 bits that the kernel reads, by the profile as 64"
        if note not in self.notes:
            self.notes.append(note)
        ranges = tuple((low, min(high, WORD)) for low, high in condition.ranges if low <= WORD)
        if (condition.ranges and not ranges) or any(value >> 32 for _, value in condition.masks):
            return None
        masks = tuple((mask & WORD, value) for mask, value in condition.masks if mask & WORD)
        return Condition(condition.argument, 32, () if ranges == ((0, WORD),) else ranges, masks)

    def _spell(self, call: str, condition: Condition) -> list[Any]:
        """The forms of one condition; it holds where one of them does."""
        name, width = self._label(call, condition.argument)
        symbols = _symbols(call, name)
        if condition.masks:
            ((mask, value),) = condition.masks
            bits = [1 << place for place in range(width) if mask >> place & 1]
            if value == 0 and all(bit in symbols for bit in bits):
                return [{"none-of": sorted(symbols[bit] for bit in bits)}]
            if value == mask and all(bit in symbols for bit in bits):
                return [{"all-of": sorted(symbols[bit] for bit in bits)}]
            return [{"mask": mask, "is": value}]
        return _ranges(condition.ranges, (1 << width) - 1, symbols)

    def _socket_cases(self, call: str) -> dict[Verdict, list[Box]]:
        """What is answered to one of the two calls, by its first three arguments as far as the kernel reads them."""
        found: dict[Verdict, list[Region]] = defaultdict(list)
        judge = PolicyJudge(self.profile.policy, self.profile.archs)
        arch = self.profile.archs[0]
        place = next(place for place in places(arch) if place.call == call)
        upper = Domain(0, 0)
        region = tuple(upper if word in (5, 7, 9) else domain for word, domain in enumerate(place.region))
        for part in judge.parts(Place(arch, call, region)):
            found[judge.decide(place, witness(part))].append(part)
        return {verdict: [(b[0], b[2], b[4]) for b in merged(parts)] for verdict, parts in found.items()}

    def _socket_denials(
        self, call: str, verdict: Verdict, boxes: Iterable[Box], families: set[int], every: bool
    ) -> list[dict[str, Any]]:
        answer = self._answer(verdict, f"`{call}`")
        # What gets another errno than the rest is said of every family; the rest only where the families allow it.
        exact = every or verdict != self.profile.policy.denied
        found = []
        for box in boxes:
            keys: dict[str, list[Any]] = {}
            if not exact:
                matching = sorted(number for number in families if _has(box[0], number))
                if not matching:
                    continue
                if len(matching) < len(families):
                    keys["family"] = _ranges(tuple((n, n) for n in matching), WORD, _symbols(call, "family"))
            labels = ("family", "type", "protocol") if exact else ("type", "protocol")
            for label, (spans, mask, value) in zip(labels, box if exact else box[1:], strict=True):
                if mask and spans != ((0, WORD),):
                    self.notes.append(f"`{call}`: bits and ranges of `{label}` together: the ranges are left out")
                if mask:
                    keys[label] = [{"mask": mask, "is": value}]
                elif spans != ((0, WORD),):
                    keys[label] = _ranges(spans, WORD, _symbols(call, label))
            for choice in product(*([(label, form) for form in forms] for label, forms in keys.items())):
                found.append({"call": call, **dict(choice), **answer, "why": WHY})
        return found

    def _said_of(self, unknown: Verdict, by_call: Mapping[str, list[SyscallRule]]) -> None:
        if unknown != Verdict(Action.ERRNO, errno.ENOSYS):
            self.notes.append(f"ENOSYS instead of {spell_verdict(unknown)} for calls that are not known yet")
        for rule in self.profile.policy.rules:
            logs = rule.verdict == LOGGED and rule.call in SOCKETS
            if (logs or rule.verdict.action is Action.NOTIFY) and rule.call in by_call:
                self.notes.append(f"denied: `{rule.call}`, which the profile answers by {rule.verdict.action}")
        narrow = {name for entry in self.profile.document.entries for _, name in entry.names if name in NAMES}
        narrow -= set().union(*(numbers(arch) for arch in self.profile.archs))
        if narrow:
            what = f"{len(narrow)} calls that {' and '.join(self.profile.archs)} do not have"
            self.notes.append(f"left out: {what}; other architectures are killed by the type's filter")
        for conflict in self.profile.conflicts:
            where = f"{conflict.first} and {conflict.second}"
            self.notes.append(f"conflict: {where} answer `{conflict.call}` differently: the stricter is taken")


def _symbols(call: str, label: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for symbol, value in constants_of(call, label).items():
        found.setdefault(value, symbol)
    return found


def _has(word: tuple[Intervals, int, int], number: int) -> bool:
    spans, mask, value = word
    return number & mask == value and any(low <= number <= high for low, high in spans)


def _joined(rules: Iterable[tuple[Condition, ...]]) -> list[tuple[Condition, ...]]:
    """The rules with those joined that test one argument by ranges and are alike in all else."""
    found: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    for conditions in dict.fromkeys(rules):
        last = conditions[-1] if conditions else None
        if last is not None and last.ranges and not last.masks:
            found.setdefault((*conditions[:-1], last.argument, last.width), []).extend(last.ranges)
        else:
            found.setdefault((*conditions, None, None), [])
    joined = []
    for (*others, index, width), ranges in found.items():
        if index is None:
            joined.append(tuple(others))
        elif (spans := _union(ranges)) != ((0, (1 << width) - 1),):
            joined.append((*others, Condition(index, width, spans)))
        else:
            joined.append(tuple(others))
    return joined


def _union(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def _always(condition: Condition) -> bool:
    """Whether every value of the argument passes."""
    return not condition.masks and condition.ranges in ((), ((0, (1 << condition.width) - 1),))


def _ranges(spans: Intervals, top: int, symbols: Mapping[int, str]) -> list[Any]:
    """Ranges of one argument as forms of the language: values, all but some values, or from and to."""
    few = _values(spans)
    if few is not None:
        named = [symbols.get(value, value) for value in few]
        return [named if len(named) > 1 else named[0]]
    edges = [(-1, -1), *spans, (top + 1, top + 1)]
    holes = _values(tuple((a[1] + 1, b[0] - 1) for a, b in pairwise(edges) if a[1] + 1 <= b[0] - 1))
    if holes is not None:
        return [{"not": [symbols.get(value, value) for value in holes]}]
    return [{"from": low, "to": high} for low, high in spans]


def _values(spans: Intervals) -> list[int] | None:
    """All values of some ranges where they are few."""
    if sum(high - low + 1 for low, high in spans) > MAX_LISTED:
        return None
    return [value for low, high in spans for value in range(low, high + 1)]
