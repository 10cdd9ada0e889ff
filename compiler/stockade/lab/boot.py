"""`lab boot`: a bundle's kernel policy, loaded and enforcing in a real kernel, asked what it allows."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stockade.bundle.manifest import NAME
from stockade.bundle.read import verify

from . import image, report, tools, uml
from .avc import ConsoleError, Denial, denials
from .probes import DEFAULT, FIXTURES, Fixture, Probe, Verdict, encode

INIT_CONTEXT = "system_u:system_r:init_t:s0"
RUNTIME_CONTEXT = "system_u:system_r:runtime_t:s0"
# What says most about a guest that failed: its own programs, and the policy loader's complaints.
_TELLING = re.compile(r"(stage1|init|launch): |SELinux: .*(invalid|error|unknown|not defined|truncated|magic)", re.I)


class BootFailed(Exception):
    """No verdict: the guest did not boot, or what it left cannot be trusted. `console` holds what there is."""

    def __init__(self, message: str, console: str = "") -> None:
        super().__init__(message)
        self.console = console


@dataclass(frozen=True, slots=True)
class Outcome:
    """One probe's answer. `verdict` None: neither allowed nor denied, and `text` says what happened instead."""

    probe: Probe
    verdict: Verdict | None
    text: str
    denials: tuple[Denial, ...]

    @property
    def problem(self) -> str | None:
        """Why this is not the answer expected, or None."""
        probe = self.probe
        if self.verdict is None:
            return f"{probe.name}: {self.text}"
        if self.verdict is not probe.expect:
            return f"{probe.name}: expected {probe.expect}, the kernel {self.verdict} it ({self.text})"
        if self.verdict is Verdict.ALLOWED:
            return None
        enforced = [denial for denial in self.denials if not denial.permissive and denial.scontext == probe.context]
        if not enforced:
            return f"{probe.name}: refused ({self.text}), but the kernel wrote no denial: perhaps not SELinux's"
        if probe.tclass is not None and not any(
            denial.tclass == probe.tclass and probe.permission in denial.permissions for denial in enforced
        ):
            seen = "; ".join(map(str, enforced))
            return f"{probe.name}: expected {{ {probe.permission} }} on {probe.tclass} to be refused, but {seen}"
        return None

    def as_dict(self) -> dict[str, object]:
        """The outcome as plain values for JSON."""
        return {
            "name": self.probe.name,
            "context": self.probe.context,
            "operation": self.probe.operation.value,
            "target": self.probe.target,
            "expected": self.probe.expect.value,
            "outcome": "error" if self.verdict is None else self.verdict.value,
            "text": self.text,
            "denials": [denial.as_dict() for denial in self.denials],
        }


@dataclass(frozen=True, slots=True)
class BootResult:
    """A guest that booted, loaded the policy, tried every probe and powered off; what it found is in `problems`."""

    kernel: str
    policy_bytes: int
    enforcing: tuple[bool, bool]
    init_context: str
    runtime_context: str
    outcomes: tuple[Outcome, ...]
    console: str
    seconds: float

    @property
    def problems(self) -> tuple[str, ...]:
        """Every way in which the kernel disagrees with what was expected; empty when it agrees."""
        found = []
        if self.init_context != INIT_CONTEXT:
            found.append(f"PID 1 is {self.init_context}, not {INIT_CONTEXT}")
        if self.runtime_context != RUNTIME_CONTEXT:
            found.append(f"the launcher is {self.runtime_context}, not {RUNTIME_CONTEXT}")
        for enforcing, when in zip(self.enforcing, ("before the first probe", "after the last"), strict=True):
            if not enforcing:
                found.append(f"the kernel was not enforcing {when}")
        return (*found, *(outcome.problem for outcome in self.outcomes if outcome.problem))

    def as_dict(self) -> dict[str, object]:
        """The result as plain values for JSON, without the console."""
        return {
            "kernel": self.kernel,
            "policyBytes": self.policy_bytes,
            "enforcing": all(self.enforcing),
            "initContext": self.init_context,
            "runtimeContext": self.runtime_context,
            "seconds": round(self.seconds, 3),
            "problems": list(self.problems),
            "probes": [outcome.as_dict() for outcome in self.outcomes],
        }


