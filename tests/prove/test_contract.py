"""The label contract: each path has one mechanism, the host's files say so, and a break of either is found."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from stockade.bundle.compile import Compiled
from stockade.bundle.write import Artefact
from stockade.model.host import Host, Object
from stockade.model.policy import Policy
from stockade.prove.contract import FileContexts, contract_faults, contract_findings
from stockade.prove.policy import artefact_faults, source_findings
from stockade.selinux.contract import Mechanism, claims, within


def with_object(host: Host, name: str, **paths: tuple[str, ...]) -> Host:
    """The host with paths added to one object."""
    old = host.objects[name]
    added: dict[str, tuple[str, ...]] = {key: (*getattr(old, key), *more) for key, more in paths.items()}
    new: Object = replace(old, **added)
    return replace(host, objects={**host.objects, name: new})


def with_file(compiled: Compiled, path: str, old: str, new: str) -> Compiled:
    """The artefacts with something replaced in one file, in which it must be."""
    (found,) = (a for a in compiled.artefacts if a.path == path)
    assert old in found.content.decode()
    other = Artefact(path, found.content.decode().replace(old, new, 1).encode(), found.media_type)
    return replace(compiled, artefacts=tuple(other if a is found else a for a in compiled.artefacts))


def test_the_shipped_policy_keeps_it(policy: Policy, compiled: Compiled) -> None:
    assert list(contract_findings(policy.host)) == []
    assert list(contract_faults(policy, compiled)) == []


@pytest.mark.parametrize(
    ("path", "mechanism"),
    [
        ("/", None),
        ("/usr/bin/runc*", Mechanism.IMAGE),
        ("/opt/cni", Mechanism.CONTEXT),
        ("/etc", Mechanism.ROOT),
        ("/run", Mechanism.FILE_SYSTEM),
        ("/var", Mechanism.FILE_SYSTEM),
        ("/proc", Mechanism.FILE_SYSTEM),
        ("/run/api.sock", Mechanism.TRANSITION),
        ("/local/host-containers", Mechanism.TRANSITION),
        ("/var/lib/chrony", Mechanism.TMPFILES),
        ("/var/lib/systemd/random-seed", Mechanism.TMPFILES),
    ],
)
def test_what_labels_a_path(policy: Policy, path: str, mechanism: Mechanism | None) -> None:
    found = [claim.mechanism for claim in claims(policy.host) if claim.path == path]
    assert found == ([mechanism] if mechanism else [])


@pytest.mark.parametrize(
    ("name", "paths", "said"),
    [
        ("state", {"subtrees": ("/opt/cni/state",)}, "`/opt/cni/state` cannot be state_t"),
        ("state", {"subtrees": ("/opt/c*/state",)}, "`/opt/c*/state` cannot be state_t"),
        ("mount-program", {"programs": ("/opt/csi/mount",)}, "`/opt/csi/mount` cannot be mount_exec_t"),
        ("local", {"mount_points": ("/opt/cni/more",)}, "`/opt/cni/more` cannot be local_t"),
        ("private", {"context_mounts": ("/run/netdog/private",)}, "`/run/netdog/private` cannot be private_t"),
        ("private", {"context_mounts": ("/var/lib/systemd/private",)}, "is labelled twice: private_t by its mount"),
        ("secret", {"subtrees": ("/run/secrets",)}, "is made anew at every boot, and nothing labels it there"),
        ("clock-program", {"programs": ("/usr/bin/*nerd*",)}, "have paths in common"),
    ],
)
def test_a_path_without_one_mechanism_is_found(
    policy: Policy, table: dict[tuple[str, str], int], name: str, paths: dict[str, tuple[str, ...]], said: str
) -> None:
    host = with_object(policy.host, name, **paths)
    assert any(said in finding.message for finding in contract_findings(host))
    assert any(said in finding.message for finding in source_findings(replace(policy, host=host), table))


def test_without_its_transition_a_socket_has_no_label(policy: Policy) -> None:
    host = policy.host
    bare = replace(host, transitions=tuple(t for t in host.transitions if t.filename != "api.sock"))
    (found,) = contract_findings(bare)
    assert "`/run/api.sock`" in found.message and found.at == host.objects["api-socket"].at


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("file_contexts", "measure_t", "state_t", "file_contexts gives /var/lib/chrony"),
        ("file_contexts", ":runtime_exec_t:", ":os_t:", "says runtime_exec_t"),
        ("file_contexts", "/media/cdrom\t-d", "/media/dvd\t-d", "file_contexts gives /media/cdrom"),
        ("file_contexts", "/run/.*", "/ran/.*", "file_contexts gives /run/some.name"),
        ("mount_contexts", "private_t", "any_t", "/var/lib/bottlerocket: the source says context system_u object_r"),
        ("mount_contexts", "rootcontext", "context", "/etc: the source says rootcontext"),
        ("mount_contexts", '"system_u', "system_u", "has a line that it should not have"),
        ("mount_contexts", "/opt/cni\t", "/opt/csi\t", "labels /opt/csi, which is labelled before"),
        ("tmpfiles.conf", "t /var/lib/chrony ", "t /opt/cni ", "/opt/cni: the source says context"),
        ("tmpfiles.conf", "measure_t:s0", "measure_t", "has a line that it should not have"),
        ("container_labels.json", "container_t", "super_t", "of `ordinary`, and oci.json"),
        ("container_labels.json", '"default": "ordinary"', '"default": "admin"', "other types than the source"),
        ("container_labels.json", '"categories": "pair"', '"categories": "all"', "(categories) of `batch`"),
        ("lxc_contexts", "data_t", "secret_t", "lxc_contexts differs"),
    ],
)
def test_a_changed_file_is_found(
    policy: Policy,
    table: dict[tuple[str, str], int],
    compiled: Compiled,
    path: str,
    old: str,
    new: str,
    said: str,
) -> None:
    broken = with_file(compiled, f"host/{path}", old, new)
    assert any(said in fault for fault in contract_faults(policy, broken))
    if path == "lxc_contexts":  # once is enough to see that a build asks
        assert any(said in fault for fault in artefact_faults(policy, broken))


def test_a_missing_file_is_found(policy: Policy, compiled: Compiled) -> None:
    left = tuple(a for a in compiled.artefacts if a.path != "host/tmpfiles.conf")
    assert list(contract_faults(policy, replace(compiled, artefacts=left))) == ["host/tmpfiles.conf is missing"]


def test_file_contexts_are_looked_up_as_libselinux_does() -> None:
    text = "/a/b\tx:y:plain:s0\n/.*\tx:y:all:s0\n/a(/.*)?\tx:y:a:s0\n/a/c -d x:y:folder:s0\n/a/d/.* <<none>>\n"
    contexts = FileContexts(text)
    asked = [("/a/b", "file"), ("/a/c", "dir"), ("/a/c", "file"), ("/a/d/e", "file"), ("/z", ""), ("z", "")]
    assert [contexts.lookup(*one) for one in asked] == [
        "x:y:plain:s0", "x:y:folder:s0", "x:y:a:s0", None, "x:y:all:s0", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "top", "inside"),
    [
        ("/a/b", "/a", True), ("/a", "/a", True), ("/a", "/a/b", False), ("/ab", "/a", False), ("/a/x", "/a/*", True),
        ("/a/b*/c", "/a/*d", True), ("/a/b*", "/a/c*", False), ("/a", "/", True), ("/a/xy", "/a/*y", True),
    ],
)  # fmt: skip
def test_paths_within(path: str, top: str, inside: bool) -> None:
    assert within(path, top) is inside


def test_a_file_of_the_contract_has_the_labels_of_the_source_alone(policy: Policy, compiled: Compiled) -> None:
    labels = policy.host.subject_labels | policy.host.object_labels
    texts = {
        a.path: a.content.decode() for a in compiled.artefacts if a.path.startswith("host/") and "policy" not in a.path
    }
    for name in ("mount_contexts", "tmpfiles.conf", "lxc_contexts", "container_labels.json"):
        named = set(re.findall(r"\b[a-z_]+_t\b", texts[f"host/{name}"]))
        assert named and named <= labels
    assert json.loads(texts["host/container_labels.json"])["default"] == policy.default
