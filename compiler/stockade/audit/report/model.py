"""A report: what was judged, of which host, with the evidence for every verdict. Every writer starts from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

SCHEMA: Final = 1


class Status(StrEnum):
    """The verdicts. WAIVED is a failure that somebody answers for; MANUAL is for a person to judge."""

    PASS = "pass"
    FAIL = "fail"
    ERROR = "error"
    NOT_APPLICABLE = "not-applicable"
    MANUAL = "manual"
    WAIVED = "waived"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A fact that a verdict rests on.

    `fact` is its name, `path` where it was read (empty for one that follows from others), `outcome` one of value,
    absent, unreadable and malformed, `value` plain JSON values (long ones cut), `why` the reason where there is none.
    """

    fact: str
    path: str
    outcome: str
    value: Any
    why: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        said: dict[str, Any] = {"fact": self.fact, "outcome": self.outcome}
        if self.path:
            said["path"] = self.path
        return {**said, **({"value": self.value} if self.outcome == "value" else {"why": self.why})}


@dataclass(frozen=True, slots=True)
class Waived:
    """The waiver behind a verdict: who answers for it, why, until when (ISO date), for which hosts."""

    owner: str
    reason: str
    expires: str
    scope: str

    def as_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {"owner": self.owner, "reason": self.reason, "expires": self.expires, "scope": self.scope}


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict of one rule on one host.

    `rule` is its stable id, `severity` one of high, medium and low, `message` one line that says what was found, and
    `findings` a line for each thing that broke it (each container, mount, file). `references` has the ids of others by
    their source (`cis-bottlerocket`, `bloodhound`, ...). `digest` is the SHA-256 of what was found wrong, which a
    waiver may pin; empty for a rule that passed.
    """

    rule: str
    title: str
    severity: str
    profiles: tuple[str, ...]
    status: Status
    message: str
    findings: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
    remediation: str = ""
    impact: str = ""
    digest: str = ""
    waiver: Waived | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; keys without a value are left out."""
        said: dict[str, Any] = {
            "rule": self.rule,
            "title": self.title,
            "severity": self.severity,
            "profiles": list(self.profiles),
            "status": str(self.status),
            "message": self.message,
            "findings": list(self.findings),
            "evidence": [one.as_dict() for one in self.evidence],
            "references": dict(self.references),
            "why": self.why,
            "remediation": self.remediation,
            "impact": self.impact,
            "digest": self.digest,
            "waiver": self.waiver.as_dict() if self.waiver else None,
        }
        return {key: value for key, value in said.items() if value not in ("", None, [], {})}


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """Which host was judged, as it said of itself; empty where it did not. `kind` is live or image."""

    kind: str
    name: str = ""
    machine_id: str = ""
    boot_id: str = ""
    kernel: str = ""
    release: str = ""

    @property
    def said(self) -> str:
        """What to call it: its name, else its machine id, else what it is. Never empty."""
        return self.name or self.machine_id or self.kind

    def as_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            "machine_id": self.machine_id,
            "boot_id": self.boot_id,
            "kernel": self.kernel,
            "release": self.release,
        }


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the host was judged: `judged` of `found` containers. `ended` are those that were gone meanwhile,
    `unread` those of which something could not be read."""

    found: int = 0
    judged: int = 0
    ended: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found = {"found": self.found, "judged": self.judged}
        return {**found, "ended": list(self.ended), "unread": list(self.unread)}


@dataclass(frozen=True, slots=True)
class Report:
    """Every verdict on one host.

    `results` are in the order of the rules, `collected` is when the facts were read and `judged` when the verdicts
    were made (seconds since 1970), `bundle` the digest of the bundle that containers and policy were compared with
    (empty without one), `profile` what was asked for, `version` stockade's.
    """

    profile: str
    host: HostIdentity
    results: tuple[Result, ...]
    coverage: Coverage | None
    collected: int
    judged: int
    version: str
    bundle: str = ""
    faults: tuple[str, ...] = ()

    def count(self, status: Status) -> int:
        """How many rules have this verdict."""
        return sum(one.status is status for one in self.results)

    @property
    def answer(self) -> int:
        """The exit code: 1 where a rule failed, else 3 where one could not be decided or nothing was, else 0."""
        if self.count(Status.FAIL):
            return 1
        decided = self.count(Status.PASS) + self.count(Status.WAIVED)
        return 3 if self.count(Status.ERROR) or self.faults or not decided else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": SCHEMA,
            "stockade": self.version,
            "profile": self.profile,
            "host": self.host.as_dict(),
            "collected": self.collected,
            "judged": self.judged,
            "bundle": self.bundle,
            "summary": {str(status): self.count(status) for status in Status},
            "coverage": self.coverage.as_dict() if self.coverage else None,
            "faults": list(self.faults),
            "results": [one.as_dict() for one in self.results],
        }
