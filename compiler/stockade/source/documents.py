"""Reads every file into documents by kind, and takes out what is faulty, so that the rest can be checked too."""

from __future__ import annotations

import re

from stockade.model.position import Position
from stockade.model.syscalls import NAMES
from stockade.source.diagnostics import Diagnostics, nearest
from stockade.source.files import SourceFile
from stockade.source.host import LISTS, SECTIONS
from stockade.source.inherit import MERGED
from stockade.source.shape import Fault, check_shape
from stockade.source.yaml import Map, Seq, read_documents

_KIND = {
    "host": "host",
    "containers": "container",
    "actions": "action",
    "promises": "promise",
    "expectations": "expectation",
}
_HOMES = {"container": "containers", "action": "actions", "promise": "promises", "expect": "expectations"}
FOLDERS = tuple(_KIND)
KINDS = ("host", "container", "groups", "promise", "waiver", "action", "expectation")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*\Z")


def read_all(files: list[SourceFile], report: Diagnostics) -> dict[str, list[Map]]:
    """The documents of every kind: host, container, groups, promise, waiver, action, expectation."""
    found: dict[str, list[Map]] = {kind: [] for kind in KINDS}
    for file in sorted(files, key=lambda f: f.name):
        place = Position(file.name, 1, 1)
        top = file.name.split("/")[0]
        if "/" not in file.name or top not in FOLDERS:
            report.error(place, "a policy file lives in one of " + ", ".join(FOLDERS), nearest(top, FOLDERS))
            continue
        if not _NAME.match(file.name):
            report.error(place, "the name of a policy file has letters, digits, `.`, `_` and `-`")
            continue
        if not file.name.endswith(".yaml"):
            report.error(place, "a policy file ends in .yaml")
            continue
        before = len(report.found)
        documents = read_documents(file.name, file.data, report)
        if len(report.found) > before:
            report.doubtful |= set(re.findall(r"[A-Za-z0-9_-]+", report.texts.get(file.name, "")))
            report.incomplete.add(top)
        for document in documents:
            kind = kind_of(file.name, document)
            strayed = [key for key, home in _HOMES.items() if key in document and home != top]
            if strayed and kind not in document:
                message = f"`{strayed[0]}` begins a file of `{_HOMES[strayed[0]]}/`, and this one is in `{top}/`"
                report.error(document.keys_at[strayed[0]], message)
                report.incomplete.add(top)
                report.doubtful |= _words(document)
                continue
            faults = check_shape(kind, document, report)
            if faults:
                report.incomplete.add(top)
            if not faults or _without(kind, document, faults, report):
                found[kind].append(document)
    if not files:
        report.error(Position(".", 1, 1), "no policy here: no .yaml file in any of " + ", ".join(FOLDERS))
        report.incomplete |= {"host", "containers"}
    return found


def kind_of(file: str, document: Map) -> str:
    """The kind of a document, by the folder of its file and by what it says it is; empty in any other folder."""
    kind = _KIND.get(file.split("/")[0], "")
    if kind == "container" and "groups" in document and "container" not in document:
        return "groups"
    if kind == "promise" and "open" in document and "promise" not in document:
        return "waiver"
    return kind


def _without(kind: str, document: Map, faults: list[Fault], report: Diagnostics) -> bool:
    """Take the smallest whole entries with a fault out of a document; False when nothing is left to check."""
    document.partial = True
    if kind in ("promise", "waiver", "expectation"):
        return False
    if kind == "action" or (kind == "container" and ("container" not in document or ("container",) in faults)):
        report.doubtful |= _words(document)
        return False
    entries = {"host": (*SECTIONS, *LISTS), "container": MERGED, "groups": ("groups",)}[kind]
    for fault in sorted({f[:2] if f[:1] and f[0] in entries else f[:1] for f in faults}, key=_last_first, reverse=True):
        if not fault or fault[0] not in document:
            continue
        section = document[str(fault[0])]
        if len(fault) == 1 or not isinstance(section, Map | Seq):
            report.doubtful |= _words(document.pop(str(fault[0])))
        elif isinstance(section, Map) and fault[1] in section:
            lost = section.pop(str(fault[1]))
            report.doubtful |= {*_words(fault[1]), *(_words(lost) if kind == "host" else ())}
            report.incomplete.add(str(fault[0]))
        elif isinstance(section, Seq) and isinstance(fault[1], int) and fault[1] < len(section):
            del section[fault[1]], section.items_at[fault[1]]
    return True


def _last_first(fault: Fault) -> tuple[str, int, str]:
    step = fault[1] if len(fault) > 1 else ""
    return str(fault[:1]), step if isinstance(step, int) else 0, str(step)


def _words(value: object) -> set[str]:
    """Every key and text in a value."""
    if isinstance(value, dict):
        return set().union(*map(_words, value.keys()), *(_words(v) for v in value.values()))
    if isinstance(value, list):
        return set().union(*(_words(v) for v in value))
    return {str(value), str(value).lower().replace("_", "-")}


def by_name(documents: list[Map], report: Diagnostics) -> dict[str, Map]:
    """Container types by name; each may be declared once."""
    found: dict[str, Map] = {}
    for body in documents:
        name, at = body["container"], body.values_at["container"]
        if name in found:
            first = found[name].values_at["container"]
            report.error(at, f"container type `{name}` is declared twice", f"the first is at {first}")
        else:
            found[name] = body
    return found


def syscall_groups(documents: list[Map], report: Diagnostics) -> dict[str, tuple[str, ...]]:
    """Groups of system calls by name; each may be declared once."""
    found: dict[str, tuple[str, ...]] = {}
    places: dict[str, Position] = {}
    for document in documents:
        groups: Map = document.get("groups", Map(document.at))
        for name, body in groups.items():
            at = groups.keys_at[name]
            if name in found:
                report.error(at, f"the group `{name}` is declared twice", f"the first is at {places[name]}")
                continue
            calls = body["syscalls"]
            for call, place in zip(calls, calls.items_at, strict=True):
                if call not in NAMES:
                    report.unknown(place, "system call", call, NAMES)
            found[name] = tuple(sorted(NAMES.intersection(calls)))
            places[name] = at
    return found
