"""The table of system calls, their arguments and their symbols."""

from __future__ import annotations

import fcntl
import importlib.util
import mmap
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import termios
from pathlib import Path
from types import ModuleType

import pytest
from stockade.model import syscalls_table
from stockade.model.syscalls import (
    ARCHITECTURES,
    NAMES,
    NATIVE,
    X32_BIT,
    argument,
    arguments_of,
    constant,
    constants_of,
    name_of,
    numbers,
)  # fmt: skip
from stockade.model.syscalls_constants import FAMILIES

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_is_what_its_generator_writes() -> None:
    spec = importlib.util.spec_from_file_location("syscall_table", ROOT / "tools/syscall_table.py")
    assert spec and spec.loader
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    assert Path(syscalls_table.__file__).read_text(encoding="utf-8") == generator.render()


@pytest.mark.parametrize(
    ("arch", "name", "number"),
    [("x86_64", "read", 0), ("x86_64", "seccomp", 317), ("aarch64", "openat", 56), ("aarch64", "seccomp", 277),
     ("i386", "socketcall", 102), ("x32", "read", X32_BIT), ("arm", "read", 3), ("riscv64", "openat", 56)],
)  # fmt: skip
def test_numbers_known_by_heart(arch: str, name: str, number: int) -> None:
    assert numbers(arch)[name] == number
    assert name_of(arch, number) == name


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_numbers_are_a_bijection_in_order(arch: str) -> None:
    table = numbers(arch)
    assert len(set(table.values())) == len(table) > 300
    assert list(table.values()) == sorted(table.values())
    assert set(table) <= NAMES
    assert all(name_of(arch, number) == name for name, number in table.items())


def test_numbers_of_an_unknown_architecture() -> None:
    with pytest.raises(KeyError):
        numbers("vax")
    assert name_of("aarch64", 5000) is None
    assert set(NATIVE) <= set(ARCHITECTURES)


def test_every_signature_is_of_a_real_call_and_has_known_symbols() -> None:
    signed = [call for call in NAMES if arguments_of(call)]
    assert len(signed) > 80
    used = set()
    for call in signed:
        assert len({argument(call, name)[0] for name in arguments_of(call)}) == len(arguments_of(call)) <= 6
        used |= {id(constants_of(call, name)) for name in arguments_of(call)}
    assert {id(family) for family in FAMILIES.values()} <= used


@pytest.mark.parametrize(
    ("call", "name", "expected"),
    [("clone", "flags", (0, 32)), ("socket", "type", (1, 32)), ("mprotect", "prot", (2, 64)), ("ioctl", "cmd", (1, 32)),
     ("mount", "flags", (3, 64)), ("fchmodat2", "flags", (3, 32)), ("read", "arg5", (5, 64)),
     ("clone", "arg0", (0, 64))],
)  # fmt: skip
def test_arguments(call: str, name: str, expected: tuple[int, int]) -> None:
    assert argument(call, name) == expected


@pytest.mark.parametrize(("call", "name"), [("clone", "flag"), ("read", "arg6"), ("read", "arg²"), ("read", "")])
def test_unknown_arguments(call: str, name: str) -> None:
    with pytest.raises(KeyError):
        argument(call, name)
    with pytest.raises(KeyError):
        constants_of(call, name)


def test_constants_have_two_spellings_and_no_third() -> None:
    assert constant("clone", "flags", "NEWUSER") == constant("clone", "flags", "CLONE_NEWUSER") == 0x10000000
    assert constant("kill", "sig", "SIGKILL") == constant("kill", "sig", "KILL") == 9
    for symbol in ("NEWUSR", "newuser", "AF_INET", "CLONE_"):
        with pytest.raises(KeyError):
            constant("clone", "flags", symbol)
    assert constants_of("read", "arg0") == {}


@pytest.mark.parametrize(
    ("module", "prefix", "family"),
    [(socket, "AF_", "AF"), (socket, "SOCK_", "SOCK"), (socket, "SOL_", "SOL"), (socket, "MSG_", "MSG"),
     (fcntl, "F_", "F"), (resource, "RLIMIT_", "RLIMIT"), (signal, "SIG", "SIG"), (mmap, "MAP_", "MAP"),
     (mmap, "MADV_", "MADV"), (mmap, "PROT_", "PROT"), (os, "O_", "O"), (os, "SCHED_", "SCHED"),
     (termios, "", "IOCTL")],
)  # fmt: skip
def test_constants_agree_with_python(module: ModuleType, prefix: str, family: str) -> None:
    shared = {name: value for name, value in FAMILIES[family].items() if hasattr(module, prefix + name)}
    assert len(shared) >= 3
    assert {name: int(getattr(module, prefix + name)) for name in shared} == shared


HEADERS = {
    "linux/sched.h": "CLONE", "linux/ptrace.h": "PTRACE", "linux/prctl.h": "PR", "linux/keyctl.h": "KEYCTL",
    "linux/mount.h": "MS FSCONFIG", "linux/bpf.h": "BPF", "linux/kcmp.h": "KCMP", "linux/futex.h": "FUTEX",
    "linux/seccomp.h": "SECCOMP SECCOMP_FILTER", "linux/mman.h": "MAP MREMAP", "asm-generic/mman-common.h": "MADV PROT",
    "linux/memfd.h": "MFD", "linux/fcntl.h": "AT O F", "linux/fs.h": "RENAME", "asm/prctl.h": "ARCH",
    "linux/reboot.h": "REBOOT", "linux/personality.h": "PER", "linux/time.h": "CLOCK", "linux/module.h": "MODULE_INIT",
    "linux/random.h": "GRND", "linux/ipc.h": "IPC", "linux/mempolicy.h": "MPOL", "linux/close_range.h": "CLOSE_RANGE",
    "asm-generic/mman.h": "MCL", "asm/ioctls.h": "IOCTL", "linux/sched/types.h": "",
}  # fmt: skip
SPELLINGS = {"REBOOT": "LINUX_REBOOT_CMD_", "IOCTL": "", "PER": "PER_"}


def test_constants_agree_with_the_kernels_headers() -> None:
    """Each symbol that the installed headers have is compared by the C preprocessor and compiler."""
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is needed to read the kernel's headers"
    includes = [header for header in HEADERS if (Path("/usr/include") / header).exists()]
    includes += [header for header in HEADERS if list(Path("/usr/include").glob(f"*-linux-gnu/{header}"))]
    lines = [f"#include <{header}>" for header in includes]
    lines += ["enum {"]
    for header in includes:
        for family in HEADERS[header].split():
            for name, value in FAMILIES[family].items():
                symbol = SPELLINGS.get(family, f"{family}_") + name
                lines += [f"#ifdef {symbol}", f"CHECK {family} {name} {value} = {symbol}", "#endif"]
    source = "\n".join(lines)
    done = subprocess.run([compiler, "-E", "-P", "-"], input=source, capture_output=True, text=True, check=True)
    found = re.findall(r"^CHECK (\S+) (\S+) (\d+) = (.*)$", done.stdout, re.MULTILINE)
    assert len(found) > 200
    checks = "".join(f'_Static_assert((unsigned)({text}) == {value}u, "{f} {n}");\n' for f, n, value, text in found)
    checked = subprocess.run(
        [compiler, "-fsyntax-only", "-x", "c", "-"], input=checks, capture_output=True, text=True, check=False
    )
    assert re.findall(r'assertion failed: "(.*)"', checked.stderr) == []
    assert checked.returncode == 0, checked.stderr[:500]
