"""The shipped policy as CIL: what secilc makes of it, a reason before every rule, the host's file by itself."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from stockade.bundle.compile import POLICY_VERSION, Compiled, compile_policy
from stockade.model.grants import members
from stockade.model.policy import Policy
from stockade.model.position import Said
from stockade.model.promise import LabelPromise
from stockade.selinux.binary import Binary
from stockade.selinux.cil import Writer
from stockade.selinux.libsepol import CilError, compile_cil

RULES = ("allow", "dontaudit", "neverallow", "typetransition", "rangetransition", "mlsconstrain", "mlsvalidatetrans")
PLACE = re.compile(r"; (\S+\.yaml):(\d+) (.+)")


def contents(compiled: Compiled) -> dict[str, bytes]:
    return {artefact.path: artefact.content for artefact in compiled.artefacts}


def blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """(comment as one line, the statements below it) of a CIL file."""
    reason = ""
    for commented, lines in groupby(text.splitlines(), key=lambda line: line.lstrip().startswith(";")):
        if commented:
            reason = "; " + " ".join(line.lstrip().removeprefix(";").strip() for line in lines)
        else:
            yield reason, [line.strip() for line in lines if line.strip()]


def test_secilc_makes_the_same_bytes(compiled: Compiled, tmp_path: Path) -> None:
    for name, text in compiled.cil:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text)
    command = ["secilc", "-c", str(POLICY_VERSION), "-o", "policy", "-f", "file_contexts"]
    subprocess.run([*command, *(name for name, _ in compiled.cil)], cwd=tmp_path, check=True, capture_output=True)
    ours = contents(compiled)
    assert (tmp_path / "policy").read_bytes() == compiled.kernel_policy == ours[f"host/policy.{POLICY_VERSION}"]
    assert (tmp_path / "file_contexts").read_bytes() == ours["host/file_contexts"]


def test_what_was_compiled_is_what_is_written(compiled: Compiled) -> None:
    ours = contents(compiled)
    assert compiled.cil[0][0] == "host/policy.cil"
    assert all(ours[name] == text for name, text in compiled.cil)


def test_two_compilations_are_the_same(policy: Policy, compiled: Compiled) -> None:
    assert compile_policy(policy, jobs=1) == compiled


def said(policy: Policy) -> dict[tuple[str, int], set[str]]:
    """(file, line) -> the reasons given there, as comments spell them."""
    host = policy.host
    everything: list[Said] = [
        *host.subjects.values(), *host.objects.values(), *host.sets.values(), *host.verbs.values(), *host.rules,
        *host.transitions, *host.constraints, *policy.containers.values(), *policy.promises.values(),
    ]  # fmt: skip
    found: dict[tuple[str, int], set[str]] = {}
    for thing in everything:
        found.setdefault((thing.at.file, thing.at.line), set()).add(" ".join(thing.why.split()))
    return found


def files(policy: Policy, compiled: Compiled) -> dict[str, str]:
    return {path: text.decode() for path, text in contents(compiled).items() if path.endswith(".cil")}


def test_every_statement_has_the_reason_of_its_rule(policy: Policy, compiled: Compiled) -> None:
    reasons, count = said(policy), 0
    for path, text in files(policy, compiled).items():
        for reason, statements in blocks(text):
            rules = [line for line in statements if line.startswith(tuple(f"({word} " for word in RULES))]
            if not rules:
                continue
            match = PLACE.fullmatch(reason)
            assert match is not None, (path, reason, rules[0])
            given = reasons[match[1], int(match[2])]
            assert any(match[3] == why or match[3].endswith(f": {why}") for why in given), (path, reason, given)
            count += len(rules)
    assert count > 500


def test_every_rule_is_written_with_its_reason(policy: Policy, compiled: Compiled) -> None:
    """Each rule, promise, transition and constraint has its comment, and a statement of its kind below it."""
    host, texts = policy.host, files(policy, compiled)
    owners = {name for name, container in policy.containers.items() if container.domain in Writer(policy).own}
    written: dict[str, set[tuple[str, int, str]]] = {}
    for path, text in texts.items():
        for reason, statements in blocks(text):
            if match := PLACE.fullmatch(reason):
                for word in {line[1:].split()[0] for line in statements if line.startswith("(")}:
                    written.setdefault(path, set()).add((match[1], int(match[2]), word))
    wanted: list[tuple[Said, str]] = [(t, "typetransition") for t in host.transitions]
    wanted += [(c, "mlsvalidatetrans" if c.relabelling else "mlsconstrain") for c in host.constraints]
    promises = [p for p in policy.promises.values() if isinstance(p, LabelPromise)]
    wanted += [(p, "neverallow") for p in promises if p.own is None]
    for promise in promises:
        if promise.own:
            place = (promise.at.file, promise.at.line, "neverallow")
            assert place in written[f"containers/{promise.own}/selinux.cil"], promise
    wanted += [(r, "allow" if r.audit else "dontaudit") for r in host.rules if r.origin is None]
    for thing, word in wanted:
        assert (thing.at.file, thing.at.line, word) in written["host/policy.cil"], thing
    for rule in host.rules:
        for container in policy.containers.values():
            if rule.audit and container.domain in members(rule) and (container.name in owners or rule.origin is None):
                place = (rule.at.file, rule.at.line, "allow")
                assert place in written[f"containers/{container.name}/selinux.cil"], (container.name, rule)


def test_the_host_compiles_without_the_domains_of_container_types(policy: Policy, compiled: Compiled) -> None:
    """A host that runs none of them has a policy of its own, and what is left decides the same."""
    own = Writer(policy).own
    alone = Binary(compile_cil(compiled.cil[:1], policy_version=POLICY_VERSION).policy)
    whole = Binary(compiled.kernel_policy)
    assert set(whole.types) - set(alone.types) == own.keys() != set()
    assert alone.allow == {pair: given for pair, given in whole.allow.items() if not own.keys() & set(pair)}
    assert alone.type_transitions == whole.type_transitions
    assert len(alone.constraints) == len(whole.constraints)


def test_the_order_of_the_domains_does_not_matter(compiled: Compiled) -> None:
    shuffled = Binary(compile_cil([compiled.cil[0], *compiled.cil[:0:-1]], policy_version=POLICY_VERSION).policy)
    assert shuffled.allow == Binary(compiled.kernel_policy).allow


def test_domains_are_nothing_without_the_host(compiled: Compiled) -> None:
    with pytest.raises(CilError):
        compile_cil(compiled.cil[1:], policy_version=POLICY_VERSION)


def test_no_two_statements_say_the_same(policy: Policy, compiled: Compiled) -> None:
    """Of what the kernel policy is made of, no allow or neverallow is written twice under one reason."""
    for _, text in compiled.cil:
        for reason, statements in blocks(text.decode()):
            rules = [line for line in statements if line.startswith(("(allow ", "(neverallow "))]
            assert len(rules) == len(set(rules)), reason
