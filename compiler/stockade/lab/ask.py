"""Asks a real kernel whether a policy allows things: any number of (context, context, class, permission) questions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from . import image, tools, uml

if TYPE_CHECKING:
    from stockade.selinux.policydb_values import Policydb

_WORD = re.compile(r"[\w.,:-]+")


class AskFailed(Exception):
    """No answers: the guest did not boot, did not take the policy or a question, or its report is not whole."""

    def __init__(self, message: str, console: str = "") -> None:
        super().__init__(message)
        self.console = console


class Question(NamedTuple):
    """May `source` do `permission` on a `tclass` labelled `target`?"""

    source: str
    target: str
    tclass: str
    permission: str


@dataclass(frozen=True, slots=True)
class Answers:
    """The kernel's release, and its answers in the order of the questions."""

    kernel: str
    allowed: tuple[bool, ...]
    seconds: float


def ask(policy: bytes, questions: Sequence[Question], *, timeout: float = 60) -> Answers:
    """Boot a guest on a kernel policy and ask it, within `timeout` seconds.

    The answers are the kernel's security server's: rules, constraints, roles and bounds applied, permissive or not.
    AskFailed when there is no answer to each; LabMissing when this machine lacks something; ValueError for a question
    that cannot be put.
    """
    for question in questions:
        if not all(map(_WORD.fullmatch, question)):
            raise ValueError(f"not a question: {question}")
    found, drop = tools.find(), tools.drop()
    tree = image.root_tree(found)
    tree.file("init", image.guest("ask.pl"), 0o755)
    tree.file("policy", policy)
    tree.file("plan", "".join("\t".join(question) + "\n" for question in questions).encode())
    tree.character("dev/console", 5, 1)
    with uml.work_folder(drop) as work:
        initrd = work / "initramfs.cpio"
        initrd.write_bytes(tree.archive())
        drop.own(initrd)
        ran = uml.run(found, work, drop, initrd=initrd, disks=[], timeout=timeout)
    return judge(ran, len(policy), len(questions), timeout)


def judge(ran: uml.Ran, policy_bytes: int, count: int, timeout: float) -> Answers:
    """What a finished run answers; AskFailed unless its report is whole and of this policy and these questions."""
    if ran.status is None:
        raise AskFailed(f"the guest was stopped after {timeout:g} s", ran.console)
    match = re.fullmatch(
        r"stockade-ask 1\npolicy (\d+)\nkernel ([\w.+~-]+)\n((?:answers \d+ [01]+\n)*)end (\d+)\n", ran.report
    )
    if match is None or ran.status != 0:
        said = [line for line in ran.console.splitlines() if re.match(r"ask: |SELinux: ", line)]
        raise AskFailed("the guest did not answer: " + (" | ".join(said[-3:]) or "it says nothing"), ran.console)
    if int(match[1]) != policy_bytes:
        raise AskFailed(f"the kernel took {match[1]} of {policy_bytes} policy bytes", ran.console)
    answers = ""
    for line in match[3].splitlines():
        _, first, some = line.split()
        if int(first) != len(answers):
            raise AskFailed(f"answers {first} follow {len(answers)}", ran.console)
        answers += some
    if not len(answers) == int(match[4]) == count:
        raise AskFailed(f"{len(answers)} answers to {count} questions", ran.console)
    return Answers(match[2], tuple(answer == "1" for answer in answers), ran.seconds)


def random_questions(policy: Policydb, count: int, seed: int) -> list[Question]:
    """`count` questions on valid contexts of a policy, the same for the same seed.

    Half of them are drawn from the rules, so that constraints and not missing rules decide many of them.
    """
    chance = Random(seed)
    types = sorted(policy.types.values())
    values = {name: value for value, name in policy.types.items()}
    pairs = list(_pairs(policy))
    classes = {c.name: sorted(c.permissions) for c in policy.classes.values() if c.permissions}
    members: dict[int, list[str]] = {}
    for value, symbols in policy.member_of.items():
        for symbol in symbols:
            members.setdefault(symbol, []).append(policy.types[value])
    questions = []
    for number in range(count):
        if number % 2 and pairs:
            one, two, tclass, perms = chance.choice(pairs)
            source, target = chance.choice(members.get(one, types)), chance.choice(members.get(two, types))
            permission = chance.choice(perms)
        else:
            source, target = chance.choice(types), chance.choice(types)
            tclass = chance.choice(sorted(classes))
            permission = chance.choice(classes[tclass])
        texts = [_context(policy, chance, name, values[name]) for name in (source, target)]
        questions.append(Question(texts[0], texts[1], tclass, permission))
    return questions


def _pairs(policy: Policydb) -> Iterator[tuple[int, int, str, list[str]]]:
    for vector in policy.vectors:
        if vector.kind == "allow" and isinstance(vector.data, int):
            tclass = policy.classes[vector.tclass]
            perms = sorted(name for name, bit in tclass.permissions.items() if vector.data & bit)
            if perms:
                yield vector.source, vector.target, tclass.name, perms


def _context(policy: Policydb, chance: Random, name: str, value: int) -> str:
    """A valid context of a type: as a process where a role and a user of it may, and sometimes as an object."""
    roles = sorted(r.name for r in policy.roles.values() if r.name != "object_r" and r.types >> (value - 1) & 1)
    pairs = [(user, role) for role in roles for user in sorted(policy.users) if role in policy.users[user].roles]
    if not pairs or chance.random() < 0.1:
        user, role = chance.choice(sorted(policy.users)), "object_r"
    else:
        user, role = chance.choice(pairs)
    if not policy.mls:
        return f"{user}:{role}:{name}"
    bounds = policy.users[user].bounds
    assert bounds is not None  # under MLS every user has a range
    low, high = bounds
    more = [c for c in high.categories if c not in low.categories]
    # A few categories only, or no two contexts would ever have one in common.
    some = more[:4] + more[-1:]
    upper = sorted(chance.sample(some, chance.randint(0, min(2, len(some)))), key=more.index)
    lower = [c for c in upper if chance.random() < 0.5] if chance.random() < 0.5 else upper
    texts = [":".join(filter(None, (low.sensitivity, ",".join([*low.categories, *part])))) for part in (lower, upper)]
    return f"{user}:{role}:{name}:{texts[0]}" + (f"-{texts[1]}" if texts[0] != texts[1] else "")
