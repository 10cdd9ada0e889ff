"""Installs enforcement below a prefix: a launcher for each type, the wrapper's modules, what to tell containerd.

Every file is made beside its place and renamed into it, so that a container that starts meanwhile finds the old one or
the new one. The wrapper's modules are in a folder named after their contents: an old launcher keeps the old ones.
"""

from __future__ import annotations

import hashlib
import json
import os
import py_compile
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stockade.bundle.read import Bundle, read, verify
from stockade.enforce import snippets
from stockade.enforce.choose import HANDLER, SELECTING
from stockade.enforce.decided import FOLDER
from stockade.enforce.pinned import trusted
from stockade.enforce.profile import Profile

LAYERS = ("selinux",)
"""Layers that an installation may do without, where it says so."""

_MODULES = (
    "__init__ enforce/__init__ enforce/arguments enforce/choose enforce/config enforce/core enforce/decided "
    "enforce/exact enforce/filters enforce/host enforce/mounts enforce/pinned enforce/pods enforce/process "
    "enforce/profile enforce/record enforce/refusal enforce/resources enforce/shape enforce/update enforce/verify "
    "enforce/within enforce/wrapper"
).split()
_START = """\
import sys
sys.path.insert(0, {folder!r})
from stockade.enforce.{module} import main
sys.exit(main(sys.argv[1:]))
"""
_FLAGS = (
    "-std=c11 -Os -static -nostdlib -ffreestanding -fno-stack-protector -fno-pie -no-pie -s "
    "-fno-asynchronous-unwind-tables -Wl,--build-id=none -Wl,-z,noseparate-code"
).split()
"""One file without a library, whose code and words are one mapping: to start it costs what starting anything costs."""
_PATH = re.compile(r"/[A-Za-z0-9._/+@-]+\Z")


class InstallError(Exception):
    """Enforcement cannot be installed; the text says why and what would help."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What is to be installed, and for where.

    `prefix` is where it will be found, `root` what is put before every path while writing (empty on the host itself).
    `runtime` and `python` are programs of the host; `log` is the folder of decisions; `without` names the layers that
    the host does without; `dry_run` makes launchers that only report. `select` is a file of this machine by which one
    more launcher chooses the type; `records` the folder in which launchers keep what they decided. `systemd_cgroup` is
    for a kubelet whose control groups are systemd's. `journal` is the socket of systemd's journal, where decisions are
    to be in it too.
    """

    bundle: str
    prefix: str
    runtime: str
    python: str
    log: str
    without: tuple[str, ...] = ()
    dry_run: bool = False
    root: str = ""
    compiler: str = "cc"
    select: str = ""
    records: str = FOLDER
    systemd_cgroup: bool = False
    journal: str = ""


def install(plan: Installation) -> list[str]:
    """Install, and give the paths that were written, as the host will see them. Raises InstallError."""
    for name, path in (
        ("prefix", plan.prefix),
        ("runtime", plan.runtime),
        ("python", plan.python),
        ("log", plan.log),
        ("records", plan.records),
        *((("journal", plan.journal),) if plan.journal else ()),
    ):
        if not _PATH.match(path) or ".." in path.split("/"):
            raise InstallError(f"{name}: {path!r} is no absolute path of letters, digits and ._/+@-")
    if faults := verify(plan.root + plan.bundle):
        raise InstallError("\n".join(["the bundle is not what its manifest says:", *faults]))
    bundle = read(plan.root + plan.bundle)
    trusted(os.path.realpath(plan.root + plan.bundle), os.geteuid())
    defaults = defaults_of(bundle)
    modules = _modules()
    folder = f"{plan.prefix}/lib/stockade/{_digest(modules)}"
    pinned = {name: _pinned(bundle, name, defaults) for name in bundle.types}
    settings = {f"{HANDLER}{name}": _settings(plan, defaults, [said], type_=name) for name, said in pinned.items()}
    if plan.select:
        chosen = _selection(plan.select, bundle, defaults)
        settings[SELECTING] = _settings(plan, defaults, pinned.values(), select=chosen)
    with tempfile.TemporaryDirectory(prefix="stockade-install-") as work:
        launchers = {
            name: _compiled(plan, said, f"{folder}/start.py", Path(work) / name) for name, said in settings.items()
        }
        written = _write_modules(plan, folder, modules)
        for name, program in launchers.items():
            written.append(_place(plan, f"{plan.prefix}/bin/{name}", program.read_bytes(), 0o755))
    of_all = _settings(plan, defaults, pinned.values())
    for path, text in _texts(plan, bundle, of_all, folder).items():
        written.append(_place(plan, f"{plan.prefix}/share/stockade/{path}", text.encode(), 0o644))
    return sorted(written)


def defaults_of(bundle: Bundle) -> tuple[str, ...]:
    """The SELinux types that the runtime gives to what nobody chose one for."""
    text = bundle.bytes("host/lxc_contexts").decode()
    return tuple(sorted({context.split(":")[2] for context in re.findall(r'"([^"]+)"', text)}))


def _pinned(bundle: Bundle, name: str, defaults: Sequence[str]) -> str:
    """A type and the digests of its two files."""
    digests = {entry.path: entry.sha256 for entry in bundle.manifest.entries}
    paths = (f"containers/{name}/oci.json", f"containers/{name}/seccomp.json")
    # What the launcher pins must be a profile, or no container of the type would ever start.
    Profile.from_files(bundle.bytes(paths[0]), bundle.bytes(paths[1]), defaults)
    return ":".join([name, *(digests[path] for path in paths)])


