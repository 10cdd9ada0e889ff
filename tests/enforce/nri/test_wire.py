"""The codec of NRI's messages, against Google's own for the same table: same meaning, and nothing malformed taken."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stockade.enforce.nri import messages, wire
from stockade.enforce.nri.wire import UNKNOWN, Field, Fields, Message, WireError, varint

LIMIT = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
ALL = [pair[side] for pair in messages.METHODS.values() for side in (0, 1)]
ALL += [messages.REGISTER, messages.REQUEST, messages.RESPONSE]
NUMBERS = {
    "int32": st.integers(-(1 << 31), (1 << 31) - 1),
    "enum": st.integers(0, 3),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
    "uint32": st.integers(0, (1 << 32) - 1),
    "uint64": st.integers(0, (1 << 64) - 1),
    "bool": st.booleans(),
}
TYPES = descriptor_pb2.FieldDescriptorProto
EMPTY: dict[str, Any] = {**dict.fromkeys(NUMBERS, 0), "string": "", "bytes": b""}


class Reference:
    """Google's classes for our tables."""

    def __init__(self) -> None:
        self.file = descriptor_pb2.FileDescriptorProto(name="nri.proto", package="nri", syntax="proto3")
        self.names: dict[int, str] = {}
        for message in ALL:
            self.describe(message)
        pool = descriptor_pool.DescriptorPool()
        pool.Add(self.file)
        self.classes = {
            number: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"nri.{name}"))
            for number, name in self.names.items()
        }

    def describe(self, message: Message) -> str:
        """The name of the descriptor of a message, made now if it is new."""
        if id(message) in self.names:
            return self.names[id(message)]
        name = self.names[id(message)] = f"M{len(self.names)}"
        made = descriptor_pb2.DescriptorProto(name=name)
        for field in message.fields.values():
            added = made.field.add(name=field.name, number=field.number)
            added.label = TYPES.LABEL_REPEATED if field.repeated or field.key is not None else TYPES.LABEL_OPTIONAL
            # What is passed over is bytes to both: whether it is text of some language nobody asks.
            kind = "bytes" if field.skipped else field.kind
            if field.key is not None and not field.skipped:
                entry_name = "".join(part.capitalize() for part in field.name.split("_")) + "Entry"
                entry = made.nested_type.add(name=entry_name)
                entry.options.map_entry = True
                for number, part, of in ((1, "key", field.key), (2, "value", field.kind)):
                    inner = entry.field.add(name=part, number=number, label=TYPES.LABEL_OPTIONAL)
                    self.type(inner, of)
                added.type, added.type_name = TYPES.TYPE_MESSAGE, f".nri.{name}.{entry_name}"
            else:
                self.type(added, field.pair if field.pair is not None and not field.skipped else kind)
        self.file.message_type.append(made)
        return name

    def type(self, field: descriptor_pb2.FieldDescriptorProto, kind: str | Message) -> None:
        if isinstance(kind, Message):
            field.type, field.type_name = TYPES.TYPE_MESSAGE, f".nri.{self.describe(kind)}"
        else:
            field.type = getattr(TYPES, f"TYPE_{'INT32' if kind == 'enum' else kind.upper()}")

    def parse(self, message: Message, data: bytes) -> Fields:
        """What Google's parser finds, as our decoder would say it."""
        return self.plain(message, self.classes[id(message)].FromString(data))

    def plain(self, message: Message, parsed: Any) -> Fields:
        made: Fields = {}
        for field in message.fields.values():
            if field.skipped:
                continue
            value = getattr(parsed, field.name)
            if field.key is not None:
                pairs = {key: self.value(field.kind, value[key]) for key in value}
                if pairs:
                    made[field.name] = pairs
            elif field.repeated:
                if value:
                    made[field.name] = [self.value(field.kind, item) for item in value]
            elif field.pair is not None:
                if parsed.HasField(field.name):
                    made[field.name] = value.value
            elif isinstance(field.kind, Message):
                if parsed.HasField(field.name):
                    made[field.name] = self.plain(field.kind, value)
            elif value:
                made[field.name] = value
        return made

    def value(self, kind: str | Message, value: Any) -> Any:
        return self.plain(kind, value) if isinstance(kind, Message) else value


REFERENCE = Reference()


def values(kind: str | Message) -> st.SearchStrategy[Any]:
    if isinstance(kind, Message):
        return bodies(kind)
    if kind == "bytes":
        return st.binary(max_size=9)
    return NUMBERS[kind] if kind in NUMBERS else st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


def field_values(field: Field) -> st.SearchStrategy[Any]:
    one = values(field.kind)
    if field.key is not None:
        return st.dictionaries(values(field.key), one, min_size=1, max_size=2)
    return st.lists(one, min_size=1, max_size=2) if field.repeated else one


def bodies(message: Message) -> st.SearchStrategy[Fields]:
    if not message.by_name:
        return st.just({})
    chosen = st.sets(st.sampled_from(sorted(message.by_name)), max_size=3)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({n: field_values(message.by_name[n]) for n in names}))


SAID = st.sampled_from(ALL).flatmap(lambda message: st.tuples(st.just(message), bodies(message)))


def canonical(message: Message, value: Fields) -> Fields:
    """A message without what says nothing: empty scalars that are neither wrapped nor repeated, and unknown fields."""
    made: Fields = {}
    for name, item in value.items():
        if name == UNKNOWN:
            continue
        field = message.by_name[name]
        if field.skipped:
            continue
        if isinstance(field.kind, Message) and field.key is not None:
            made[name] = {key: canonical(field.kind, one) for key, one in item.items()}
        elif isinstance(field.kind, Message) and field.repeated:
            made[name] = [canonical(field.kind, one) for one in item]
        elif isinstance(field.kind, Message):
            made[name] = canonical(field.kind, item)
        elif item or field.wrapped:
            made[name] = item
    return made


