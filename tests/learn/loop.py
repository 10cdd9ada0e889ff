"""From what `docker inspect` says of a container to a type that is no wider than what its workload does, in the guest.

Each step is what an author does: import, run in `mode: record`, learn from the kernel's log what it called and what its
label used, take away what nobody missed, build, run. What a workload misses is found by running it without one grant
at a time: a capability, a family, a call, a mount, or what its label may do to one kind of thing.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stockade.bundle.compile import compile_policy
from stockade.bundle.write import write
from stockade.cli.main import main
from stockade.lab.host import By, File, HostRun, Task, TaskResult, build, extras, run
from stockade.lab.host.containers import Container, container
from stockade.lab.tree import Tree
from stockade.learn.changes import Learner
from stockade.learn.edit import differences, edited
from stockade.learn.edit import narrowed as without_unused
from stockade.learn.records import Log
from stockade.learn.unused import granted, unused
from stockade.model.container import ContainerType
from stockade.model.names import CAPABILITIES, FAMILIES
from stockade.model.position import Position
from stockade.model.seccomp import ALLOWED, Action, Condition, SyscallPolicy, SyscallRule, Verdict
from stockade.seccomp.cbpf import compile_filter
from stockade.source.files import read_files
from stockade.source.load import load

TESTS = Path(__file__).resolve().parents[1]
SHIPPED = TESTS.parent / "policy"
AT = Position("tests", 1, 1)
OWN = "mode: record\nselinux: {{domain: {domain}}}\nsyscalls: {{allow: []}}\n"
"""Everything is written down that a type does, and no call is allowed yet."""
CLONE = (
    "{call: clone, flags: {none-of: [NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET]}, why: its processes}"
)


@dataclass(frozen=True, slots=True)
class Workload:
    """One of the three: `inspected` is what docker said, `word` what `workload.c` calls it, `user` whom it runs as.

    `kept` are the folders of the host that it uses, each with the file that lies there and its content.
    """

    name: str
    inspected: str
    word: str
    user: int
    kept: Mapping[str, tuple[str, bytes] | None]


WORKLOADS = (
    Workload("shop", "docker-nginx.json", "web", 0, {"/var/lib/shop/html": ("index.html", b"hello\n")}),
    Workload("ledger-db", "docker-postgres.json", "database", 0, {"/var/lib/docker/volumes/ledger/_data": None}),
    Workload(
        "nightly",
        "docker-batch.json",
        "batch",
        1000,
        {"/var/lib/input": ("numbers", b"40\n2\n"), "/var/lib/output": None},
    ),
)
INSIDE = (
    "proc sys dev run tmp var var/run var/run/postgresql usr usr/share usr/share/nginx usr/share/nginx/html var/lib "
    "var/lib/postgresql var/lib/postgresql/data input output"
).split()


def compiled(folder: Path) -> dict[str, bytes]:
    """The two programs of the guest, by name: static, by this machine's compiler."""
    flags = ["-std=gnu11", "-O2", "-static", "-s", "-Wall", "-Wextra", "-Werror"]
    for name in ("workload", "without"):
        source = TESTS / f"learn/guest/{name}.c"
        subprocess.run(["cc", *flags, "-o", str(folder / name), str(source)], check=True, timeout=60)
    return {name: (folder / name).read_bytes() for name in ("workload", "without")}


