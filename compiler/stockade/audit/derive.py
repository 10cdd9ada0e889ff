"""Facts that follow from facts: the verity target of the live table, what lies over the root, what the bundle says.

Pure: nothing here reads a host. A fact that one of these needs and that has no value is this one's outcome too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from stockade.audit.facts.command_line import mapped, values, verity_table
from stockade.audit.facts.fact import Fact, Facts, missing
from stockade.audit.facts.mounts import FIPS, Mount, Tree, below
from stockade.audit.facts.selinux import unpacked
from stockade.audit.firewall import amounts_to
from stockade.selinux.policydb import PolicydbError, read
from stockade.selinux.policydb_values import Policydb

Compare = Callable[[bytes, bytes], list[str]]
"""Of two kernel policies (the bundle's, the loaded one), a line for each difference in what they decide."""

WRITABLE: Final = tuple("/dev /etc /home /local /media /mnt /opt /proc /root /run /srv /sys /tmp /var".split())
"""Folders of the root that hold mounts of their own on a genuine host; everything else is the image's."""
MODULES: Final = ("/lib/modules", "/usr/lib/modules", "/usr/src/kernels")
"""Where an overlay with an upper folder is at home, since modules are built for the running kernel."""
UPPER: Final = ("/var/lib/kernel-modules", "/var/lib/kernel-devel", "/local/var/lib/kernel-modules")
_SYSROOT: Final = "-bottlerocket-linux-gnu/sys-root"


class Missing(Exception):
    """A fact that is needed has no value; `fact` is what it is instead."""

    def __init__(self, fact: Fact) -> None:
        super().__init__(fact.why)
        self.fact = fact


class Deriver:
    """Facts of a host with those that follow, each worked out once.

    `expected` holds the facts that come from the bundle and from who asks (`compiled.*`, `release.root_hash`).
    """

    def __init__(
        self, facts: Facts, expected: Mapping[str, Fact] | None = None, compare: Compare | None = None
    ) -> None:
        self.facts = facts
        self.expected = expected or {}
        self.compare = compare
        self._known: dict[str, Fact] = {}

    def get(self, name: str) -> Fact:
        """A fact by name: one that was read, one that was expected, or one that follows."""
        if name in self._known:
            return self._known[name]
        # What follows is never believed from a document: it is worked out from what was read.
        if name in self.expected:
            found = self.expected[name]
        elif name in _DERIVED:
            try:
                found = _DERIVED[name](self)
            except Missing as error:
                found = error.fact
            except (PolicydbError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                found = Fact.malformed("", f"{type(error).__name__}: {error}")
        elif name in _ASKED:
            found = Fact.absent("", _ASKED[name])
        else:
            found = self.facts.get(name)
        self._known[name] = found
        return found

    def need(self, name: str) -> Any:
        """A fact's value; Missing where it has none."""
        fact = self.get(name)
        if not fact.known:
            raise Missing(Fact(fact.outcome, None, fact.path, f"{name}: {fact.why}" if fact.why else name))
        return fact.value


_ASKED: Final = {
    "release.root_hash": "no release was named (--root-hash)",
    "compiled.policy": "no bundle was named (--bundle)",
    "compiled.types": "no bundle was named (--bundle)",
}


@lru_cache(maxsize=8)
def _policy(content: bytes) -> Policydb:
    return read(content)


def _loaded(d: Deriver) -> bytes:
    return unpacked(d.need("selinux.policy"))


def _policy_diff(of: str) -> Callable[[Deriver], Fact]:
    def differences(d: Deriver) -> Fact:
        compiled = unpacked(d.need("compiled.policy"))
        said = unpacked(d.need(of))
        if said == compiled:
            return Fact.of([], d.get(of).path)
        if d.compare is None:
            return Fact.unreadable("", "nothing here can compare policies")
        return Fact.of(_compared(d.compare, compiled, said), d.get(of).path)

    return differences


@lru_cache(maxsize=8)
def _compared(compare: Compare, compiled: bytes, loaded: bytes) -> list[str]:
    return compare(compiled, loaded)


def _permissive(d: Deriver) -> Fact:
    return Fact.of(sorted(_policy(_loaded(d)).permissive), d.get("selinux.policy").path)


def _header(d: Deriver) -> Fact:
    return Fact.of(_said(_policy(_loaded(d))), d.get("selinux.policy").path)


def _said(policy: Policydb) -> dict[str, Any]:
    return {
        "version": policy.version,
        "mls": policy.mls,
        "handle_unknown": policy.handle_unknown,
        "capabilities": sorted(policy.capabilities),
        "booleans": {name: int(bool(state)) for name, state in policy.booleans.items()},
    }


def _compiled_header(d: Deriver) -> Fact:
    return Fact.of(_said(_policy(unpacked(d.need("compiled.policy")))))


def _root_mount(d: Deriver) -> Fact:
    mount = Tree(d.need("mounts")).root
    path = d.get("mounts").path
    return Fact.of(mount, path) if mount else Fact.malformed(path, "no mount at /")


def _root_over(d: Deriver) -> Fact:
    mounts = d.need("mounts")
    root = d.need("root.mount")
    found = []
    for mount in mounts:
        point = mount["point"]
        if mount == root or any(below(point, folder) for folder in WRITABLE):
            continue
        if fault := _over(mount, mounts, root):
            found.append({"point": point, "type": mount["type"], "source": mount["source"], "why": fault})
    return Fact.of(found, d.get("mounts").path)


def _over(mount: Mount, mounts: Iterable[Mount], root: Mount) -> str:
    """Why a mount over the image does not belong there; nothing where it does."""
    point = mount["point"]
    own = point.partition(_SYSROOT)[2] if _SYSROOT in point else point
    if mount["type"] != "overlay" or own not in (*MODULES, *FIPS):
        return "nothing belongs here"
    options = dict(option.partition("=")[::2] for option in mount["superblock"])
    lower = [folder for folder in options.get("lowerdir", "").split(":") if folder]
    upper = options.get("upperdir", "")
    if not lower or not all(_image(folder, mounts, root) for folder in lower):
        return "an overlay of a folder that is not the image's"
    if not upper:
        return ""
    if own in FIPS:
        return "an overlay that can be written"
    return "" if any(below(upper, folder) for folder in UPPER) else f"an overlay that is written to {upper}"


def _image(folder: str, mounts: Iterable[Mount], root: Mount) -> bool:
    """Is a folder on the root's own file system, with nothing over it but an overlay that is being judged itself?"""
    if not folder.startswith("/") or ".." in folder.split("/") or any(below(folder, place) for place in WRITABLE):
        return False
    over = [mount for mount in mounts if mount["point"] != "/" and below(folder, mount["point"])]
    return all(mount["type"] == "overlay" and mount["point"] == folder for mount in over) and bool(root)


def _root_verity(d: Deriver) -> Fact:
    table = d.need("root.table")
    path = d.get("root.table").path
    targets = table["targets"]
    if len(targets) != 1 or targets[0]["type"] != "verity":
        kinds = ", ".join(f"{one['type']} over {one['length']} sectors" for one in targets) or "nothing"
        return Fact.malformed(path, f"the table of the root's device is {kinds}, not one verity target")
    one = targets[0]
    return Fact.of({**verity_table(one["parameters"]), "start": one["start"], "length": one["length"]}, path)


def _parameters(d: Deriver) -> Fact:
    fact = d.get("kernel.command_line")
    given: dict[str, str | None] = {}
    boot = d.get("kernel.bootconfig")
    if boot.known:
        for key, value in boot.value.items():
            if key.startswith("kernel."):
                given[key.removeprefix("kernel.").replace("-", "_")] = value
    elif boot.outcome != "absent":
        raise Missing(boot)
    for name, value in d.need("kernel.command_line"):
        given[name.replace("-", "_")] = value
    return Fact.of(given, fact.path)


def _init_parameters(d: Deriver) -> Fact:
    """What systemd takes for its own: it reads the whole line, and does not stop where the kernel does."""
    fact = d.get("kernel.init_parameters")
    given = [*d.need("boot.parameters").items(), *d.need("kernel.init_parameters")]
    return Fact.of({name.replace("-", "_") if "." in name else name: value for name, value in given}, fact.path)


def _repeated(d: Deriver) -> Fact:
    line = d.need("kernel.command_line")
    names = (
        "dm-mod.create",
        "selinux",
        "enforcing",
        "root",
        "lsm",
        "security",
        "lockdown",
        "init",
        "module.sig_enforce",
    )
    return Fact.of([name for name in names if len(values(line, name)) > 1], d.get("kernel.command_line").path)


def _boot_verity(d: Deriver) -> Fact:
    path = d.get("kernel.command_line").path
    created = values(d.need("kernel.command_line"), "dm-mod.create")
    if not created:
        return Fact.absent(path, "no dm-mod.create= for the kernel")
    devices = mapped(created[-1] or "")
    if len(devices) != 1 or len(devices[0]["targets"]) != 1 or devices[0]["targets"][0]["type"] != "verity":
        return Fact.malformed(path, "dm-mod.create= does not describe one device of one verity target")
    target = devices[0]["targets"][0]
    found = {**verity_table(target["parameters"]), "start": target["start"], "length": target["length"]}
    return Fact.of({**found, "flags": devices[0]["flags"], "name": devices[0]["name"]}, path)


def _firewall(version: int) -> Callable[[Deriver], Fact]:
    name = f"network.firewall.ipv{version}"
    return lambda d: Fact.of(amounts_to(d.need(name)["chains"], version), d.get(name).path)


def _findings(d: Deriver) -> Fact:
    from stockade.audit.containers import findings

    types = d.need("compiled.types")
    filters = d.get("containers.filters")
    # Where they could not be read, the rule on filters says so, and the others judge what was.
    return Fact.of(findings(d.need, types, filters.value), d.get("containers").path)


def _device_findings(d: Deriver) -> Fact:
    from stockade.audit.containers import device_rules

    rules = d.need("containers.devices")
    found = device_rules(d.need("containers"), d.need("containerd.tasks"), d.need("compiled.types"), rules)
    return Fact.of(found, d.get("containers.devices").path)


def _coverage(d: Deriver) -> Fact:
    containers = d.need("containers")
    ended = d.need("containers.host")["ended"]
    unread = [one["id"] for one in containers if missing(one) or any(map(missing, one["processes"]))]
    judged = len(containers) - len(unread)
    return Fact.of({"found": len(containers) + len(ended), "judged": judged, "ended": ended, "unread": unread})


_DERIVED: Final[dict[str, Callable[[Deriver], Fact]]] = {
    "policy.diff": _policy_diff("selinux.policy"),
    "policy.file_diff": _policy_diff("selinux.file"),
    "policy.permissive": _permissive,
    "policy.header": _header,
    "compiled.header": _compiled_header,
    "root.mount": _root_mount,
    "root.over": _root_over,
    "root.verity": _root_verity,
    "boot.parameters": _parameters,
    "init.parameters": _init_parameters,
    "boot.repeated": _repeated,
    "boot.verity": _boot_verity,
    "firewall.ipv4": _firewall(4),
    "firewall.ipv6": _firewall(6),
    "containers.findings": _findings,
    "containers.device_findings": _device_findings,
    "containers.coverage": _coverage,
}
