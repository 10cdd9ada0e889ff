"""What the guest said of a trial, and every place where it is not what was predicted."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from stockade.lab.trial.plan import Case
from stockade.lab.trial.settings import NOTHING, Setting
from stockade.model.action import ActionCase, Layer

Predicted = Callable[[str, str, frozenset[Layer], str], bool]
"""(action, container type, layers taken away, runtime) -> whether it succeeds."""


class TrialError(Exception):
    """The guest did not end as it should, or what it said cannot be read."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way of one action: the call that was last, and how it ended: an error's name, "" for success, or a signal."""

    step: str
    ended: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the kernel answered to one action in one container."""

    attempts: tuple[Attempt, ...]

    def passed(self, action: ActionCase) -> bool:
        """Whether some way went through every permission."""
        return any(attempt.ended in ("", *action.trial.reached) for attempt in self.attempts)

    def __str__(self) -> str:
        return ", ".join(f"{attempt.step}: {attempt.ended or 'done'}" for attempt in self.attempts)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A prediction that the kernel does not agree with."""

    action: str
    container: str
    setting: Setting
    predicted: bool
    outcome: Outcome

    def __str__(self) -> str:
        said, was = ("goes through", "stopped") if self.predicted else ("is stopped", "went through")
        return (
            f"{self.container}, {self.setting.name}: `{self.action}` {said} by prediction, and was {was} "
            f"by the kernel ({self.outcome})"
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """A whole trial: outcomes by case and action; `untried` are actions that this kernel has not, with the reason."""

    outcomes: Mapping[tuple[Case, str], Outcome]
    untried: Mapping[str, str]
    mismatches: tuple[Mismatch, ...]
    problems: tuple[str, ...]
    compared: int


def parse(report: str, cases: Sequence[Case], actions: Iterable[str]) -> dict[tuple[Case, str], Outcome]:
    """The outcomes in a report. TrialError where a container failed, or not every action was tried in each."""
    wanted = frozenset(actions)
    by_name = {case.name: case for case in cases}
    found: dict[tuple[Case, str], Outcome] = {}
    noise: dict[str, list[str]] = {name: [] for name in by_name}
    ended: dict[str, list[str]] = {}
    lines = report.splitlines()
    if not lines or lines[0] != "stockade-trial 1":
        raise TrialError("the guest said nothing that can be read")
    for line in lines[1:]:
        kind, *words = line.split("\t")
        if kind == "failed":
            raise TrialError(f"the guest could not be set up: {' '.join(words)}")
        if kind == "said" and words[1] in wanted:
            found[by_name[words[0]], words[1]] = outcome(words[2:])
        elif kind == "said" and words[1] != "ran":
            noise[words[0]].append(" ".join(words[1:]))
        elif kind == "ended":
            ended[words[0]] = words[1:]
    if lines[-1] != "end":
        raise TrialError(f"the guest ended early, after: {lines[-1]}")
    for name, case in by_name.items():
        mode = str(int(case.setting.enforcing))
        missing = [action for action in wanted if (case, action) not in found]
        if ended.get(name) != ["0", mode, mode] or missing:
            said = "; ".join(noise[name][-3:]) or "nothing"
            state = f"status, enforcing before and after: {ended.get(name)}; {len(missing)} actions not tried"
            raise TrialError(f"container {name} did not run as it should ({state}); it said: {said}")
    return found


def outcome(words: Iterable[str]) -> Outcome:
    """What a probe printed after its action's name, one word an attempt. TrialError for anything else."""
    return Outcome(tuple(_attempt(word) for word in words))


def _attempt(word: str) -> Attempt:
    step, _, result = word.partition("=")
    if re.fullmatch(r"[0-9]+", result):
        number = int(result)
        return Attempt(step, errno.errorcode.get(number, f"error {number}") if number else "")
    if re.fullmatch(r"(killed|exited):[0-9]+", result):
        return Attempt(step, result)
    raise TrialError(f"not an answer of a probe: {word!r}")


def judge(
    outcomes: Mapping[tuple[Case, str], Outcome], actions: Mapping[str, ActionCase], predicted: Predicted
) -> Judged:
    """Every outcome held against its prediction.

    What does not go through where every layer is taken away cannot be tried at all: either the kernel has no such
    thing, which the action says with the error to expect, or the probe is wrong, which is a problem.
    """
    bare = {action: answer for (case, action), answer in outcomes.items() if case.setting == NOTHING}
    untried: dict[str, str] = {}
    problems: list[str] = []
    for name, answer in sorted(bare.items()):
        action = actions[name]
        if answer.passed(action):
            continue
        reasons = {action.trial.absent.get(attempt.ended) for attempt in answer.attempts}
        if None in reasons or not reasons:
            problems.append(f"`{name}` does not go through where nothing confines it ({answer})")
        untried[name] = "; ".join(sorted(reason for reason in reasons if reason)) or "its probe fails"
    untried |= {name: action.trial.unasked for name, action in actions.items() if action.trial.unasked}
    mismatches = []
    compared = 0
    for (case, name), answer in outcomes.items():
        if name in untried or case.setting == NOTHING:
            continue
        compared += 1
        foreseen = predicted(name, case.container, case.without, case.setting.runtime)
        if answer.passed(actions[name]) != foreseen:
            mismatches.append(Mismatch(name, case.container, case.setting, foreseen, answer))
    problems += [f"`{name}` was never tried" for name in sorted(actions.keys() - bare.keys())]
    return Judged(outcomes, untried, tuple(mismatches), tuple(problems), compared)
