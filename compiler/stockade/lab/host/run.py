"""Boots a guest host, gives it tasks, reads what it tells: each task's end, its words, the kernel's log of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .. import tools, uml
from ..avc import ConsoleError, Denial, denials
from .image import Image
from .plan import File, Task, encode

_HEAD = re.compile(rb"(\w+) (-?\d+) (\d+)\n")
_TELLING = re.compile(r"lab: |Kernel panic|device-mapper: .*(corrupt|error)|SELinux: .*(invalid|error|unknown)", re.I)
_MARKER = re.compile(r"stockade-lab-marker \d+\.")
BOOT, READY, LAST = -1, -2, -3


class HostFailed(Exception):
    """The guest did not come to its end, or what it told cannot be trusted. `console` holds what it printed."""

    def __init__(self, message: str, console: str = "") -> None:
        super().__init__(message)
        self.console = console


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What came of a task.

    `status` is its exit status, minus the signal that ended it, or None: then `fault` says why, as `timeout`,
    `stopped` (a task in the background, at the end) or what kept its program from starting, with `errno`.
    `log` is the kernel's log from the end of the task before to the end of this one, and `denials` are read from it.
    """

    task: Task
    status: int | None
    fault: str
    errno: int
    pid: int
    stdout: bytes
    stderr: bytes
    log: str
    denials: tuple[Denial, ...]
    seconds: float

    def as_dict(self) -> dict[str, object]:
        """The result as plain values for JSON; bytes that are no UTF-8 become backslash escapes."""
        return {
            "name": self.task.name,
            "argv": list(self.task.argv),
            "by": self.task.by.value,
            "context": self.task.context,
            "status": self.status,
            "fault": self.fault,
            "errno": self.errno,
            "stdout": self.stdout.decode("utf-8", "backslashreplace"),
            "stderr": self.stderr.decode("utf-8", "backslashreplace"),
            "denials": [denial.as_dict() for denial in self.denials],
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True)
class HostRun:
    """A guest that booted, ran its tasks and powered off.

    `verity` is the live device-mapper table of its root; `enforcing` and `init_context` were read before the first
    task and after the last; `boot_denials` came before the first task.
    """

    tasks: tuple[TaskResult, ...]
    verity: str
    enforcing: tuple[bool, bool]
    init_context: str
    boot_denials: tuple[Denial, ...]
    containerd_log: str
    log: str
    console: str
    seconds: float

    def __getitem__(self, name: str) -> TaskResult:
        """The result of the one task of that name."""
        (only,) = (result for result in self.tasks if result.task.name == name)
        return only

    def as_dict(self) -> dict[str, object]:
        """The run as plain values for JSON, without the logs."""
        return {
            "verity": self.verity,
            "enforcing": all(self.enforcing),
            "initContext": self.init_context,
            "bootDenials": [denial.as_dict() for denial in self.boot_denials],
            "tasks": [result.as_dict() for result in self.tasks],
            "seconds": round(self.seconds, 3),
        }


def run(
    image: Image,
    tasks: Sequence[Task],
    *,
    files: Sequence[File] = (),
    containerd: bool = False,
    enforcing: bool = True,
    timeout: float = 60,
    memory: str = "768M",
) -> HostRun:
    """Boot `image`, lay `files`, run `tasks` one after another, power off; all of it within `timeout` seconds.

    With `containerd` the daemon answers on its socket before the first task. Without `enforcing` the policy is loaded
    and only writes down what it would deny. HostFailed when the guest does not come to its end; ValueError for a plan
    that cannot be put.
    """
    plan = encode(tasks, files, enforcing=enforcing, containerd=containerd)
    found, drop = tools.find(), tools.drop()
    with uml.work_folder(drop) as work:
        device = work / "plan"
        device.write_bytes(plan + bytes(-len(plan) % 4096))
        drop.own(device)
        table = f"root,,,ro,0 {image.seal.sectors} verity {image.seal.table('/dev/ubda')}"
        ran = uml.run(
            found,
            work,
            drop,
            initrd=image.initramfs,
            disks=[image.root, device],
            timeout=timeout,
            memory=memory,
            options=(f'dm-mod.create="{table}"', "root=/dev/dm-0", "log_buf_len=4M", "noreboot"),
        )
    return judge(ran, tasks, timeout)