def _settings(
    plan: Installation, defaults: Sequence[str], pinned: Iterable[str], *, type_: str = "", select: str = ""
) -> list[str]:
    return [
        f"type={type_}",
        f"select={select}",
        f"bundle={plan.bundle}",
        f"pinned={','.join(pinned)}",
        f"defaults={','.join(defaults)}",
        f"runtime={plan.runtime}",
        f"log={plan.log}",
        f"journal={plan.journal}",
        f"records={plan.records}",
        f"without={','.join(plan.without)}",
        f"dry-run={'yes' if plan.dry_run else 'no'}",
        f"owner={os.geteuid()}",
    ]


def _selection(path: str, bundle: Bundle, defaults: Sequence[str]) -> str:
    """The operator's rules as the launcher reads them: JSON in ASCII."""
    from stockade.enforce.nri.judge import LoadError, selection

    profiles = {}
    for name in bundle.types:
        oci, seccomp = (bundle.bytes(f"containers/{name}/{file}.json") for file in ("oci", "seccomp"))
        profiles[name] = Profile.from_files(oci, seccomp, defaults)
    try:
        return json.dumps(selection(path, profiles).plain(), separators=(",", ":"))
    except LoadError as error:
        raise InstallError(str(error)) from None


def _compiled(plan: Installation, settings: Sequence[str], start: str, target: Path) -> Path:
    """A launcher with its settings compiled in, so that nothing but itself can change them."""
    macros = {
        "RUNTIME": json.dumps(plan.runtime),
        "PYTHON": json.dumps(plan.python),
        "START": json.dumps(start),
        # A question mark by its escape: two of them and a sign are another sign to the compiler.
        "SETTINGS": ", ".join(json.dumps(item).replace("?", "\\?") for item in settings),
    }
    source = Path(__file__).with_name("launcher.c")
    command = [plan.compiler, *_FLAGS, *(f"-D{key}={value}" for key, value in macros.items()), "-o", str(target)]
    try:
        ran = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        why = f"{plan.compiler}: {error.strerror}"
        raise InstallError(f"{why}; install a C compiler, or install from a machine that has one with --root") from None
    if ran.returncode:
        raise InstallError(f"{plan.compiler} refuses the launcher:\n{ran.stderr.strip()}")
    return target


def _modules() -> dict[str, bytes]:
    package = Path(__file__).resolve().parent.parent
    return {f"stockade/{name}.py": (package / f"{name}.py").read_bytes() for name in _MODULES}


def _digest(modules: dict[str, bytes]) -> str:
    total = hashlib.sha256()
    for name, content in sorted(modules.items()):
        total.update(f"{name} {len(content)}\0".encode() + content)
    return total.hexdigest()[:16]


def _write_modules(plan: Installation, folder: str, modules: dict[str, bytes]) -> list[str]:
    """The wrapper's modules, compiled so that their sources are not looked at when a container starts."""
    target = Path(plan.root + folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    except OSError as error:
        raise InstallError(f"{error.filename}: {error.strerror}") from error
    try:
        beside.chmod(0o755)
        for name, content in modules.items():
            path = beside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(str(path), dfile=f"{folder}/{name}", doraise=True, invalidation_mode=mode)
        for script, module in (("start.py", "wrapper"), ("verify.py", "verify")):
            (beside / script).write_text(_START.format(folder=folder, module=module))
        for path in (beside, *beside.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if target.exists():
            shutil.rmtree(target)  # the same modules, perhaps compiled by another interpreter
        beside.rename(target)
    except OSError as error:
        raise InstallError(f"{error.filename}: {error.strerror}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return [f"{folder}/start.py", f"{folder}/verify.py"]


def _texts(plan: Installation, bundle: Bundle, settings: Sequence[str], folder: str) -> dict[str, str]:
    hook = {"path": plan.python, "args": [plan.python, "-I", "-S", "-B", f"{folder}/verify.py", *settings]}
    handlers = [f"{HANDLER}{name}" for name in bundle.types] + ([SELECTING] if plan.select else [])
    found = {
        **{
            f"containerd-{version}.toml": snippets.containerd(
                handlers, plan.prefix, version, systemd_cgroup=plan.systemd_cgroup
            )
            for version in (2, 3)
        },
        "runtimeclasses.yaml": snippets.runtime_classes(handlers),
        "verify-hook.json": _json({"createRuntime": [hook]}),
    }
    for name in bundle.types:
        oci, seccomp = (json.loads(bundle.bytes(f"containers/{name}/{f}.json")) for f in ("oci", "seccomp"))
        found[f"cri-base-{name}.json"] = _json(snippets.base_spec(oci, seccomp))
    return found


def _json(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def _place(plan: Installation, path: str, content: bytes, mode: int) -> str:
    """Put a file in its place in one step."""
    target = Path(plan.root + path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, beside = tempfile.mkstemp(prefix=".new-", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
                file.flush()
                os.fsync(file.fileno())
            Path(beside).rename(target)
        except OSError:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InstallError(f"{error.filename}: {error.strerror}") from error
    return path
