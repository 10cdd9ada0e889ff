"""Breaks programs and generators on purpose: the proof has to notice every time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from stockade.model.seccomp import ALLOWED, Action, Condition, SyscallPolicy, Verdict
from stockade.model.syscalls import ARCHITECTURES, CARRIES, NATIVE, numbers
from stockade.seccomp import cbpf, optimal, ranges, words
from stockade.seccomp.cbpf import assemble, compile_filter, graph_of
from stockade.seccomp.emulate import BadProgram, Instruction, decode, run_words
from stockade.seccomp.prove import Disagreement, prove_filter
from stockade.seccomp.ranges import Range
from stockade.seccomp.regions import witness
from stockade.seccomp.symbolic import Unprovable, paths
from stockade.seccomp.tree import Branch, Graph, Load, Node, Return, Span

from tests.seccomp.policies import EPERM, TYPICAL, policy, rule

Code = list[Instruction]


def encode(code: Code) -> bytes:
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def first(code: Code, opcode: int, k: int | None = None) -> int:
    return next(at for at, item in enumerate(code) if item.code == opcode and k in (None, item.k))


def change(program: Code, at: int, **fields: int) -> Code:
    return [*program[:at], program[at]._replace(**fields), *program[at + 1 :]]


def wrong_jump(code: Code) -> Code:
    at = first(code, 0x35)
    return change(code, at, yes=code[at].yes + 1)


def swapped_branches(code: Code) -> Code:
    at = first(code, 0x35)
    return change(code, at, yes=code[at].no, no=code[at].yes)


def dropped_architecture_guard(code: Code) -> Code:
    at = first(code, 0x15, ARCHITECTURES["x86_64"].token)
    return change(code, at, no=code[at].yes)


def another_architecture_let_in(code: Code) -> Code:
    at = first(code, 0x15, ARCHITECTURES["x86_64"].token)
    return change(code, at, code=0x35)


def x32_hole(code: Code) -> Code:
    return change(code, first(code, 0x35, 0x40000000), k=0x40000001)


def minus_one_killed(code: Code) -> Code:
    at = first(code, 0x35, 0xFFFFFFFF)
    return change(code, at, yes=code[at].no)


def off_by_one_range(code: Code) -> Code:
    at = next(at for at, item in enumerate(code) if item.code == 0x35 and item.k in numbers("x86_64").values())
    return change(code, at, k=code[at].k + 1)


def order_for_equality(code: Code) -> Code:
    return change(code, first(code, 0x15, 0xB3), code=0x35)


def swapped_return(code: Code) -> Code:
    return change(code, first(code, 0x06, 0x7FFF0000), k=0x00050001)


def allow_for_errno(code: Code) -> Code:
    return change(code, first(code, 0x06, 0x00050001), k=0x7FFF0000)


def another_errno(code: Code) -> Code:
    return change(code, first(code, 0x06, 0x00050026), k=0x00050027)


def kill_thread_for_process(code: Code) -> Code:
    return change(code, first(code, 0x06, 0x80000000), k=0)


def narrower_mask(code: Code) -> Code:
    at = first(code, 0x45, 0x7E020000)
    return change(code, at, k=0x7E000000)


def wider_mask(code: Code) -> Code:
    at = first(code, 0x45, 0x7E020000)
    return change(code, at, k=0x7E020001)


def lower_half_for_upper(code: Code) -> Code:
    return change(code, first(code, 0x20, 16 + 8 * 3 + 4), k=16 + 8 * 3)


def another_argument(code: Code) -> Code:
    return change(code, first(code, 0x20, 16 + 8), k=16 + 16)


def number_never_loaded(code: Code) -> Code:
    return change(code, first(code, 0x20, 0), k=4)


FAULTS: list[Callable[[Code], Code]] = [
    wrong_jump, swapped_branches, dropped_architecture_guard, another_architecture_let_in, x32_hole, minus_one_killed,
    off_by_one_range, order_for_equality, swapped_return, allow_for_errno, another_errno, kill_thread_for_process,
    narrower_mask, wider_mask, lower_half_for_upper, another_argument, number_never_loaded,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_changed_program_is_caught(fault: Callable[[Code], Code]) -> None:
    code = list(decode(compile_filter(TYPICAL, "x86_64")))
    broken = encode(fault(code))
    assert broken != encode(code)
    with pytest.raises(Disagreement):
        prove_filter(TYPICAL, "x86_64", broken)


@pytest.mark.parametrize("arch", NATIVE)
def test_every_constant_and_return_of_a_filter_matters(arch: str) -> None:
    """Each instruction in turn is given another constant, offset or answer."""
    code = list(decode(compile_filter(TYPICAL, arch)))
    survived = []
    for at, item in enumerate(code):
        changed = change(code, at, k={0x20: (item.k + 4) % 64, 0x06: 0}.get(item.code, item.k ^ 1))
        try:
            prove_filter(TYPICAL, arch, encode(changed))
        except (Disagreement, BadProgram):
            continue
        survived.append((at, item))
    assert survived == []


def lost_upper_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_start", _narrowed(words._start))


def _narrowed(start: Callable[..., tuple[words.Pending, ...] | None]) -> Callable[..., object]:
    def narrowed(conditions: tuple[Condition, ...]) -> object:
        return start(
            replace(c, width=32, ranges=tuple((a, min(b, 0xFFFFFFFF)) for a, b in c.ranges)) for c in conditions
        )

    return narrowed


def forgotten_x32(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(subject: SyscallPolicy, archs: Sequence[str]) -> list[Range]:
        line = ranges.number_line(subject, archs)
        return [replace(item, verdict=subject.unknown) if item.low == 0x40000000 else item for item in line]

    monkeypatch.setattr(cbpf, "number_line", without)


def unknown_taken_for_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(subject: SyscallPolicy, archs: Sequence[str]) -> list[Range]:
        return [item if item.call else replace(item, verdict=EPERM) for item in ranges.number_line(subject, archs)]

    monkeypatch.setattr(cbpf, "number_line", without)


def span_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(self: Graph, spans: list[Span]) -> Node:
        return right(self, [spans[0], *(replace(span, low=span.low + (span.low == 10)) for span in spans[1:])])

    right = Graph.search
    monkeypatch.setattr(Graph, "search", search)


def weaker_rule_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "strictness", lambda verdict: (-list(Action).index(verdict.action), 0))


def masks_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    start = words._start
    monkeypatch.setattr(words, "_start", lambda conditions: start(replace(c, masks=()) for c in conditions if c.ranges))


def dropped_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every architecture after the first is taken for the last."""
    right = Graph.test

    def test(self: Graph, operation: str, k: int, yes: Node, no: Node, mask: int | None = None) -> Node:
        return yes if k == ARCHITECTURES["i386"].token else right(self, operation, k, yes, no, mask)

    monkeypatch.setattr(Graph, "test", test)


