"""Which domain becomes which and where data goes: on the shipped policy, on one made to leak, and on small ones."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from stockade.bundle.compile import Compiled
from stockade.lab.ask import random_questions
from stockade.model.policy import Policy
from stockade.prove.flow import Step, UnknownContext, flow, reach
from stockade.prove.policy_sources import positions
from stockade.selinux.decide import Table
from stockade.selinux.libsepol import Decisions, compile_cil
from stockade.selinux.policydb import read

from tests.prove.policies import HEAD, Maker
from tests.prove.policies import compiled as small
from tests.selinux import reference

ONE, TWO = "system_u:object_r:data_t:s0:c1,c2", "system_u:object_r:data_t:s0:c3,c4"


def plus(compiled: Compiled, *statements: str) -> bytes:
    return compile_cil([*compiled.cil, ("more.cil", "".join(statements).encode())], neverallow=False).policy


def needed(path: Iterable[Step] | None) -> list[str]:
    assert path is not None
    return [str(need) for step in path for need in step.because]


@pytest.fixture(scope="module")
def privileged(policy: Policy) -> frozenset[str]:
    return policy.host.sets["privileged"].labels


def test_the_table_agrees_with_libsepol(compiled: Compiled) -> None:
    maker = Maker(5)
    rules = [maker.rule(("allow",)) for _ in range(30)]
    limits = (
        "(mlsconstrain (file (read write)) (or (dom h1 h2) (and (eq t1 t2) (neq r2 r))))"
        "(mlsconstrain (dir (search)) (not (incomp l1 h2)))(constrain (file (open)) (or (eq r1 r2) (neq u1 u2)))"
        "(roletype r2 t1)(roletype r2 t2)(roleallow r r2)"
    )
    other = small(HEAD + "".join([*maker.frame(), *rules, limits]))
    for data, count in ((compiled.kernel_policy, 4000), (other, 4000)):
        policy = read(data)
        table = Table(policy)
        with Decisions(data) as decisions:
            for source, target, tclass, _ in random_questions(policy, count, seed=11):
                ours = table.allowed(table.context(source), table.context(target), tclass)
                assert ours == decisions.allowed(source, target, tclass), (source, target, tclass)


def test_relabelling_agrees_with_libsepol(compiled: Compiled) -> None:
    policy = read(compiled.kernel_policy)
    table, chance = Table(policy), random.Random(2)
    contexts = [q.source for q in random_questions(policy, 300, seed=12)]
    answers = []
    with Decisions(compiled.kernel_policy) as decisions:
        for _ in range(1500):
            old, task = chance.choice(contexts), chance.choice(contexts)
            new = old if chance.random() < 0.3 else chance.choice(contexts)
            answers.append(table.may_relabel(*map(table.context, (old, new, task)), "file"))
            assert answers[-1] == decisions.relabel(old, new, task, "file").allowed
    assert 100 < sum(answers) < 1400


def test_what_the_first_process_becomes(compiled: Compiled, policy: Policy) -> None:
    paths = {path[-1].target.split(":", 2)[2]: path for path in reach(compiled.kernel_policy, "kernel_t")}
    assert {name.split(":")[0] for name in paths} == policy.host.subject_labels - {"kernel_t"}
    assert "control_t:s0-s0:c0.c1023" in paths  # a range transition is followed
    (path,) = reach(compiled.kernel_policy, "kernel_t", "container_t")
    assert [step.target.split(":")[2] for step in path] == ["init_t", "runtime_t", "container_t"]
    assert str(path[0].because[-1]) == "type_transition kernel_t init_exec_t:process init_t"
    assert str(path[2].because[-1]) == "allow runtime_t runtime_t:process setexec"
    at = [positions(step, policy) for step in path]
    assert all(at) and all(place.startswith("host/") for places in at for place in places)


def test_a_container_becomes_nothing_else(compiled: Compiled) -> None:
    for name in ("container_t", "control_t", "super_t", "system_u:system_r:container_t:s0:c1,c2"):
        assert reach(compiled.kernel_policy, name) == ()


def test_a_transition_takes_all_it_needs() -> None:
    frame = "(type a)(type b)(type x)(roletype r a)(roletype r b)(roletype object_r x)(roletype object_r a)"
    needs = [
        "(allow a x (file (execute)))",
        "(allow b x (file (entrypoint)))",
        "(allow a b (process (transition)))",
        "(typetransition a x process b)",
    ]
    head = HEAD.replace("(class file (read write ioctl open))", "(class file (read execute entrypoint))").replace(
        "(transition fork)", "(transition fork setexec dyntransition setcurrent)"
    )
    (path,) = reach(small(head + frame + "".join(needs)), "a", "b")
    assert [str(need) for need in path[0].because] == [
        "allow a x:file execute",
        "allow b x:file entrypoint",
        "allow a b:process transition",
        "type_transition a x:process b",
    ]
    for left_out in needs:
        assert reach(small(head + frame + "".join(n for n in needs if n != left_out)), "a") == ()
    asked = "(allow a a (process (setexec)))"
    assert len(reach(small(head + frame + "".join(needs[:3]) + asked), "a", "b")) == 1
    limited = "(constrain (process (transition)) (eq t1 t2))"
    assert reach(small(head + frame + "".join(needs) + limited), "a") == ()
    for limited in ("(constrain (file (execute)) (neq t1 a))", "(constrain (file (entrypoint)) (neq t1 b))"):
        assert reach(small(head + frame + "".join(needs) + limited), "a") == ()
    assert reach(small(head + frame.replace("(roletype r b)", "(roletype r2 b)") + "".join(needs)), "a") == ()
    changes = "(allow a b (process (dyntransition)))(allow a a (process (setcurrent)))"
    assert reach(small(head + frame + changes), "a", "b")[0][0].how == "changes its own label"
    roles = head.replace("(roletype r base)", "(roletype r base)(roletransition r x process r2)").replace(
        "(type base)", "(type base)(type y)(roletype r2 b)"
    )
    assert reach(small(roles + frame + "".join(needs)), "a") == ()
    (path,) = reach(small(roles + frame + "".join(needs) + "(roleallow r r2)"), "a")
    assert path[0].target == "u:r2:b:s0"


def test_data_leaves_private_files_only_by_privileged_domains(compiled: Compiled, privileged: frozenset[str]) -> None:
    assert flow(compiled.kernel_policy, "private_t", "data_t", without=privileged) is None
    path = flow(compiled.kernel_policy, "private_t", "data_t")
    assert path is not None and {need.split()[1] for need in needed(path)} <= privileged


def test_no_flow_through_sockets_that_cannot_be(privileged: frozenset[str]) -> None:
    """The reference lets every subject use sockets of every label; a file's label is never a socket's there."""
    from tests.selinux.conftest import REFERENCE

    data = compile_cil([("reference.cil", reference.to_cil(reference.load(REFERENCE)))]).policy
    given = Table(read(data)).given("container_t")["private_t"]
    assert {"read", "write", "connectto"} <= given["unix_stream_socket"] and "read" not in given["file"]
    known = read(data).types.values()
    assert flow(data, "private_t", "data_t", without=privileged & set(known)) is None


@pytest.mark.parametrize(
    ("leak", "used"),
    [
        ("(allow container_t private_t (file (read)))", "allow container_t private_t:file read"),
        (
            "(allow clock_t private_t (lnk_file (read)))(allow clock_t data_t (file (append)))",
            "allow clock_t private_t:lnk_file read",
        ),
        ("(allow bus_t private_t (file (relabelfrom)))(allow bus_t data_t (file (relabelto)))", None),
    ],
)  # fmt: skip
def test_a_leak_is_found(compiled: Compiled, privileged: frozenset[str], leak: str, used: str | None) -> None:
    path = flow(plus(compiled, leak), "private_t", "data_t", without=privileged)
    if used is None:
        assert path is None  # relabelling is constrained to trusted subjects, whatever the rules say
    else:
        assert used in needed(path)


OWN = "(or (dom h1 h2) (neq t1 t2))"
KEPT_APART = "".join(
    f"(mlsconstrain ({tclass} (read write append create)) {OWN})"
    for tclass in ("file", "lnk_file", "chr_file", "blk_file", "fifo_file", "anon_inode", "dir")
)


def test_two_containers_pass_nothing_through_data(
    compiled: Compiled, privileged: frozenset[str], policy: Policy
) -> None:
    """Categories keep their files apart. What has the label of processes themselves the constraints leave out."""
    # Memory file systems and the like are common to all by intent, so the question is about data alone.
    others = (policy.host.subject_labels | policy.host.object_labels) - privileged - {"container_t", "data_t"}
    policy_ = compiled.kernel_policy
    path = flow(policy_, ONE, TWO, without=privileged | others, levels=())
    assert path is not None
    assert [(s.source.rpartition(":s0")[2], s.target.rpartition(":s0")[2]) for s in path][1] == (":c1,c2", ":c3,c4")
    assert path[1].how.startswith("is read as") and path[1].because[0].target == "container_t"
    with Decisions(policy_) as decisions:
        me, it = (f"system_u:system_r:container_t:s0:{c}" for c in ("c3,c4", "c1,c2"))
        assert decisions.access(me, it, path[1].because[0].tclass, "read").allowed
        assert not decisions.access(me, ONE, "file", "read").allowed
    closed = plus(compiled, KEPT_APART)
    assert flow(closed, ONE, TWO, without=privileged | others, levels=()) is None
    assert flow(closed, TWO, ONE, without=privileged | others, levels=()) is None
    shared = flow(closed, ONE, TWO, without=privileged | others)
    assert shared is not None and shared[1].target.split(" ")[0].endswith(":s0")  # where both may write
    both = flow(closed, ONE, TWO, without=privileged | others, levels=["s0:c1.c4"])
    assert both is not None and "container_t:s0:c1.c4" in " ".join(step.target for step in both)


CHANNELS = (
    ("(class shm (create read write))", "shm", "read", "write", "create"),
    ("(class key (create read write))", "key", "read", "write", "create"),
    ("(class bpf (map_create map_read map_write))", "bpf", "map_read", "map_write", "map_create"),
)
PAIR = (
    "(type a)(type b)(type x)(type y)(roletype r a)(roletype r b)"
    "(roletype object_r x)(roletype object_r y)(roletype object_r a)(roletype object_r b)"
    "(allow a x (file (read)))(allow b y (file (write)))"
)


def headed(declared: str) -> str:
    name = declared.split()[1]
    return HEAD.replace("(classorder (file dir process))", f"{declared}(classorder (file dir process {name}))")


@pytest.mark.parametrize(("declared", "tclass", "take", "put", "make"), CHANNELS)
def test_channels_between_processes(declared: str, tclass: str, take: str, put: str, make: str) -> None:
    """`a` writes what `b` owns and reads, where `b` can make one; a label of files is nobody's own."""
    head = headed(declared)
    rules = [
        f"(allow a b ({tclass} ({put})))",
        f"(allow b b ({tclass} ({take})))",
        f"(allow b b ({tclass} ({make})))",
    ]
    path = flow(small(head + PAIR + "".join(rules)), "x", "y")
    assert path is not None and [step.how for step in path] == ["is read", "is written", "is read", "is written"]
    for left_out in rules:
        assert flow(small(head + PAIR + "".join(rule for rule in rules if rule != left_out)), "x", "y") is None
    ghost = f"(allow a y ({tclass} ({put} {make})))(allow b y ({tclass} ({take} {make})))"
    assert flow(small(head + PAIR + ghost), "x", "y") is None


