"""`stockade check --mutate` and `--derive`: what a widening of the rules meets, and guards where it meets nothing."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from stockade.cli.output import Answer, Stop, json_document, message, table, text
from stockade.cli.policy import refuse
from stockade.source.files import SourceFile

if TYPE_CHECKING:
    from stockade.model.grants import Grants
    from stockade.model.policy import Policy
    from stockade.prove.mutation import Score

SAMPLE = 200
"""How many widenings are compiled, where not all of them are: a fixed choice for the same policy."""


def _load(folder: Path, files: list[SourceFile], form: str) -> tuple[Policy, Grants]:
    """A policy whose own statements hold; that it leaves nothing unsaid is not asked here."""
    from stockade.model.grants import grants
    from stockade.prove.policy import statement_findings
    from stockade.source.diagnostics import PolicyError
    from stockade.source.load import build

    try:
        policy = build(files)
    except PolicyError as error:
        raise refuse(error.diagnostics, error.texts, folder, form) from None
    given = grants(policy.host)
    if findings := statement_findings(policy, given):
        texts = {file.name: file.data.decode("utf-8", "replace") for file in files}
        raise refuse(findings, texts, folder, form)
    return policy, given


def mutate(folder: Path, files: list[SourceFile], exact: bool, form: str) -> Answer:
    """Score a policy's promises against every widening, and hold a sample (or all) against libsepol."""
    from stockade.prove.mutation import grouped, score
    from stockade.selinux.libsepol import SepolError

    policy, given = _load(folder, files, form)
    found = score(policy, given)
    try:
        compiled, faults = _compiled(policy, given, found, None if exact else SAMPLE)
    except SepolError as error:
        raise Stop(str(error)) from error
    if faults:
        raise Stop("\n".join(["libsepol disagrees with the tables:", *faults]), Answer.NO)
    silent = grouped(policy.host, found.silent)
    if form == "json":
        json_document(
            {
                "score": round(found.share, 6),
                "tried": found.total,
                "rejected": sum(found.rejected.values()),
                "compiled": compiled,
                "verbs": {v: {"tried": n, "rejected": found.rejected[v]} for v, n in sorted(found.tried.items())},
                "survivors": [
                    {"verb": verb, "who": list(who), "what": list(what), "access": some}
                    for verb, who, what, some in silent
                ],
                "waivers": [{"name": w.name, "at": str(w.at), "why": w.why} for w in policy.waivers.values()],
            }
        )
        return Answer.NO if silent else Answer.YES
    table(
        ("verb", "widenings", "refused"),
        [(verb, str(tried), str(found.rejected[verb])) for verb, tried in sorted(found.tried.items())],
    )
    for verb, who, what, some in silent:
        text(f"survives: {', '.join(who)} may {verb}{f' ({some})' if some else ''}: {', '.join(what)}")
    for waiver in policy.waivers.values():
        text(f"waived: {waiver.name} ({waiver.at}): {waiver.why}")
    refused = sum(found.rejected.values())
    text(f"{folder}: mutation score {100 * found.share:.1f} %: {refused} of {found.total} widenings are refused")
    message(f"libsepol, given {compiled} of them in CIL, refuses the same")
    return Answer.NO if silent else Answer.YES


def _compiled(policy: Policy, given: Grants, found: Score, limit: int | None) -> tuple[int, list[str]]:
    """(widenings compiled, disagreements with the tables); those that survive are compiled in any case."""
    from stockade.bundle.compile import kernel_cil
    from stockade.prove.exact import refused
    from stockade.prove.mutation import rejected

    cil = kernel_cil(policy)
    chosen = list(rejected(policy, given))
    if limit is not None and limit < len(chosen):
        chosen = sorted(random.Random(0).sample(chosen, limit))
    chosen += found.survivors
    verbs = {name: verb.access for name, verb in policy.host.verbs.items()}
    no = set(refused(verbs, cil, chosen))
    survivors = set(found.survivors)
    faults = [
        f"{one.subject} {one.verb} {one.target} is {'refused' if one in no else 'accepted'}"
        for one in chosen
        if (one in no) == (one in survivors)
    ]
    return len(chosen), faults


def derive(folder: Path, files: list[SourceFile], form: str) -> list[SourceFile]:
    """Write the guards that a policy lacks to `promises/derived.yaml`, and give the policy's files as they are then."""
    from stockade.prove.guards import derive as guards
    from stockade.prove.guards import document
    from stockade.prove.labels import DERIVED

    written = [file for file in files if file.name != DERIVED]
    policy, given = _load(folder, written, form)
    found = guards(policy, given)
    place = folder / DERIVED
    before = next((file.data for file in files if file.name == DERIVED), None)
    if not found:
        if before is not None:
            place.unlink()
        message(f"{folder}: every widening is refused already; nothing to derive")
        return written
    data = document(policy, found).encode()
    if data != before:
        _replace(place, data)
    message(f"{place}: {len(found)} derived guards{'' if data != before else ', as before'}")
    return sorted([*written, SourceFile(DERIVED, data)], key=lambda file: file.name)


def _replace(place: Path, data: bytes) -> None:
    place.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".derived", delete=False) as new:
        new.write(data)
        new.flush()
        os.fchmod(new.fileno(), 0o644)
        os.fsync(new.fileno())
    Path(new.name).rename(place)
