"""YAML 1.2 as a located tree: plain mappings, lists and scalars that remember where they were written.

PyYAML's C scanner gives the events; what a plain scalar means is decided here by the YAML 1.2 core schema, because
PyYAML's own resolver is that of YAML 1.1 (where `no` is false and `12:30` is a number). Characters that a reviewer
cannot see, or that one reader takes for a line break and another does not, are refused. No value of the language has
line breaks: text over several lines is one line.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.cyaml import CLoader

from stockade.model.position import Position
from stockade.source.diagnostics import Diagnostics
from stockade.source.files import MAX_BYTES

MAX_DEPTH = 32
MAX_NODES = 200_000

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]|\r(?!\n)"
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")


class Map(dict[str, Any]):
    """A mapping with places: `at` of itself, `keys_at` and `values_at` by key; `partial` when faults were taken out."""

    def __init__(self, at: Position) -> None:
        super().__init__()
        self.at = at
        self.partial = False
        self.keys_at: dict[str, Position] = {}
        self.values_at: dict[str, Position] = {}


class Seq(list[Any]):
    """A list with places: `at` of itself, `items_at` by index."""

    def __init__(self, at: Position) -> None:
        super().__init__()
        self.at = at
        self.items_at: list[Position] = []


class _Fault(Exception):
    def __init__(self, at: Position, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message


class _Reader:
    """Builds the documents of one file from its events."""

    def __init__(self, file: str, text: str, report: Diagnostics) -> None:
        self.file = file
        self.report = report
        self.events: Any = yaml.parse(text, Loader=CLoader)
        self.anchors: dict[str, Any] = {}
        self.open: set[str] = set()
        self.nodes = 0

    def place(self, event: Any) -> Position:
        return Position(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def documents(self) -> list[Map]:
        found: list[Map] = []
        empty: list[Position] = []
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if event.version not in (None, (1, 2)):
                    raise _Fault(self.place(event), "this is read as YAML 1.2; take the `%YAML` line out")
                self.anchors.clear()
                first: Any = next(self.events)
                value = self.node(first, 0)
                if isinstance(value, Map):
                    found.append(value)
                elif value is None:
                    empty.append(self.place(event))
                else:
                    raise _Fault(self.place(first), f"a document must be a mapping of keys to values, {_kind(value)}")
        for at in empty:
            self.report.error(at, "an empty document", "a `---` too many?")
        if not found and not empty:
            self.report.error(Position(self.file, 1, 1), "an empty file", "a file that says nothing is a mistake")
        return found

    def node(self, event: Any, depth: int) -> Any:
        at = self.place(event)
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise _Fault(at, f"nested deeper than {MAX_DEPTH} levels")
        if self.nodes > MAX_NODES:
            raise _Fault(at, f"more than {MAX_NODES} values in one file")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, at, depth)
        self.no_tag(event, at)
        anchor = event.anchor
        if anchor:
            self.open.add(anchor)
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = scalar(event.value) if event.implicit[0] and not event.style else self.text(event.value, at)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self.sequence(at, depth)
        else:
            value = self.mapping(at, depth)
        if anchor:
            self.open.discard(anchor)
            self.anchors[anchor] = value
        return value

    def no_tag(self, event: Any, at: Position) -> None:
        if event.tag is not None and not (isinstance(event, yaml.ScalarEvent) and event.tag == "!"):
            raise _Fault(at, f"tags such as `{event.tag}` mean nothing here; write the plain value")

    def text(self, value: str, at: Position) -> str:
        if match := _FORBIDDEN.search(value) or re.search("\t", value):
            raise _Fault(at, f"an escape gives U+{ord(match[0]):04X}, a character that nobody sees")
        return " ".join(value.split()) if "\n" in value else value

    def alias(self, event: Any, at: Position, depth: int) -> Any:
        if event.anchor in self.open:
            raise _Fault(at, f"alias `*{event.anchor}` stands inside what it names")
        if event.anchor not in self.anchors:
            raise _Fault(at, f"alias `*{event.anchor}` names no anchor above it")
        value = self.anchors[event.anchor]
        self.nodes += _size(value)
        if self.nodes > MAX_NODES:
            raise _Fault(at, f"more than {MAX_NODES} values in one file")
        if depth + _depth(value) > MAX_DEPTH:
            raise _Fault(at, f"nested deeper than {MAX_DEPTH} levels")
        return value

    def sequence(self, at: Position, depth: int) -> Seq:
        result = Seq(at)
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            result.items_at.append(self.place(event))
            result.append(self.node(event, depth + 1))
        return result

    def mapping(self, at: Position, depth: int) -> Map:
        result = Map(at)
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key_at = self.place(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise _Fault(key_at, "a key must be a plain word")
            self.no_tag(event, key_at)
            if event.anchor:
                raise _Fault(key_at, f"the anchor `&{event.anchor}` is on a key; anchors stand before values")
            key = self.text(event.value, key_at)
            if key == "<<" and not event.style:
                raise _Fault(key_at, "`<<` merges nothing in YAML 1.2; write the keys out")
            value_event = next(self.events)
            value_at = self.place(value_event)
            value = self.node(value_event, depth + 1)
            if key in result:
                self.report.error(key_at, f"`{key}` is given twice; the first is at line {result.keys_at[key].line}")
                continue
            result[key], result.keys_at[key], result.values_at[key] = value, key_at, value_at
        return result


def _size(value: Any) -> int:
    if isinstance(value, Map):
        return 1 + sum(_size(v) for v in value.values())
    return 1 + sum(_size(v) for v in value) if isinstance(value, Seq) else 1


def _depth(value: Any) -> int:
    if isinstance(value, Map):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, Seq) else 0


def _kind(value: Any) -> str:
    return "not a list" if isinstance(value, Seq) else f"not `{str(value)[:40]}`"


def scalar(text: str) -> Any:
    """What a plain scalar means in YAML 1.2: null, bool, int, float or the text itself.

    A float without a fraction is the whole number, as JSON Schema has it. What no number of ours has, more than 40
    characters, stays text.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) > 40 or text[0] not in "+-.0123456789":
        return " ".join(text.split()) if "\n" in text else text
    if _INT.match(text):
        return int(text, 0) if text[1:2] in ("o", "x") else int(text)
    if not _FLOAT.match(text):
        return text
    number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return int(number) if number.is_integer() else number


