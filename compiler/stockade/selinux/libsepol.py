"""libsepol by ctypes: compiles CIL to a kernel policy, and answers access questions on one, with the reasons."""

from __future__ import annotations

import ctypes
import difflib
import re
from collections.abc import Sequence
from ctypes import byref, c_size_t, c_void_p
from dataclasses import dataclass
from typing import Final, Literal

from stockade.selinux.decisions import Access, Decisions, Reason
from stockade.selinux.libsepol_ffi import (
    LOCK,
    LOG_HANDLER,
    SONAME,
    SepolError,
    UnknownName,
    handle,
    highest_policy_version,
    libc,
    library,
    policy_capabilities,
    reading,
    take,
)

__all__ = [
    "Access",
    "CilError",
    "Compiled",
    "Decisions",
    "Reason",
    "SepolError",
    "UnknownName",
    "available",
    "compile_cil",
    "highest_policy_version",
    "policy_capabilities",
    "refused_lines",
]

_UNKNOWN: Final = {"deny": 0, "reject": 2, "allow": 4}
_ERROR, _WARNING, _INFORMATION = 1, 2, 3
_OFF: Final = (
    "disable_dontaudit",
    "multiple_decls",
    "preserve_tunables",
    "qualified_names",
    "attrs_expand_generated",
    "target_platform",  # 0 is SELinux, 1 is Xen
)
_SILENT: Final = LOG_HANDLER(lambda level, text: None)