class Author:
    """Who has a copy of the shipped policy, and three containers that run today."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policy = folder / "policy"
        shutil.copytree(SHIPPED, self.policy)
        self.programs = compiled(folder)

    def imports(self) -> None:
        """Each type as `stockade import` writes it, with a domain of its own and no call allowed yet."""
        for one in WORKLOADS:
            document = json.loads((TESTS / "cli/inspected" / one.inspected).read_text())
            for mount in document[0]["Mounts"]:
                # The guest can lay files below /var alone.
                mount["Source"] = mount["Source"].replace("/srv/", "/var/lib/")
            inspected = self.folder / one.inspected
            inspected.write_text(json.dumps(document))
            out = self.file(one.name)
            assert main(["import", "inspect", str(inspected), "--policy", str(self.policy), "-o", str(out)]) == 0
            domain = OWN.format(domain=f"{one.name.replace('-', '_')}_t")
            out.write_text(out.read_text() + domain)

    def tries(self) -> None:
        """A type that complains of what the batch job does, and one that is held to the same."""
        for name, mode in (("trial", "mode: complain\n"), ("held", "")):
            drop = "{may: modify, what: data, why: to see that it is denied}"
            selinux = f"selinux: {{domain: {name}_t, may-not: [{drop}]}}\n"
            self.file(name).write_text(f"container: {name}\nextends: nightly\nwhy: A trial.\n{mode}{selinux}")

    def file(self, name: str) -> Path:
        """The file of a type."""
        return self.policy / f"containers/{name}.yaml"

    def chooses(self, name: str, key: str, value: str) -> None:
        """Say a key of a type anew."""
        self.forgets(name, key)
        self.file(name).write_text(f"{self.file(name).read_text()}{key}: {value}\n")

    def forgets(self, name: str, key: str) -> None:
        """Take a key out of a type."""
        text = re.sub(rf"^{key}:.*\n(?:[ ]+.*\n)*", "", self.file(name).read_text(), flags=re.M)
        self.file(name).write_text(text)

    def learns(self, name: str, recorded: HostRun) -> None:
        """What `stockade learn --write` makes of the kernel's log, without its proof but for the first."""
        log = self.folder / f"{name}.log"
        log.write_text(recorded[f"{name} as built"].log)
        if name == WORKLOADS[0].name:
            assert main(["learn", str(log), "--policy", str(self.policy), "--type", name, "--write"]) == 0
            return
        said, files = Log(), read_files(self.policy)
        said.read(log.name, log.read_text().splitlines())
        changes = Learner(load(self.policy)).learn(said, name)
        assert (changes.rules, changes.refused) == ([], [])
        for path, data in differences(files, edited(files, changes)).items():
            (self.policy / path).write_bytes(data)

    def unused(self, name: str) -> None:
        """Take away what the type's label did not use, as `learn --unused --write` does it, and end recording."""
        log = self.folder / f"{name}.log"
        if name == WORKLOADS[0].name:
            words = ["learn", str(log), "--policy", str(self.policy), "--type", name, "--unused", "--write"]
            assert main(words) == 0
        else:
            said, files, policy = Log(), read_files(self.policy), load(self.policy)
            said.read(log.name, log.read_text().splitlines())
            found = unused(policy, policy.containers[name], said)
            for path, data in differences(files, without_unused(files, found, f"unused in {log.name}")).items():
                (self.policy / path).write_bytes(data)
        self.forgets(name, "mode")

    def without_each(self, name: str) -> dict[str, str]:
        """For each grant of SELinux that a type has, one that lacks it: verb and object -> name of that type."""
        policy = load(self.policy)
        found, texts = {}, []
        for number, (verb, thing) in enumerate(sorted(granted(policy, policy.containers[name]))):
            lacking = f"{name}-lacks-{number}"
            drop = f"{{may: {verb}, what: {thing}, why: to see what breaks}}"
            selinux = f"{{domain: {lacking.replace('-', '_')}_t, may-not: [{drop}]}}"
            texts.append(f"container: {lacking}\nextends: {name}\nwhy: To see what breaks.\nselinux: {selinux}\n")
            found[f"{verb} {thing}"] = lacking
        (self.policy / f"containers/{name}-lacks.yaml").write_text("---\n".join(texts))
        return found

    def types(self) -> Mapping[str, ContainerType]:
        """The types as they stand."""
        return load(self.policy).containers

    def bundle(self, name: str) -> Path:
        """A bundle of the policy as it stands, without the proofs."""
        policy = load(self.policy)
        folder = self.folder / name
        artefacts = compile_policy(policy).artefacts
        said = {"policy_name": policy.host.name, "policy_version": "1", "source_digest": "0" * 64}
        write(folder, artefacts, **said, compiler_digest="0" * 64)
        return folder