def tokens_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    swapped = {"i386": "aarch64", "aarch64": "i386"}
    table = {
        name: replace(item, token=ARCHITECTURES[swapped.get(name, name)].token) for name, item in ARCHITECTURES.items()
    }
    monkeypatch.setattr(cbpf, "ARCHITECTURES", table)


def x32_folded_into_the_wrong_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "X32_BIT", 0x40000001)


def x32_numbers_without_their_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ranges.numbers
    monkeypatch.setattr(ranges, "numbers", lambda arch: right("x86_64" if arch == "x32" else arch))


def cut_one_span_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dynamic program finds a cut and writes down its neighbour."""
    right = optimal._build

    def build(choices: Any, i: int, j: int, first: int) -> optimal.Plan:
        plan = right(choices, i, j, first)
        if isinstance(plan, optimal.Cut) and i < plan.span - first < j:
            return optimal.Cut(plan.span + 1, plan.above, plan.below)
        return plan

    monkeypatch.setattr(optimal, "_build", build)


def chain_loses_a_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    right = optimal._chain

    def chain(line: Any, i: int, j: int) -> optimal.Chain | None:
        found = right(line, i, j)
        return found and optimal.Chain(found.holes[:-1], found.span)

    monkeypatch.setattr(optimal, "_chain", chain)


def chain_takes_ranges_for_values(monkeypatch: pytest.MonkeyPatch) -> None:
    right = optimal._exact
    monkeypatch.setattr(
        optimal, "_exact", lambda items, *rest: right([item._replace(single=True) for item in items], *rest)
    )


def tails_shared_by_their_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tests are taken for one when they compare with the same constant."""
    right = Graph._once
    monkeypatch.setattr(Graph, "_once", lambda self, key, make: right(self, key[:3] if len(key) == 5 else key, make))


def returns_shared_by_their_action(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Graph._once

    def once(self: Graph, key: tuple[Any, ...], make: Callable[[], Node]) -> Node:
        return right(self, (key[0].action,) if isinstance(key[0], Verdict) else key, make)

    monkeypatch.setattr(Graph, "_once", once)


def trampoline_one_short(monkeypatch: pytest.MonkeyPatch) -> None:
    right = cbpf._Writer._put

    def put(self: Any, code: int, yes: int, no: int, k: int) -> None:
        right(self, code, yes, no, k + (code == cbpf.JA))

    monkeypatch.setattr(cbpf._Writer, "_put", put)


def far_skip_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without trampolines, a skip of more than 255 keeps its lowest eight bits."""
    right = cbpf._Writer._put
    monkeypatch.setattr(cbpf, "FAR", 1 << 20)
    monkeypatch.setattr(cbpf._Writer, "_put", lambda self, code, yes, no, k: right(self, code, yes & 255, no & 255, k))


def loads_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A word of the arguments is taken to be in the accumulator already."""
    right = Graph.load
    monkeypatch.setattr(
        Graph, "load", lambda self, offset, then: then if offset == 16 + 8 else right(self, offset, then)
    )


def halves_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    right = words.offset
    monkeypatch.setattr(words, "offset", lambda place: right(place ^ 1))


def guard_of_socketcall_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "CARRIES", {})


def newer_calls_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "too_new", lambda subject: frozenset())


def upper_halves_kept_on_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "as_seen", lambda rules, arch: list(rules))