def test_files_with_the_label_of_a_process_must_have_been_made() -> None:
    head = HEAD.replace("(transition fork)", "(transition fork setfscreate)").replace(
        "(classorder (file dir process))",
        "(class filesystem (associate))(class chr_file (read write create relabelto))"
        "(classorder (file dir process filesystem chr_file))",
    )
    used = "(allow a b (chr_file (write)))(allow b b (chr_file (read)))"
    kept, labels = "(allow b x (filesystem (associate)))", "(allow a a (process (setfscreate)))"
    made, given = "(allow a b (chr_file (create)))", "(allow a b (chr_file (relabelto)))"
    for rules, there in (
        ((kept, labels, made), True),
        ((kept, given), True),
        ((labels, made), False),
        ((kept, made), False),
        ((kept, labels), False),
        ((given,), False),
    ):
        path = flow(small(head + PAIR + used + "".join(rules)), "x", "y")
        assert (path is not None) == there, rules


def test_sockets_join() -> None:
    head = headed("(class unix_stream_socket (create read write connectto))")
    own = "(allow a a (unix_stream_socket (create read write)))(allow b b (unix_stream_socket (create read write)))"
    for who in ("a b", "b a"):
        path = flow(small(head + PAIR + own + f"(allow {who} (unix_stream_socket (connectto)))"), "x", "y")
        assert path is not None and [s.how for s in path] == [
            "is read",
            "is written",
            "is sent",
            "is read",
            "is written",
        ]
    assert flow(small(head + PAIR + own), "x", "y") is None


