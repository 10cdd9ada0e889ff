"""Protocol buffers on the wire, for messages that are described by a table: bounded, and closed to malformed input.

A message is a dict from field name to value. An absent scalar, list or map is an absent key, as is an absent message;
a message that is present and empty is an empty dict. What was received and is not in the table is skipped, but its
numbers are kept under `UNKNOWN`, so that a judge can tell a message that says more than this code understands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Fields = dict[str, Any]
"""A message: field name to int, bool, str, bytes, message, list of those, or dict for a map."""

UNKNOWN = "?"
"""Where the numbers of fields that the table does not have are kept, as a list of int."""

LIMIT = 4 << 20
"""No message is longer than this many bytes: the transport's own limit."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MASK64 = (1 << 64) - 1


class WireError(ValueError):
    """Bytes that are no such message, or a value that no such message can carry."""


class Field:
    """One field: its number, name, kind of value, and whether it repeats.

    `kind` is `int32`, `int64`, `uint32`, `uint64`, `bool`, `enum`, `string`, `bytes`, or a Message. A `key` makes it a
    map from that kind to `kind`. A `wrapped` one travels as a message whose only field, 1, is the value, so that zero
    and absent differ; here it is the bare value. What is `skipped` is jumped over when it arrives, for nobody asks for
    it: a container's environment can be most of a message.
    """

    __slots__ = ("empty", "key", "kind", "name", "number", "pair", "repeated", "skipped", "tag", "text", "wrapped")

    def __init__(
        self,
        number: int,
        name: str,
        kind: str | Message,
        *,
        repeated: bool = False,
        key: str | None = None,
        wrapped: bool = False,
        skipped: bool = False,
    ) -> None:
        self.number = number
        self.name = name
        self.kind = kind
        self.repeated = repeated
        self.key = key
        self.wrapped = wrapped
        self.skipped = skipped
        self.empty: Any = None if isinstance(kind, Message) else _EMPTY[kind]
        self.tag = varint(number << 3 | (VARINT if kind in _RANGE and not (repeated or wrapped or key) else BYTES))
        self.text = kind == "string" and not wrapped and key is None
        self.pair: Message | None = None
        if key is not None:
            self.pair = Message(f"{name} entry", Field(1, "key", key), Field(2, "value", kind))
        elif wrapped:
            self.pair = Message(f"optional {kind}", Field(1, "value", kind))


class Message:
    """A kind of message: its name and its fields, by number."""

    __slots__ = ("by_name", "fields", "name", "skips", "texts")

    def __init__(self, name: str, *fields: Field) -> None:
        self.name = name
        self.fields = {field.number: field for field in fields}
        self.by_name = {field.name: field for field in fields}
        # Most of what arrives is text with a tag of one byte: the decoder's shortest way is for that.
        self.texts = {
            field.number << 3 | BYTES: (field.name, field.repeated)
            for field in fields
            if field.text and not field.skipped and field.number < 16
        }
        self.skips = {field.number << 3 | BYTES for field in fields if field.skipped}

    def decode(self, data: bytes) -> Fields:
        """The message that `data` holds; raises WireError where it holds none."""
        if len(data) > LIMIT:
            raise WireError(f"{self.name}: {len(data)} bytes, and the limit is {LIMIT}")
        made: Fields = {}
        _decode_into(self, made, data, 0, len(data))
        return made

    def encode(self, value: Mapping[str, Any]) -> bytes:
        """The bytes of a message, fields by number and maps by key; raises WireError for a value that does not fit."""
        out = bytearray()
        by_name = self.by_name
        for name in value:
            if name not in by_name and name != UNKNOWN:
                raise WireError(f"{self.name} has no field {name}")
        for field in self.fields.values():
            if field.name not in value:
                continue
            item = value[field.name]
            if not field.text:
                _encode_field(self, field, item, out)
            elif field.repeated:
                for one in item:
                    out += field.tag + _text_value(self, field, one)
            elif item:
                out += field.tag + _text_value(self, field, item)
        return bytes(out)


