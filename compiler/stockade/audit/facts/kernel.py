"""What the kernel says of itself: command line, lockdown, modules, settings, options, secure boot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from stockade.audit.facts import parse
from stockade.audit.facts.command_line import for_init, parameters
from stockade.audit.facts.fact import Fact
from stockade.audit.facts.host import Host

_VARIABLE: Final = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_EFI: Final = "/sys/firmware/efi/efivars"
_PLAIN: Final = {
    "kernel.release": ("/proc/sys/kernel/osrelease", parse.line),
    "kernel.hostname": ("/proc/sys/kernel/hostname", parse.line),
    "kernel.boot_id": ("/proc/sys/kernel/random/boot_id", parse.line),
    "kernel.lsm": ("/sys/kernel/security/lsm", parse.words),
    "kernel.lockdown": ("/sys/kernel/security/lockdown", parse.bracketed),
    "kernel.sig_enforce": ("/sys/module/module/parameters/sig_enforce", parse.yes),
    "kernel.command_line": ("/proc/cmdline", parameters),
    "kernel.init_parameters": ("/proc/cmdline", for_init),
    "kernel.uevent_helper": ("/sys/kernel/uevent_helper", parse.setting),
    "kernel.tainted": ("/proc/sys/kernel/tainted", parse.number),
    "kernel.kexec_loaded": ("/sys/kernel/kexec_loaded", parse.number),
    "kernel.fips_enabled": ("/proc/sys/crypto/fips_enabled", parse.number),
    "kernel.fips_name": ("/proc/sys/crypto/fips_name", parse.line),
    "host.machine_id": ("/etc/machine-id", parse.line),
}


OPTIONS: Final = (
    "SECURITY_SELINUX", "SECURITY_SELINUX_DEVELOP", "SECURITY_SELINUX_BOOTPARAM", "SECURITY_SELINUX_DISABLE",
    "MODULE_SIG", "MODULE_SIG_FORCE", "MODULE_SIG_ALL", "SECURITY_LOCKDOWN_LSM", "SECURITY_LOCKDOWN_LSM_EARLY",
    "STRICT_KERNEL_RWX", "STRICT_MODULE_RWX", "RANDOMIZE_BASE", "STACKPROTECTOR_STRONG", "FORTIFY_SOURCE",
    "HARDENED_USERCOPY", "VMAP_STACK", "SLAB_FREELIST_RANDOM", "SLAB_FREELIST_HARDENED", "DEVMEM", "STRICT_DEVMEM",
    "IO_STRICT_DEVMEM", "DEVKMEM", "PROC_KCORE", "LEGACY_VSYSCALL_NONE", "SECCOMP", "SECCOMP_FILTER", "DM_VERITY",
    "BPF_UNPRIV_DEFAULT_OFF", "KEXEC", "KEXEC_SIG", "HIBERNATION", "IKCONFIG_PROC", "UDF_FS", "IP_SCTP",
)  # fmt: skip
"""Options of Kconfig that are kept of /proc/config.gz."""


def collect(host: Host, options: Iterable[str], settings: Iterable[str]) -> dict[str, Fact]:
    """Every fact about the kernel; `options` are names of Kconfig and `settings` of sysctl that rules ask for."""
    found = {name: parse.parsed(host.read(path), read) for name, (path, read) in _PLAIN.items()}
    found["kernel.bootconfig"] = parse.parsed(host.read("/proc/bootconfig"), bootconfig)
    found["kernel.modules"] = parse.parsed(host.read("/proc/modules"), modules)
    found["kernel.vulnerabilities"] = vulnerabilities(host)
    found["kernel.swaps"] = parse.parsed(host.read("/proc/swaps"), swaps)
    found["kernel.binfmt"] = binfmt(host)
    found["kernel.file_systems"] = parse.parsed(host.read("/proc/filesystems"), file_systems)
    found["kernel.secure_boot"] = secure_boot(host)
    said = parse.parsed(host.read("/proc/config.gz"), parse.kernel_options)
    if said.known:
        said = Fact.of({name: said.value.get(name, "n") for name in sorted(options)}, said.path)
    found["kernel.options"] = said
    for name in settings:
        found[f"sysctl:{name}"] = sysctl(host, name)
    found["network.interfaces"] = interfaces(host)
    return found


def sysctl(host: Host, name: str) -> Fact:
    """A setting by the name that sysctl(8) uses."""
    return parse.parsed(host.read("/proc/sys/" + name.replace(".", "/"), 1 << 16), parse.setting)


def interfaces(host: Host) -> Fact:
    """Of each IP version and each interface (all and default too), the settings that are numbers.

    A version that this kernel does not have, has no interfaces."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for version in ("ipv4", "ipv6"):
        folder = f"/proc/sys/net/{version}/conf"
        names = host.names(folder)
        if not names.known:
            if names.outcome == "absent":
                found[version] = {}
                continue
            return names
        found[version] = {}
        for interface in names.value:
            values = found[version][interface] = {}
            for name in _PER_INTERFACE[version]:
                said = parse.parsed(host.read(f"{folder}/{interface}/{name}", 64), parse.number)
                if said.known:
                    values[name] = said.value
                elif said.outcome != "absent":
                    return said
    return Fact.of(found, "/proc/sys/net")


