"""Asks a policy what its author expects of it, with the answer of every layer where it is another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stockade.model.expectation import Expectation, Question
from stockade.model.finding import Finding
from stockade.model.grants import Grants, grants
from stockade.model.policy import Policy
from stockade.prove.ask import Unanswerable, ask, who_is
from stockade.prove.policy_sources import kernel_policy
from stockade.selinux.libsepol import Decisions
from stockade.source.diagnostics import nearest


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to one question about one of those it is asked about. `reason` says why it is not what was expected.

    `allowed` is None where the question means nothing; then `reason` says what is unknown.
    """

    expectation: Expectation
    who: str
    question: Question
    allowed: bool | None
    reason: str

    @property
    def met(self) -> bool:
        """Whether the answer is the expected one."""
        return self.allowed is self.question.allowed


class _Nobody:
    """Decides nothing: enough to see whether a question means something."""

    def allowed(self, scon: str, tcon: str, tclass: str) -> frozenset[str]:
        """No permission at all."""
        return frozenset()


def meaningless(policy: Policy, table: Grants) -> Iterator[Finding]:
    """Every question that names something which the policy does not know; `table` is `grants(policy.host)`."""
    for expectation in policy.expectations.values():
        for question in expectation.questions:
            for who in expectation.who:
                try:
                    ask(policy, table, _Nobody(), who_is(policy, who), question.text, expectation.level)
                except Unanswerable as error:
                    yield Finding(question.at, str(error), nearest(error.name, error.known))
                    break


def outcomes(policy: Policy) -> Iterator[Outcome]:
    """Every question's outcome, in the order of the expectations' names. Compiles the kernel policy once."""
    if not policy.expectations:
        return
    table = grants(policy.host)
    with Decisions(kernel_policy(policy)) as oracle:
        for expectation in policy.expectations.values():
            for who in expectation.who:
                asked = who_is(policy, who)
                for question in expectation.questions:
                    try:
                        verdict = ask(policy, table, oracle, asked, question.text, expectation.level)
                    except Unanswerable as error:
                        yield Outcome(expectation, who, question, None, str(error))
                        continue
                    wrong = [answer for answer in verdict.weakest if answer.given is not question.allowed]
                    reason = "; ".join(f"{answer.layer}: {answer.reason}" for answer in wrong or verdict.weakest)
                    yield Outcome(expectation, who, question, verdict.allowed, reason)
