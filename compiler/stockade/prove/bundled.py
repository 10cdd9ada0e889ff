"""One question about a bundle, answered from the compiled artefacts alone: no source, so no names but the kernel's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from stockade.bundle.actions import catalogue
from stockade.bundle.manifest import BundleError
from stockade.bundle.read import Bundle
from stockade.model.action import Layer
from stockade.model.names import CAPABILITIES
from stockade.model.seccomp import Action
from stockade.model.syscalls import ARCHITECTURES, NAMES, NATIVE, numbers
from stockade.prove.actions import Answer, Verdict, decide
from stockade.prove.ask import Unanswerable, call_arguments
from stockade.prove.matrix import confined_in
from stockade.seccomp.emulate import run
from stockade.seccomp.prove import spell_call, spell_verdict
from stockade.selinux.libsepol import Decisions, UnknownName

_ACCESS = re.compile(r"([a-z0-9_]+)\.([a-z0-9_]+):([a-z0-9_]+)\Z")


def ask_bundle(bundle: Bundle, who: str, question: str, level: str) -> Verdict:
    """What the artefacts answer: an action, `CLASS.PERMISSION:LABEL`, a capability or a system call.

    `who` is a container type, or a label for a question about labels. Raises Unanswerable.
    """
    if match := _ACCESS.match(question):
        return Verdict.of(_label(bundle, who, match[1], match[2], match[3], level))
    known = catalogue(bundle)
    if question in known.actions:
        _spec(bundle, who)
        with Decisions(kernel_policy(bundle)[1]) as oracle:
            return decide(confined_in(bundle, known, who, oracle.permissive), known.actions[question], oracle)
    name = question.removeprefix("CAP_")
    if name in CAPABILITIES:
        return Verdict.of(_capability(_spec(bundle, who), name))
    call, arguments = call_arguments(question)
    if call in NAMES:
        answers = tuple(_syscall(bundle, who, call, arguments))
        if not answers:
            raise Unanswerable(f"system call on the architectures that {who} has a filter for,", call, [])
        return Verdict.of(*answers)
    names = [*known.actions, *CAPABILITIES, *NAMES]
    raise Unanswerable("action, CLASS.PERMISSION:LABEL, capability or system call", question, names)


def kernel_policy(bundle: Bundle) -> tuple[str, bytes]:
    """The path and content of the bundle's kernel policy; BundleError when it has none."""
    for entry in bundle.manifest.entries:
        if entry.path.startswith("host/policy.") and entry.path.removeprefix("host/policy.").isdigit():
            return entry.path, bundle.bytes(entry.path)
    raise BundleError("host", "no kernel policy in the manifest")


def _spec(bundle: Bundle, who: str) -> dict[str, Any]:
    if who not in bundle.types:
        raise Unanswerable("container type", who, list(bundle.types))
    found: dict[str, Any] = json.loads(bundle.bytes(f"containers/{who}/oci.json"))
    return found


def _label(bundle: Bundle, who: str, name: str, permission: str, target: str, level: str) -> Answer:
    source = f"system_u:system_r:{who}:s0"
    if who in bundle.types:
        spec = _spec(bundle, who)
        pair = {"pair": "s0:c1,c2", "all": "s0-s0:c0.c1023", "none": "s0"}[spec["annotations"]["io.stockade.level"]]
        source = f"{spec['process']['selinuxLabel'].rsplit(':', 1)[0]}:{pair}"
    path, policy = kernel_policy(bundle)
    with Decisions(policy) as oracle:
        for role in ("system_r", "object_r"):
            try:
                access = oracle.access(source, f"system_u:{role}:{target}:{level}", name, permission)
                break
            except UnknownName as error:
                problem = error
        else:
            raise Unanswerable("name in the kernel policy", str(problem), [])
    shown = f"{source} on {target}:{level} by {path}"
    why = "allowed by a rule" if access.allowed else access.text or "no rule allows it"
    if not access.allowed and source.split(":")[2] in oracle.permissive:
        return Answer(Layer.SELINUX, True, f"{shown}: {why}; but its label is permissive, and it passes")
    return Answer(Layer.SELINUX, access.allowed, f"{shown}: {why}")


def _capability(spec: dict[str, Any], name: str) -> Answer:
    held = f"CAP_{name}" in spec["process"]["capabilities"]["permitted"]
    return Answer(Layer.CAPABILITIES, held, f"oci.json {'has' if held else 'has not'} CAP_{name}")


def _syscall(bundle: Bundle, who: str, call: str, arguments: tuple[int, ...]) -> Iterator[Answer]:
    if who not in bundle.types:
        raise Unanswerable("container type", who, list(bundle.types))
    listed = {entry.path for entry in bundle.manifest.entries}
    for arch in NATIVE:
        path = f"containers/{who}/seccomp.{arch}.bpf"
        if path not in listed or call not in numbers(arch):
            continue
        number, token = numbers(arch)[call], ARCHITECTURES[arch].token
        verdict, cost = run(bundle.bytes(path), token, number, arguments)
        shown = f"{spell_call(arch, token, number, arguments)}: {spell_verdict(verdict)} in {cost} instructions"
        yield Answer(Layer.SECCOMP, verdict.action in (Action.ALLOW, Action.LOG), f"{shown} of {path}")
