"""The policy that an open file is part of: the folder's files, as the editor has them where it has them open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stockade.model.finding import Finding
from stockade.model.grants import grants
from stockade.model.policy import Policy
from stockade.model.position import Position
from stockade.prove.policy import source_findings
from stockade.source.diagnostics import PolicyError
from stockade.source.documents import FOLDERS
from stockade.source.load import SourceFile, build, read_files


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of a policy: its files, the model where there is one, and everything that is wrong with it."""

    files: tuple[SourceFile, ...]
    policy: Policy | None
    findings: tuple[Finding, ...]


def policy_folder(file: Path) -> Path | None:
    """The policy folder that a file lives in: the one above the outermost of `host/`, `containers/` and so on.

    None for a file that is in no policy.
    """
    for parent in reversed(file.parents):
        if parent.name in FOLDERS and (parent.parent / "host").is_dir():
            return parent.parent
    return None


def check(folder: Path, buffers: Mapping[Path, str]) -> Checked:
    """Load a policy and hold its source against its promises; `buffers` are the open files by their path.

    What needs compiling, such as a promise on an action, is left to `stockade check`.
    """
    try:
        on_disk = {file.name: file.data for file in read_files(folder)}
    except OSError as error:
        return Checked((), None, (Finding(Position(".", 1, 1), f"{error.filename}: {error.strerror}"),))
    for path, text in buffers.items():
        if path.is_relative_to(folder):
            on_disk[path.relative_to(folder).as_posix()] = text.encode("utf-8", "surrogatepass")
    files = tuple(SourceFile(name, data) for name, data in sorted(on_disk.items()))
    try:
        policy = build(list(files))
    except PolicyError as error:
        return Checked(files, None, error.diagnostics)
    return Checked(files, policy, tuple(source_findings(policy, grants(policy.host))))