def boot(
    bundle: Path,
    probes: Sequence[Probe] = DEFAULT,
    *,
    fixtures: Sequence[Fixture] = FIXTURES,
    timeout: float = 60,
    keep: Path | None = None,
) -> BootResult:
    """Boot a guest on `bundle`'s host policy and try `probes`, within `timeout` seconds.

    With `keep` the images, the console and the report stay in that folder. `LabMissing` when this machine lacks
    something; `BootFailed` when there is no verdict; `ImageError` and `ValueError` for a policy or a plan that
    cannot be put into a guest.
    """
    policy, contexts = host_policy(bundle)
    found = tools.find()
    drop = tools.drop()
    plan = encode(fixtures, probes)
    with uml.work_folder(drop) as work:
        root, initrd = work / "root.erofs", work / "initramfs.cpio"
        image.build_root(image.root_tree(found), contexts, root, found, drop)
        initrd.write_bytes(image.initramfs(found, policy, plan))
        for path in (root, initrd):
            drop.own(path)
        ran = uml.run(found, work, drop, initrd=initrd, disks=[root], timeout=timeout)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for made in (root, initrd):
                (keep / made.name).write_bytes(made.read_bytes())
            (keep / "console.log").write_text(ran.console, encoding="utf-8")
            (keep / "report.txt").write_text(ran.report, encoding="utf-8")
    return judge(ran, probes, len(policy), timeout)


def host_policy(bundle: Path) -> tuple[bytes, str]:
    """The kernel policy and the file contexts of `bundle`; `BootFailed` unless there is exactly one of each.

    A folder with a manifest must be what the manifest says.
    """
    if (bundle / NAME).exists() and (faults := verify(bundle)):
        raise BootFailed(f"{bundle}: {faults[0]}")
    host = bundle / "host"
    policies = sorted(path for path in host.glob("policy.*") if path.suffix[1:].isdecimal())
    if len(policies) != 1:
        raise BootFailed(f"{host}: {len(policies)} kernel policies (policy.VERSION), and it takes one")
    try:
        return policies[0].read_bytes(), (host / "file_contexts").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BootFailed(f"{host}: {error}") from error


def judge(ran: uml.Ran, probes: Sequence[Probe], policy_bytes: int, timeout: float) -> BootResult:
    """What a finished run means; `BootFailed` when it means nothing."""
    if ran.status is None:
        raise BootFailed(f"the guest was stopped after {timeout:g} s", ran.console)
    try:
        told = report.parse(ran.report, len(probes))
        refused = denials(ran.console)
    except (report.ReportError, ConsoleError) as error:
        raise BootFailed(f"{error}{_last_words(ran.console)}", ran.console) from error
    if ran.status != 0:
        raise BootFailed(f"the guest ended with status {ran.status}{_last_words(ran.console)}", ran.console)
    if told.policy_bytes != policy_bytes:
        raise BootFailed(f"the kernel took {told.policy_bytes} of {policy_bytes} policy bytes", ran.console)
    pids = [attempt.pid for attempt in told.attempts if attempt.errno is not None]
    if len(set(pids)) != len(pids):
        raise BootFailed("two probes had one process number, so denials cannot be told apart", ran.console)
    outcomes = tuple(
        _outcome(probe, attempt, tuple(denial for denial in refused if denial.pid == attempt.pid))
        for probe, attempt in zip(probes, told.attempts, strict=True)
    )
    return BootResult(
        told.kernel, told.policy_bytes, told.enforcing, told.init, told.runtime, outcomes, ran.console, ran.seconds
    )


def _outcome(probe: Probe, attempt: report.Attempt, found: tuple[Denial, ...]) -> Outcome:
    if attempt.errno is None:
        because = "".join(f"; {denial}" for denial in found)
        return Outcome(probe, None, attempt.fault + because, found)
    if attempt.errno == 0:
        return Outcome(probe, Verdict.ALLOWED, "done", found)
    text = f"{errno.errorcode[attempt.errno]}: {os.strerror(attempt.errno)}"
    return Outcome(probe, Verdict.DENIED if attempt.errno in (errno.EACCES, errno.EPERM) else None, text, found)


def _last_words(console: str) -> str:
    lines = [line.strip() for line in console.split("\n") if line.strip()]
    telling = [line for line in lines if _TELLING.match(line)] or lines
    return "; the console says: " + " | ".join(telling[-3:]) if lines else "; the console is empty"