class CilError(SepolError):
    """CIL was rejected. `messages` are libsepol's lines; every place is (file, line).

    `places` are those the messages name in the CIL, in order; `file` and `line` are the first. `sources` are where the
    line marks (`;;* lms`, `;;* lmx`) around those places say they came from.
    """

    file: str | None
    line: int | None

    def __init__(self, messages: Sequence[str], names: Sequence[str] = ()) -> None:
        super().__init__("\n".join(messages) or "libsepol rejected the policy and gave no reason")
        self.messages = tuple(messages)
        self.places, self.sources = _places(messages, names)
        self.file, self.line = self.places[0] if self.places else (None, None)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A kernel policy, its file_contexts text, and the warnings libsepol gave on the way."""

    policy: bytes
    file_contexts: str
    warnings: tuple[str, ...] = ()


def available() -> str | None:
    """None when libsepol can be used; otherwise the reason, with what to install."""
    try:
        library()
    except SepolError as error:
        return str(error)
    return None


def _places(messages: Sequence[str], names: Sequence[str]) -> tuple[tuple[tuple[str, int], ...], ...]:
    """The places in files `names` that `messages` mention as `NAME:LINE` or `line LINE of NAME`, and their sources."""
    name = "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or "(?!)"
    pattern = re.compile(rf"(?<!\S)({name}):(\d+)(?: from (.+?):(\d+)(?=\s|$))?|line (\d+) of ({name})(?!\S)")
    places, sources = [], []
    for message in messages:
        for file, line, source, source_line, other_line, other_file in pattern.findall(message):
            places.append((file or other_file, int(line or other_line)))
            if source:
                sources.append((source, int(source_line)))
    return tuple(dict.fromkeys(places)), tuple(dict.fromkeys(sources))


def compile_cil(
    files: Sequence[tuple[str, bytes]],
    *,
    policy_version: int = 31,
    handle_unknown: Literal["deny", "reject", "allow"] | None = None,
    optimize: bool = False,
    neverallow: bool = True,
) -> Compiled:
    """Compile CIL `files` (name, text), in their order, as `secilc -c VERSION` does, neverallow rules included.

    `handle_unknown` overrides what the files say; None keeps it. `neverallow` off leaves those rules unchecked, which
    is for asking questions of a policy that has been proven before. Raises CilError with file and line.
    """
    if not 15 <= policy_version <= highest_policy_version():
        known = f"{SONAME} writes versions 15 to {highest_policy_version()}"
        raise CilError([f"kernel policy version {policy_version}: {known}"])
    with LOCK:
        try:
            return _compile(files, policy_version, handle_unknown, optimize, neverallow, log_level=_WARNING)
        except CilError:
            # The log does not tell an error from a warning, so what failed is asked again for its errors alone.
            _compile(files, policy_version, handle_unknown, optimize, neverallow, log_level=_ERROR)
            raise


def refused_lines(files: Sequence[tuple[str, bytes]], rules: bytes) -> frozenset[int]:
    """The lines of `rules`, CIL with allow rules, that neverallow rules of `files` refuse, all in one compilation.

    CilError where the files are refused without the rules, or for another reason.
    """
    name = "widened.cil"
    with LOCK:
        try:
            # Where it says the least, libsepol names only the first rules that break a neverallow.
            _compile([*files, (name, rules)], 31, None, optimize=False, neverallow=True, log_level=_INFORMATION)
        except CilError as error:
            faults = [m for m in error.messages if re.match(r"\s*allow at |neverallow check failed", m)]
            places = _places(faults, [name, *(file for file, _ in files)])[0]
            lines = frozenset(line for file, line in places if file == name)
            if not lines:
                raise
            return lines
    return frozenset()


def _compile(
    files: Sequence[tuple[str, bytes]],
    policy_version: int,
    handle_unknown: str | None,
    optimize: bool,
    neverallow: bool,
    log_level: int,
) -> Compiled:
    sepol, log = library(), list[str]()
    handler = LOG_HANDLER(lambda level, text: log.append(text.decode("utf-8", "backslashreplace")))

    def lines() -> tuple[str, ...]:
        return tuple(line for line in "".join(log).splitlines() if line.strip())

    def need(result: int) -> None:
        if result != 0:
            raise CilError(lines(), [name for name, _ in files])

    database, policydb, contexts, size = c_void_p(), c_void_p(), c_void_p(), c_size_t()
    sepol.cil_set_log_handler(handler)
    sepol.cil_set_log_level(log_level)
    sepol.cil_db_init(byref(database))
    try:
        for setting in _OFF:
            getattr(sepol, f"cil_set_{setting}")(database, 0)
        sepol.cil_set_mls(database, -1)  # as the files say
        sepol.cil_set_disable_neverallow(database, 0 if neverallow else 1)
        sepol.cil_set_policy_version(database, policy_version)
        if handle_unknown is not None:
            need(sepol.cil_set_handle_unknown(database, _UNKNOWN[handle_unknown]))
        for name, text in files:
            need(sepol.cil_add_file(database, name.encode(), text, len(text)))
        need(sepol.cil_compile(database))
        need(sepol.cil_build_policydb(database, byref(policydb)))
        if optimize:
            need(sepol.sepol_policydb_optimize(policydb))
        policy = _write(policydb, policy_version)
        need(sepol.cil_filecons_to_string(database, byref(contexts), byref(size)))
        return Compiled(policy, take(contexts, size.value), lines())
    finally:
        if policydb.value:
            sepol.sepol_policydb_free(policydb)
        sepol.cil_db_destroy(byref(database))
        sepol.cil_set_log_handler(_SILENT)  # ours is about to be collected


def _write(policydb: c_void_p, version: int) -> bytes:
    """The policy as bytes in `version` of the format. What that version cannot hold is an error.

    libsepol drops such parts, some with a warning and some (default_range glblub) without a word. So the policy is
    written in the newest version too, both are read back and printed, and the texts must be the same.
    """
    newest = highest_policy_version()
    if version == newest:
        return _image(policydb, version)
    whole = _image(policydb, newest)
    complete = _printed(whole)
    policy = _image(policydb, version)
    printed = _printed(policy)
    if printed != complete:
        lost = [
            line[2:] for line in difflib.ndiff(printed.splitlines(), complete.splitlines()) if line[:2] in ("+ ", "- ")
        ]
        enough = next((v for v in range(version + 1, newest) if _again(whole, v) == complete), newest)
        raise CilError([f"policy version {version} cannot hold this: {line} (version {enough} can)" for line in lost])
    return policy


def _again(policy: bytes, version: int) -> str | None:
    """What is left of a policy that is written in another version; None when it cannot be.

    Writing in an older version takes parts out of what libsepol holds, so it begins with the bytes every time.
    """
    with reading(policy) as (policydb, _):
        try:
            written = _image(policydb, version) if policydb else b""
        except CilError:
            written = b""
    return _printed(written) if written else None


def _image(policydb: c_void_p, version: int) -> bytes:
    sepol, file, size = library(), c_void_p(), c_size_t()
    with handle() as (messenger, messages):
        if sepol.sepol_policy_file_create(byref(file)) != 0:
            raise MemoryError("libsepol policy file")
        try:
            failed = sepol.sepol_policydb_set_vers(policydb, version)
            sepol.sepol_policy_file_set_mem(file, None, 0)  # no memory: only measure, and say nothing
            failed = failed or sepol.sepol_policydb_write(policydb, file)
            failed = failed or sepol.sepol_policy_file_get_len(file, byref(size))
            buffer = ctypes.create_string_buffer(size.value)
            if not failed:
                sepol.sepol_policy_file_set_mem(file, buffer, size)
            sepol.sepol_policy_file_set_handle(file, messenger)
            failed = sepol.sepol_policydb_write(policydb, file) or failed
        finally:
            sepol.sepol_policy_file_free(file)
    if failed or messages:
        raise CilError(messages)
    return buffer.raw


def _printed(policy: bytes) -> str:
    """libsepol's own CIL of a kernel policy. It is sorted, so that equal policies give equal texts."""
    text, size = c_void_p(), c_size_t()
    with reading(policy) as (policydb, messages):
        stream = libc().open_memstream(byref(text), byref(size))
        failed = not policydb or library().sepol_kernel_policydb_to_cil(stream, policydb)
        libc().fclose(stream)
        printed = take(text, size.value)
    if failed:
        raise CilError([*messages, "libsepol cannot read back the policy it wrote"])
    return printed
