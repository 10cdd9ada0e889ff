"""What a name is and what it grants in each layer, in Markdown, for whoever points at it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from stockade.editor.names import Kind, Name
from stockade.model.access import spell
from stockade.model.classes import CLASSES
from stockade.model.layers import capability_access
from stockade.model.names import CAPABILITIES, CGROUP_FILES, FAMILIES, KERNEL_INTERFACES, KERNEL_SETTINGS, RLIMITS
from stockade.model.policy import Policy
from stockade.model.syscalls import ARCHITECTURES, argument, arguments_of, constant, introduced, numbers
from stockade.source.units import ERRNO
from stockade.source.yaml import Map

_SHOWN = 24


def explain(name: Name, policy: Policy | None) -> str:
    """A name in words; `policy` is the model, where the policy has no fault that keeps it from being one."""
    lines = [f"**{name.text}** · {name.kind}", *([name.why] if name.why else []), *_body(name, policy)]
    return "\n\n".join(lines)


def explain_word(key: str, word: str) -> str:
    """A word that stands in a list of the kernel's names, by the key of the list; empty for one with no more to say."""
    found = list(_WORDS[key](word)) if key in _WORDS else []
    return "\n\n".join([f"**{word}** · {key}", *found]) if found else ""


def _body(name: Name, policy: Policy | None) -> Iterator[str]:
    match name.kind:
        case Kind.CALL:
            yield from _call(name.text)
        case Kind.ARGUMENT:
            index, width = argument(name.whose, name.text)
            yield f"argument {index} of `{name.whose}`, compared in {width} bits"
        case Kind.CONSTANT:
            call, _, key = name.whose.partition(".")
            yield f"`{constant(call, key, name.text):#x}` for `{key}` of `{call}`"
        case Kind.ERROR:
            yield f"number {ERRNO[name.text]}"
        case Kind.CLASS:
            yield f"SELinux: `{name.text} {{ {' '.join(CLASSES[name.text])} }}`"
        case Kind.PERMISSION:
            yield f"SELinux: a permission of `{name.whose}`"
        case Kind.CALL_GROUP if name.body is not None:
            yield f"seccomp: {_some(name.body['syscalls'])}"
        case Kind.CLASS_GROUP if name.body is not None:
            yield f"SELinux: {_some(name.body['classes'])}"
        case Kind.TYPE:
            yield from _container(name.text, policy)
        case Kind.ACTION if name.body is not None:
            yield "\n".join(f"- needs {_flow(need)}" for need in name.body["needs"])
        case _:
            yield from _of_the_host(name, policy)


def _of_the_host(name: Name, policy: Policy | None) -> Iterator[str]:
    if name.body is not None and "label" in name.body:
        yield f"SELinux: `{name.body['label']}`"
        places = [
            str(path) for key in ("at", "programs", "mounts", "context-mounts") for path in name.body.get(key, ())
        ]
        if places:
            yield f"labels {_some(places)}"
    if policy is None:
        return
    if name.kind is Kind.VERB and name.text in policy.host.verbs:
        granted = spell(policy.host.verbs[name.text].access)
        rows = [f"- `{of} {{ {' '.join(permissions)} }}`" for of, permissions in granted.items()]
        more = [f"- and {len(rows) - _SHOWN} more classes"] if len(rows) > _SHOWN else []
        yield "SELinux:\n" + "\n".join([*rows[:_SHOWN], *more])
    if name.kind is Kind.SET and name.text in policy.host.sets:
        yield f"stands for {_some(sorted(policy.host.sets[name.text].labels))}"


def _container(text: str, policy: Policy | None) -> Iterator[str]:
    found = policy.containers.get(text) if policy is not None else None
    if found is None:
        return
    held = sorted(found.capabilities["permitted"])
    yield "\n".join(
        [
            f"- SELinux: `{found.domain}`, files `{found.files}`, level {found.level}",
            f"- capabilities: {_some(held) if held else 'none'}",
            f"- seccomp: {len({rule.call for rule in found.syscalls.rules})} calls have rules",
            f"- sockets: {_some(sorted(found.sockets.families)) if found.sockets.families else 'none'}",
        ]
    )


def _call(text: str) -> Iterator[str]:
    held = [f"{arch} {numbers(arch)[text]}" for arch in ARCHITECTURES if text in numbers(arch)]
    yield f"seccomp: number on {', '.join(held)}"
    before, since = introduced(text)
    yield f"in every kernel since {since}" if before is None else f"came after Linux {before}, by {since}"
    if arguments := arguments_of(text):
        yield f"arguments by name: {_some(arguments)}"


def _capability(word: str) -> Iterator[str]:
    if word in CAPABILITIES:
        yield f"capabilities: bit {CAPABILITIES[word]}"
        yield f"SELinux: {_spelled(capability_access([word]))}"


def _family(word: str) -> Iterator[str]:
    if word in FAMILIES:
        number, classes = FAMILIES[word]
        yield f"seccomp: `socket` and `socketpair` with family {number}"
        yield f"SELinux: sockets of {_some(sorted(classes))}"


def _cgroup(word: str) -> Iterator[str]:
    if word in CGROUP_FILES:
        yield f"cgroup v2: control file that holds a {CGROUP_FILES[word]}"


def _rlimit(word: str) -> Iterator[str]:
    if word in RLIMITS:
        yield f"OCI: `RLIMIT_{word.upper()}`"


def _paths(word: str) -> Iterator[str]:
    groups = {"@kernel-interfaces": KERNEL_INTERFACES, "@kernel-settings": KERNEL_SETTINGS}
    if word in groups:
        yield f"OCI: {_some(groups[word])}"


_WORDS: dict[str, Callable[[str], Iterator[str]]] = {
    **dict.fromkeys(("capabilities", "capability", "bounding", "effective", "permitted", "inheritable"), _capability),
    "ambient": _capability,
    "families": _family,
    "cgroup": _cgroup,
    "rlimits": _rlimit,
    "mask": _paths,
    "read-only": _paths,
}


def _spelled(access: int) -> str:
    return ", ".join(f"`{of} {{ {' '.join(permissions)} }}`" for of, permissions in spell(access).items())


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(f"`{name}`" for name in islice(listed, _SHOWN)) + more


def _flow(value: object) -> str:
    """A value of the source on one line, as flow style has it."""
    if isinstance(value, Map):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return str(value)
