"""Broken artefacts: whatever is changed in what was compiled, the proofs notice; and libsepol itself holds promises."""

from __future__ import annotations

import copy
import json
import random
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from stockade.bundle.compile import POLICY_VERSION, Compiled
from stockade.model.access import PAIRS
from stockade.model.policy import Policy
from stockade.model.promise import LabelPromise
from stockade.oci.prove import prove_oci
from stockade.prove.policy import artefact_faults
from stockade.selinux.binary import Binary
from stockade.selinux.libsepol import CilError, compile_cil

Table = dict[tuple[str, str], int]


def first_fault(policy: Policy, table: Table, compiled: Compiled) -> str | None:
    return next(artefact_faults(policy, compiled), None)


def test_nothing_is_wrong_with_what_was_compiled(policy: Policy, table: Table, compiled: Compiled) -> None:
    assert list(artefact_faults(policy, compiled)) == []


def _replaced(pattern: str, new: str) -> Callable[[str], str]:
    """An edit of the first match; there must be one."""

    def edit(text: str) -> str:
        found, count = re.subn(pattern, new, text, count=1, flags=re.MULTILINE)
        assert count == 1, pattern
        return found

    return edit


def _added(*lines: str) -> Callable[[str], str]:
    return lambda text: text + "\n".join(lines) + "\n"