def test_the_shortest_way_is_told() -> None:
    more = "(type z)(roletype object_r z)(allow a z (file (write)))(allow b z (file (read)))"
    assert len(flow(small(HEAD + PAIR + more), "x", "y") or ()) == 4
    assert len(flow(small(HEAD + PAIR + more + "(allow a y (file (write)))"), "x", "y") or ()) == 2
    assert flow(small(HEAD + PAIR + more), "x", "y", without=["a"]) is None
    assert flow(small(HEAD + PAIR + more), "y", "x") is None


@pytest.mark.parametrize("name", ["strange_t", "u:object_r:x:s0", "system_u:object_r:data_t:s0:c4000", "a:b"])
def test_unknown_names_are_errors(compiled: Compiled, name: str) -> None:
    for question in (
        lambda: flow(compiled.kernel_policy, name, "data_t"),
        lambda: flow(compiled.kernel_policy, "data_t", name),
        lambda: flow(compiled.kernel_policy, "private_t", "data_t", without=[name]),
        lambda: reach(compiled.kernel_policy, name),
        lambda: reach(compiled.kernel_policy, "container_t", name),
    ):
        with pytest.raises(UnknownContext):
            question()
    with pytest.raises(UnknownContext, match="not a type of processes"):
        reach(compiled.kernel_policy, "data_t")
