"""`host/actions.json`: every action with its needs in the kernel's own names, for whoever has no source."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from stockade.bundle.manifest import BundleError
from stockade.bundle.read import Bundle
from stockade.model.access import NOTHING, mask, spell
from stockade.model.action import (
    KEYS,
    Abi,
    ActionCase,
    Aim,
    Categories,
    Need,
    Reach,
    Trial,
    Use,
)
from stockade.model.json_text import spelled
from stockade.model.policy import Policy
from stockade.model.position import Position

PATH = "host/actions.json"
SCHEMA = "stockade-actions/1"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The actions of a bundle by name; `subjects` are the labels of processes, `categories` how many there are."""

    actions: Mapping[str, ActionCase]
    subjects: frozenset[str]
    categories: int


def to_json(policy: Policy) -> bytes:
    """The one spelling of a policy's actions: keys sorted, two spaces, ASCII, one newline at the end."""
    document = {
        "schema": SCHEMA,
        "subjects": sorted(policy.host.subject_labels),
        "categories": policy.host.categories,
        "actions": {name: _action(action) for name, action in policy.actions.items()},
    }
    return spelled(document)


def catalogue(bundle: Bundle) -> Catalogue:
    """The actions of a bundle. BundleError where the file is missing, changed, or not of this form."""
    try:
        document = json.loads(bundle.bytes(PATH))
        if document["schema"] != SCHEMA:
            raise BundleError(PATH, f"schema is {document['schema']!r}, this program reads {SCHEMA!r}")
        actions = {name: _case(name, body) for name, body in sorted(document["actions"].items())}
        return Catalogue(actions, frozenset(document["subjects"]), document["categories"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BundleError(PATH, f"not a catalogue of actions: {error}") from error


def _action(action: ActionCase) -> dict[str, Any]:
    return {
        "aim": action.aim.value,
        "why": action.why,
        "at": str(action.at),
        "seenIn": list(action.seen_in),
        "ways": [[_need(need) for need in way] for way in action.ways],
        "try": {
            "does": action.trial.does,
            "reached": list(action.trial.reached),
            "absent": dict(action.trial.absent),
            "unasked": action.trial.unasked,
        },
    }


def _need(need: Need) -> dict[str, Any]:
    """A need under the keys of its kind; one without fields is `true`."""
    keys = KEYS[type(need)]
    values = [getattr(need, field.name) for field in fields(need)] or [True]
    return {key: _FORMS[key][0](value) if key in _FORMS else value for key, value in zip(keys, values, strict=True)}


def _case(name: str, body: Mapping[str, Any]) -> ActionCase:
    file, line, column = body["at"].rsplit(":", 2)
    trial = body["try"]
    return ActionCase(
        name=name,
        aim=Aim(body["aim"]),
        seen_in=tuple(body["seenIn"]),
        ways=tuple(tuple(_read(need) for need in way) for way in body["ways"]),
        trial=Trial(trial["does"], tuple(trial["reached"]), dict(trial["absent"]), trial["unasked"]),
        why=body["why"],
        at=Position(file, int(line), int(column)),
    )


def _access(spelled: Mapping[str, Any]) -> int:
    access = NOTHING
    for name, permissions in spelled.items():
        access |= mask(name, permissions)
    return access


_FORMS: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "syscall": (list, tuple),
    "arguments": (
        lambda values: {str(index): value for index, value in values.items()},
        lambda written: {int(index): value for index, value in written.items()},
    ),
    "abi": (str, Abi),
    "selinux": (lambda access: {name: list(permissions) for name, permissions in spell(access).items()}, _access),
    "targets": (sorted, frozenset),
    "categories": (str, Categories),
    "mountAllows": (str, Use),
    "reach": (str, Reach),
}
"""How the fields that JSON has no value for are written and read, by the key of each."""

_KINDS: Mapping[frozenset[str], type[Need]] = {frozenset(keys): kind for kind, keys in KEYS.items()}


def _read(need: Mapping[str, Any]) -> Need:
    kind = _KINDS.get(frozenset(need))
    if kind is None:
        raise BundleError(PATH, f"a need of no known kind: {json.dumps(need, sort_keys=True)}")
    make: Callable[..., Need] = kind
    keys = KEYS[kind] if fields(kind) else ()
    return make(*(_FORMS[key][1](need[key]) if key in _FORMS else need[key] for key in keys))