@LIMIT
@given(SAID)
def test_what_is_encoded_means_the_same_to_both(said: tuple[Message, Fields]) -> None:
    message, value = said
    data = message.encode(value)
    assert canonical(message, message.decode(data)) == canonical(message, value)
    assert REFERENCE.parse(message, data) == canonical(message, value)


@LIMIT
@given(SAID, st.data())
def test_what_is_damaged_is_refused_or_means_the_same_to_both(
    said: tuple[Message, Fields], data: st.DataObject
) -> None:
    message, value = said
    damaged = bytearray(message.encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        mine = message.decode(bytes(damaged))
    except WireError:
        return
    assert REFERENCE.parse(message, bytes(damaged)) == canonical(message, mine)


FOUND = [
    # Text that is none, in a field that is passed over: an address of a pod, a container's arguments.
    (messages.METHODS["StateChange"][0], b"\x12\x03R\x01\xff"),
    (messages.METHODS["CreateContainer"][0], b"\x12\x04B\x02\xd0c"),
    # The number of a field, and a length, in more bytes than they can need.
    (messages.METHODS["StateChange"][0], b"\x80\x80\xff\x88\x8a\x00\x00"),
    (messages.METHODS["UpdateContainer"][0], b"\x12\x80\x80\x80\x80\x80\x00"),
    # A field in a map's entry that is neither its key nor its value.
    (messages.METHODS["ValidateContainerAdjustment"][0], b"*\t\n\x07\n\x01\x02\n\x002\x00"),
]


@pytest.mark.parametrize(("message", "data"), FOUND)
def test_damage_on_which_the_two_once_differed(message: Message, data: bytes) -> None:
    try:
        mine = message.decode(data)
    except WireError:
        return
    assert REFERENCE.parse(message, data) == canonical(message, mine)


def test_an_optional_value_has_nothing_beside_it() -> None:
    """What stands there would change what is asked for, in a way that is not known here."""
    message = messages.METHODS["CreateContainer"][1]
    data = message.encode({"adjust": {"linux": {"resources": {"memory": {"limit": 5}}}}})
    assert message.decode(data)["adjust"]["linux"]["resources"]["memory"] == {"limit": 5}
    with pytest.raises(WireError, match="the field 9 has no meaning there"):
        messages.METHODS["UpdateContainer"][0].decode(b"\x1a\x08\n\x06\n\x04\x08\x05\x48\x01")


@LIMIT
@given(SAID, st.data())
def test_google_takes_what_we_take_twice(said: tuple[Message, Fields], data: st.DataObject) -> None:
    """Two messages in a row are their union: lists grow, messages merge, the later scalar holds."""
    message, value = said
    twice = message.encode(value) + message.encode(data.draw(bodies(message)))
    assert canonical(message, message.decode(twice)) == REFERENCE.parse(message, twice)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x0a", "cut off within a number"),
        (b"\x0a\x05ab", "cut off within a field"),
        (b"\x0a\x01\xff", "not UTF-8"),
        (b"\x08\x01", "wire type 0"),
        (b"\x80" * 11, "longer than 10 bytes"),
        (b"\xff" * 9 + b"\x7f", "longer than 64 bits"),
        (b"\x02\x00", "the number 0"),
        (b"\x0b", "wire type 3"),
        (b"\xfb\x01", "wire type 3 is not in use"),
        (b"\xf9\x01\x00", "cut off within a field"),
        (b"\x22\x01\x00", "wire type 2"),
        (b"\x8a\x80\x80\x80\x80\x00\x00", "spelled longer than it can be"),
        (b"\x0a\x80\x80\x80\x80\x80\x00", "spelled longer than it can be"),
        (b" " * (wire.LIMIT + 1), "the limit is"),
    ],
)
def test_what_is_malformed_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(WireError) as found:
        messages.CONTAINER.decode(data)
    assert reason in str(found.value) or "is no text, bytes or message" in str(found.value)


def test_fields_beyond_the_table_are_kept_by_number() -> None:
    data = messages.NAMESPACE.encode({"type": "pid"}) + varint(99 << 3) + b"\x01" + varint(15 << 3 | 2) + b"\x02hi"
    assert messages.NAMESPACE.decode(data) == {"type": "pid", UNKNOWN: [99, 15]}
    assert messages.NAMESPACE.encode({"type": "pid", UNKNOWN: [99]}) == messages.NAMESPACE.encode({"type": "pid"})


@pytest.mark.parametrize(
    ("message", "value", "reason"),
    [
        (messages.PIDS, {"limit": 1 << 63}, "is no int64"),
        (messages.RLIMIT, {"hard": -1}, "is no uint64"),
        (messages.RLIMIT, {"type": 7}, "is no text"),
        (messages.RLIMIT, {"type": "\ud800"}, "cannot be UTF-8"),
        (messages.RLIMIT, {"kind": "x"}, "has no field kind"),
    ],
)
def test_what_cannot_be_said_is_refused(message: Message, value: Fields, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        message.encode(value)


def test_maps_are_said_in_order() -> None:
    one = messages.RESOURCES.encode({"unified": {"b": "1", "a": "2"}})
    assert one == messages.RESOURCES.encode({"unified": {"a": "2", "b": "1"}})


def test_a_part_may_be_given_as_bytes() -> None:
    seccomp = {"default_action": "SCMP_ACT_ERRNO", "default_errno": 0}
    ready = messages.SECCOMP.encode(seccomp)
    assert messages.LINUX_ADJUSTMENT.decode(messages.LINUX_ADJUSTMENT.encode({"seccomp_policy": ready})) == {
        "seccomp_policy": seccomp
    }
