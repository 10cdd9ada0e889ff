"""What the launcher starts: makes a command of the runtime no wider than a container type, and becomes the runtime.

It runs whenever a container or a process in one starts: standard library alone, and little of that.
"""

from __future__ import annotations

import os
import sys

from stockade.enforce import config, record
from stockade.enforce.arguments import HANDED_ON, OPTIONS, Call
from stockade.enforce.core import Host, Profile, Refused, apply, apply_process, clamp_resources, process_label
from stockade.enforce.pinned import read_profile
from stockade.enforce.refusal import (
    CONFINED,
    NO_FOREIGN_LABEL,
    NO_HOST_NAMESPACE,
    NO_PRIVILEGE,
    WELL_FORMED,
    Reasons,
    refuse,
)
from stockade.enforce.update import resources_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

_KINDS = {"network": "net", "mount": "mnt"}
_BIND = ("bind", "rbind")
_STATES = ("state.json", "config.json")
"""Where a runtime keeps what it knows of a container: runc, crun."""


class Settings:
    """What an installation fixed, as the launcher passes it: `KEY=VALUE` arguments."""

    def __init__(self, given: list[str]) -> None:
        said = dict(item.partition("=")[::2] for item in given)
        self.type = said["type"]
        self.bundle = said["bundle"]
        self.digests = (said["oci"], said["seccomp"])
        self.defaults = tuple(filter(None, said["defaults"].split(",")))
        self.runtime = said["runtime"]
        self.log = said["log"]
        self.without = tuple(filter(None, said["without"].split(",")))
        self.dry_run = said["dry-run"] == "yes"
        self.owner = int(said["owner"])


def main(arguments: list[str]) -> int:
    """Becomes the runtime, or gives 1 when the container may not start; `arguments` are settings, `--`, the command."""
    border = arguments.index("--")
    settings, given = Settings(arguments[:border]), arguments[border + 1 :]
    call: Call | None = None
    try:
        call = Call(given)
        if call.verb is None or call.verb in HANDED_ON:
            return _become(settings.runtime, given)
        spelled, changed = _confined(call, settings)
    except Refused as refused:
        return _refuse(refused.reasons, call, given, settings)
    except Exception as error:  # whatever went wrong: a container that was not confined does not start
        return _refuse([(CONFINED, f"{type(error).__name__}: {error}")], call, given, settings)
    if changed:
        _record(settings, call, "would-confine" if settings.dry_run else "confined", [])
    return _become(settings.runtime, given if settings.dry_run else spelled)


def _confined(call: Call, settings: Settings) -> tuple[list[str], bool]:
    """The command line that the runtime is handed, everything that it names made no wider than the type."""
    if call.verb == "restore":
        raise refuse(CONFINED, "a restored process has the confinement with which it was saved, whatever the type says")
    if call.verb not in OPTIONS:
        raise refuse(WELL_FORMED, f"unknown verb {call.verb}")
    profile = read_profile(settings.bundle, settings.type, settings.digests, settings.defaults, settings.owner)
    if call.verb in ("create", "run"):
        _start(call, profile, settings)
    elif call.verb == "exec":
        _exec(call, profile, settings)
    else:
        _update(call, profile, settings)
    return call.spelled(), True


def _start(call: Call, profile: Profile, settings: Settings) -> None:
    folder = os.path.realpath(call.value("bundle") or ".")
    spec = config.read(f"{folder}/{config.NAME}")
    host, root = host_of(settings.without, spec), spec.get("root")
    if type(root) is dict and type(root.get("path")) is str:
        # The runtime takes it from the bundle's folder on, where a link or `..` may lead anywhere.
        host.resolved[root["path"]] = os.path.realpath(os.path.join(folder, root["path"]))
    confined = apply(spec, profile, host)
    if confined != spec and not settings.dry_run:
        config.write(folder, confined)
    # The runtime is told the folder that was read, not a link that could lead elsewhere by then.
    call.replace("bundle", folder)


