"""The names that may stand at a place: those that the policy declares, with their places, and those of the kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stockade.editor.context import Context
from stockade.model.classes import CLASSES
from stockade.model.position import Position
from stockade.model.syscalls import NAMES, arguments_of, constants_of
from stockade.source.diagnostics import Diagnostics
from stockade.source.documents import read_all
from stockade.source.load import SourceFile
from stockade.source.units import ERRNO
from stockade.source.yaml import Map


class Kind(StrEnum):
    """What a name is the name of."""

    SUBJECT = "subject"
    OBJECT = "object"
    SET = "set"
    VERB = "verb"
    CLASS_GROUP = "group of classes"
    CALL_GROUP = "group of system calls"
    TYPE = "container type"
    ACTION = "action"
    PROMISE = "promise"
    SUBJECT_LABEL = "label of a subject"
    OBJECT_LABEL = "label of an object"
    CLASS = "class"
    PERMISSION = "permission"
    CALL = "system call"
    ARGUMENT = "argument"
    CONSTANT = "constant"
    ERROR = "error number"
    WORD = "word of the language"


@dataclass(frozen=True, slots=True)
class Name:
    """A name that means something; `at` is where it was declared, None for one of the kernel's or the language's.

    `body` is the declaration as it was written; `whose` is the call or class that an argument, constant or permission
    belongs to.
    """

    kind: Kind
    text: str
    why: str = ""
    at: Position | None = None
    body: Map | None = None
    whose: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """Every name that a policy declares, by kind."""

    names: Mapping[Kind, Mapping[str, Name]] = field(default_factory=dict)

    def of(self, *kinds: Kind) -> Iterator[Name]:
        """The declared names of these kinds, sorted."""
        for kind in kinds:
            yield from (name for _, name in sorted(self.names.get(kind, {}).items()))

    def all(self) -> Iterator[Name]:
        """Every declared name."""
        return self.of(*self.names)


_SECTIONS = {
    "subjects": Kind.SUBJECT,
    "objects": Kind.OBJECT,
    "sets": Kind.SET,
    "verbs": Kind.VERB,
    "groups": Kind.CLASS_GROUP,
}
_DOCUMENTS = {"container": Kind.TYPE, "action": Kind.ACTION, "promise": Kind.PROMISE}
_WORDS = {
    "self": "the subject's own label, whatever it is",
    "subjects": "every kind of process",
    "objects": "every kind of file and other passive thing",
    "everything": "every label there is",
}
_SCOPE = (Kind.WORD, Kind.SUBJECT, Kind.OBJECT, Kind.SET)
_CALLS = (Kind.CALL_GROUP, Kind.CALL)
_WANTED: Mapping[str, tuple[Kind, ...]] = {
    **dict.fromkeys(("who", "what", "of", "except", "members", "target"), _SCOPE),
    "may": (Kind.VERB,),
    "relabelling": (Kind.CLASS_GROUP, Kind.CLASS),
    "classes": (Kind.CLASS,),
    "allow": _CALLS,
    "call": _CALLS,
    "syscall": _CALLS,
    "syscalls": (Kind.CALL,),
    "extends": (Kind.TYPE,),
    "container": (Kind.TYPE,),
    "default-container": (Kind.TYPE,),
    "action": (Kind.ACTION,),
    "process": (Kind.SUBJECT_LABEL,),
    "files": (Kind.OBJECT_LABEL,),
    "runs": (Kind.OBJECT,),
    "in": (Kind.OBJECT, Kind.SUBJECT),
    "becomes": (Kind.SUBJECT, Kind.OBJECT),
    "initial": (Kind.SUBJECT, Kind.OBJECT),
    "silent-on": (Kind.SUBJECT, Kind.TYPE),
    "errno": (Kind.ERROR,),
    "unknown": (Kind.ERROR,),
    "denied": (Kind.ERROR,),
}
"""By the innermost key on the way to a value: what a name there may be the name of."""


def index(files: Iterable[SourceFile]) -> Index:
    """What the files of a policy declare, as far as they can be read."""
    found: dict[Kind, dict[str, Name]] = {}

    def add(kind: Kind, text: str, body: Map, at: Position) -> None:
        found.setdefault(kind, {}).setdefault(text, Name(kind, text, str(body.get("why", "")), at, body))

    documents = read_all(list(files), Diagnostics())
    for document in documents["host"]:
        for section, kind in _SECTIONS.items():
            entries: Map = document.get(section, Map(document.at))
            for text, body in entries.items():
                at = entries.keys_at[text]
                add(kind, f"@{text}" if kind is Kind.CLASS_GROUP else text, body, at)
                label = {Kind.SUBJECT: Kind.SUBJECT_LABEL, Kind.OBJECT: Kind.OBJECT_LABEL}.get(kind)
                if label is not None:
                    add(label, body["label"], body, at)
    for document in documents["groups"]:
        for text, body in document.get("groups", {}).items():
            add(Kind.CALL_GROUP, f"@{text}", body, document["groups"].keys_at[text])
    for key, kind in _DOCUMENTS.items():
        for document in documents[key]:
            add(kind, document[key], document, document.values_at[key])
    for document in documents["container"]:
        # A domain of its own makes a container type a subject of the host, by the type's name.
        selinux = document.get("selinux", {})
        if "domain" in selinux:
            add(Kind.SUBJECT, document["container"], document, document.values_at["container"])
            add(Kind.SUBJECT_LABEL, selinux["domain"], document, selinux.values_at["domain"])
    return Index(found)


def fitting(known: Index, here: Context) -> Iterator[Name]:
    """Every name that may stand at a place, beside the keys and words that the schema lists."""
    if here.is_key:
        yield from _keys(known, here)
        return
    steps = [step for step in here.path if isinstance(step, str)]
    if len(steps) > 1 and steps[-2] in ("access", "on"):
        yield from _permissions(known, steps[-1])
    elif len(steps) > 2 and steps[-1] == "except" and steps[-3] in ("access", "on"):
        yield from _permissions(known, steps[-2])
    elif here.key in _WANTED and not (len(steps) == 1 and steps[0] in _DOCUMENTS):
        yield from named(known, *_WANTED[here.key])
    else:
        for call in _call_beside(here):
            key = next((step for step in reversed(steps) if step not in ("none-of", "all-of", "not")), "")
            for text in constants_of(call, key):
                yield Name(Kind.CONSTANT, text, whose=f"{call}.{key}")


def named(known: Index, *kinds: Kind) -> Iterator[Name]:
    """All names of these kinds, the policy's and the kernel's."""
    for kind in kinds:
        yield from known.of(kind)
        match kind:
            case Kind.WORD:
                yield from (Name(kind, text, why) for text, why in _WORDS.items())
            case Kind.CLASS:
                yield from (Name(kind, text) for text in sorted(CLASSES))
            case Kind.CALL:
                yield from (Name(kind, text) for text in sorted(NAMES))
            case Kind.ERROR:
                yield from (Name(kind, text) for text in sorted(ERRNO))


def _keys(known: Index, here: Context) -> Iterator[Name]:
    if here.key in ("access", "on"):
        yield from named(known, Kind.CLASS_GROUP, Kind.CLASS)
    elif here.key == "silent-on":
        yield from named(known, *_WANTED["silent-on"])
    elif here.key in ("allow-when", "deny", "with"):
        for call in _call_beside(here):
            for text in arguments_of(call):
                yield Name(Kind.ARGUMENT, text, whose=call)


def _permissions(known: Index, text: str) -> Iterator[Name]:
    group = known.names.get(Kind.CLASS_GROUP, {}).get(text)
    classes = [text] if group is None or group.body is None else list(group.body.get("classes", ()))
    listed = {permission for name in classes for permission in CLASSES.get(name, ())}
    yield from (Name(Kind.PERMISSION, permission, whose=text) for permission in sorted(listed))


def _call_beside(here: Context) -> Iterator[str]:
    """The system call that the innermost mapping with one speaks of."""
    for said in reversed(here.beside):
        for key in ("call", "syscall"):
            if said.get(key) in NAMES:
                yield said[key]
                return
