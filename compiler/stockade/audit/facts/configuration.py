"""Configuration files that rules judge: modprobe, chrony, journald, kubelet, kube-proxy, containerd."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable
from typing import Any, Final

from stockade.audit.facts import parse
from stockade.audit.facts.fact import Fact
from stockade.audit.facts.host import Host
from stockade.audit.plain_yaml import read

MODPROBE: Final = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
JOURNALD: Final = ("/etc/systemd", "/run/systemd", "/usr/lib/systemd")
CHRONY: Final = ("/etc/chrony.conf", "/etc/chrony/chrony.conf")
KUBELET: Final = (
    "/etc/kubernetes/kubelet/config",
    "/var/lib/kubelet/config.yaml",
    "/etc/kubernetes/kubelet/config.json",
)
PROXY: Final = ("/etc/kubernetes/kube-proxy/kube-proxy.conf", "/var/lib/kube-proxy/config.conf")
CONTAINERD: Final = "/etc/containerd/config.toml"
JOURNAL_FILES: Final = 20_000
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def collect(host: Host) -> dict[str, Fact]:
    """Every fact about configuration."""
    return {
        "modprobe.config": modprobe(host),
        "chrony.config": first(host, CHRONY, directives),
        "journald.config": journald(host),
        "journal.files": journal(host),
        "kubelet.config": first(host, KUBELET, kubernetes),
        "proxy.config": first(host, PROXY, kubernetes),
        "containerd.config": containerd(host),
    }


def first(host: Host, paths: tuple[str, ...], read: Callable[[bytes], Any]) -> Fact:
    """The first of some files that is there."""
    said = Fact.absent(paths[0])
    for path in paths:
        said = parse.parsed(host.read(path), read)
        if said.outcome != "absent":
            return said
    return Fact.absent(paths[0])


def modprobe(host: Host) -> Fact:
    """Module to what modprobe does instead of loading it (`install` lines), and those that are blacklisted.

    A file in an earlier folder hides those of its name in later ones, as modprobe.d(5) has it.
    """
    files: dict[str, str] = {}
    for folder in MODPROBE:
        names = host.names(folder)
        if not names.known:
            if names.outcome == "absent":
                continue
            return names
        for name in names.value:
            if name.endswith(".conf"):
                files.setdefault(name, f"{folder}/{name}")
    install: dict[str, str] = {}
    blacklist = []
    for name in sorted(files):
        said = host.read(files[name])
        if not said.known:
            return said
        try:
            content = said.value.decode().replace("\\\n", " ")
        except UnicodeDecodeError:
            return Fact.malformed(said.path, "not UTF-8")
        for one in content.splitlines():
            words = one.split(None, 2)
            if len(words) == 3 and words[0] == "install":
                install.setdefault(words[1].replace("-", "_"), words[2].strip())
            elif len(words) >= 2 and words[0] == "blacklist":
                blacklist.append(words[1].replace("-", "_"))
    return Fact.of({"install": install, "blacklist": sorted(set(blacklist))}, MODPROBE[0])


def directives(content: bytes) -> dict[str, list[str]]:
    """A configuration of chrony: directive, in small letters, to the rest of each of its lines."""
    found: dict[str, list[str]] = {}
    for one in parse.text(content).splitlines():
        said = one.strip()
        if said and said[0] not in "#!;%":
            name, _, rest = said.partition(" ")
            found.setdefault(name.lower(), []).append(rest.strip())
    return found


def journald(host: Host) -> Fact:
    """Keys of journald's section, main file first, then the parts in order of their names; the last one counts."""
    parts: dict[str, str] = {}
    main = Fact.absent(f"{JOURNALD[0]}/journald.conf")
    for folder in JOURNALD:
        names = host.names(f"{folder}/journald.conf.d")
        if not names.known and names.outcome != "absent":
            return names
        for name in names.value if names.known else ():
            if name.endswith(".conf"):
                parts.setdefault(name, f"{folder}/journald.conf.d/{name}")
        if main.outcome == "absent":
            main = host.read(f"{folder}/journald.conf")
    if not main.known and main.outcome != "absent":
        return main
    found: dict[str, str] = {}
    for said in ([main] if main.known else []) + [host.read(parts[name]) for name in sorted(parts)]:
        if not said.known:
            return said
        section = ""
        try:
            lines = said.value.decode().splitlines()
        except UnicodeDecodeError:
            return Fact.malformed(said.path, "not UTF-8")
        for one in lines:
            text = one.strip()
            if text.startswith("[") and text.endswith("]"):
                section = text[1:-1]
            elif text and text[0] not in "#;":
                name, equals, value = text.partition("=")
                if not equals:
                    return Fact.malformed(said.path, f"not an assignment: {text[:60]!r}")
                if section == "Journal":
                    found[name.strip()] = value.strip()
    if not main.known and not parts:
        return Fact.absent(f"{JOURNALD[0]}/journald.conf")
    return Fact.of(found, main.path if not parts else parts[sorted(parts)[-1]])


