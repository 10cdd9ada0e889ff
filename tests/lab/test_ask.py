"""A real kernel's answers against libsepol's and against our own reading of the policy, at random."""

from __future__ import annotations

import pytest
from stockade.bundle.compile import Compiled
from stockade.lab.ask import AskFailed, Question, ask, judge, random_questions
from stockade.lab.uml import Ran
from stockade.selinux.decide import Table
from stockade.selinux.libsepol import Decisions, compile_cil
from stockade.selinux.policydb import read

COUNT = 2000
ME = "system_u:system_r:container_t:s0:c1,c2"


def test_the_kernel_agrees_on_random_questions(compiled: Compiled) -> None:
    policy = read(compiled.kernel_policy)
    questions = random_questions(policy, COUNT, seed=4)
    found = ask(compiled.kernel_policy, questions)
    table = Table(policy)
    with Decisions(compiled.kernel_policy) as decisions:
        answers = [decisions.access(*question) for question in questions]
    assert [
        q for q, ours, kernel in zip(questions, answers, found.allowed, strict=True) if ours.allowed != kernel
    ] == []
    ours = [
        q.permission in table.allowed(table.context(q.source), table.context(q.target), q.tclass) for q in questions
    ]
    assert ours == list(found.allowed)
    # The questions are worth asking: many of each answer, and many that only a constraint decides.
    assert COUNT // 5 < sum(found.allowed) < COUNT * 4 // 5
    assert sum(bool(answer.text) for answer in answers) > 40
    assert len(set(questions)) > COUNT * 9 // 10


def test_another_policy_answers_otherwise(compiled: Compiled) -> None:
    """The answers are those of the policy that was sent, and in the order of the questions."""
    more = b"(allow container_t private_t (file (write)))(typepermissive control_t)"
    wider = compile_cil([*compiled.cil, ("more.cil", more)], neverallow=False).policy
    questions = [
        Question(ME, "system_u:object_r:private_t:s0", "file", "write"),
        Question(ME, "system_u:object_r:data_t:s0:c1,c2", "file", "write"),
        Question(ME, "system_u:object_r:data_t:s0:c1,c3", "file", "write"),
        Question("system_u:system_r:control_t:s0", "system_u:object_r:private_t:s0", "file", "write"),
    ]
    assert ask(compiled.kernel_policy, questions).allowed == (False, True, False, False)
    assert ask(wider, questions).allowed == (True, True, False, False)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (Question("system_u:system_r:nobody_t:s0", ME, "file", "read"), "question 0"),
        (Question(ME, ME, "file", "fly"), "class/file/perms/fly"),
        (Question(ME, ME, "bird", "read"), "class/bird/index"),
    ],
)
def test_a_question_the_kernel_does_not_understand(compiled: Compiled, question: Question, message: str) -> None:
    with pytest.raises(AskFailed, match=message):
        ask(compiled.kernel_policy, [question])


def test_a_policy_the_kernel_does_not_take(compiled: Compiled) -> None:
    with pytest.raises(AskFailed, match="load policy"):
        ask(compiled.kernel_policy[:-9], [Question(ME, ME, "file", "read")])


def test_a_question_that_cannot_be_put() -> None:
    with pytest.raises(ValueError, match="not a question"):
        ask(b"", [Question(ME, ME, "file", "read\nwrite")])


WHOLE = "stockade-ask 1\npolicy 9\nkernel 6.1\nanswers 0 01\nend 2\n"


@pytest.mark.parametrize(
    ("report", "status", "count"),
    [
        ("", 0, 2),
        (WHOLE, 1, 2),
        (WHOLE, None, 2),
        (WHOLE, 0, 3),
        (WHOLE.replace("policy 9", "policy 8"), 0, 2),
        (WHOLE.replace("end 2\n", ""), 0, 2),
        (WHOLE.replace("0 01", "1 01"), 0, 2),
        (WHOLE.replace("end 2", "end 1"), 0, 2),
        (WHOLE + "more\n", 0, 2),
    ],
)
def test_a_report_that_is_not_whole(report: str, status: int | None, count: int) -> None:
    assert judge(Ran("", WHOLE, 0, 1.0), 9, 2, 5).allowed == (False, True)
    with pytest.raises(AskFailed):
        judge(Ran("", report, status, 1.0), 9, count, 5)
