"""What `stockade flow` and `stockade reach` share: the policy to walk, its names, and how a path is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stockade.cli import policy_sides
from stockade.cli.output import Answer, Stop, text
from stockade.cli.policy import find_policy

if TYPE_CHECKING:
    from stockade.model.policy import Policy
    from stockade.prove.paths import Step
    from stockade.selinux.policydb_values import Policydb


@dataclass(frozen=True, slots=True)
class Walked:
    """A kernel policy, the source where there is one, and its names: name of the source -> label."""

    kernel_policy: Policydb
    source: Policy | None
    labels: Mapping[str, str]

    def label(self, word: str) -> str:
        """The label that a name of the source stands for; a label or a context is itself."""
        return self.labels.get(word, word)

    def members(self, word: str) -> list[str]:
        """The labels that a set or another name of the source stands for."""
        if self.source is not None and word in self.source.host.sets:
            return sorted(self.source.host.sets[word].labels)
        return [self.label(word)]

    def statements(self, step: Step) -> tuple[str, ...]:
        """Where the source says what a step rests on, as `file:line:column`; nothing without a source."""
        from stockade.prove.policy_sources import positions

        return positions(step, self.source) if self.source is not None else ()


def walked(given: Path | None, form: str) -> Walked:
    """The policy to walk: a folder, a bundle or a kernel policy; as for every command when none is given."""
    from stockade.selinux.libsepol import SepolError
    from stockade.selinux.policydb import PolicydbError, read

    path = given if given is not None and given.is_file() else find_policy(given)
    try:
        side = policy_sides.side(path, form)
        if side is None:
            raise Stop(f"{path}: neither a policy folder, nor a bundle, nor a kernel policy")
        policy = read(side.kernel_policy)
    except (PolicydbError, SepolError) as error:
        raise Stop(f"{path}: {error}") from error
    labels: dict[str, str] = {}
    if side.policy is not None:
        host = side.policy.host
        labels = {subject.name: subject.label for subject in host.subjects.values()}
        labels |= {thing.name: thing.label for thing in host.objects.values()}
        labels |= {container.name: container.domain for container in side.policy.containers.values()}
    return Walked(policy, side.policy, labels)


def unknown(error: Exception, policy: Walked, words: Sequence[str]) -> Stop:
    """The end of a command whose question names something that the policy does not know."""
    from stockade.source.diagnostics import nearest

    sets = policy.source.host.sets if policy.source is not None else ()
    known = [*policy.labels, *sets, *policy.kernel_policy.types.values(), *policy.kernel_policy.aliases]
    wrong = next((word for word in words if word not in known and ":" not in word), None)
    hint = nearest(wrong, known) if wrong is not None else ""
    return Stop(f"{error}; {hint}" if hint else str(error), Answer.USAGE)


def document(policy: Walked, path: Sequence[Step]) -> list[dict[str, object]]:
    """A path for JSON: each step with the permissions it needs and where the source says so."""
    return [{**step.as_dict(), "statements": list(policy.statements(step))} for step in path]


def show(policy: Walked, path: Sequence[Step]) -> None:
    """A path for a person: where it begins, then each step with what it rests on."""
    text(path[0].source)
    for step in path:
        text(f"  {step.how}: {step.target}")
        for need in step.because:
            text(f"      {need}")
        if said := policy.statements(step):
            text(f"      said at {', '.join(said)}")
