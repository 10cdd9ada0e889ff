"""Makes a container type of a draft: held against a policy, said as its difference from the type it extends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stockade.importing.container_text import socket_lines, syscall_lines
from stockade.importing.draft import Draft, ImportFault, listed
from stockade.importing.specification import draft_of_spec
from stockade.importing.type_text import type_text
from stockade.model.grants import grants
from stockade.model.policy import Policy
from stockade.model.syscalls import ARCHITECTURES, NATIVE
from stockade.oci.build import to_runtime_spec
from stockade.prove.containers import beyond
from stockade.source.documents import read_all, syscall_groups
from stockade.source.files import SourceFile, read_files
from stockade.source.load import build

KEPT = "as in the imported container; choose: is it needed"
DOMAIN = "give it a `domain` of its own with `may-not`, where it needs less than the type it extends"


@dataclass(frozen=True, slots=True)
class Written:
    """The text of a container type, and what the policy that it is meant for says against it."""

    text: str
    refused: tuple[str, ...]


class Policies:
    """A policy folder, alone and with one more container type. What is wrong with it is a PolicyError.

    No text is built twice: a type is looked at as it was first written, and once more where that had to be changed.
    """

    def __init__(self, folder: Path) -> None:
        self.files = read_files(folder)
        self.policy = build(self.files)
        self._built: dict[tuple[str, str], Policy] = {}

    def with_type(self, name: str, text: str) -> Policy:
        """The policy with this type; PolicyError where the two do not go together."""
        if (name, text) not in self._built:
            added = SourceFile(f"containers/{name}.yaml", text.encode())
            self._built[name, text] = build([*self.files, added])
        return self._built[name, text]

    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """The groups of system calls."""
        from stockade.source.diagnostics import Diagnostics

        report = Diagnostics()
        return syscall_groups(read_all(self.files, report)["groups"], report)


def write_type(draft: Draft, name: str, parent: str | None, policies: Policies, head: list[str]) -> Written:
    """The type that a draft is. Without a filter of its own it extends `parent`, by default the policy's default type.

    What an engine gives unasked is narrowed to the parent's; what somebody asked for is kept under `widens`.
    ImportFault where the draft can be no type of this policy, PolicyError where the policy with it has faults.
    """
    policy = policies.policy
    if name in policy.containers:
        raise ImportFault(f"the policy has a container type `{name}` already; say --name")
    draft.body |= {"container": name, "why": f"Imported from what ran as {draft.name or name}."}
    draft.comments["why"] = "what this type is for, and whom it trusts"
    raw: dict[str, list[str]] = {}
    if draft.seccomp is None or parent is not None:
        parent = parent or policy.default
        if parent not in policy.containers:
            raise ImportFault(f"unknown container type `{parent}`; the policy has {', '.join(policy.containers)}")
        if draft.seccomp is not None:
            raw = _calls(draft, policies)
            if "  allow-when:" not in raw["syscalls"]:  # what is not said is the parent's
                raw["syscalls"].append("  allow-when: []")
        _over(draft, policy, parent)
    else:
        raw = _calls(draft, policies)
        _alone(draft, policy)
    head = [*head, *(f"seen in use: {line}" for line in draft.uses)]
    text = type_text(draft.body, draft.comments, head, raw)
    if parent is not None:
        text = _widened(draft, name, parent, policies, head, raw, text)
    return Written(text, tuple(_against(policies, name, text)))


def _calls(draft: Draft, policies: Policies) -> dict[str, list[str]]:
    """`syscalls` and `sockets` of a draft with a profile, as lines."""
    from stockade.importing.calls import Importer
    from stockade.importing.default import with_short_default
    from stockade.seccomp.profile import NEWEST, covered, resolve
    from stockade.seccomp.profile_format import read
    from stockade.seccomp.profile_json import ProfileError

    caps = draft.body["capabilities"]
    bounding = caps["bounding"] if isinstance(caps, dict) else caps
    try:
        said = read(json.dumps(draft.seccomp).encode())
        archs = tuple(arch for arch in NATIVE if ARCHITECTURES[arch].oci in covered(said, arch))
        if not archs:
            raise ImportFault(f"linux.seccomp: for none of {', '.join(NATIVE)}")
        held = frozenset(listed_all() if bounding == "all" else bounding)
        importer = Importer(with_short_default(resolve(said, archs, held, NEWEST, False)), policies.groups())
    except ProfileError as error:
        raise ImportFault(f"linux.seccomp: {error}") from None
    syscalls, (families, denials) = importer.syscalls(), importer.sockets()
    for line in importer.notes:
        draft.note(line)
    if len(archs) == 1:
        draft.body["architectures"] = list(archs)
    return {"syscalls": syscall_lines(syscalls, denials), "sockets": socket_lines(families)}


def listed_all() -> list[str]:
    """Every capability."""
    from stockade.model.names import CAPABILITIES

    return list(CAPABILITIES)


def _alone(draft: Draft, policy: Policy) -> None:
    """A type that extends no other says it all; labels that the policy has not are to be chosen."""
    default = policy.containers[policy.default]
    said = draft.body.get("selinux", {})
    known = policy.host.subject_labels, policy.host.object_labels
    wanted = {"process": default.domain, "files": default.files, "level": str(default.level)}
    for key, names in (("process", known[0]), ("files", known[1])):
        if said.get(key) not in names:
            draft.comments["selinux"] = "the labels; those written are the default type's"
            draft.note(f"not expressed: the label {said.get(key)!r}, which the policy has not: {key} is {wanted[key]}")
        else:
            wanted[key] = said[key]
    draft.body["selinux"] = wanted | ({"level": said["level"]} if "level" in said else {})
    draft.body = {key: value for key, value in draft.body.items() if value or key not in _EMPTY}
    spaces = draft.body["namespaces"]
    draft.body["namespaces"] = {key: value for key, value in spaces.items() if value or key == "new"}


_EMPTY = ("tmpfs", "mounts", "cgroup", "rlimits", "sysctls")


def _over(draft: Draft, policy: Policy, parent: str) -> None:
    """Leave out what the parent says too, and narrow to the parent what nobody asked for."""
    theirs = draft_of_spec(to_runtime_spec(policy.containers[parent])).body
    body = draft.body
    body["extends"] = parent
    body.pop("selinux", None)
    draft.comments.setdefault("selinux", DOMAIN)
    held, given = body["capabilities"], theirs["capabilities"]
    if isinstance(held, dict):
        if held["inheritable"] or held["ambient"]:
            draft.note("narrowed: capabilities: none are inheritable or ambient")
        held = held["bounding"]
    base = listed_all() if given == "all" else given["bounding"] if isinstance(given, dict) else given
    held = listed_all() if held == "all" else held
    if unasked := sorted(set(held) - set(base) - set(draft.added)):
        draft.note(f"narrowed: capabilities: {', '.join(unasked)}, which {parent} has not and nobody added by name")
    body["capabilities"] = listed(set(held) - set(unasked))
    if body["root"] == "writable" and theirs["root"] == "read-only":
        body["root"] = "read-only"
        draft.note("narrowed: root: read-only; where it writes, name the folder under tmpfs or mounts")
        draft.comments["tmpfs"] = "the folders it writes to; its root was writable because nobody said otherwise"
    if not body["no-new-privileges"] and theirs["no-new-privileges"]:
        body["no-new-privileges"] = True
        draft.note("narrowed: no-new-privileges: true; set-user-ID programs gain nothing")
    own = {_path(entry) for entry in body["tmpfs"]}
    body["tmpfs"] += [entry for entry in theirs["tmpfs"] if _path(entry) not in own]
    body["tmpfs"].sort(key=_path)
    limits, above = body["cgroup"], theirs["cgroup"]
    if (
        "memory.swap.max" in limits
        and limits["memory.swap.max"] == limits.get("memory.max")
        and above.get("memory.swap.max") == 0
    ):
        del limits["memory.swap.max"]
        draft.note("narrowed: cgroup: memory.swap.max is 0; as much swap as memory is what the engine gives unasked")
    if body["namespaces"]["user"] == "optional":
        body["namespaces"]["user"] = theirs["namespaces"]["user"]
    for key, value in list(body.items()):
        if key in ("cgroup", "rlimits", "sysctls"):
            body[key] = {name: one for name, one in value.items() if theirs[key].get(name) != one}
            for name in sorted(theirs[key].keys() - value.keys()):
                draft.note(f"narrowed: {key}: {name} is {theirs[key][name]}, as {parent} has it")
            if not body[key]:
                del body[key]
        elif key in theirs and value == theirs[key]:
            del body[key]
    if "namespaces" in body:
        body["namespaces"] = {k: v for k, v in body["namespaces"].items() if v != theirs["namespaces"][k]}
    said = body.keys() | {"selinux", "tmpfs", "devices"}
    draft.comments = {key: text for key, text in draft.comments.items() if key in said}


def _path(entry: Any) -> str:
    return str(entry["path"] if isinstance(entry, dict) else entry)


def _widened(
    draft: Draft, name: str, parent: str, policies: Policies, head: list[str], raw: dict[str, list[str]], text: str
) -> str:
    """The text with `widens`; a type with more capabilities or families than its parent's domain gets its own."""
    found: dict[str, str] = {}
    for _ in range(3):
        policy = policies.with_type(name, text)
        wider: dict[str, str] = {}
        for key, reason in beyond(policy.containers[name], policy.containers[parent], grants(policy.host)):
            wider.setdefault(key, reason)
        if wider.keys() & {"capabilities", "sockets"}:
            draft.body["selinux"] = {"domain": f"{name.replace('-', '_')}_t"}
        if wider.keys() <= found.keys() and text == type_text(draft.body, draft.comments, head, raw):
            break
        found |= {key: f"{KEPT}: {reason}" for key, reason in wider.items()}
        if found:
            draft.body["widens"] = dict(sorted(found.items()))
        text = type_text(draft.body, draft.comments, head, raw)
    return text


def _against(policies: Policies, name: str, text: str) -> list[str]:
    """What the policy says against the type: promises that it breaks, and all else that a build would refuse."""
    from stockade.prove.policy import source_findings
    from stockade.source.diagnostics import render

    policy = policies.with_type(name, text)
    own = {file.name: file.data.decode("utf-8", "replace") for file in policies.files}
    own[f"containers/{name}.yaml"] = text
    return [render(found, own.get(found.at.file)) for found in source_findings(policy, grants(policy.host))]