_PER_INTERFACE: Final = {
    "ipv4": (
        "accept_redirects", "accept_source_route", "log_martians", "rp_filter", "secure_redirects", "send_redirects"
    ),
    "ipv6": ("accept_ra", "accept_redirects", "accept_source_route"),
}  # fmt: skip


def bootconfig(content: bytes) -> dict[str, str]:
    """Keys of /proc/bootconfig, which set the kernel's parameters too."""
    return parse.assignments(content) if content.strip(b"\0\n ") else {}


def modules(content: bytes) -> list[dict[str, str]]:
    """Loaded modules: name, state and taint letters."""
    found = []
    for at, one in enumerate(content.decode("ascii").splitlines(), 1):
        words = one.split()
        if len(words) < 6 or not words[1].isdigit():
            raise ValueError(f"line {at} is no module: {one[:60]!r}")
        taint = words[6].strip("()") if len(words) > 6 else ""
        found.append({"name": words[0], "state": words[4], "taint": taint})
    return found


def swaps(content: bytes) -> list[str]:
    """The devices and files that memory is swapped to."""
    head, *rest = parse.text(content).splitlines()
    if not head.startswith("Filename"):
        raise ValueError("not a table of swap")
    return [one.split()[0] for one in rest]


def file_systems(content: bytes) -> list[str]:
    """Types of file system that the kernel knows now."""
    return sorted(one.split("\t")[-1] for one in parse.text(content).splitlines())


def vulnerabilities(host: Host) -> Fact:
    """Name of each weakness of the processor to what the kernel says about it."""
    folder = "/sys/devices/system/cpu/vulnerabilities"
    names = host.names(folder)
    if not names.known:
        return names
    found: dict[str, str] = {}
    for name in names.value:
        said = parse.parsed(host.read(f"{folder}/{name}"), parse.line)
        if not said.known:
            return said
        found[name] = said.value
    return Fact.of(found, folder)


def binfmt(host: Host) -> Fact:
    """Handlers of binfmt_misc: name, interpreter, flags; an empty list where it is not mounted."""
    folder = "/proc/sys/fs/binfmt_misc"
    # It is a mount of its own, so it is opened by way of the root.
    names = host.nested(folder)
    if not names.known:
        return Fact.of([], folder) if names.outcome == "absent" else names
    found: list[dict[str, Any]] = []
    for name, content in names.value.items():
        if name in ("register", "status"):
            continue
        lines = dict(one.partition(" ")[::2] for one in content.decode("utf-8", "replace").splitlines()[1:])
        found.append({"name": name, "interpreter": lines.get("interpreter", ""), "flags": lines.get("flags:", "")})
    return Fact.of(found, folder)


def secure_boot(host: Host) -> Fact:
    """EFI variables: enabled, setup (no key is enforced), enrolled (there is a platform key)."""
    ground = host.ground(_EFI)
    if ground.outcome == "absent" and host.status("/sys/firmware/efi").known:
        return Fact.unreadable(_EFI, "this host was started by EFI, and its variables are not mounted")
    if not ground.known:
        return ground
    enabled, setup = (host.read(f"{_EFI}/{name}-{_VARIABLE}", 64) for name in ("SecureBoot", "SetupMode"))
    key = host.read(f"{_EFI}/PK-{_VARIABLE}")
    for said in (enabled, setup):
        if not said.known:
            return said
        if len(said.value) != 5:
            return Fact.malformed(said.path, f"{len(said.value)} bytes, and such a variable has 5")
    if not key.known and key.outcome != "absent":
        return key
    return Fact.of(
        {
            "enabled": enabled.value[4] == 1,
            "setup": setup.value[4] != 0,
            "enrolled": key.known and len(key.value) > 4,
        },
        _EFI,
    )