def data_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cbpf, "return_value", lambda verdict: cbpf.RETURNS[verdict.action] | verdict.errno)


GENERATOR_FAULTS = [
    lost_upper_half, forgotten_x32, unknown_taken_for_denied, span_ends_early, weaker_rule_wins, masks_forgotten,
    dropped_guard, tokens_swapped, x32_folded_into_the_wrong_place, x32_numbers_without_their_bit, cut_one_span_late,
    chain_loses_a_hole, chain_takes_ranges_for_values, tails_shared_by_their_constant, returns_shared_by_their_action,
    trampoline_one_short, far_skip_wraps, loads_forgotten, halves_swapped, guard_of_socketcall_dropped,
    newer_calls_forgotten, upper_halves_kept_on_32_bits, data_lost,
]  # fmt: skip
TOGETHER = ("x86_64", "i386", "x32", "aarch64")


@pytest.mark.parametrize("fault", GENERATOR_FAULTS)
def test_a_broken_generator_is_caught(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ruled = {"keyctl", *CARRIES["i386"], *(item.call for item in TYPICAL.rules)}
    plain = sorted({*numbers("i386"), *numbers("x32")} - ruled)
    subject = policy(
        *TYPICAL.rules,
        rule("socketcall"),
        rule("keyctl", Condition(0, 32, ((1, 9),))),
        rule("keyctl", Condition(0, 32, ((4, 4),)), verdict=Verdict(Action.TRAP, data=9)),
        rule("keyctl", Condition(1, 32, (), ((1, 1), (6, 2)))),
        *(rule(name) for name in plain[::3]),
        *(rule(name, verdict=Verdict(Action.TRACE, data=at)) for at, name in enumerate(plain[1::7])),
    )
    subject = replace(subject, kernel="6.1")
    program = compile_filter(subject, TOGETHER)
    assert any(item.code == 0x05 for item in decode(program))
    prove_filter(subject, TOGETHER, program)
    fault(monkeypatch)
    broken = compile_filter(subject, TOGETHER)
    assert broken != program
    with pytest.raises((Disagreement, BadProgram)):
        prove_filter(subject, TOGETHER, broken)


def test_an_example_is_spelled_for_a_person() -> None:
    without = replace(TYPICAL, rules=tuple(item for item in TYPICAL.rules if item.call != "personality"))
    with pytest.raises(Disagreement, match=r"personality\(.*\) on x86_64: the policy says allow, the filter errno 1"):
        prove_filter(TYPICAL, "x86_64", compile_filter(without, "x86_64"))
    wider = policy(*TYPICAL.rules, rule("socket", Condition(0, 32, ((38, 38),))))
    with pytest.raises(Disagreement, match=r"socket\(family=AF_ALG\b.*the policy says errno 1, the filter allow"):
        prove_filter(TYPICAL, "x86_64", compile_filter(wider, "x86_64"))
    foreign = Verdict(Action.KILL_THREAD)
    with pytest.raises(Disagreement, match=r"call 0x0 of architecture 0x[0-9a-f]{8}: the policy says kill-process"):
        prove_filter(TYPICAL, "x86_64", compile_filter(replace(TYPICAL, foreign=foreign), "x86_64"))


def test_a_graph_without_trampolines_would_be_refused() -> None:
    """The emitter never writes a skip that does not fit: a long chain of different answers still assembles."""
    graph = Graph()
    spans = [Span(at * 2, at * 2 + 1, graph.ret(Verdict(Action.ERRNO, at + 1))) for at in range(900)]
    spans.append(Span(1800, 0xFFFFFFFF, graph.ret(ALLOWED)))
    code = decode(assemble(graph.load(0, graph.search(spans))))
    for nr in (0, 1, 2, 899, 900, 1799, 1800, 0xFFFFFFFF):
        expected = Verdict(Action.ERRNO, nr // 2 + 1) if nr < 1800 else ALLOWED
        assert run_words(code, [nr, *[0] * 15])[0] == expected
    assert len({run_words(code, witness(region))[0] for region in paths(code)}) == 901


def test_a_loaded_word_is_never_assumed() -> None:
    """Every branch of a graph is reached with the accumulator loaded; a masked branch leaves it unusable."""

    def walk(node: Node, loaded: bool) -> None:
        if isinstance(node, Load):
            walk(node.then, True)
        elif isinstance(node, Branch):
            assert loaded
            walk(node.yes, node.mask is None)
            walk(node.no, node.mask is None)
        else:
            assert isinstance(node, Return)

    walk(graph_of(TYPICAL, "x86_64"), False)


@pytest.mark.parametrize(
    "code", [[(0x00, 0, 0, 7), (0x16, 0, 0, 0)], [(0x20, 0, 0, 0), (0x04, 0, 0, 1), (0x15, 0, 0, 1), (0x06, 0, 0, 0)]]
)
def test_what_the_proof_cannot_follow_it_refuses(code: list[tuple[int, int, int, int]]) -> None:
    with pytest.raises(Unprovable):
        prove_filter(TYPICAL, "x86_64", encode([Instruction(*item) for item in code]))
