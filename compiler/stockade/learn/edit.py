"""Writes changes into the source: what is there keeps its layout and its comments, to the last character."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stockade.learn.changes import Changes, NewCalls, NewRule
from stockade.learn.unused import Drop, Unused
from stockade.model.access import spell
from stockade.model.position import Position
from stockade.source.diagnostics import Diagnostics
from stockade.source.files import SourceFile
from stockade.source.yaml import Map, Seq, read_documents

LEARNED = "host/learned.yaml"
"""The file that learned rules are added to; like every file of `host/` it counts wherever a rule stands in it."""

_HEAD = (
    "# yaml-language-server: $schema=../../compiler/stockade/source/schemas/host.schema.json\n"
    "# Rules that were learned from denials: say what each is for, and move it to its place.\n"
    "rules:\n"
)


def rule_text(rule: NewRule) -> str:
    """A rule as the language writes it, in flow style."""
    what = rule.what[0] if len(rule.what) == 1 else f"[{', '.join(rule.what)}]"
    if rule.verbs:
        may = rule.verbs[0] if len(rule.verbs) == 1 else f"[{', '.join(rule.verbs)}]"
        granted = f"may: {may}"
    else:
        classes = (f"{name}: [{', '.join(permissions)}]" for name, permissions in spell(rule.access).items())
        granted = f"access: {{{', '.join(classes)}}}"
    times = "once" if rule.count == 1 else f"{rule.count} times"
    return f'{{who: {rule.who}, {granted}, what: {what}, why: "was denied {times}, first at {rule.first}"}}'


def edited(files: Sequence[SourceFile], changes: Changes) -> list[SourceFile]:
    """The files of a policy with changes written into them. ValueError says why one cannot be."""
    found = {file.name: file.data.decode("utf-8") for file in files}
    if changes.rules:
        text = found.get(LEARNED, _HEAD)
        found[LEARNED] = text + "".join(f"  - {rule_text(rule)}\n" for rule in changes.rules)
    for calls in changes.calls:
        name = _file_of(files, calls.container)
        found[name] = _with_calls(name, found[name], calls, _inherited(files, calls.container))
    return [SourceFile(name, text.encode("utf-8")) for name, text in sorted(found.items())]


def drop_text(drop: Drop, why: str) -> str:
    """An entry of `may-not` as the language writes it, in flow style."""
    may = drop.verbs[0] if len(drop.verbs) == 1 else f"[{', '.join(drop.verbs)}]"
    but = drop.kept[0] if len(drop.kept) == 1 else f"[{', '.join(drop.kept)}]"
    what = f"{{of: everything, except: {but}}}" if drop.kept else "everything"
    return f'{{may: {may}, what: {what}, why: "{why}"}}'


def narrowed(files: Sequence[SourceFile], found: Unused, why: str) -> list[SourceFile]:
    """The files with `found.drops` at the end of the type's `may-not`. ValueError says why they cannot be there."""
    name = _file_of(files, found.container)
    document = next(body for _, body in _documents(files, found.container))
    lines = next(file.data for file in files if file.name == name).decode("utf-8").split("\n")
    selinux, at = document["selinux"], document.keys_at["selinux"]
    entries = [f"- {drop_text(drop, why)}" for drop in found.drops]
    flow, _, comment = (part.strip() for part in lines[at.line - 1].partition(":")[2].partition(" #"))
    if "may-not" in selinux:
        last = selinux["may-not"].items_at[-1]
        dash = lines[last.line - 1]
        if not dash.lstrip().startswith("- "):
            raise ValueError(f"{last}: write each entry of `may-not` on a line of its own, so that more can follow")
        _insert(lines, last.line, _indent(dash), entries)
    elif flow:
        if not flow.endswith("}"):
            raise ValueError(f"{at}: write each key of `selinux` on a line of its own, so that `may-not` can follow")
        keys = [f"  {key}: {value}" for key, value in selinux.items()]
        lines[at.line - 1 : at.line] = [
            "selinux:" + (f"  # {comment}" if comment else ""),
            *keys,
            "  may-not:",
            *(f"    {entry}" for entry in entries),
        ]
    else:
        last = max(selinux.keys_at.values(), key=lambda place: place.line)
        _insert(lines, last.line, last.column - 1, ["may-not:", *(f"  {entry}" for entry in entries)])
    changed = SourceFile(name, "\n".join(lines).encode("utf-8"))
    return [changed if file.name == name else file for file in files]


