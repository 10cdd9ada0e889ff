"""YAML 1.2 as a located tree: plain mappings, lists and scalars that remember where they were written.

PyYAML's C scanner gives the events; what a plain scalar means is decided here by the YAML 1.2 core schema, because
PyYAML's own resolver is that of YAML 1.1 (where `no` is false and `12:30` is a number).
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from stockade.model.position import Position
from stockade.source.diagnostics import Diagnostics

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 200_000

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")


class Map(dict[str, Any]):
    """A mapping with places: `at` of itself, `keys_at` and `values_at` by key."""

    def __init__(self, at: Position) -> None:
        super().__init__()
        self.at = at
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
        self.events: Any = yaml.parse(text, Loader=yaml.CLoader)
        self.anchors: dict[str, Any] = {}
        self.open: set[str] = set()
        self.nodes = 0

    def place(self, event: Any) -> Position:
        return Position(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def documents(self) -> list[Map]:
        found: list[Map] = []
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors.clear()
                first: Any = next(self.events)
                value = self.node(first, 0)
                if isinstance(value, Map):
                    found.append(value)
                elif not (value is None and first.start_mark.index == first.end_mark.index):
                    raise _Fault(self.place(first), "a document must be a mapping of keys to values")
        return found

    def node(self, event: Any, depth: int) -> Any:
        at = self.place(event)
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise _Fault(at, f"nested deeper than {MAX_DEPTH} levels")
        if self.nodes > MAX_NODES:
            raise _Fault(at, f"more than {MAX_NODES} values in one file")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, at)
        if event.tag is not None and not (isinstance(event, yaml.ScalarEvent) and event.tag == "!"):
            raise _Fault(at, f"tags such as `{event.tag}` mean nothing here; write the plain value")
        anchor = event.anchor
        if anchor:
            self.open.add(anchor)
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = scalar(event.value) if event.implicit[0] and not event.style else event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self.sequence(at, depth)
        else:
            value = self.mapping(at, depth)
        if anchor:
            self.open.discard(anchor)
            self.anchors[anchor] = value
        return value

    def alias(self, event: Any, at: Position) -> Any:
        if event.anchor in self.open:
            raise _Fault(at, f"alias `*{event.anchor}` stands inside what it names")
        if event.anchor not in self.anchors:
            raise _Fault(at, f"alias `*{event.anchor}` names no anchor above it")
        value = self.anchors[event.anchor]
        self.nodes += _size(value)
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
            key = event.value
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


def scalar(text: str) -> Any:
    """What a plain scalar means in YAML 1.2: null, bool, int, float or the text itself."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) <= 40 and _INT.match(text):
        return int(text, 0) if text[1:2] in ("o", "x") else int(text)
    return float(text.replace(".inf", "inf").replace(".nan", "nan")) if _FLOAT.match(text) else text


def read_documents(file: str, data: bytes, report: Diagnostics) -> list[Map]:
    """The documents of one file; faults go to `report`, and a file that cannot be read as YAML gives no documents."""
    start = Position(file, 1, 1)
    if len(data) > MAX_BYTES:
        report.error(start, f"larger than {MAX_BYTES >> 20} MiB")
        return []
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        report.error(Position(file, line, column), f"byte 0x{data[error.start]:02x} is not UTF-8")
        return []
    report.texts[file] = text
    if (tab := text.find("\t")) >= 0:
        line = text.count("\n", 0, tab) + 1
        column = tab - (text.rfind("\n", 0, tab) + 1) + 1
        report.error(Position(file, line, column), "a tab; YAML is indented with spaces")
        return []
    try:
        return _Reader(file, text, report).documents()
    except _Fault as fault:
        report.error(fault.at, fault.message)
    except yaml.reader.ReaderError as error:
        index = error.position if isinstance(error.position, int) else 0
        line = text.count("\n", 0, index) + 1
        report.error(Position(file, line, 1), f"a character YAML does not allow: {error.reason}")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Position(file, mark.line + 1, mark.column + 1) if mark else start
        report.error(at, f"not YAML: {error.problem or error.context}")
    return []
