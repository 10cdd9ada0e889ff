"""The C functions of libsepol that we call: their prototypes, loading, and the handling of its messages and memory."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint16, c_uint32, c_void_p
from typing import Any, Final

SONAME: Final = "libsepol.so.2"
LOCK: Final = threading.RLock()
"""libsepol keeps its log handler and its active policy in process-wide variables: hold this while using either."""
LOG_HANDLER: Final = ctypes.CFUNCTYPE(None, c_int, c_char_p)

_PROTOTYPES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "cil_db_init": (None, (POINTER(c_void_p),)),
    "cil_db_destroy": (None, (POINTER(c_void_p),)),
    "cil_add_file": (c_int, (c_void_p, c_char_p, c_char_p, c_size_t)),
    "cil_compile": (c_int, (c_void_p,)),
    "cil_build_policydb": (c_int, (c_void_p, POINTER(c_void_p))),
    "cil_filecons_to_string": (c_int, (c_void_p, POINTER(c_void_p), POINTER(c_size_t))),
    "cil_set_policy_version": (None, (c_void_p, c_int)),
    "cil_set_handle_unknown": (c_int, (c_void_p, c_int)),
    "cil_set_mls": (None, (c_void_p, c_int)),
    "cil_set_disable_dontaudit": (None, (c_void_p, c_int)),
    "cil_set_disable_neverallow": (None, (c_void_p, c_int)),
    "cil_set_multiple_decls": (None, (c_void_p, c_int)),
    "cil_set_preserve_tunables": (None, (c_void_p, c_int)),
    "cil_set_qualified_names": (None, (c_void_p, c_int)),
    "cil_set_attrs_expand_generated": (None, (c_void_p, c_int)),
    "cil_set_target_platform": (None, (c_void_p, c_int)),
    "cil_set_log_level": (None, (c_int,)),
    "cil_set_log_handler": (None, (LOG_HANDLER,)),
    "sepol_debug": (None, (c_int,)),
    "sepol_handle_create": (c_void_p, ()),
    "sepol_handle_destroy": (None, (c_void_p,)),
    "sepol_msg_set_callback": (None, (c_void_p, c_void_p, c_void_p)),
    "sepol_policy_kern_vers_max": (c_int, ()),
    "sepol_polcap_getnum": (c_int, (c_char_p,)),
    "sepol_polcap_getname": (c_char_p, (c_uint,)),
    "sepol_policydb_create": (c_int, (POINTER(c_void_p),)),
    "sepol_policydb_free": (None, (c_void_p,)),
    "sepol_policydb_optimize": (c_int, (c_void_p,)),
    "sepol_policydb_read": (c_int, (c_void_p, c_void_p)),
    "sepol_policydb_set_vers": (c_int, (c_void_p, c_uint)),
    "sepol_kernel_policydb_to_cil": (c_int, (c_void_p, c_void_p)),
    "sepol_policydb_write": (c_int, (c_void_p, c_void_p)),
    "sepol_policy_file_create": (c_int, (POINTER(c_void_p),)),
    "sepol_policy_file_free": (None, (c_void_p,)),
    "sepol_policy_file_set_mem": (None, (c_void_p, c_void_p, c_size_t)),
    "sepol_policy_file_get_len": (c_int, (c_void_p, POINTER(c_size_t))),
    "sepol_policy_file_set_handle": (None, (c_void_p, c_void_p)),
    "sepol_set_policydb_from_file": (c_int, (c_void_p,)),
    "sepol_context_to_sid": (c_int, (c_char_p, c_size_t, POINTER(c_uint32))),
    "sepol_string_to_security_class": (c_int, (c_char_p, POINTER(c_uint16))),
    "sepol_string_to_av_perm": (c_int, (c_uint16, c_char_p, POINTER(c_uint32))),
    "sepol_av_perm_to_string": (c_char_p, (c_uint16, c_uint32)),
    "sepol_compute_av_reason_buffer": (
        c_int,
        (c_uint32, c_uint32, c_uint16, c_uint32, c_void_p, POINTER(c_uint), POINTER(c_void_p), c_uint),
    ),
    "sepol_validate_transition_reason_buffer": (
        c_int,
        (c_uint32, c_uint32, c_uint32, c_uint16, POINTER(c_void_p), c_uint),
    ),
}


class SepolError(Exception):
    """libsepol is missing, refused an input, or failed."""


class UnknownName(SepolError):
    """The policy has no such context, class or permission."""


class AvDecision(ctypes.Structure):
    """`struct sepol_av_decision`: bit sets over the permissions of one class."""

    _fields_ = tuple((name, c_uint32) for name in ("allowed", "decided", "auditallow", "auditdeny", "seqno"))


@functools.cache
def library() -> ctypes.CDLL:
    """libsepol with the prototypes above; SepolError says what is missing."""
    try:
        library = ctypes.CDLL(SONAME)
    except OSError as error:
        raise SepolError(f"cannot load {SONAME}: {error}; on Debian: apt-get install libsepol2") from None
    for name, (result, arguments) in _PROTOTYPES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise SepolError(f"{SONAME} has no function {name}: version 3.0 or later is needed") from None
        function.restype, function.argtypes = result, arguments
    library.sepol_debug(0)  # calls without a handle would print to standard error
    return library


def highest_policy_version() -> int:
    """The newest kernel policy version the loaded libsepol reads and writes."""
    return int(library().sepol_policy_kern_vers_max())


def policy_capabilities() -> tuple[str, ...]:
    """The policy capabilities the loaded libsepol knows, in the order of their numbers."""
    names: list[str] = []
    while (name := library().sepol_polcap_getname(len(names))) is not None:
        names.append(name.decode())
    return tuple(names)


def exports(symbol: str) -> bool:
    """Does the loaded libsepol have this function?"""
    return hasattr(library(), symbol)


@functools.cache
def libc() -> ctypes.CDLL:
    """The C library, for memory that libsepol allocates and streams that it reads."""
    libc = ctypes.CDLL(None)
    libc.free.restype, libc.free.argtypes = None, (c_void_p,)
    libc.fmemopen.restype, libc.fmemopen.argtypes = c_void_p, (c_char_p, c_size_t, c_char_p)
    libc.open_memstream.restype, libc.open_memstream.argtypes = c_void_p, (POINTER(c_void_p), POINTER(c_size_t))
    libc.fclose.restype, libc.fclose.argtypes = c_int, (c_void_p,)
    return libc


def take(pointer: c_void_p, size: int | None = None) -> str:
    """The text at `pointer`, which is freed."""
    if not pointer.value:
        return ""
    try:
        return ctypes.string_at(pointer.value, -1 if size is None else size).decode("utf-8", "backslashreplace")
    finally:
        libc().free(pointer)


@contextlib.contextmanager
def handle() -> Iterator[tuple[int, list[str]]]:
    """A libsepol handle and the list its messages are put in when the block ends.

    The callback is printf-like, which no Python function can be. glibc's `__fprintf_chk(stream, flag, format, ...)` has
    its very shape (data, handle, format, ...), so libsepol itself prints, into memory.
    """
    sepol, c, messages = library(), libc(), list[str]()
    buffer, size = c_void_p(), c_size_t()
    stream = c.open_memstream(byref(buffer), byref(size))
    pointer = sepol.sepol_handle_create()
    if not stream or not pointer:
        raise MemoryError("libsepol handle")
    try:
        printer = ctypes.cast(getattr(c, "__fprintf_chk"), c_void_p)
    except AttributeError:
        printer = c_void_p()
    sepol.sepol_msg_set_callback(pointer, printer, stream)
    try:
        yield pointer, messages
    finally:
        sepol.sepol_handle_destroy(pointer)
        c.fclose(stream)
        messages += filter(None, take(buffer, size.value).splitlines())


@contextlib.contextmanager
def reading(policy: bytes) -> Iterator[tuple[c_void_p | None, list[str]]]:
    """The policy read into a policydb of its own, or None; libsepol's messages are in the list when the block ends."""
    sepol, policydb, file = library(), c_void_p(), c_void_p()
    if sepol.sepol_policydb_create(byref(policydb)) != 0 or sepol.sepol_policy_file_create(byref(file)) != 0:
        raise MemoryError("libsepol policydb")
    with handle() as (messenger, messages):
        try:
            sepol.sepol_policy_file_set_mem(file, policy, len(policy))
            sepol.sepol_policy_file_set_handle(file, messenger)
            failed = sepol.sepol_policydb_read(policydb, file)
            yield None if failed else policydb, messages
        finally:
            sepol.sepol_policy_file_free(file)
            sepol.sepol_policydb_free(policydb)
