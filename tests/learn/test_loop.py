"""From a plain `docker inspect` to a type that grants what its workload does and nothing else, on a real kernel.

Two boots: one that records, one that confirms. The first runs what was imported, with every call written down; what
learning makes of the log, without what nobody missed, is built, proven, and runs in the second.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from stockade.cli.main import main
from stockade.lab.host import HostRun
from stockade.model.container import ContainerType
from stockade.model.seccomp import ALLOWED

from .loop import WORKLOADS, Author, Exercise, called, described, narrowed, outcome

DONE_WITHOUT = frozenset(
    "brk close close_range getrandom mprotect newfstatat prlimit64 readlink readlinkat rseq set_robust_list "
    "set_tid_address uname".split()
)
"""What a C library asks for as a program starts, a runtime just before that, and `close`, whose answer nobody reads."""
NAMES = [one.name for one in WORKLOADS]


@dataclass(frozen=True, slots=True)
class Loop:
    imported: dict[str, ContainerType]
    recorded: HostRun
    tight: dict[str, ContainerType]
    confirmed: HostRun


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Loop:
    author = Author(tmp_path_factory.mktemp("loop"))
    author.imports()
    imported = dict(author.types())
    bundle = author.bundle("imported")
    recorded = Exercise(author, bundle, imported, recording=True).run(bundle)
    for name in NAMES:
        author.learns(name, recorded)
        narrowed(author, name, called(recorded, name), outcome(recorded, name))
    built = author.folder / "tight"
    assert main(["build", str(author.policy), "-o", str(built)]) == 0
    tight = dict(author.types())
    return Loop(imported, recorded, tight, Exercise(author, built, tight, recording=False).run(built))


def allowed(kind: ContainerType) -> set[str]:
    return {rule.call for rule in kind.syscalls.rules if rule.verdict == ALLOWED}


@pytest.mark.parametrize("name", NAMES)
def test_what_was_imported_runs_and_no_label_is_in_its_way(loop: Loop, name: str) -> None:
    result = loop.recorded[f"{name} as built"]
    assert (result.status, result.denials) == (0, ()), described(result)
    assert loop.recorded.enforcing == (True, True)


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
    fine = {grant for grant, ends_well in outcome(loop.confirmed, name).items() if ends_well}
    assert "nothing" in fine
    kept = {grant.partition(":")[2] for grant in fine if grant.startswith("call:")}
    assert fine == {"nothing", *(f"call:{call}" for call in kept)}
    assert kept <= DONE_WITHOUT, sorted(kept - DONE_WITHOUT)
    assert len(kept) < len(allowed(loop.tight[name])) * 2 / 3