_SHORT = 5
"""Bytes that the number of a field or a length may take: other decoders read no further, and this one agrees."""


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > _MASK64:
                raise WireError("a number is longer than 64 bits")
            return value, at
        shift += 7
        if shift > 63:
            raise WireError("a number is longer than 10 bytes")
    raise WireError("cut off within a number")


def _length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Start and end of the length-delimited value at `at`."""
    if at < end and data[at] < 0x80:
        length, at = data[at], at + 1
    else:
        began = at
        length, at = _varint(data, at, end)
        if at - began > _SHORT:
            raise WireError("a length is spelled longer than it can be")
    if length > end - at:
        raise WireError("cut off within a field")
    return at, at + length


def _decode_into(message: Message, made: Fields, data: bytes, at: int, end: int) -> None:
    fields, texts, skips = message.fields, message.texts, message.skips
    while at < end:
        tag = data[at]
        if tag in skips:
            _, at = _length(data, at + 1, end)
            continue
        if tag in texts and at + 1 < end and data[at + 1] < 0x80 and (stop := at + 2 + data[at + 1]) <= end:
            name, repeated = texts[tag]
            try:
                text = data[at + 2 : stop].decode()
            except UnicodeDecodeError as error:
                raise WireError(f"{message.name}.{name} is not UTF-8") from error
            at = stop
            if not repeated:
                made[name] = text
            elif name in made:
                made[name].append(text)
            else:
                made[name] = [text]
            continue
        if tag < 0x80:
            at += 1
        else:
            began = at
            tag, at = _varint(data, at, end)
            if at - began > _SHORT:
                raise WireError(f"{message.name}: the number of a field is spelled longer than it can be")
        number, wire = tag >> 3, tag & 7
        field = fields.get(number)
        if field is None:
            if not 0 < number < 1 << 29:
                raise WireError(f"{message.name}: no field can have the number {number}")
            at = _skip(message, wire, data, at, end)
            made.setdefault(UNKNOWN, []).append(number)
            continue
        kind = field.kind
        if wire == BYTES:
            start, at = _length(data, at, end)
            if field.pair is not None:
                _decode_pair(field, field.pair, made, data, start, at)
            elif kind == "string":
                text = _text(message, field, data[start:at])
                if field.repeated:
                    made.setdefault(field.name, []).append(text)
                else:
                    made[field.name] = text
            elif isinstance(kind, Message):
                if field.repeated:
                    inner: Fields = {}
                    made.setdefault(field.name, []).append(inner)
                else:
                    inner = made.setdefault(field.name, {})
                _decode_into(kind, inner, data, start, at)
            elif kind == "bytes":
                made[field.name] = data[start:at]
            elif field.repeated:  # packed
                numbers = made.setdefault(field.name, [])
                while start < at:
                    raw, start = _varint(data, start, at)
                    numbers.append(_SIGNED[kind](raw))
            else:
                raise WireError(f"{message.name}.{field.name} is no text, bytes or message")
        elif wire == VARINT and not isinstance(kind, Message) and kind in _SIGNED and field.pair is None:
            raw, at = _varint(data, at, end)
            if field.repeated:
                made.setdefault(field.name, []).append(_SIGNED[kind](raw))
            else:
                made[field.name] = _SIGNED[kind](raw)
        else:
            raise WireError(f"{message.name}.{field.name} has wire type {wire}")


def _skip(message: Message, wire: int, data: bytes, at: int, end: int) -> int:
    """Where the next field begins after an unknown one of that wire type."""
    if wire == VARINT:
        return _varint(data, at, end)[1]
    if wire == BYTES:
        return _length(data, at, end)[1]
    if wire in (FIXED64, FIXED32):
        at += 8 if wire == FIXED64 else 4
        if at > end:
            raise WireError("cut off within a field")
        return at
    raise WireError(f"{message.name}: wire type {wire} is not in use")


def _decode_pair(field: Field, pair: Message, made: Fields, data: bytes, start: int, end: int) -> None:
    """A map's entry or a wrapped value; what is absent in it is the kind's empty value."""
    inner: Fields = {}
    if field.key is None and field.name in made:  # said twice: the second is merged into the first
        inner["value"] = made[field.name]
    _decode_into(pair, inner, data, start, end)
    if UNKNOWN in inner:
        raise WireError(f"{pair.name}: the field {inner[UNKNOWN][0]} has no meaning there")
    value = inner["value"] if "value" in inner else _empty(field)
    if field.key is None:
        made[field.name] = value
    else:
        made.setdefault(field.name, {})[inner.get("key", _EMPTY[field.key])] = value


def _empty(field: Field) -> Any:
    return {} if isinstance(field.kind, Message) else field.empty


def _text(message: Message, field: Field, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError(f"{message.name}.{field.name} is not UTF-8") from error


def _signed(bits: int) -> Callable[[int], int]:
    half, full = 1 << bits - 1, 1 << bits

    def convert(raw: int) -> int:
        raw &= full - 1
        return raw - full if raw >= half else raw

    return convert


_SIGNED: dict[str, Callable[[int], int]] = {
    "int32": _signed(32),
    "enum": _signed(32),
    "int64": _signed(64),
    "uint32": lambda raw: raw & 0xFFFFFFFF,
    "uint64": lambda raw: raw,
    "bool": bool,
}
"""Kinds whose value is one varint, and how its 64 bits are read."""

_RANGE = {
    "int32": (-(1 << 31), 1 << 31),
    "enum": (-(1 << 31), 1 << 31),
    "int64": (-(1 << 63), 1 << 63),
    "uint32": (0, 1 << 32),
    "uint64": (0, 1 << 64),
    "bool": (0, 2),
}
_EMPTY: dict[str, Any] = {**dict.fromkeys(_RANGE, 0), "bool": False, "string": "", "bytes": b""}


def varint(value: int) -> bytes:
    """A number of up to 64 bits, seven at a time."""
    if value < 0x80:
        return _SMALL[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = [bytes([value]) for value in range(0x80)]


def _encode_field(message: Message, field: Field, value: Any, out: bytearray) -> None:
    if field.key is not None:
        assert field.pair is not None
        for key in sorted(value):
            entry = field.pair.encode({"key": key, "value": value[key]})
            out += field.tag + varint(len(entry)) + entry
    elif field.pair is not None:
        data = field.pair.encode({"value": value})
        out += field.tag + varint(len(data)) + data
    elif not field.repeated:
        # Of a field that is neither a message nor repeated, the empty value is the absent one.
        if isinstance(field.kind, Message) or value:
            out += field.tag + _value(message, field, value)
    elif isinstance(field.kind, Message) or field.kind == "bytes":
        for item in value:
            out += field.tag + _value(message, field, item)
    elif value:
        packed = b"".join(_value(message, field, item) for item in value)
        out += field.tag + varint(len(packed)) + packed


def _text_value(message: Message, field: Field, value: Any) -> bytes:
    if type(value) is not str:
        raise WireError(f"{message.name}.{field.name}: {value!r} is no text")
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise WireError(f"{message.name}.{field.name}: {value!r} cannot be UTF-8") from error
    return varint(len(data)) + data


def _value(message: Message, field: Field, value: Any) -> bytes:
    kind = field.kind
    if isinstance(kind, Message):
        # A part that is the same for every container is encoded once, and handed over as bytes.
        data = value if isinstance(value, bytes) else kind.encode(value)
    elif kind == "string":
        return _text_value(message, field, value)
    elif kind == "bytes":
        data = bytes(value)
    else:
        low, high = _RANGE[kind]
        if not isinstance(value, int) or not low <= value < high:
            raise WireError(f"{message.name}.{field.name}: {value!r} is no {kind}")
        return varint(value & _MASK64)
    return varint(len(data)) + data