def variants(one: ContainerType, policy: SyscallPolicy) -> Iterator[tuple[str, int, SyscallPolicy]]:
    """(grant that is gone, capabilities gone as a mask, calls that are left) for each grant; first nothing is gone."""
    yield "nothing", 0, policy
    for name in sorted(one.capabilities["bounding"]):
        yield f"capability:{name}", 1 << CAPABILITIES[name], policy
    for name in sorted(one.sockets.families):
        yield f"family:{name}", 0, without_family(policy, FAMILIES[name][0])
    for call in sorted(
        {rule.call for rule in policy.rules if rule.verdict == ALLOWED} - {"execve", "socket", "socketpair"}
    ):
        yield f"call:{call}", 0, replace(policy, rules=tuple(rule for rule in policy.rules if rule.call != call))


def without_family(policy: SyscallPolicy, number: int) -> SyscallPolicy:
    """The same calls, but for sockets of one address family."""
    denied = SyscallRule("socket", Verdict(Action.ERRNO, 97), (Condition(0, 32, ((number, number),)),), "gone", AT)
    return replace(policy, rules=(*policy.rules, denied, replace(denied, call="socketpair")))


SUPER = "system_u:system_r:super_t:s0-s0:c0.c1023"
ANYTHING = SyscallPolicy(rules=(), denied=ALLOWED, unknown=ALLOWED, kernel=None)
"""No filter."""


class Exercise:
    """One boot in which every workload runs as its type says, and then without one thing at a time."""

    def __init__(
        self,
        author: Author,
        bundle: Path,
        types: Mapping[str, ContainerType],
        *,
        recording: bool,
        lacking: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.author = author
        self.files: list[File] = []
        self.tasks: list[Task] = []
        for number, one in enumerate(WORKLOADS):
            kind = types[one.name]
            pair = f"c{2 * number + 1},c{2 * number + 2}"
            plain = self.container(bundle, one, pair, ["/workload", one.word], one.name)
            harness = self.container(bundle, one, pair, ["/without", "/workload", one.word], f"{one.name}-without")
            del harness.spec["linux"]["seccomp"]  # each variant brings its own
            # What takes things away needs more than what it takes them from.
            label = harness.spec["process"]["selinuxLabel"].replace(f":{kind.domain}:", ":container_t:")
            harness.spec["process"]["selinuxLabel"] = label
            self.variants(harness, kind, ANYTHING if recording else kind.syscalls)
            self.add(plain, f"{one.name} as built")
            self.add(harness, f"{one.name} without")
            for at in [*(mount.destination for mount in kind.mounts), *(tmpfs.path for tmpfs in kind.tmpfs)]:
                bare = self.container(bundle, one, pair, ["/workload", one.word], f"{one.name}{at.replace('/', '-')}")
                mounts = bare.spec["mounts"]
                bare.spec["mounts"] = [mount for mount in mounts if mount["destination"] != at]
                assert len(bare.spec["mounts"]) == len(mounts) - 1
                del bare.spec["linux"]["seccomp"]
                self.add(bare, f"{one.name} mount:{at}")
            for grant, kind_name in (lacking or {}).get(one.name, {}).items():
                self.lacks(
                    container(bundle, kind_name, ["/workload", one.word], Tree(), categories=pair), one, plain, grant
                )
            for path, laid in one.kept.items():
                self.files.append(File(path, kind="folder", mode=0o777, label=plain.file_label))
                if laid is not None:
                    self.files.append(File(f"{path}/{laid[0]}", laid[1], label=plain.file_label))

    def tries(self, bundle: Path) -> None:
        """Run the batch job as the type that complains and as the one that does not."""
        (job,) = (one for one in WORKLOADS if one.name == "nightly")
        pair = f"c{2 * WORKLOADS.index(job) + 1},c{2 * WORKLOADS.index(job) + 2}"
        for name in ("trial", "held"):
            one = self.container(bundle, job, pair, ["/workload", job.word], name, kind=name)
            if name == "held":
                one.spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}  # its label is what is asked about
            self.add(one, name)

    def container(
        self, bundle: Path, one: Workload, pair: str, argv: list[str], name: str, kind: str = ""
    ) -> Container:
        root = Tree()
        for place in INSIDE:
            root.folder(place)
        root.nodes["tmp"] = replace(
            root.nodes["tmp"], mode=0o041777
        )  # as in every image; a runtime keeps it for the tmpfs
        for program, data in self.author.programs.items():
            root.file(program, data, 0o755)
        made = container(bundle, kind or one.name, argv, root, name=name, categories=pair)
        made.spec["process"]["user"] = {"uid": one.user, "gid": one.user}
        return made

    def lacks(self, one: Container, workload: Workload, plain: Container, grant: str) -> None:
        """Run a workload with the label of a type that lacks one grant; the rest is that of `plain`."""
        label = one.spec["process"]["selinuxLabel"]
        spec = json.loads(json.dumps(plain.spec))
        spec["process"]["selinuxLabel"] = label
        self.files.append(File(f"{one.folder}/config.json", json.dumps(spec).encode()))
        self.tasks.append(one.run("/usr/bin/crun", name=f"{workload.name} access:{grant}", timeout=20))

    def variants(self, harness: Container, kind: ContainerType, policy: SyscallPolicy) -> None:
        """Lay the list of what is taken away, and the filters of it."""
        lines = []
        for number, (name, gone, calls) in enumerate(variants(kind, policy)):
            harness.rootfs.file(f"filter.{number}", compile_filter(calls, "x86_64"))
            lines.append(f"{name} {gone:x} /filter.{number}\n")
        harness.rootfs.file("variants", "".join(lines).encode())

    def add(self, one: Container, name: str) -> None:
        self.files += one.files()
        self.tasks.append(one.run("/usr/bin/crun", name=name, timeout=90))

    def run(self, bundle: Path) -> HostRun:
        told = "import sys; sys.stdout.buffer.write(open('/sys/fs/selinux/policy', 'rb').read())"
        self.tasks.append(Task(("/usr/bin/python3", "-c", told), By.RUNTIME, SUPER, name="policy"))
        return run(build(bundle, extras=[extras.python()]), self.tasks, files=self.files, timeout=200)