POLICIES: Mapping[str, Callable[[str], str]] = {
    "an allow rule gone": _replaced(r"^\(allow subjects_proper self interact\)$", ""),
    "a transition's rule gone": _replaced(r"^\(allow kernel_t init_t transform\)$", ""),
    "one permission more": _added("(allow container_t etc_t (file (write)))"),
    "one class more": _added("(allow container_t self (alg_socket (create)))"),
    "a file that acts": _added("(allow os_t os_t (file (read)))"),
    "an own domain widened": _added("(allow web_t local_t (file (append)))"),
    "own domains read secrets": _added("(allow batch_t secret_t (dir (search)))"),
    "enforcement can be left": _added("(allow super_t kernel_t (security (setenforce)))"),
    "a permissive type": _added("(typepermissive container_t)"),
    "another type": _added("(type other_t)", "(roletype object_r other_t)"),
    "a boolean": _added("(boolean loose false)", "(booleanif loose (true (allow bus_t secret_t (file (read)))))"),
    "a boolean that is on": _added(
        "(boolean loose true)", "(booleanif loose (true (allow bus_t secret_t (file (read)))))"
    ),
    "unknown permissions allowed": _replaced(r"^\(handleunknown deny\)$", "(handleunknown allow)"),
    "a policy capability gone": _replaced(r"^\(policycap nnp_nosuid_transition\)$", ""),
    "another policy capability": _replaced(r"^\(mls true\)$", "(mls true)\n(policycap always_check_network)"),
    "a constraint gone": _replaced(r"^\(mlsconstrain transform .*$", ""),
    "a constraint on one class gone": _replaced(r"^\(mlsvalidatetrans sock_file .*$", ""),
    "a constraint that excuses more": _replaced(
        r"^\(mlsconstrain interact (.*)\)$", r"(mlsconstrain interact (or \1 (eq t1 container_t)))"
    ),
    "a constraint that excuses by target": _replaced(
        r"^\(mlsconstrain modify (.*)\)$", r"(mlsconstrain modify (or \1 (eq t2 data_t)))"
    ),
    "a constraint turned round": _replaced(r"^(\(mlsconstrain read .*)\(dom h1 h2\)", r"\1(domby h1 h2)"),
    "a constraint on low levels": _replaced(r"^(\(mlsconstrain read .*)\(dom h1 h2\)", r"\1(dom l1 h2)"),
    "one more constraint": _added("(mlsconstrain (file (getattr)) (dom h1 h2))"),
    "a plain constraint": _added("(constrain (file (getattr)) (eq u1 u2))"),
    "a transition gone": _replaced(r"^\(typetransition kernel_t init_exec_t process init_t\)$", ""),
    "a transition elsewhere": _replaced(
        r"^\(typetransition runtime_t cni_exec_t process container_t\)$",
        "(typetransition runtime_t cni_exec_t process super_t)",
    ),
    "a transition of files": _added("(typetransition container_t local_t file data_t)"),
    "a named transition": _added('(typetransition runtime_t local_t dir "overlay3" cache_t)'),
    "a range widened": _replaced(
        r"^\(rangetransition runtime_t cni_exec_t process .*$",
        "(rangetransition runtime_t cni_exec_t process ((s0) (s0 (range c0 c1023))))",
    ),
    "a range gone": _replaced(r"^\(rangetransition init_t csi_exec_t process .*$", ""),
    "an initial SID relabelled": _replaced(
        r"^\(sidcontext unlabeled .*$", "(sidcontext unlabeled (system_u object_r any_t ((s0) (s0))))"
    ),
    "a file system relabelled": _replaced(r"^(\(genfscon proc .*)proc_t", r"\1any_t"),
    "a file system by task": _replaced(r"^\(fsuse trans tmpfs", "(fsuse task tmpfs"),
    "a file system gone": _replaced(r"^\(genfscon sysfs .*$", ""),
    "a default level gone": _replaced(r"^\(defaultrange file target low-high\)$", ""),
    "a default level of the maker": _replaced(
        r"^\(defaultrange dir target low-high\)$", "(defaultrange dir source low)"
    ),
    "a default type": _added("(defaulttype file source)"),
    "a user's level": _replaced(r"^\(userlevel system_u .*$", "(userlevel system_u (s0 (c1)))"),
    "a user's range": _replaced(r"^\(userrange system_u .*$", "(userrange system_u ((s0) (s0 (range c0 c9))))"),
    "another user": _added(
        "(user other_u)", "(userrole other_u system_r)", "(userlevel other_u (s0))", "(userrange other_u ((s0) (s0)))"
    ),
    "another role": _added("(role other_r)", "(roletype other_r container_t)"),
    "a process's role for a file": _added("(roletype system_r os_t)"),
    "a process without its role": _replaced(r"^\(roletype system_r bus_t\)$", ""),
    "a role that may change": _added("(role other_r)", "(roleallow system_r other_r)"),
    "a denial that nobody hears of": _added("(dontaudit container_t secret_t (file (read)))"),
    "an ioctl by number": _added("(allowx container_t any_t (ioctl chr_file (0x5401)))"),
    "an alias gone": _replaced(r"^\(typealias spc_t\)\n\(typealiasactual spc_t control_t\)$", ""),
    "a promise broken, and its neverallow gone": lambda text: _added("(allow clock_t secret_t (file (read)))")(
        re.sub(r"^\s*\(neverallow .*$", "", text, flags=re.MULTILINE)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", POLICIES)
def test_a_broken_kernel_policy_is_noticed(policy: Policy, table: Table, compiled: Compiled, name: str) -> None:
    """What libsepol itself lets pass: neverallow rules are left out, so that the proof alone stands guard."""
    (host, text), *own = compiled.cil
    bare = re.sub(r"^\s*\(neverallow .*$", "", text.decode(), flags=re.MULTILINE)
    changed = POLICIES[name](bare)
    assert changed != bare
    files = [(host, changed.encode()), *own]
    broken = compile_cil(files, policy_version=POLICY_VERSION, neverallow=False).policy
    assert first_fault(policy, table, replace(compiled, kernel_policy=broken)) is not None


def test_what_is_left_out_for_the_tests_above_is_not_in_the_kernel_policy(compiled: Compiled) -> None:
    (host, text), *own = compiled.cil
    bare = re.sub(rb"(?m)^\s*\(neverallow .*$", b"", text)
    without = Binary(compile_cil([(host, bare), *own], policy_version=POLICY_VERSION).policy)
    assert without.allow == Binary(compiled.kernel_policy).allow


def _jumps(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("<HBBI", program))


def _packed(code: list[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _flip_return(code: list[tuple[int, int, int, int]], value: int, new: int) -> list[tuple[int, int, int, int]]:
    at = next(n for n, (op, _, _, k) in enumerate(code) if op == 0x06 and k == value)
    return [*code[:at], (0x06, 0, 0, new), *code[at + 1 :]]


def _first_jump(code: list[tuple[int, int, int, int]], change: Callable[..., tuple[int, int, int, int]]) -> list[Any]:
    """The last comparison, which decides about one call or argument alone."""
    at = max(n for n, (op, _, _, _) in enumerate(code) if op & 7 == 5 and op != 5)
    return [*code[:at], change(*code[at]), *code[at + 1 :]]


FILTERS: Mapping[str, Callable[[list[tuple[int, int, int, int]]], list[tuple[int, int, int, int]]]] = {
    "all allowed": lambda code: [(0x06, 0, 0, 0x7FFF0000)],
    "all denied": lambda code: [(0x06, 0, 0, 0x00050001)],
    "denied becomes allowed": lambda code: _flip_return(code, 0x00050001, 0x7FFF0000),
    "unknown becomes allowed": lambda code: _flip_return(code, 0x00050026, 0x7FFF0000),
    "another error number": lambda code: _flip_return(code, 0x00050026, 0x00050001),
    "foreign calls allowed": lambda code: _flip_return(code, 0x80000000, 0x7FFF0000),
    "allowed becomes log": lambda code: _flip_return(code, 0x7FFF0000, 0x7FFC0000),
    "a comparison turned round": lambda code: _first_jump(code, lambda op, yes, no, k: (op, no, yes, k)),
    "a comparison with the next": lambda code: _first_jump(code, lambda op, yes, no, k: (op, yes, no, k + 1)),
    "cut short": lambda code: code[:-1],
}


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize("name", FILTERS)
def test_a_broken_filter_is_noticed(policy: Policy, table: Table, compiled: Compiled, name: str, arch: str) -> None:
    program = compiled.filters["web", arch]
    broken = _packed(FILTERS[name](_jumps(program)))
    assert broken != program
    faults = list(artefact_faults(policy, replace(compiled, filters={**compiled.filters, ("web", arch): broken})))
    assert len(faults) == 1
    assert faults[0].startswith(f"seccomp.{arch}.bpf of `web`")


def _profile(change: Callable[[dict[str, Any]], object]) -> Callable[[Any], Any]:
    def changed(document: Any) -> Any:
        mine = json.loads(json.dumps(document))
        change(mine)
        return mine

    return changed


def _listing(document: dict[str, Any], call: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in document["syscalls"] if call in entry["names"])
    return found


PROFILES: Mapping[str, Callable[[Any], Any]] = {
    "default allows": _profile(lambda d: d.update(defaultAction="SCMP_ACT_ALLOW")),
    "another error number": _profile(lambda d: d.update(defaultErrnoRet=1)),
    "a call more": _profile(lambda d: _listing(d, "read")["names"].append("bpf")),
    "a call less": _profile(lambda d: _listing(d, "read")["names"].remove("read")),
    "a condition gone": _profile(lambda d: [e.pop("args", None) for e in d["syscalls"] if "personality" in e["names"]]),
    "an entry gone": _profile(lambda d: d["syscalls"].remove(_listing(d, "bpf"))),
    "clone3 allowed": _profile(lambda d: _listing(d, "read")["names"].append("clone3")),
    "a refusal as another": _profile(lambda d: _listing(d, "bpf").update(errnoRet=2)),
    "an architecture more": _profile(lambda d: d["architectures"].append("SCMP_ARCH_X32")),
    "no entry at all": _profile(lambda d: d.update(syscalls=[])),
}


@pytest.mark.parametrize("name", PROFILES)
def test_a_broken_profile_is_noticed(policy: Policy, table: Table, compiled: Compiled, name: str) -> None:
    broken = PROFILES[name](compiled.profiles["web"])
    assert broken != compiled.profiles["web"]
    faults = list(artefact_faults(policy, replace(compiled, profiles={**compiled.profiles, "web": broken})))
    assert [fault for fault in faults if not fault.startswith("seccomp.json of `web`")] == []
    assert faults


def _walk(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key in value:
            found += _walk(value[key], (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += _walk(inner, (*path, index))
    return found


def _value(document: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        document = document[step]
    return document


def _remove(document: Any, path: tuple[Any, ...]) -> Any:
    mine = copy.deepcopy(document)
    inner = _value(mine, path[:-1])
    del inner[path[-1]]
    return mine


def _alter(document: Any, path: tuple[Any, ...]) -> Any:
    mine = copy.deepcopy(document)
    inner = _value(mine, path[:-1])
    value = inner[path[-1]]
    match value:
        case bool():
            inner[path[-1]] = not value
        case int():
            inner[path[-1]] = value + 1
        case str():
            inner[path[-1]] = f"{value}0"
        case list():
            inner[path[-1]] = value[1:] if value else ["a"]
        case dict():
            inner[path[-1]] = {**value, "another": 1}
    return mine


SAME_WHEN_ABSENT: tuple[Any, ...] = (
    [],
    {},
    False,
    {"readonly": False},
    100_000,  # the kernel's own cpu.max period
)


@pytest.mark.parametrize("container", ["web", "admin"])
def test_every_place_of_a_spec_matters(policy: Policy, compiled: Compiled, container: str) -> None:
    """Each value of oci.json taken out, and each changed: the proof of the spec notices every one."""
    spec, missed = json.loads(json.dumps(compiled.specs[container])), []
    paths = _walk(spec)
    assert list(prove_oci(policy.containers[container], spec)) == []
    for path in paths:
        for change in (_remove, _alter):
            broken = change(spec, path)
            if change is _remove and _value(spec, path) in SAME_WHEN_ABSENT:
                continue
            if not list(prove_oci(policy.containers[container], broken)):
                missed.append((change.__name__, path))
    assert missed == []
    assert len(paths) > 60


@pytest.mark.parametrize(
    "path", [("root", "readonly"), ("process", "selinuxLabel"), ("linux", "resources", "pids", "limit")]
)
def test_a_broken_spec_is_noticed(policy: Policy, table: Table, compiled: Compiled, path: tuple[str, ...]) -> None:
    spec = _alter(json.loads(json.dumps(compiled.specs["web"])), path)
    faults = list(artefact_faults(policy, replace(compiled, specs={**compiled.specs, "web": spec})))
    assert any(fault.startswith("oci.json of `web`") for fault in faults)
    assert [fault for fault in faults if "oci.json" not in fault or "`web`" not in fault] == []


def _guarded_by(text: str, name: str | None) -> str:
    """A CIL file with the neverallow rules of one promise alone."""
    kept, promise = [], ""
    for line in text.splitlines():
        if match := re.match(r"\s*; (?:promises|containers)/\S+:\d+ ([a-z0-9-]+):", line):
            promise = match[1]
        if not line.lstrip().startswith("(neverallow ") or promise == name:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _compile_with(compiled: Compiled, promise: str | None, crossing: str) -> None:
    files = [(name, _guarded_by(text.decode(), promise).encode()) for name, text in compiled.cil]
    compile_cil([*files, ("crossing.cil", crossing.encode())], policy_version=POLICY_VERSION)


def test_libsepol_holds_every_promise(policy: Policy, compiled: Compiled) -> None:
    """For each promise a rule that crosses it is refused by its own neverallow rules, and passes without them."""
    draw, crossings = random.Random(6), []
    for promise in policy.promises.values():
        if not isinstance(promise, LabelPromise):
            continue
        pairs = [
            (subject, target)
            for subject in sorted(frozenset().union(*(part.members for part in promise.who.parts)))
            for target in sorted(promise.what.members(subject))
        ]
        subject, target = draw.choice(pairs)
        tclass, permission = draw.choice([pair for bit, pair in enumerate(PAIRS) if promise.access >> bit & 1])
        crossings.append(f"(allow {subject} {target} ({tclass} ({permission})))\n")
        with pytest.raises(CilError, match="neverallow"):
            _compile_with(compiled, promise.name, crossings[-1])
    assert len(crossings) > 80
    _compile_with(compiled, None, "".join(crossings))