def _exec(call: Call, profile: Profile, settings: Settings) -> None:
    host, reasons = host_of(settings.without, {}), Reasons()
    level = None if "selinux" in settings.without else _level(call, settings)
    for name in call.values("cap"):
        if not all(name in held for held in profile.capabilities.values()):
            reasons.add(NO_PRIVILEGE, f"the capability {name} for an added process")
    if call.value("apparmor") is not None:
        reasons.add(NO_FOREIGN_LABEL, "an AppArmor profile for an added process")
    if ".." in (call.value("cgroup") or "").split("/"):
        reasons.add(WELL_FORMED, "a control group outside the container's")
    if (asked := call.value("process-label")) is not None:
        call.drop("process-label")
        if label := process_label(asked, profile, host, reasons, level):
            call.replace("process-label", label)
    reasons.raise_if_any()
    above = _above(call)
    path = call.value("process")
    if path is not None:
        process = config.read(os.path.realpath(path))
        if level is not None and not process.get("selinuxLabel"):
            process = {**process, "selinuxLabel": ":".join([*profile.label[:3], level])}
        call.replace("process", config.handed_over(apply_process(process, profile, host, level), above))
        return
    if profile.spec["process"]["noNewPrivileges"] and call.value("no-new-privs") is None:
        call.options.append(("no-new-privs", None))
    _limit(profile)


def _limit(profile: Profile) -> None:
    """Lower the limits of this process, which it hands on: crun gives an added process no others by itself."""
    import resource

    for entry in profile.spec["process"]["rlimits"]:
        what = getattr(resource, entry["type"])
        now = resource.getrlimit(what)
        # The highest limit is spelled -1 here, and 2^64 - 1 in a specification.
        least = [min(said, limit % (1 << 64)) for said, limit in zip((entry["soft"], entry["hard"]), now, strict=True)]
        resource.setrlimit(what, (_signed(min(least)), _signed(least[1])))


def _signed(limit: int) -> int:
    return limit - (1 << 64) if limit >= 1 << 63 else limit


def _update(call: Call, profile: Profile, settings: Settings) -> None:
    path = call.value("resources")
    if path == "-":
        asked = config.parsed(config.input_(), "standard input")
    elif path is not None:
        asked = config.read(os.path.realpath(path))
    else:
        asked = resources_of(call)
    clamped = clamp_resources(asked, profile, host_of(settings.without, {}), update=True)
    call.options = [("resources", config.handed_over(clamped, _above(call)))]


def _above(call: Call) -> int:
    """The first descriptor that the caller does not want preserved."""
    said = call.value("preserve-fds") or "0"
    if not said.isascii() or not said.isdecimal() or int(said) > 512:
        raise refuse(WELL_FORMED, f"--preserve-fds={said}")
    return 3 + int(said)


def _level(call: Call, settings: Settings) -> str:
    """The level of the running container, from what its runtime knows of it."""
    if len(call.positional) < 1 or "/" in call.positional[0] or call.positional[0] in ("", ".", ".."):
        raise refuse(WELL_FORMED, "exec without a container's name")
    root = call.general("root") or f"/run/{os.path.basename(settings.runtime)}"
    for name in _STATES:
        path = f"{root}/{call.positional[0]}/{name}"
        if os.path.exists(path):
            state = config.read(path)
            inner: Any = state.get("config") or state.get("process") or {}
            label = inner.get("process_label") or inner.get("selinuxLabel") or ""
            if type(label) is str and label.count(":") >= 3:
                return label.split(":", 3)[3]
    raise refuse(CONFINED, f"the runtime does not say which label the container {call.positional[0]} has")


