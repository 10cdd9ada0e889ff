"""What a judge of system calls allows, in words and ranges: for each architecture by call, arguments by intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from stockade.model.seccomp import ALLOWED, Verdict
from stockade.model.syscalls import argument, arguments_of, constants_of
from stockade.seccomp.judge import Judge, Place, everywhere, places
from stockade.seccomp.prove import spell_verdict
from stockade.seccomp.regions import NR, WORD, Region, witness

Intervals = tuple[tuple[int, int], ...]
Word = tuple[Intervals, int, int]
"""The values of a 32-bit word in some intervals that have certain bits: (intervals, mask, value)."""
Box = tuple[Word, ...]
MAX_CASES = 64


@dataclass(frozen=True, slots=True)
class Section:
    """One architecture. `numbers` are the inclusive runs of numbers that are allowed whatever their arguments.

    `allowed` are their names, `conditional` (call, its cases) where arguments decide, `answered` the calls by any other
    answer, `unnamed` the answers to numbers that the table does not know.
    """

    arch: str
    allowed: tuple[str, ...]
    numbers: Intervals
    conditional: tuple[tuple[str, tuple[str, ...]], ...]
    answered: tuple[tuple[str, tuple[str, ...]], ...]
    unnamed: tuple[str, ...]


def outline(judge: Judge) -> tuple[list[Section], tuple[str, ...]]:
    """A section for each architecture that the judge knows, and what it answers to all others.

    Unprovable for a raw filter that cannot be followed.
    """
    sections = [_section(judge, arch) for arch in judge.archs]
    known = set(judge.archs)
    others = {
        spell_verdict(judge.decide(place, witness(region)))
        for place in everywhere()
        if place.arch not in known
        for region in judge.parts(place)
    }
    return sections, tuple(sorted(others))


def _section(judge: Judge, arch: str) -> Section:
    allowed: list[tuple[int, str]] = []
    conditional: list[tuple[str, tuple[str, ...]]] = []
    answered: dict[str, list[str]] = defaultdict(list)
    unnamed: set[str] = set()
    runs: list[tuple[int, int]] = []
    for place in places(arch):
        cases: dict[Verdict, list[Region]] = defaultdict(list)
        for region in judge.parts(place):
            cases[judge.decide(place, witness(region))].append(region)
        low, high = place.region[NR].low, place.region[NR].high
        if place.call is None:
            unnamed |= {spell_verdict(verdict) for verdict in cases}
        elif len(cases) > 1:
            conditional.append((place.call, tuple(_sentences(place, cases))))
        elif ALLOWED in cases:
            allowed.append((low, place.call))
        else:
            answered[spell_verdict(next(iter(cases)))].append(place.call)
        if set(cases) == {ALLOWED}:
            if runs and runs[-1][1] + 1 == low:
                runs[-1] = (runs[-1][0], high)
            else:
                runs.append((low, high))
    return Section(
        arch,
        tuple(sorted(name for _, name in allowed)),
        tuple(runs),
        tuple(sorted(conditional)),
        tuple((said, tuple(sorted(calls))) for said, calls in sorted(answered.items())),
        tuple(sorted(unnamed)),
    )


def _sentences(place: Place, cases: dict[Verdict, list[Region]]) -> Iterable[str]:
    """The arguments of every answer but the one with most parts, in intervals, and that one for the rest."""
    assert place.call is not None
    boxes = {verdict: merged(regions) for verdict, regions in cases.items()}
    rest = max(boxes, key=lambda verdict: (len(boxes[verdict]), verdict != ALLOWED, spell_verdict(verdict)))
    said = []
    for verdict in sorted(boxes.keys() - {rest}, key=spell_verdict):
        head = f"{spell_verdict(verdict)} where"
        said += [f"{head} {_box(place.call, box)}" for box in boxes[verdict][:MAX_CASES]]
        if (more := len(boxes[verdict]) - MAX_CASES) > 0:
            said.append(f"{head} one of {more} more combinations of arguments holds")
    return [*said, f"{spell_verdict(rest)} otherwise"]


def merged(regions: Iterable[Region]) -> list[Box]:
    """Boxes that together are the regions' arguments, joined where they differ in the intervals of one word only."""
    boxes: set[Box] = {tuple((((d.low, d.high),), d.mask, d.value) for d in region[4:]) for region in regions}
    changed = True
    while changed:
        changed = False
        for word in range(12):
            alike: dict[tuple[object, ...], set[Box]] = defaultdict(set)
            for box in boxes:
                alike[(*box[:word], box[word][1:], *box[word + 1 :])].add(box)
            joined: set[Box] = set()
            for group in alike.values():
                first = next(iter(group))
                spans = _union(span for box in group for span in box[word][0])
                joined.add((*first[:word], (spans, *first[word][1:]), *first[word + 1 :]))
            changed |= len(joined) < len(boxes)
            boxes = joined
    return sorted(boxes)


def _union(spans: Iterable[tuple[int, int]]) -> Intervals:
    found: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


FULL: Word = (((0, WORD),), 0, 0)
ZERO = ((0, 0),)


def _box(call: str, box: Box) -> str:
    said = [text for index in range(6) if (text := _argument(call, index, box[2 * index], box[2 * index + 1]))]
    return " and ".join(said) or "its arguments are anything"


def _argument(call: str, index: int, lower: Word, upper: Word) -> str:
    if lower == FULL and upper == FULL:
        return ""
    label = next((name for name in arguments_of(call) if argument(call, name)[0] == index), f"arg{index}")
    symbols: dict[int, str] = {}
    narrow = False
    if label in arguments_of(call):
        narrow = argument(call, label)[1] == 32
        for symbol, value in constants_of(call, label).items():
            symbols.setdefault(value, symbol)
    if upper == FULL:
        return _word(label if narrow else f"the lower half of {label}", lower, symbols)
    if upper[0] == ZERO and not narrow and lower != FULL:
        return _word(label, lower, symbols)
    parts = [_word(label if narrow else f"the lower half of {label}", lower, symbols)] if lower != FULL else []
    return " and ".join([*parts, _word(f"the upper half of {label}", upper, {})])


def _word(label: str, word: Word, symbols: dict[int, str]) -> str:
    intervals, mask, value = word
    said = []
    if intervals != FULL[0]:
        spans = [_span(low, high, symbols) for low, high in intervals]
        said.append("is " + (f"{', '.join(spans[:-1])} or {spans[-1]}" if len(spans) > 1 else spans[0]))
    if mask:
        bits = [1 << place for place in range(32) if mask >> place & 1]
        known = all(bit in symbols for bit in bits)
        for wanted, phrase in ((0, "has none of"), (1, "has all of")):
            these = [bit for bit in bits if bool(value & bit) == bool(wanted)]
            if these:
                said.append(f"{phrase} {', '.join(symbols[bit] for bit in these) if known else hex(sum(these))}")
    return f"{label} {' and '.join(said)}"


def _span(low: int, high: int, symbols: dict[int, str]) -> str:
    if high - low < 4:
        return ", ".join(symbols.get(value, f"{value:#x}") for value in range(low, high + 1))
    return f"{low:#x} or more" if high == WORD else f"{low:#x} to {high:#x}"
