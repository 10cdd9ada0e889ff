"""One question about a policy, answered layer by layer with reasons: may this container type or subject do that?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stockade.model.access import NOTHING, mask, spell, words
from stockade.model.action import Layer
from stockade.model.classes import CLASSES
from stockade.model.container import ContainerType
from stockade.model.grants import Grants, rules_for
from stockade.model.host import Host
from stockade.model.names import CAPABILITIES
from stockade.model.policy import Policy
from stockade.model.seccomp import Action
from stockade.model.syscalls import NAMES, argument, constant, numbers
from stockade.prove.actions import Answer, Oracle, Verdict, decide_action, process_context
from stockade.prove.labels import label_promises
from stockade.seccomp.prove import spell_call, spell_verdict
from stockade.seccomp.semantics import decide
from stockade.selinux.text import context

_CALL = re.compile(r"([a-z_0-9]+)\((.*)\)\Z")
_ACCESS = re.compile(r"([a-z0-9_-]+)(?:\.([a-z0-9_]+))?:([a-z0-9_-]+)\Z")


class Unanswerable(Exception):
    """The question names something that the policy does not know: `name`; `known` is what could have been meant."""

    def __init__(self, what: str, name: str, known: list[str]) -> None:
        super().__init__(f"unknown {what} `{name}`")
        self.name = name
        self.known = known


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked about: a container type, or a subject of the host by name and label."""

    name: str
    label: str
    context: str
    container: ContainerType | None


def who_is(policy: Policy, name: str) -> Asked:
    """A container type or a host subject by name; a subject may be named by its label too."""
    if name in policy.containers:
        container = policy.containers[name]
        return Asked(name, container.domain, process_context(container, policy.host.categories), container)
    for subject in policy.host.subjects.values():
        if name in (subject.name, subject.label, *subject.aliases):
            return Asked(subject.name, subject.label, context(subject.label, policy.host.subject_labels), None)
    known = [*policy.containers, *policy.host.subjects, *(s.label for s in policy.host.subjects.values())]
    raise Unanswerable("container type or subject", name, known)


def ask(policy: Policy, table: Grants, oracle: Oracle, asked: Asked, question: str, level: str) -> Verdict:
    """The answer of every layer that has a say.

    `question` is an action of the policy, `VERB:OBJECT`, `CLASS.PERMISSION:OBJECT`, a capability, or a system call
    such as `mount` or `socket(family=ALG)`; `level` is that of the object. Raises Unanswerable.
    """
    if question in policy.actions:
        return decide_action(policy, _container(policy, asked), policy.actions[question], oracle)
    if match := _ACCESS.match(question):
        access = _wanted(policy.host, match[1], match[2])
        return Verdict.of(_label(policy, table, oracle, asked, access, match[3], level))
    if question.removeprefix("CAP_") in CAPABILITIES:
        return Verdict.of(*_capability(policy, table, asked, question.removeprefix("CAP_")))
    call, arguments = call_arguments(question)
    if call in NAMES:
        return Verdict.of(_syscall(_container(policy, asked), call, arguments))
    known = [*policy.actions, *policy.host.verbs, *NAMES, *CAPABILITIES]
    raise Unanswerable("action, VERB:OBJECT, capability or system call", question, known)


def _container(policy: Policy, asked: Asked) -> ContainerType:
    if asked.container is None:
        raise Unanswerable("container type (a host subject has labels alone)", asked.name, list(policy.containers))
    return asked.container


def _wanted(host: Host, word: str, permission: str | None) -> int:
    if permission is None:
        if word not in host.verbs:
            raise Unanswerable("verb", word, list(host.verbs))
        return host.verbs[word].access
    if word not in CLASSES:
        raise Unanswerable("class", word, list(CLASSES))
    if permission not in CLASSES[word]:
        raise Unanswerable(f"permission of {word}", permission, list(CLASSES[word]))
    return mask(word, [permission])