def host_of(without: Collection[str], spec: dict[str, Any]) -> Host:
    """What is so on this host, of what matters to a specification. Raises Refused where that cannot be found out."""
    linux = spec.get("linux")
    spaces = linux.get("namespaces") if type(linux) is dict else None
    mounts = spec.get("mounts")
    return Host(
        selinux=_has_selinux(),
        without=without,
        cgroup2=os.path.exists("/sys/fs/cgroup/cgroup.controllers"),
        resolved=dict(_resolved(mounts if type(mounts) is list else [])),
        shared=[path for path, own in _joined(spaces if type(spaces) is list else []) if own],
    )


def _has_selinux() -> bool:
    """Whether this process has an SELinux context, which the kernel alone gives."""
    try:
        with open("/proc/thread-self/attr/current", "rb") as file:
            return file.read(4096).count(b":") >= 2
    except OSError:
        return False


def _resolved(mounts: list[Any]) -> list[tuple[str, str]]:
    found = []
    for mount in mounts:
        if type(mount) is dict and type(mount.get("source")) is str:
            options = mount.get("options")
            if mount.get("type") == "bind" or any(
                option in _BIND for option in (options if type(options) is list else ())
            ):
                found.append((mount["source"], os.path.realpath(mount["source"])))
    return found


def _joined(spaces: list[Any]) -> list[tuple[str, bool]]:
    """The namespaces that are joined by a path, and whether each is this process's own or that of PID 1."""
    found = []
    for entry in spaces:
        if type(entry) is not dict or type(entry.get("path")) is not str or not entry["path"]:
            continue
        path, kind = entry["path"], str(entry.get("type"))
        try:
            wanted = os.stat(path)
        except (OSError, ValueError) as error:
            raise refuse(
                WELL_FORMED, f"the {kind} namespace {path}: {getattr(error, 'strerror', None) or error}"
            ) from None
        found.append((path, any(_is_of(who, kind, wanted, path) for who in ("self", "1"))))
    return found


def _is_of(who: str, kind: str, wanted: os.stat_result, path: str) -> bool:
    """Whether a namespace is that of a process of the host. Raises Refused where that cannot be seen."""
    own = f"/proc/{who}/ns/{_KINDS.get(kind, kind)}"
    try:
        return os.path.samestat(wanted, os.stat(own))
    except OSError as error:
        why = f"it joins the {kind} namespace {path}, which may be the host's: {own}: {error.strerror}"
        raise refuse(NO_HOST_NAMESPACE, why) from None


def _refuse(reasons: list[tuple[str, str]], call: Call | None, given: list[str], settings: Settings) -> int:
    if settings.dry_run:
        _record(settings, call, "would-refuse", reasons)
        return _become(settings.runtime, given)
    _record(settings, call, "refused", reasons)
    text = "; ".join(f"{why} [{promise}]" for promise, why in reasons)
    log, form = (call.general("log"), call.general("log-format")) if call else _log_of(given)
    record.say(log, form, f"policy denied: type {settings.type}: {text}")
    return 1


def _log_of(given: list[str]) -> tuple[str | None, str | None]:
    """Where to say why, from a command line that could not be understood as a whole."""
    found: dict[str, str] = {}
    for at, argument in enumerate(given):
        name, equals, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name in ("log", "log-format"):
            found[name] = value if equals else given[at + 1] if at + 1 < len(given) else ""
    return found.get("log"), found.get("log-format")


def _record(settings: Settings, call: Call | None, decision: str, reasons: list[tuple[str, str]]) -> None:
    entry: dict[str, Any] = {
        "decision": decision,
        "type": settings.type,
        "verb": call.verb if call and call.verb in OPTIONS else "other",
        "container": call.positional[0] if call and call.positional else "",
        "root": (call.general("root") or "") if call else "",
        "reasons": [{"promise": promise, "why": why} for promise, why in reasons],
    }
    if settings.without:
        entry["without"] = list(settings.without)
    record.record(settings.log, entry)


def _become(runtime: str, arguments: list[str]) -> int:
    try:
        os.execv(runtime, [runtime, *arguments])
    except (OSError, ValueError) as error:
        sys.stderr.write(f"stockade: {runtime}: {error}\n")
    return 1
