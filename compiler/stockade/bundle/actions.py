"""`host/actions.json`: every action with its needs in the kernel's own names, for whoever has no source."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stockade.bundle.manifest import BundleError
from stockade.bundle.read import Bundle
from stockade.model.access import NOTHING, mask, spell
from stockade.model.action import (
    Abi,
    ActionCase,
    Aim,
    Categories,
    Need,
    NeedsAccess,
    NeedsAllCapabilities,
    NeedsCapability,
    NeedsDevice,
    NeedsHostNamespace,
    NeedsHostPath,
    NeedsMountOption,
    NeedsNewPrivileges,
    NeedsNoLimit,
    NeedsPath,
    NeedsSyscall,
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
    match need:
        case NeedsSyscall():
            arguments = {str(index): value for index, value in need.arguments.items()}
            return {"syscall": list(need.calls), "arguments": arguments, "abi": need.abi.value}
        case NeedsCapability():
            return {"capability": need.name, "own": need.own}
        case NeedsAllCapabilities():
            return {"allCapabilities": True}
        case NeedsAccess():
            return {
                "selinux": {name: list(permissions) for name, permissions in spell(need.access).items()},
                "targets": sorted(need.targets),
                "self": need.itself,
                "ownFiles": need.own_files,
                "categories": need.categories.value,
                "spelled": need.spelled,
            }
        case NeedsHostNamespace():
            return {"hostNamespace": need.kind}
        case NeedsDevice():
            return {"device": need.kind, "major": need.major, "minor": need.minor, "access": need.access}
        case NeedsPath():
            return {"path": need.path, "written": need.written}
        case NeedsMountOption():
            return {"mountAllows": need.use.value, "path": need.path}
        case NeedsHostPath():
            return {"hostPath": need.path, "reach": need.reach.value, "below": need.below}
        case NeedsNewPrivileges():
            return {"newPrivileges": True}
        case NeedsNoLimit():
            return {"noLimit": need.file}


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


def _access(need: Mapping[str, Any]) -> Need:
    access = NOTHING
    for name, permissions in need["selinux"].items():
        access |= mask(name, permissions)
    targets, categories = frozenset(need["targets"]), Categories(need["categories"])
    return NeedsAccess(access, targets, need["self"], need["spelled"], need["ownFiles"], categories)


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Need]] = {
    "syscall": lambda n: NeedsSyscall(
        tuple(n["syscall"]), {int(index): value for index, value in n["arguments"].items()}, Abi(n["abi"])
    ),
    "capability": lambda n: NeedsCapability(n["capability"], n["own"]),
    "allCapabilities": lambda n: NeedsAllCapabilities(),
    "selinux": _access,
    "hostNamespace": lambda n: NeedsHostNamespace(n["hostNamespace"]),
    "device": lambda n: NeedsDevice(n["device"], n["major"], n["minor"], n["access"]),
    "written": lambda n: NeedsPath(n["path"], n["written"]),
    "mountAllows": lambda n: NeedsMountOption(n["path"], Use(n["mountAllows"])),
    "hostPath": lambda n: NeedsHostPath(n["hostPath"], Reach(n["reach"]), n["below"]),
    "newPrivileges": lambda n: NeedsNewPrivileges(),
    "noLimit": lambda n: NeedsNoLimit(n["noLimit"]),
}
"""A key that only this kind of need has -> how it is read."""


def _read(need: Mapping[str, Any]) -> Need:
    kinds = [reader for key, reader in _READERS.items() if key in need]
    if len(kinds) != 1:
        raise BundleError(PATH, f"a need of no known kind: {json.dumps(need, sort_keys=True)}")
    return kinds[0](need)