def journal(host: Host) -> Fact:
    """The files of the journal: path and mode."""
    folder = host.open("/var/log/journal", os.O_RDONLY | os.O_DIRECTORY)
    if isinstance(folder, Fact):
        return folder
    found: list[dict[str, Any]] = []
    try:
        for path, _, files, descriptor in os.fwalk(".", dir_fd=folder, onerror=_raise):
            for name in sorted(files):
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    where = f"/var/log/journal{path[1:]}/{name}"
                    found.append({"path": where, "mode": status.st_mode & 0o7777})
            if len(found) > JOURNAL_FILES:
                return Fact.malformed("/var/log/journal", f"more than {JOURNAL_FILES} files")
    except OSError as error:
        return Fact.unreadable("/var/log/journal", error.strerror or str(error))
    finally:
        os.close(folder)
    return Fact.of(found, "/var/log/journal")


def _raise(error: OSError) -> None:
    raise error


def kubernetes(content: bytes) -> dict[str, Any]:
    """A configuration object of Kubernetes, in YAML or JSON."""
    import json

    said = parse.text(content)
    if said.lstrip().startswith("{"):
        try:
            found = json.loads(said)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    else:
        import yaml

        try:
            found = read(said)
        except yaml.YAMLError as error:
            raise ValueError(f"not YAML: {' '.join(str(error).split())[:120]}") from None
    if type(found) is not dict or type(found.get("kind")) is not str:
        raise ValueError("not a configuration object: a mapping with a kind")
    return json.loads(json.dumps(found, default=str))  # type: ignore[no-any-return]


def containerd(host: Host) -> Fact:
    """containerd's configuration: settings, with its imports listed and not followed."""
    said = host.read(CONTAINERD)
    if not said.known:
        return said
    try:
        settings = tomllib.loads(parse.text(said.value))
    except (ValueError, RecursionError) as error:
        return Fact.malformed(CONTAINERD, f"not TOML: {error}")
    status, booted = host.status(CONTAINERD), parse.parsed(host.read("/proc/stat", 1 << 20), parse.booted)
    for fact in (status, booted):
        if not fact.known and (fact is status or host.kind == "live"):
            return Fact(fact.outcome, None, fact.path, fact.why)
    plugins = settings.get("plugins") or {}
    runtime = plugins.get("io.containerd.cri.v1.runtime") or plugins.get("io.containerd.grpc.v1.cri") or {}
    try:
        runtimes = runtime.get("containerd", {}).get("runtimes", {})
        return Fact.of(
            {
                "version": settings.get("version", 1),
                "imports": list(settings.get("imports") or []),
                "disabled": list(settings.get("disabled_plugins") or []),
                "selinux": bool(runtime.get("enable_selinux", False)),
                "unset_seccomp": str(runtime.get("unset_seccomp_profile", "")),
                "default": str(runtime.get("containerd", {}).get("default_runtime_name", "runc")),
                "runtimes": [
                    {
                        "name": name,
                        "binary": str((one.get("options") or {}).get("BinaryName", "")),
                        "systemd": bool((one.get("options") or {}).get("SystemdCgroup", False)),
                        "privileged_without_devices": bool(one.get("privileged_without_host_devices", False)),
                    }
                    for name, one in sorted(runtimes.items())
                ],
                # When its inode was changed: whoever writes a file can set its time, and not this one. The kernel
                # tells of the boot in whole seconds, so that one more may have passed.
                "changed": _TICKS * (int(status.value.st_ctime) - (booted.value if booted.known else 0) - 1),
            },
            CONTAINERD,
        )
    except (AttributeError, TypeError) as error:
        return Fact.malformed(CONTAINERD, f"a section of another form: {error}")
