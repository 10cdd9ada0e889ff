"""What the host said of a trial, and every place where it is not what was predicted."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from stockade.lab.host import HostRun, TaskResult
from stockade.lab.trial.plan import HOST, Case
from stockade.lab.trial.settings import NOTHING, Setting
from stockade.model.action import ActionCase, Layer

Predicted = Callable[[str, str, frozenset[Layer], str], bool]
"""(action, container type, layers taken away, runtime) -> whether it succeeds."""


class TrialError(Exception):
    """The host did not end as it should, or what it said cannot be read."""


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


def outcomes(host: HostRun, cases: Sequence[Case], actions: Iterable[str]) -> dict[tuple[Case, str], Outcome]:
    """What the probes of these containers said on `host`.

    TrialError where the host is not what it should be, a container failed, or not every action was tried in each.
    """
    wanted = frozenset(actions)
    first = host[HOST]
    if first.status != 0:
        raise TrialError(f"the host could not be set up: {_said(first) or first.fault}")
    found: dict[tuple[Case, str], Outcome] = {}
    for case in cases:
        mode, result = case.setting.enforcing, host[case.name]
        if host.enforcing != (mode, mode):
            raise TrialError(f"{case.name}: enforcing before the first task and after the last: {host.enforcing}")
        for line in result.stdout.decode(errors="backslashreplace").splitlines():
            name, *words = line.split("\t")
            if name in wanted:
                found[case, name] = outcome(words)
        missing = [action for action in wanted if (case, action) not in found]
        if result.status != 0 or missing:
            ended = result.fault or f"status {result.status}"
            state = f"{ended}; {len(missing)} actions not tried"
            raise TrialError(f"container {case.name} did not run as it should ({state}); it said: {_said(result)}")
    return found


def _said(result: TaskResult) -> str:
    text = (result.stdout + b"\n" + result.stderr).decode(errors="backslashreplace")
    return "; ".join([line for line in text.splitlines() if line.strip()][-3:]) or "nothing"


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
        if not answer.attempts:
            # What the host hands to a runtime does not get through containerd; anywhere else the probe had to try.
            if not case.setting.containerd:
                problems.append(f"`{name}` was not tried in {case.container}, {case.setting.name}")
            continue
        compared += 1
        foreseen = predicted(name, case.container, case.without, case.setting.runtime)
        if answer.passed(actions[name]) != foreseen:
            mismatches.append(Mismatch(name, case.container, case.setting, foreseen, answer))
    problems += [f"`{name}` was never tried" for name in sorted(actions.keys() - bare.keys())]
    return Judged(outcomes, untried, tuple(mismatches), tuple(problems), compared)
