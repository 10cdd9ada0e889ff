"""From a plain `docker inspect` to a type that grants what its workload does and nothing else, on a real kernel.

Two boots: one that records, one that confirms. The first runs what was imported, with every call and access written
down; what learning makes of the log, without what nobody missed, is built, proven, and runs in the second, where it
also runs without each single grant that is left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from stockade.audit.facts.fact import Fact, Facts
from stockade.audit.facts.selinux import packed
from stockade.audit.judge import judge
from stockade.audit.report.model import Status
from stockade.audit.rules.load import shipped
from stockade.cli.main import main
from stockade.lab.avc import Denial
from stockade.lab.host import HostRun
from stockade.learn.records import Log
from stockade.learn.unused import granted
from stockade.model.access import mask
from stockade.model.container import ContainerType
from stockade.model.grants import grants
from stockade.model.policy import Policy
from stockade.model.seccomp import ALLOWED
from stockade.source.load import load

from .loop import WORKLOADS, Author, Exercise, called, described, narrowed, outcome

DONE_WITHOUT = frozenset(
    "brk close close_range getrandom mprotect newfstatat prlimit64 readlink readlinkat rseq set_robust_list "
    "set_tid_address uname".split()
)
"""What a C library asks for as a program starts, a runtime just before that, and `close`, whose answer nobody reads."""
ASKED_IN_VAIN = frozenset(["modify any", "read any", "read proc", "read self"])
"""What the runtime asks for as a container starts, already with its label, and does without: that its output (a file of
the host's) is where it was, and the process's own folder in /proc."""
NAMES = [one.name for one in WORKLOADS]


@dataclass(frozen=True, slots=True)
class Loop:
    policy: Policy
    imported: dict[str, ContainerType]
    recorded: HostRun
    tight: dict[str, ContainerType]
    lacking: dict[str, dict[str, str]]
    confirmed: HostRun


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    author = Author(tmp_path_factory.mktemp("loop"))
    author.imports()
    policy = load(author.policy)
    imported = dict(policy.containers)
    author.tries()
    bundle = author.bundle("imported")
    first = Exercise(author, bundle, imported, recording=True)
    first.tries(bundle)
    recorded = first.run(bundle)
    for name in ("trial", "held"):
        author.file(name).unlink()
    for name in NAMES:
        author.learns(name, recorded)
        narrowed(author, name, called(recorded, name), outcome(recorded, name))
        author.unused(name)
    built = author.folder / "tight"
    assert main(["build", str(author.policy), "-o", str(built)]) == 0
    tight = dict(author.types())
    lacking = {name: author.without_each(name) for name in NAMES}
    tried = author.bundle("lacking")
    exercise = Exercise(author, tried, tight, recording=False, lacking=lacking)
    return Loop(policy, imported, recorded, tight, lacking, exercise.run(tried))


def allowed(kind: ContainerType) -> set[str]:
    return {rule.call for rule in kind.syscalls.rules if rule.verdict == ALLOWED}


@pytest.mark.parametrize("name", NAMES)
def test_what_was_imported_runs_and_no_label_is_in_its_way(loop: Loop, name: str) -> None:
    """Recording lets everything pass, so what was written down is asked of the rules."""
    result = loop.recorded[f"{name} as built"]
    assert result.status == 0, described(result)
    assert len(result.denials) > 10 and all(denial.permissive for denial in result.denials)
    kind, policy = loop.imported[name], loop.policy
    assert kind.records
    given = grants(policy.host)
    for denial in result.denials:
        who, what = denial.scontext.split(":")[2], denial.tcontext.split(":")[2]
        assert who == kind.domain
        wanted = mask(denial.tclass, denial.permissions)
        assert given.get((who, what), 0) & wanted == wanted, str(denial)
    assert loop.recorded.enforcing == (True, True)


@pytest.mark.parametrize("name", NAMES)
def test_no_grant_of_its_label_is_left_that_was_not_used(loop: Loop, name: str) -> None:
    """Of the 182 that the type it extends has, some ten; a build has proven that the kernel policy has no other."""
    before = granted(loop.policy, loop.imported[name])
    left = set(loop.lacking[name])
    assert len(before) > 150 and len(left) < 16
    for verb, thing in before:
        if f"{verb} {thing}" not in left:
            assert not any(used(loop.policy, verb, thing, name, denial) for denial in denials(loop, name)), (
                verb,
                thing,
            )


def denials(loop: Loop, name: str) -> tuple[Denial, ...]:
    return loop.recorded[f"{name} as built"].denials


def used(policy: Policy, verb: str, thing: str, name: str, denial: Denial) -> bool:
    """Is a record about this verb on this kind of thing?"""
    labels = {o.name: o.label for o in policy.host.objects.values()}
    labels |= {s.name: s.label for s in policy.host.subjects.values()}
    label = labels[name if thing == "self" else thing]
    about = mask(denial.tclass, denial.permissions) & policy.host.verbs[verb].access
    return denial.tcontext.split(":")[2] == label and bool(about)


@pytest.mark.parametrize("name", NAMES)
def test_what_was_learned_runs(loop: Loop, name: str) -> None:
    """By crun, with the bundle's own seccomp.json, capabilities, mounts and label, enforced."""
    result = loop.confirmed[f"{name} as built"]
    assert (result.status, result.denials) == (0, ()), described(result)
    assert loop.confirmed.enforcing == (True, True)


@pytest.mark.parametrize("name", NAMES)
def test_no_call_is_allowed_that_was_not_made(loop: Loop, name: str) -> None:
    made = called(loop.recorded, name)
    families = {"socket", "socketpair"} if loop.tight[name].sockets.families else set()
    assert made <= allowed(loop.tight[name]) <= made | families
    assert len(allowed(loop.tight[name])) < len(allowed(loop.tight["ordinary"])) / 5


@pytest.mark.parametrize(
    ("name", "capabilities", "families", "tmpfs"),
    [
        ("shop", {"CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID"}, {"inet"}, {"/run"}),
        ("ledger-db", {"CHOWN", "SETGID", "SETUID"}, {"unix"}, {"/var/run/postgresql"}),
        ("nightly", set(), set(), {"/tmp"}),
    ],
)
def test_what_nobody_missed_is_gone(
    loop: Loop, name: str, capabilities: set[str], families: set[str], tmpfs: set[str]
) -> None:
    kind = loop.tight[name]
    assert kind.capabilities["bounding"] == capabilities
    assert kind.sockets.families == families
    assert {folder.path for folder in kind.tmpfs} == tmpfs
    assert [m.destination for m in kind.mounts] == [m.destination for m in loop.imported[name].mounts]


@pytest.mark.parametrize("name", NAMES)
def test_without_any_one_grant_the_workload_breaks(loop: Loop, name: str) -> None:
    """All but what the C library and the runtime ask for and do without, which is listed."""
    tried = outcome(loop.confirmed, name)
    fine = {grant for grant, ends_well in tried.items() if ends_well}
    assert "nothing" in fine
    kept = {grant.partition(":")[2] for grant in fine if grant.startswith("call:")}
    assert fine == {"nothing", *(f"call:{call}" for call in kept), *(f"access:{grant}" for grant in ASKED_IN_VAIN)}
    assert {grant for grant in tried if grant.startswith("access:")} == {f"access:{one}" for one in loop.lacking[name]}
    assert kept <= DONE_WITHOUT, sorted(kept - DONE_WITHOUT)
    assert len(kept) < len(allowed(loop.tight[name])) * 2 / 3


@pytest.mark.parametrize("name", NAMES)
def test_without_any_one_grant_of_its_label_the_kernel_denies(loop: Loop, name: str) -> None:
    """And it denies what is gone, to the label that lacks it: the very verb on the very kind of thing."""
    for grant, lacking in loop.lacking[name].items():
        verb, _, thing = grant.partition(" ")
        result = loop.confirmed[f"{name} access:{grant}"]
        about = [
            denial for denial in result.denials if denial.scontext.split(":")[2] == f"{lacking.replace('-', '_')}_t"
        ]
        own = loop.policy.host.subjects[name].label
        as_own = [replace(d, tcontext=d.tcontext.replace(d.scontext.split(":")[2], own)) for d in about]
        assert any(used(loop.policy, verb, thing, name, denial) for denial in as_own), described(result)
        assert not any(denial.permissive for denial in about)


def test_what_a_type_that_complains_lacks_is_logged_and_passes_and_another_is_held(loop: Loop) -> None:
    """The same job, types that differ in their mode alone, one boot of a guest that enforces."""
    trial, held = loop.recorded["trial"], loop.recorded["held"]
    assert trial.status == 0, described(trial)
    assert held.status != 0
    policy = loop.policy
    for result, label, permissive in ((trial, "trial_t", True), (held, "held_t", False)):
        assert result.denials
        for denial in result.denials:
            about = mask(denial.tclass, denial.permissions)
            assert (denial.scontext.split(":")[2], denial.tcontext.split(":")[2]) == (label, "data_t")
            assert about & policy.host.verbs["modify"].access == about and denial.permissive is permissive
    log = Log()
    log.read("trial", trial.log.splitlines())
    # Its list of calls is empty, so every call that it made was one that its filter would refuse.
    assert {"openat", "write", "rename", "exit_group"} <= {call for label, call in log.calls if label == "trial_t"}


def test_the_audit_names_who_complains_from_the_kernel_s_own_list(loop: Loop) -> None:
    """What the kernel has loaded, as it gives it back; with the job's tight types nobody complains."""
    (rule,) = (rule for rule in shipped() if rule.name == "selinux-no-permissive-types")
    said = {}
    for name, told in (("before", loop.recorded), ("after", loop.confirmed)):
        assert told["policy"].status == 0, described(told["policy"])
        facts = Facts("live", {"selinux.policy": Fact.of(packed(told["policy"].stdout), "/sys/fs/selinux/policy")})
        (said[name],) = judge(facts, [rule], profile="fortified").results
    assert (said["before"].status, said["after"].status) == (Status.FAIL, Status.PASS)
    labels = ["trial_t", *(loop.imported[name].domain for name in NAMES)]
    assert list(said["before"].findings) == [
        f"{one} is permissive: it is never denied anything" for one in sorted(labels)
    ]
