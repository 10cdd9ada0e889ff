"""What a type has and what it may take: capabilities, control groups, resource limits, namespaces, files, devices."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from stockade.model.container import CgroupValue, Quota
from stockade.model.names import CAPABILITIES, CAPABILITY_SETS, CGROUP_FILES, CgroupKind
from stockade.oci.prove import kernel_files
from stockade.page.markup import Child, Html, element, joined
from stockade.page.parts import badge, code, disclosure, facts, listed, paragraph, place, share, table
from stockade.review.gather import Review

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def limits(review: Review) -> Html:
    """One row for each control file and type, side by side."""
    files = {name: dict(kernel_files(copy.deepcopy(spec["linux"]["resources"]))) for name, spec in review.specs.items()}
    named = sorted({file for values in files.values() for file in values})
    largest = {file: max((v for f in files.values() if type(v := f.get(file)) is int), default=0) for file in named}
    rows = [
        (name, *(_limit(file, files[name].get(file, ...), largest[file]) for file in named)) for name in review.specs
    ]
    return table(["container type", *named], rows, label="Control group limits")


def _limit(file: str, value: Any, largest: int) -> Child:
    if value is ...:
        return element("span", "not set", class_="quiet")
    compared = type(value) is int and largest > 0 and CGROUP_FILES.get(file) is not CgroupKind.SWITCH
    return joined(spell(file, value), share(value, largest) if compared else None)


def spell(file: str, value: CgroupValue) -> str:
    """A value of a control file for a person."""
    if value is None:
        return "max"
    if isinstance(value, Quota):
        return f"{100 * value.quota / value.period:g}% of a CPU"
    if isinstance(value, int) and CGROUP_FILES.get(file) in (CgroupKind.BYTES, CgroupKind.FLOOR):
        return size(value)
    return str(value)


def size(value: int) -> str:
    """Bytes in the largest unit that they are a whole number of."""
    for unit, name in _UNITS:
        if value and value % unit == 0:
            return f"{value // unit} {name}"
    return f"{value} B" if value else "0"


def capabilities(review: Review) -> Html:
    """A row for each capability that some type holds, a field for each type; those that nobody holds below."""
    held = {name: spec["process"]["capabilities"] for name, spec in review.specs.items()}
    bounding = {name: {c.removeprefix("CAP_") for c in sets["bounding"]} for name, sets in held.items()}
    some = [name for name in CAPABILITIES if any(name in names for names in bounding.values())]
    rows = [
        (capability, *(_holds(held[name], capability) for name in review.specs))
        for capability in sorted(some, key=lambda c: (-sum(c in names for names in bounding.values()), c))
    ]
    nobody = [name for name in CAPABILITIES if name not in some]
    return joined(
        table(["capability", *review.specs], rows, label="Capabilities of each container type"),
        [disclosure(f"{len(nobody)} capabilities that no type holds", listed(nobody, name="chips"))]
        if nobody
        else None,
    )


def _holds(sets: Mapping[str, Any], capability: str) -> Child:
    having = [name for name in CAPABILITY_SETS if f"CAP_{capability}" in sets.get(name, ())]
    if not having:
        return element("span", "–", class_="quiet")
    if "effective" in having:
        return badge("bad", "ambient") if "ambient" in having else badge("warn", "held")
    return badge("info", ", ".join(having))


def complains(spec: Mapping[str, Any]) -> bool:
    """Is this the specification of a type that is tried out: what SELinux and seccomp would refuse is only logged?"""
    return bool(spec["annotations"].get("io.stockade.mode", "enforce") != "enforce")


def types(review: Review) -> Html:
    """Each container type to unfold: labels, namespaces, root and mounts, masks, devices, limits."""
    return joined(*(_type(review, name) for name in review.specs))


def _type(review: Review, name: str) -> Html:
    spec = review.specs[name]
    said: Child = None
    if review.source is not None:
        container = review.source.policy.containers[name]
        narrows = f" Narrows {container.extends}." if container.extends else ""
        wider = [f" Wider in {key}: {why}" for key, why in sorted(container.widens.items())]
        said = paragraph(container.why, narrows, wider, " ", place(f"{container.at.file}:{container.at.line}"))
    bounding = spec["process"]["capabilities"]["bounding"]
    marks = [badge("bad", "complains: SELinux and seccomp hold nothing")] if complains(spec) else []
    marks += [
        badge("good", "read-only root") if spec["root"]["readonly"] else badge("warn", "writable root"),
        badge("good", "no new privileges") if spec["process"]["noNewPrivileges"] else badge("warn", "new privileges"),
        badge("good" if not bounding else "info" if len(bounding) < 10 else "warn", f"{len(bounding)} capabilities"),
    ]
    return disclosure(
        joined(element("strong", name), " ", code(review.domains[name]), " ", [[mark, " "] for mark in marks]),
        said, facts(_facts(spec)), anchor=f"type-{name}",
    )  # fmt: skip


def _facts(spec: Mapping[str, Any]) -> Iterator[tuple[Child, Child]]:
    linux, process = spec["linux"], spec["process"]
    notes = spec["annotations"]
    yield "processes", joined(code(process["selinuxLabel"]), f", categories: {notes['io.stockade.level']}")
    yield "files", code(linux["mountLabel"])
    own = {n["type"] for n in linux["namespaces"]}
    yield "namespaces of its own", ", ".join(sorted(own)) or "none"
    yield "user namespace", notes.get("io.stockade.user-namespace", "not said")
    for mount in spec["mounts"]:
        yield f"{mount['type']} at", joined(code(mount["destination"]), " ", ", ".join(mount["options"]))
    yield "masked", listed(linux["maskedPaths"], name="chips") if linux["maskedPaths"] else badge("warn", "nothing")
    yield (
        "read-only",
        listed(linux["readonlyPaths"], name="chips") if linux["readonlyPaths"] else badge("warn", "nothing"),
    )
    rules = [rule for rule in linux["resources"].get("devices", ()) if rule["allow"]]
    yield "devices", listed([_device(rule) for rule in rules], name="chips") if rules else "none"
    rlimits = [
        f"{r['type'].removeprefix('RLIMIT_').lower()} {_ceiling(r['soft'])}/{_ceiling(r['hard'])}"
        for r in process["rlimits"]
    ]
    yield "resource limits (soft/hard)", listed(rlimits, name="chips") if rlimits else "none"
    if linux["sysctl"]:
        yield "sysctl", listed([f"{key} = {value}" for key, value in sorted(linux["sysctl"].items())], name="chips")


def _ceiling(value: int) -> str:
    return "unlimited" if value >= (1 << 63) - 1 else str(value)


def _device(rule: Mapping[str, Any]) -> str:
    numbers = ":".join(str(rule.get(key, "*")) for key in ("major", "minor"))
    return f"{rule.get('type', 'a')} {numbers} {rule.get('access', 'rwm')}"