def outcome(told: HostRun, name: str) -> dict[str, bool]:
    """Each grant of a type -> whether its workload still ends well without it; `nothing` must be the first."""
    harness = told[f"{name} without"]
    found = {}
    for line in harness.stdout.decode().splitlines():
        grant, _, status = line.rpartition(" ")
        assert status not in ("120", "121", "122"), f"{grant}: the harness itself failed with {status}"
        found[grant] = status == "0"
    assert harness.status == 0 and found, described(harness)
    for result in told.tasks:
        if result.task.name.startswith((f"{name} mount:", f"{name} access:")):
            found[result.task.name.partition(" ")[2]] = result.status == 0
    return found


def called(told: HostRun, name: str) -> frozenset[str]:
    """The calls that the kernel wrote down while the workload ran as built."""
    log = Log()
    log.read(name, told[f"{name} as built"].log.splitlines())
    assert log.unread == []
    return frozenset(call for _, call in log.calls)


def described(result: TaskResult) -> str:
    """What a failed task said."""
    return (
        f"{result.task.name}: {result.status} {result.fault} {result.stderr.decode()} {list(map(str, result.denials))}"
    )


def narrowed(author: Author, name: str, made: frozenset[str], unmissed: Mapping[str, bool]) -> None:
    """Take out of a type what its workload did not miss, and of the calls that it inherits those it never made."""
    kind: Any = author.types()[name]
    kept = {grant for grant, fine in unmissed.items() if not fine}
    capabilities = sorted(c for c in kind.capabilities["bounding"] if f"capability:{c}" in kept)
    families = sorted(f for f in kind.sockets.families if f"family:{f}" in kept)
    folders = [t for t in kind.tmpfs if f"mount:{t.path}" in kept]
    author.chooses(name, "capabilities", f"[{', '.join(capabilities)}]")
    author.chooses(name, "sockets", f"{{families: [{', '.join(families)}], why: what it was seen to need}}")
    calls = sorted(rule.call for rule in kind.syscalls.rules if rule.verdict == ALLOWED and not rule.conditions)
    author.chooses(
        name, "syscalls", f"{{allow: [{', '.join(calls)}], allow-when: [{CLONE if 'clone' in made else ''}]}}"
    )
    sized = [f"{{path: {t.path}, size: {t.size}}}" if t.size else t.path for t in folders]
    author.chooses(name, "tmpfs", f"[{', '.join(sized)}]")