def _insert(lines: list[str], after: int, indent: int, new: Sequence[str]) -> None:
    """Put lines with this indent behind the entry that begins on line `after`, counted from 1."""
    while after < len(lines) and lines[after].strip() and _indent(lines[after]) > indent:
        after += 1
    lines[after:after] = [" " * indent + line for line in new]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _file_of(files: Sequence[SourceFile], container: str) -> str:
    for name, _ in _documents(files, container):
        return name
    raise ValueError(f"no file declares the container type {container}")


def _documents(files: Sequence[SourceFile], container: str) -> Iterator[tuple[str, Map]]:
    """(file, document) of each declaration of a container type."""
    for file in files:
        if file.name.startswith("containers/"):
            for document in read_documents(file.name, file.data, Diagnostics()):
                if document.get("container") == container:
                    yield file.name, document


def _inherited(files: Sequence[SourceFile], container: str) -> list[str]:
    """What a type without a list of its own is allowed: the list of the nearest type that it extends and that has one.

    A list of its own takes the place of that one, so it has to begin with the same.
    """
    for _, document in _documents(files, container):
        syscalls = document.get("syscalls")
        if isinstance(syscalls, Map) and isinstance(allow := syscalls.get("allow"), Seq):
            return [str(name) for name in allow]
        if parent := document.get("extends"):
            return _inherited(files, str(parent))
    return []


def _with_calls(name: str, text: str, new: NewCalls, inherited: Sequence[str]) -> str:
    """A container type's text with calls added to `syscalls: allow`, in whichever style that list is."""
    names = [call for call, _ in new.calls]
    document = next(
        d for d in read_documents(name, text.encode(), Diagnostics()) if d.get("container") == new.container
    )
    syscalls = document.get("syscalls")
    if not isinstance(syscalls, Map):
        spelled = [f'"{word}"' if word.startswith("@") else word for word in inherited]
        return _appended(text, document, f"syscalls:\n  allow:\n{_items([*spelled, *names], 4)}")
    allow = syscalls.get("allow")
    if not isinstance(allow, Seq):
        raise ValueError(
            f"{syscalls.at}: `{new.container}` lists no calls of its own under `allow`: add {', '.join(names)}"
        )
    lines = text.split("\n")
    if not allow:
        return _filled(lines, syscalls.values_at["allow"], names)
    last = allow.items_at[-1]
    line = lines[last.line - 1]
    if line[: last.column - 1].strip() == "-":
        lines.insert(last.line, _items(names, line.index("-")).rstrip("\n"))
        return "\n".join(lines)
    at = last.column - 1
    quote = line[at] if line[at] in "\"'" else ""
    end = line.index(quote, at + 1) + 1 if quote else at + len(str(allow[-1]))
    lines[last.line - 1] = f"{line[:end]}, {', '.join(names)}{line[end:]}"
    return "\n".join(lines)


def _filled(lines: list[str], at: Position, names: Sequence[str]) -> str:
    """A text whose list at this place is empty, with names in it. ValueError where the list spans lines."""
    line = lines[at.line - 1]
    before, list_ = line[: at.column - 1], line[at.column - 1 :]
    inside, closed, after = list_[1:].partition("]")
    if not closed or inside.strip():
        raise ValueError(f"{at}: write the empty list as []")
    lines[at.line - 1] = f"{before}[{', '.join(names)}]{after}"
    return "\n".join(lines)


def _items(names: Sequence[str], indent: int) -> str:
    return "".join(f"{' ' * indent}- {name}\n" for name in names)


def _appended(text: str, document: Map, lines: str) -> str:
    """A text with lines at the end of one of its documents."""
    last = max(position.line for position in document.keys_at.values())
    rows = text.split("\n")
    end = next((n for n in range(last, len(rows)) if rows[n].startswith("---")), len(rows))
    while end > last and not rows[end - 1].strip():
        end -= 1
    return "\n".join([*rows[:end], *lines.rstrip("\n").split("\n"), *rows[end:]])


def differences(before: Sequence[SourceFile], after: Sequence[SourceFile]) -> Mapping[str, bytes]:
    """The files that are new or changed, by name."""
    old = {file.name: file.data for file in before}
    return {file.name: file.data for file in after if old.get(file.name) != file.data}