def judge(ran: uml.Ran, tasks: Sequence[Task], timeout: float) -> HostRun:
    """What a finished run told; HostFailed unless it is whole."""
    if ran.status is None:
        raise HostFailed(f"the guest was stopped after {timeout:g} s{_last_words(ran.console)}", ran.console)
    try:
        told = _records(ran.raw)
    except ValueError as error:
        raise HostFailed(f"{error}{_last_words(ran.console)}", ran.console) from error
    names = [name for name, _, _ in told]
    if ran.status != 0 or names[-1:] != ["over"]:
        raise HostFailed(f"the guest ended early, with {ran.status}{_last_words(ran.console)}", ran.console)
    lost = [data.decode() for name, _, data in told if name == "lost"]
    if lost:
        raise HostFailed(f"{'; '.join(lost)}{_last_words(ran.console)}", ran.console)
    logs = _logs(told)
    found: dict[tuple[str, int], bytes] = {(name, number): data for name, number, data in told if name != "state"}
    try:
        denials("".join(logs.values()))  # over all of it: no record of the whole run is missing
        results = tuple(_result(task, number, found, logs) for number, task in enumerate(tasks))
        first, last = (data.decode().split("\n") for name, _, data in told if name == "state")
        at_boot = denials(logs.get(BOOT, "") + logs.get(READY, ""))
    except (ConsoleError, ValueError, KeyError) as error:
        raise HostFailed(f"what the guest told cannot be read: {error}", ran.console) from error
    return HostRun(
        results,
        found["verity", -1].decode(),
        (first[1] == "1", last[1] == "1"),
        last[2].rstrip("\0"),
        at_boot,
        found.get(("containerd", -1), b"").decode("utf-8", "replace"),
        "".join(logs.values()),
        ran.console,
        ran.seconds,
    )


def _records(raw: bytes) -> list[tuple[str, int, bytes]]:
    told = []
    at = 0
    while at < len(raw):
        head = _HEAD.match(raw, at)
        if head is None:
            raise ValueError(f"what the guest told is damaged at byte {at}")
        end = head.end() + int(head[3])
        if raw[end : end + 1] != b"\n":
            raise ValueError(f"the guest broke off in a record `{head[1].decode()}`")
        told.append((head[1].decode(), int(head[2]), raw[head.end() : end]))
        at = end + 1
    return told


def _logs(told: Sequence[tuple[str, int, bytes]]) -> dict[int, str]:
    """The kernel's log by task number: each record once, without its prefix, our own markers left out of nothing."""
    logs: dict[int, str] = {}
    seen = -1
    for name, number, data in told:
        if name != "log":
            continue
        lines = []
        for line in data.decode("utf-8", "replace").splitlines():
            head, mark, text = line.partition(";")
            if not mark or line.startswith(" "):
                continue
            serial = int(head.split(",")[1])
            if serial > seen:
                seen = serial
                lines.append(text + "\n")
        logs[number] = logs.get(number, "") + "".join(lines)
    return logs


def _result(task: Task, number: int, found: dict[tuple[str, int], bytes], logs: dict[int, str]) -> TaskResult:
    ending, pid, seconds = found["end", number].decode().splitlines()
    word, _, value = ending.partition(" ")
    status = int(value) if word == "exit" else -int(value) if word == "signal" else None
    log = logs[number]
    return TaskResult(
        task,
        status,
        "" if status is not None else word,
        int(value) if word == "failed" else 0,
        int(pid),
        found.get(("out", number), b""),
        found.get(("err", number), b""),
        "".join(line for line in log.splitlines(keepends=True) if not _MARKER.search(line)),
        denials(log),
        float(seconds),
    )


def _last_words(console: str) -> str:
    lines = [line.strip() for line in console.split("\n") if line.strip()]
    telling = [line for line in lines if _TELLING.search(line)] or lines
    return "; the console says: " + " | ".join(telling[-3:]) if lines else "; the console is empty"
