"""What the launcher starts: makes a command of the runtime no wider than a container type, and becomes the runtime.

It runs whenever a container or a process in one starts: standard library alone, and little of that.
"""

from __future__ import annotations

import os

from stockade.enforce import config, record
from stockade.enforce.arguments import HANDED_ON, OPTIONS, Call
from stockade.enforce.core import Profile, Refused, apply, apply_process, clamp_resources, process_label
from stockade.enforce.decided import Decided
from stockade.enforce.host import host_of
from stockade.enforce.pinned import read_profile
from stockade.enforce.refusal import (
    CONFINED,
    NO_FOREIGN_LABEL,
    NO_PRIVILEGE,
    WELL_FORMED,
    Reasons,
    refuse,
)
from stockade.enforce.update import resources_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_STATES = ("state.json", "config.json")
"""Where a runtime keeps what it knows of a container: runc, crun."""


class Settings:
    """What an installation fixed, as the launcher passes it: `KEY=VALUE` arguments.

    `type` is empty at first in the launcher that chooses, by the rules in `select`.
    """

    def __init__(self, given: list[str]) -> None:
        said = dict(item.partition("=")[::2] for item in given)
        self.type = said["type"]
        self.select = said["select"]
        self.bundle = said["bundle"]
        self.pinned = {name: (oci, seccomp) for name, oci, seccomp in _split(said["pinned"])}
        self.defaults = tuple(filter(None, said["defaults"].split(",")))
        self.runtime = said["runtime"]
        self.log = said["log"]
        self.journal = said["journal"]
        self.without = tuple(filter(None, said["without"].split(",")))
        self.dry_run = said["dry-run"] == "yes"
        self.owner = int(said["owner"])
        self.decided = Decided(said["records"], self.owner)

    def profile(self, name: str) -> Profile:
        """A type's profile, for which this was installed. Raises Refused."""
        if name not in self.pinned:
            raise refuse(CONFINED, f"there is no type {name}")
        return read_profile(self.bundle, name, self.pinned[name], self.defaults, self.owner)


def _split(pinned: str) -> list[list[str]]:
    return [item.split(":") for item in pinned.split(",")]


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
    if call.verb in ("create", "run"):
        _start(call, settings)
    else:
        settings.type = _type_of(call, settings)
        (_exec if call.verb == "exec" else _update)(call, settings.profile(settings.type), settings)
    return call.spelled(), True


def _start(call: Call, settings: Settings) -> None:
    folder = os.path.realpath(call.value("bundle") or ".")
    spec = config.read(f"{folder}/{config.NAME}")
    settings.type = settings.type or _chosen(spec, settings)
    profile = settings.profile(settings.type)
    host, root = host_of(settings.without, spec), spec.get("root")
    host.machine = os.uname().machine
    if type(root) is dict and type(root.get("path")) is str:
        # The runtime takes it from the bundle's folder on, where a link or `..` may lead anywhere.
        host.resolved[root["path"]] = os.path.realpath(os.path.join(folder, root["path"]))
    confined = apply(spec, profile, host)
    root, name = _root(call, settings), _name(call)
    if not os.path.lexists(f"{root}/{name}"):  # the runtime refuses a second container of one name
        settings.decided.remember(root, name, folder, settings.type)
    if confined != spec and not settings.dry_run:
        config.write(folder, confined)
    # The runtime is told the folder that was read, not a link that could lead elsewhere by then.
    call.replace("bundle", folder)


def _chosen(spec: dict[str, Any], settings: Settings) -> str:
    """The type by the operator's rules."""
    from stockade.enforce.choose import Facts, SelectionError, restored
    from stockade.enforce.exact import loads

    notes = spec.get("annotations")
    try:
        selection = restored(loads(settings.select.encode()), settings.pinned)
        return selection.choose(Facts.of(notes if type(notes) is dict else {}))
    except SelectionError as error:
        raise refuse(CONFINED, str(error)) from None


def _type_of(call: Call, settings: Settings) -> str:
    """The type of the container that a command names, which is the launcher's own where that has one."""
    name = _name(call)
    kept = settings.decided.of(_root(call, settings), name)
    if kept is None and not settings.type:
        raise refuse(CONFINED, f"no launcher decided of which type the container {name} is")
    if kept is not None and settings.type not in ("", kept):
        raise refuse(CONFINED, f"the container {name} is of the type {kept}")
    return kept or settings.type


def _root(call: Call, settings: Settings) -> str:
    """Where the runtime keeps what it knows of its containers."""
    return call.general("root") or f"/run/{os.path.basename(settings.runtime)}"


def _name(call: Call) -> str:
    name = call.positional[0] if call.positional else ""
    if "/" in name or name in ("", ".", ".."):
        raise refuse(WELL_FORMED, f"{call.verb} without a container's name")
    return name


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
    own = _name(call)
    for name in _STATES:
        path = f"{_root(call, settings)}/{own}/{name}"
        if os.path.exists(path):
            state = config.read(path)
            inner: Any = state.get("config") or state.get("process") or {}
            label = inner.get("process_label") or inner.get("selinuxLabel") or ""
            if type(label) is str and label.count(":") >= 3:
                return label.split(":", 3)[3]
    raise refuse(CONFINED, f"the runtime does not say which label the container {own} has")


def _refuse(reasons: list[tuple[str, str]], call: Call | None, given: list[str], settings: Settings) -> int:
    if settings.dry_run:
        _record(settings, call, "would-refuse", reasons)
        return _become(settings.runtime, given)
    _record(settings, call, "refused", reasons)
    text = "; ".join(f"{why} [{promise}]" for promise, why in reasons)
    log, form = (call.general("log"), call.general("log-format")) if call else _log_of(given)
    record.say(log, form, f"policy denied: type {settings.type or 'not chosen'}: {text}")
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
    if settings.journal:
        record.journal(settings.journal, entry)


def _become(runtime: str, arguments: list[str]) -> int:
    try:
        os.execv(runtime, [runtime, *arguments])
    except (OSError, ValueError) as error:
        record.tell(f"{runtime}: {error}")
    return 1