def _label(policy: Policy, table: Grants, oracle: Oracle, asked: Asked, access: int, name: str, level: str) -> Answer:
    host = policy.host
    labels = {subject.name: subject.label for subject in host.subjects.values()}
    labels |= {thing.name: thing.label for thing in host.objects.values()}
    if name == "self":
        target, target_context = asked.label, asked.context
    elif name in labels or name in labels.values():
        target = labels.get(name, name)
        target_context = context(target, host.subject_labels, level)
    else:
        raise Unanswerable("subject or object", name, [*labels, *labels.values()])
    given = NOTHING
    for class_name, permissions in spell(access).items():
        given |= mask(class_name, oracle.allowed(asked.context, target_context, class_name) & set(permissions))
    reasons = "; ".join(_reasons(policy, table, asked.label, target, access, given))
    shown = f"{asked.context} on {target_context}"
    return _logged(policy, asked, Answer(Layer.SELINUX, given == access, f"{shown}: {reasons}"))


def _logged(policy: Policy, asked: Asked, answer: Answer) -> Answer:
    """An answer of SELinux as it is for a type that complains: what is not given is logged and passes."""
    complaining = (c for c in policy.containers.values() if c.complains and c.domain == asked.label)
    container = next(complaining, None)
    if container is None or answer.given:
        return answer
    return Answer(answer.layer, True, f"{answer.reason}; but it complains ({container.place('mode')}), and passes")


def _reasons(policy: Policy, table: Grants, subject: str, target: str, access: int, given: int) -> Iterator[str]:
    ruled = table.get((subject, target), NOTHING) & access
    if given == access:
        rules = rules_for(policy.host, subject, target, access)
        yield from (f"given at {rule.at}: {rule.why}" for rule in rules)
        return
    if held := ruled & ~given:
        for constraint in policy.host.constraints:
            if constraint.access & held and not constraint.relabelling:
                yield f"a rule gives {words(held, 1)}, the constraint at {constraint.at} denies it: {constraint.why}"
    if missing := access & ~ruled:
        yield f"no rule gives {words(missing, 1)}"
        for promise in label_promises(policy):
            about = any(subject in part.members for part in promise.who.parts)
            if about and promise.access & missing and target in promise.what.members(subject):
                yield f"and none ever will, promised at {promise.at}: {promise.why}"
                break
    if given:
        yield f"of what was asked it has {words(given, 1)} alone"


def _capability(policy: Policy, table: Grants, asked: Asked, name: str) -> Iterator[Answer]:
    if asked.container is not None:
        held = name in asked.container.capabilities["permitted"]
        place = asked.container.place("capabilities")
        yield Answer(Layer.CAPABILITIES, held, f"{name} is {'held' if held else 'not held'} ({place})")
    class_name = "capability" if name.lower() in CLASSES["capability"] else "capability2"
    access = mask(class_name, [name.lower()])
    given = table.get((asked.label, asked.label), NOTHING) & access
    reasons = "; ".join(_reasons(policy, table, asked.label, asked.label, access, given))
    yield _logged(policy, asked, Answer(Layer.SELINUX, bool(given), f"{asked.label}: {reasons}"))


def call_arguments(question: str) -> tuple[str, tuple[int, ...]]:
    """A call as a person writes it, such as `socket(family=ALG)`: its name and six arguments, zero unless said."""
    match = _CALL.match(question)
    call, text = (match[1], match[2]) if match else (question, "")
    args = [0] * 6
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = item.partition("=")
        try:
            index, width = argument(call, name)
            number = int(value, 0) if value[:1].isdigit() else constant(call, name, value)
        except (KeyError, ValueError):
            raise Unanswerable(f"argument of {call}, written NAME=VALUE,", item, []) from None
        if number >= 1 << width:
            raise Unanswerable(f"value for a {width}-bit argument", value, [])
        args[index] = number
    return call, tuple(args)


def _syscall(container: ContainerType, call: str, args: tuple[int, ...]) -> Answer:
    said = []
    allowed = True
    for arch in container.architectures:
        table = numbers(arch)
        if call in table:
            verdict = decide(container.answered, arch, table[call], args)
            allowed = allowed and verdict.action in (Action.ALLOW, Action.LOG)
            said.append(f"{spell_call(arch, 0, table[call], args)}: {spell_verdict(verdict)}")
    if not said:
        return Answer(Layer.SECCOMP, False, f"no architecture of {container.name} has {call}")
    rules = [f"{rule.at}: {rule.why}" for rule in container.syscalls.rules if rule.call == call]
    return Answer(Layer.SECCOMP, allowed, "; ".join([*said, *(rules or [f"no rule ({container.place('syscalls')})"])]))
