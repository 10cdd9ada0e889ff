"""Every small change of the generator's source: what it then emits is refused by the proof, or means the same."""

from __future__ import annotations

import ast
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import stockade.seccomp
from stockade.model.seccomp import Action, Condition, Verdict
from stockade.model.syscalls import ARCHITECTURES, CARRIES, numbers
from stockade.seccomp.emulate import BadProgram, decode, run
from stockade.seccomp.prove import Disagreement, prove_filter
from stockade.seccomp.regions import Unprovable
from stockade.seccomp.semantics import Reference, abi_of

from tests.seccomp.policies import ENOSYS, TYPICAL, edges_of, policy, rule

ROOM = Path(next(iter(stockade.seccomp.__path__)))
GENERATOR = ("canonical", "ranges", "optimal", "tree", "words", "cbpf")
"""The modules between a policy and its bytes."""
STRIDE = 2
"""Every second change is tried, for the time's sake; with 1 all of them are, and none gets past the proof."""
SECONDS = 5.0
"""What a changed generator may take: some changes never end."""
ARCHS = ("x86_64", "i386")
HARD = (5 << 32) + 7
RULED = {*CARRIES["i386"], *(item.call for item in TYPICAL.rules), "lseek", "keyctl", "fcntl"}
PLAIN = sorted({*numbers("i386"), *numbers("x86_64")} - RULED)
SUBJECT = replace(
    policy(
        *TYPICAL.rules,
        rule("socketcall"),
        rule("lseek", Condition(1, 64, ((0, 5), (HARD, HARD + 9), (1 << 63, (1 << 64) - 1)))),
        rule("lseek", Condition(1, 64, ((3, 1 << 40),)), verdict=ENOSYS),
        rule("keyctl", Condition(0, 32, ((1, 9),))),
        rule("keyctl", Condition(0, 32, ((4, 4),)), verdict=Verdict(Action.TRAP, data=9)),
        rule("keyctl", Condition(1, 32, (), ((1, 1), (6, 2)))),
        # Five rules, four of them alike: said the other way round they are one.
        *(rule("fcntl", Condition(1, 64, (), ((1 << bit, 1 << bit),))) for bit in (0, 1, 33, 40)),
        rule("fcntl", Condition(1, 64, (), ((3 | 1 << 33 | 1 << 40, 0),)), verdict=ENOSYS),
        *(rule(name) for name in PLAIN[:60:3]),
        *(rule(name, verdict=Verdict(Action.TRACE, data=at)) for at, name in enumerate(PLAIN[1::14])),
    ),
    kernel="6.1",
)


SWAPPED: dict[type[Any], type[Any]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Add: ast.Sub,
    ast.Sub: ast.Add, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


class Changer(ast.NodeTransformer):
    """Makes change number `at` of a module, at `line`; `seen` counts the places where one could be made."""

    def __init__(self, at: int) -> None:
        self.at, self.seen, self.line = at, 0, 0

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.AnnAssign | ast.arg):
            node.annotation = ast.Name("object", ast.Load())
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        super().generic_visit(node)
        changed = self._change(node)
        if changed is not None:
            self.seen += 1
            if self.seen - 1 == self.at:
                self.line = getattr(node, "lineno", 0)
                return ast.fix_missing_locations(ast.copy_location(changed(), node))
        return node

    def _change(self, node: ast.AST) -> Callable[[], ast.AST] | None:
        match node:
            case ast.Compare(left=left, ops=[op, *more], comparators=values) if type(op) in SWAPPED:
                return lambda: ast.Compare(left, [SWAPPED[type(op)](), *more], values)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in SWAPPED:
                return lambda: ast.BinOp(left, SWAPPED[type(op)](), right)
            case ast.BoolOp(op=op, values=values):
                return lambda: ast.BoolOp(SWAPPED[type(op)](), values)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return lambda: operand
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return lambda: ast.IfExp(test, orelse, body)
            case ast.Constant(value=int(value)) if type(value) is int:
                return lambda: ast.Constant(value + 1)
        return None


@contextmanager
def changed(name: str, at: int) -> Iterator[tuple[Any, Changer]]:
    """`compile_filter` of a generator of its own with one change, and where it is."""
    changer = Changer(at)
    made: dict[str, ModuleType] = {}
    try:
        for each in GENERATOR:
            text = (ROOM / f"{each}.py").read_text()
            for other in GENERATOR:
                text = text.replace(f"from stockade.seccomp.{other} import", f"from changed_{other} import")
            tree = ast.parse(text)
            tree = ast.fix_missing_locations(changer.visit(tree)) if each == name else tree
            module = made[each] = sys.modules[f"changed_{each}"] = ModuleType(f"changed_{each}")
            exec(compile(tree, f"{each}.py", "exec"), module.__dict__)
        yield made["cbpf"].__dict__["compile_filter"], changer
    finally:
        for each in made:
            del sys.modules[f"changed_{each}"]


class Endless(BaseException):
    """A changed generator takes too long; not an Exception, so that nothing takes it for its own."""


@contextmanager
def hurried() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Endless

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(compile_changed: Any, right: bytes) -> str:
    """What becomes of a changed generator."""
    try:
        with hurried():
            program: bytes = compile_changed(SUBJECT, ARCHS)
    except (Exception, Endless):
        return "fails"
    if program == right:
        return "same bytes"
    try:
        prove_filter(SUBJECT, ARCHS, program)
    except (Disagreement, BadProgram, Unprovable):
        return "caught"
    return "same meaning" if agrees(program) else "missed"


def calls() -> Iterator[tuple[int, int, list[int], Verdict]]:
    """(token, number, arguments, the reference's verdict): every number that a call has, those with rules often."""
    draw, edges = random.Random(1), edges_of(SUBJECT)
    references = {arch: Reference(SUBJECT, arch) for arch in ARCHS}
    for arch in (*ARCHS, "x32", "aarch64"):
        for call, nr in (*numbers(arch).items(), ("", 399), ("", 4000)):
            for _ in range(12 if call in RULED else 1):
                args = [draw.choice(edges) for _ in range(6)]
                reference = references.get(abi_of(arch, nr))
                verdict = reference.decide(nr, args) if reference else SUBJECT.foreign
                yield ARCHITECTURES[arch].token, nr, args, verdict


CALLS = tuple(calls())


def agrees(program: bytes) -> bool:
    """Whether a filter answers those calls as the reference does."""
    code = decode(program)
    return all(run(code, token, nr, args)[0] == verdict for token, nr, args, verdict in CALLS)


@pytest.mark.parametrize("name", GENERATOR)
def test_no_change_of_the_generator_gets_past_the_proof(name: str) -> None:
    with changed(name, -1) as (unchanged, changer):
        right = unchanged(SUBJECT, ARCHS)
    prove_filter(SUBJECT, ARCHS, right)
    assert agrees(right) and changer.seen >= 3
    found: dict[str, list[int]] = {}
    for at in range(0, changer.seen, STRIDE):
        try:
            with changed(name, at) as (compile_changed, made):
                found.setdefault(outcome(compile_changed, right), []).append(made.line)
        except Exception:  # it cannot even be imported
            found.setdefault("fails", []).append(at)
    assert "missed" not in found, found
    assert name == "canonical" or len(found["caught"]) >= changer.seen // STRIDE // 9, found
