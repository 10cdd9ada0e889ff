"""Policies for the tests: the small base policy, what a case changes in it, and the shipped one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stockade.source.files import SourceFile, read_files

HERE = Path(__file__).parent
BASE = HERE / "base"
SHIPPED = HERE.parents[1] / "policy"

Files = dict[str, bytes]


def files_of(folder: Path) -> Files:
    return {file.name: file.data for file in read_files(folder)}


def as_sources(files: Mapping[str, bytes]) -> list[SourceFile]:
    return [SourceFile(name, data) for name, data in files.items()]


def changed(files: Files, change: Mapping[str, Any]) -> Files:
    """`change` is file -> its new text, null to take it away, `swap: [old, new, ...]`, `add: text` or `bytes: text`.

    `bytes` has Python's escapes, one byte a character. What is swapped must occur exactly once.
    """
    result = dict(files)
    for name, how in change.items():
        if how is None:
            del result[name]
        elif isinstance(how, str):
            result[name] = how.encode()
        else:
            ((kind, value),) = how.items()
            if kind == "swap":
                for old, new in zip(value[::2], value[1::2], strict=True):
                    assert result[name].count(old.encode()) == 1, f"{name}: {old!r}"
                    result[name] = result[name].replace(old.encode(), new.encode())
            elif kind == "add":
                result[name] = result.get(name, b"") + value.encode()
            else:
                assert kind == "bytes", kind
                result[name] = value.encode().decode("unicode_escape").encode("latin-1")
    return result