def read_documents(file: str, data: bytes, report: Diagnostics) -> list[Map]:
    """The documents of one file; faults go to `report`, and a file that cannot be read as YAML gives no documents."""
    start = Position(file, 1, 1)
    if len(data) > MAX_BYTES:
        report.error(start, f"larger than {MAX_BYTES >> 20} MiB")
        return []
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        at = _place(file, before, len(before))
        report.error(at, f"byte 0x{data[error.start]:02x} is not UTF-8")
        return []
    text = text.removeprefix("\ufeff")
    report.texts[file] = text
    if (tab := text.find("\t")) >= 0:
        report.error(_place(file, text, tab), "a tab; YAML is indented with spaces")
        return []
    if match := _FORBIDDEN.search(text):
        report.error(_place(file, text, match.start()), f"U+{ord(match[0]):04X}, a character that nobody sees")
        return []
    try:
        return _Reader(file, text, report).documents()
    except _Fault as fault:
        report.error(fault.at, fault.message)
    except yaml.MarkedYAMLError as error:
        at, hint = _where(file, text, error)
        report.error(at, f"not YAML: {error.problem or error.context}", hint)
    except yaml.YAMLError as error:
        report.error(start, f"not YAML: {error}".replace("\n", " "))
    return []


def _place(file: str, text: str, index: int) -> Position:
    return Position(file, text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def _where(file: str, text: str, error: yaml.MarkedYAMLError) -> tuple[Position, str]:
    """The place of a fault and a hint; what the end of the file left open is at fault where it was opened."""
    last = text.count("\n", 0, len(text.rstrip()))
    mark, begun = error.problem_mark, error.context_mark
    begun = None if begun is not None and begun.line > last else begun
    if begun is not None and (mark is None or mark.line > last):
        return Position(file, begun.line + 1, begun.column + 1), "it is still open at the end of the file"
    hint = f"{error.context}, which begins at line {begun.line + 1}" if begun is not None else ""
    if mark is None or mark.line > last:
        return _place(file, text, len(text.rstrip())), hint
    return Position(file, mark.line + 1, mark.column + 1), hint
