"""The sides of `stockade diff` that have labels: a policy folder, a bundle, or a kernel policy by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stockade.bundle.manifest import NAME, BundleError
from stockade.bundle.read import read
from stockade.cli import files
from stockade.cli.filters import KERNEL_POLICY
from stockade.cli.output import Answer, Stop
from stockade.cli.policy import refuse
from stockade.source.files import read_files

if TYPE_CHECKING:
    from stockade.model.policy import Policy
    from stockade.oci.differ import Different
    from stockade.prove.diff_words import Sentence
    from stockade.prove.policy_diff import PolicyDiff
    from stockade.seccomp.diff import Difference
    from stockade.seccomp.judge import Judge


_LIMIT = 256 * files.MIB


@dataclass(frozen=True, slots=True)
class Side:
    """A kernel policy, what answers calls by (container type, architecture), and the source where there is one.

    `specs` are the runtime-spec documents by container type, `texts` the files of the source by name.
    """

    kernel_policy: bytes
    judges: Mapping[tuple[str, str], Judge] = field(default_factory=dict)
    specs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    policy: Policy | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


def side(path: Path, form: str) -> Side | None:
    """The side that a path is, or None where it has no labels: a seccomp profile, a raw filter, or nothing."""
    if not path.is_dir():
        if not path.is_file() or path.stat().st_size < len(KERNEL_POLICY):
            return None
        with path.open("rb") as file:
            if file.read(len(KERNEL_POLICY)) != KERNEL_POLICY:
                return None
        return Side(files.read(path, _LIMIT))
    return _bundle(path) if (path / NAME).is_file() else _folder(path, form)


def _bundle(path: Path) -> Side:
    from stockade.model.syscalls import NATIVE
    from stockade.prove.bundled import kernel_policy
    from stockade.seccomp.judge import FilterJudge

    try:
        bundle = read(path)
        listed = {entry.path for entry in bundle.manifest.entries}
        filters = {(name, arch): f"containers/{name}/seccomp.{arch}.bpf" for name in bundle.types for arch in NATIVE}
        judges = {key: FilterJudge(bundle.bytes(file)) for key, file in filters.items() if file in listed}
        specs = {name: json.loads(bundle.bytes(f"containers/{name}/oci.json")) for name in bundle.types}
        return Side(kernel_policy(bundle)[1], judges, specs)
    except BundleError as error:
        raise Stop(f"{path}: {error}") from error


def _folder(path: Path, form: str) -> Side:
    from stockade.oci.build import OciError, to_runtime_spec
    from stockade.prove.policy_sources import kernel_policy
    from stockade.seccomp.judge import PolicyJudge
    from stockade.source.diagnostics import PolicyError
    from stockade.source.load import build

    try:
        source = read_files(path)
        policy = build(source)
    except PolicyError as error:
        raise refuse(error.diagnostics, error.texts, path, form) from None
    types = policy.containers.values()
    judges = {(c.name, arch): PolicyJudge(c.answered, (arch,)) for c in types for arch in c.architectures}
    texts = {file.name: file.data.decode("utf-8", "replace") for file in source}
    try:
        specs = {c.name: to_runtime_spec(c) for c in types}
    except OciError as error:
        raise Stop(f"{path}: {error}", Answer.NO) from error
    return Side(kernel_policy(policy), judges, specs, policy, texts)


def labels(old: Side, new: Side) -> PolicyDiff:
    """The difference of the kernel policies, with the rules behind it where a side has them."""
    from stockade.prove.policy_diff import diff
    from stockade.prove.policy_sources import explain
    from stockade.selinux.conditions import ConditionError
    from stockade.selinux.libsepol import SepolError
    from stockade.selinux.policydb import PolicydbError

    try:
        return explain(diff(old.kernel_policy, new.kernel_policy), old.policy, new.policy)
    except (PolicydbError, ConditionError, SepolError) as error:
        raise Stop(str(error)) from error


def said(old: Side, new: Side, found: PolicyDiff) -> list[Sentence] | None:
    """The difference in sentences; None where a side is no policy folder, and so has no words."""
    from stockade.prove.diff_words import Source, sentences

    if old.policy is None or new.policy is None:
        return None
    return sentences(Source(old.policy, old.texts), Source(new.policy, new.texts), found)


def calls(old: Side, new: Side) -> Iterator[tuple[str, str, list[Difference]]]:
    """(container type, architecture, differences) for every filter that both sides have and that differs."""
    from stockade.seccomp.diff import compare

    for key in sorted(old.judges.keys() & new.judges.keys()):
        if found := compare(old.judges[key], new.judges[key]):
            yield *key, found


def told(old: Side, new: Side) -> list[tuple[str, Different]]:
    """(container type, difference) for everything else that the runtime is told, of types that both sides have."""
    from stockade.oci.differ import differences

    both = sorted(old.specs.keys() & new.specs.keys())
    return [(name, one) for name in both for one in differences(old.specs[name], new.specs[name])]


def lonely(old: Side, new: Side) -> Iterator[tuple[str, str, bool]]:
    """(container type, architecture, whether it is new) for every filter that only one side has."""
    if old.judges and new.judges:
        for key in sorted(old.judges.keys() ^ new.judges.keys()):
            yield *key, key in new.judges
