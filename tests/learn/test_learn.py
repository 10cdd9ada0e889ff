"""From denials to changes: in the policy's words, none that a promise forbids, written so that nothing else moves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from stockade.cli.main import main
from stockade.learn.changes import Learner
from stockade.learn.edit import LEARNED, edited
from stockade.learn.records import Log
from stockade.model.access import mask
from stockade.model.grants import grants
from stockade.model.policy import Policy
from stockade.source.files import SourceFile, read_files
from stockade.source.load import build

from tests.source.policies import SHIPPED

from . import logs

OPEN = [file for file in read_files(SHIPPED) if not file.name.startswith("promises/")]
"""The shipped policy without its promises, so that something is left to learn."""


@pytest.fixture(scope="module")
def unguarded() -> Policy:
    return build(OPEN)


def log_of(*lines: str) -> Log:
    log = Log()
    log.read("a.log", lines)
    return log


def given(policy: Policy, source: str, target: str, name: str, *permissions: str) -> bool:
    wanted = mask(name, permissions)
    return grants(policy.host).get((source, target), 0) & wanted == wanted


def test_a_rule_in_verbs_gives_what_was_denied(unguarded: Policy) -> None:
    log = log_of(logs.raw(1, ("container_t", "secret_t", "file", ("write", "append")), "s0"))
    changes = Learner(unguarded).learn(log, None)
    (rule,) = changes.rules
    assert (rule.who, rule.what, rule.verbs) == ("container", ("secret",), ("modify",)) and rule.more
    after = build(edited(OPEN, changes))
    assert not given(unguarded, "container_t", "secret_t", "file", "write")
    assert given(after, "container_t", "secret_t", "file", "write", "append")


def test_an_exact_rule_gives_nothing_else(unguarded: Policy) -> None:
    log = log_of(logs.raw(1, ("container_t", "secret_t", "file", ("write",)), "s0"))
    changes = Learner(unguarded, exact=True).learn(log, None)
    before, after = grants(unguarded.host), grants(build(edited(OPEN, changes)).host)
    changed = {pair: after[pair] & ~before.get(pair, 0) for pair in after if after[pair] != before.get(pair)}
    # What narrows the container's domain is given what that is given.
    assert {pair[1] for pair in changed} == {"secret_t"} and ("container_t", "secret_t") in changed
    assert set(changed.values()) == {mask("file", ["write"])}


def test_there_are_a_tenth_of_the_rules_of_one_a_class(unguarded: Policy) -> None:
    """audit2allow writes a rule for each pair and class: here 2 x 8 x 5."""
    targets = [thing.label for thing in unguarded.host.objects.values()][:8]
    classes = {
        "file": ("write", "append"),
        "dir": ("add_name", "write"),
        "lnk_file": ("unlink",),
        "fifo_file": ("write",),
    }
    classes["sock_file"] = ("unlink",)
    denials = [(s, t, c, p) for s in ("network_t", "clock_t") for t in targets for c, p in classes.items()]
    log = log_of(*(logs.raw(n, denial, "s0") for n, denial in enumerate(denials)))
    changes = Learner(unguarded).learn(log, None)
    assert len(denials) == 80 and 0 < len(changes.rules) <= 8
    after = build(edited(OPEN, changes))
    for source, target, name, permission in log.access:
        assert given(after, source, target, name, permission)


def test_what_breaks_a_promise_is_refused_with_the_promise(policy: Policy) -> None:
    log = log_of(logs.raw(1, ("container_t", "secret_t", "file", ("write",)), "s0"))
    changes = Learner(policy).learn(log, None)
    assert changes.rules == [] and "only-some-write-secrets" in changes.refused[0]


def test_what_a_rule_gives_already_is_said_to_be_held_back_by_something_else(policy: Policy) -> None:
    line = logs.raw(1, ("container_t", "data_t", "file", ("read",))).replace("data_t:s0:c1,c2", "data_t:s0:c3,c4")
    changes = Learner(policy).learn(log_of(line), None)
    assert changes.rules == [] and "levels or categories differ" in changes.unmoved[0]


@pytest.mark.parametrize(
    ("denial", "why"),
    [
        (("data_t", "data_t", "file", ("read",)), "data is no subject"),
        (("container_t", "data_t", "hovercraft", ("fly",)), "no hovercraft fly"),
        (("web_t", "data_t", "filesystem", ("mount",)), "web"),
    ],
)
def test_what_no_change_gives_is_said(denial: logs.Denial, why: str, unguarded: Policy) -> None:
    changes = Learner(unguarded).learn(log_of(logs.raw(1, denial, "s0")), None)
    assert changes.rules == [] and why in [*changes.unmoved, *changes.refused][0]


def test_a_call_is_that_of_the_type_with_the_label(policy: Policy) -> None:
    changes = Learner(policy).learn(log_of(*[logs.seccomp(n, "web_t", "c000003e", "165") for n in range(3)]), None)
    (calls,) = changes.calls
    assert (calls.container, calls.calls) == ("web", (("mount", 3),))


def test_a_shared_label_needs_to_be_told_whose_it_was(policy: Policy) -> None:
    log = log_of(logs.seccomp(1, "control_t", "c000003e", "165"))
    assert "say whose it was with --type" in Learner(policy).learn(log, None).unmoved[0]
    assert Learner(policy).learn(log, "control").calls[0].container == "control"


STRANGE = (
    logs.raw(1, ("nobody_t", "data_t", "file", ("read", "write")), "s0"),
    logs.raw(2, ("container_t", "nothing_t", "file", ("read",)), "s0"),
    logs.raw(3, ("nobody_t", "nothing_t", "file", ("read",)), "s0"),
    logs.seccomp(4, "nobody_t", "c000003e", "165"),
    logs.seccomp(5, "nobody_t", "c000003e", "165"),
)


@pytest.mark.parametrize("whose", [None, "web"])
def test_what_is_about_a_label_that_the_policy_does_not_have_is_counted(policy: Policy, whose: str | None) -> None:
    changes = Learner(policy).learn(log_of(*STRANGE), whose)
    assert {label: (seen.count, seen.first.line) for label, seen in changes.strangers.items()} == {
        "nobody_t": (5, 1),
        "nothing_t": (1, 2),
    }
    assert (changes.rules, changes.calls, changes.refused, changes.unmoved) == ([], [], [], [])


def test_it_is_said_how_much_was_passed_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "a.log"
    log.write_text("\n".join([*STRANGE, logs.seccomp(6, "web_t", "c000003e", "165")]))
    assert main(["learn", str(log), "--policy", str(SHIPPED)]) == 0
    said = capfd.readouterr()
    about = f"nobody_t (5, first at {log}:1), nothing_t (1, first at {log}:2)"
    assert f"passed over 6 denials, about labels that the policy does not have: {about}\n" in said.err
    assert "allow: [mount]" in said.out
    assert main(["learn", str(log), "--policy", str(SHIPPED), "--format", "json"]) == 0
    assert [one["count"] for one in json.loads(capfd.readouterr().out)["strangers"]] == [5, 1]


@pytest.mark.parametrize(("label", "whose"), [("batch_t", "batch"), ("runtime_t", "web"), ("web_t", "web")])
def test_a_label_says_whose_call_it_was_before_the_option_does(policy: Policy, label: str, whose: str) -> None:
    """A call of the runtime's is made when the container's filter holds already, and its label not yet."""
    (calls,) = Learner(policy).learn(log_of(logs.seccomp(1, label, "c000003e", "165")), "web").calls
    assert calls.container == whose


def test_a_line_without_an_end_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"a line\n" + b"x" * ((1 << 20) + 1))
    assert main(["learn", str(log), "--policy", str(SHIPPED)]) == 3
    assert capfd.readouterr().err == f"stockade: {log}:2: a line larger than 1 MiB\n"
    log.write_bytes(b"x" * (1 << 20))
    assert main(["learn", str(log), "--policy", str(SHIPPED)]) == 0


def test_a_call_that_an_entry_decides_is_left_to_a_person(policy: Policy) -> None:
    changes = Learner(policy).learn(log_of(logs.seccomp(1, "web_t", "c000003e", "435")), None)
    assert changes.calls == [] and "clone3 is decided by an entry at" in changes.unmoved[0]


LISTS = [
    "syscalls:\n  allow:  # in blocks\n    - read\n    - write  # the last\n  denied: EPERM\n",
    'syscalls: {allow: [read, "@time-read"], denied: EPERM}\n',
    "syscalls:\n  allow: [read,\n    write]  # over lines\n",
    "syscalls: {denied: EPERM, allow: [ ]}  # the last\n",
    "syscalls:\n  allow: []  # in blocks\n",
    "cgroup: {pids.max: 3}  # none of its own\n",
]


@pytest.mark.parametrize("body", LISTS)
def test_calls_are_written_where_the_list_is_and_comments_stay(body: str) -> None:
    text = f"# A comment.\ncontainer: odd\nextends: ordinary\nwhy: x\nwidens: {{syscalls: learned}}\n{body}"
    files = [*OPEN, SourceFile("containers/odd.yaml", text.encode())]
    log = log_of(logs.seccomp(1, "", "c000003e", "165"))
    changes = Learner(build(files)).learn(log, "odd")
    after = edited(files, changes)
    written = next(file.data.decode() for file in after if file.name == "containers/odd.yaml")
    before, rules = ({r.call for r in build(one).containers["odd"].syscalls.rules} for one in (files, after))
    assert rules == before | {"mount"}
    kept = [line for line in text.splitlines() if "allow" not in line and "write]" not in line]
    assert [line for line in kept if line not in written.splitlines()] == []
    assert [
        word for word in ("# in blocks", "# the last", "# over lines", "# none", "# A comment.") if word in text
    ] == [word for word in ("# in blocks", "# the last", "# over lines", "# none", "# A comment.") if word in written]


def test_an_empty_list_over_lines_is_left_to_a_person() -> None:
    text = "container: odd\nextends: ordinary\nwhy: x\nsyscalls:\n  allow: [\n  ]\n"
    files = [*OPEN, SourceFile("containers/odd.yaml", text.encode())]
    changes = Learner(build(files)).learn(log_of(logs.seccomp(1, "", "c000003e", "165")), "odd")
    with pytest.raises(ValueError, match=r"containers/odd\.yaml:5:10: write the empty list as \[\]"):
        edited(files, changes)


def test_written_is_only_what_holds(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(SHIPPED, folder)
    log = tmp_path / "a.log"
    # `batch` has no mount, and a promise on actions says that it never will.
    log.write_text(logs.seccomp(1, "batch_t", "c000003e", "165") + "\n")
    before = {path: path.read_bytes() for path in folder.rglob("*.yaml")}
    assert main(["learn", str(log), "--policy", str(folder), "--write"]) == 1
    assert {path: path.read_bytes() for path in folder.rglob("*.yaml")} == before
    assert "containers/batch.yaml" in capfd.readouterr().err


def test_a_change_that_holds_is_written_and_learned_no_more(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(SHIPPED, folder)
    own = folder / "containers/own.yaml"
    own.write_text(
        "container: own  # mine\nextends: web\nwhy: x\nwidens: {syscalls: it asks for the processor}\n"
        "syscalls: {allow: [read, write, exit_group]}\n"
    )
    log = tmp_path / "a.log"
    log.write_text(logs.seccomp(1, "", "c000003e", "39") + "\n")
    assert main(["learn", str(log), "--policy", str(folder), "--type", "own", "--write"]) in (0, 1)
    _, err = capfd.readouterr()
    if "does not" in err:  # the type widens nothing any more: the proof says so, and nothing is written
        own.write_text(own.read_text().replace("widens: {syscalls: it asks for the processor}\n", ""))
        assert main(["learn", str(log), "--policy", str(folder), "--type", "own", "--write"]) == 0
    assert "[read, write, exit_group, getpid]" in own.read_text() and "# mine" in own.read_text()
    capfd.readouterr()
    assert main(["learn", str(log), "--policy", str(folder), "--type", "own", "--format", "json"]) == 0
    assert json.loads(capfd.readouterr().out)["calls"] == []


def test_an_unread_record_is_no_success(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "a.log"
    log.write_text("type=AVC msg=audit(1.2:3): avc:  denied  { read\n")
    assert main(["learn", str(log), "--policy", str(SHIPPED)]) == 3
    assert f"not read: {log}:1" in capfd.readouterr().err


def test_learned_rules_have_a_file_of_their_own(unguarded: Policy) -> None:
    log = log_of(logs.raw(1, ("container_t", "secret_t", "file", ("write",)), "s0"))
    first = edited(OPEN, Learner(unguarded).learn(log, None))
    again = log_of(logs.raw(1, ("container_t", "secret_t", "dir", ("write",)), "s0"))
    second = edited(first, Learner(build(first), exact=True).learn(again, None))
    text = next(file.data.decode() for file in second if file.name == LEARNED)
    assert text.count("rules:") == 1 and text.count("- {who: container") in (1, 2)
