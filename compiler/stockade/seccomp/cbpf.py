"""Writes a decision graph as classic BPF, from the last instruction to the first, so that every target is known."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from stockade.model.seccomp import Action, SyscallPolicy, Verdict
from stockade.model.syscalls import ARCHITECTURES
from stockade.seccomp.ranges import number_line
from stockade.seccomp.semantics import listed
from stockade.seccomp.tree import Branch, FilterTooLong, Graph, Load, Node, Return, Span
from stockade.seccomp.validate import check_policy
from stockade.seccomp.weights import CostModel, weight
from stockade.seccomp.words import Arguments

MAX_INSTRUCTIONS = 4096
FAR = 255
NR_OFFSET, ARCH_OFFSET = 0, 4
LD_ABS, JA, RET, AND = 0x20, 0x05, 0x06, 0x54
JUMPS = {"jeq": 0x15, "jge": 0x35, "jset": 0x45}
RETURNS = {
    Action.KILL_PROCESS: 0x80000000,
    Action.KILL_THREAD: 0x00000000,
    Action.TRAP: 0x00030000,
    Action.ERRNO: 0x00050000,
    Action.NOTIFY: 0x7FC00000,
    Action.TRACE: 0x7FF00000,
    Action.LOG: 0x7FFC0000,
    Action.ALLOW: 0x7FFF0000,
}

Instruction = tuple[int, int, int, int]


def compile_filter(policy: SyscallPolicy, archs: str | Sequence[str], model: CostModel = CostModel.PRE_5_11) -> bytes:
    """The filter for one or several architectures: an array of struct sock_filter, 8 bytes each, little-endian.

    Calls of every other architecture get the policy's `foreign`; the first of `archs` is told from the others first.
    x86_64 and x32 share a token and so one tree of numbers. `model` says which calls are to be fast, and changes no
    answer. What becomes of conditions that cannot be tested because an ABI hides the arguments is the policy's
    `multiplexed`. PolicyError where the policy has no one meaning, FilterTooLong where it needs more than 4096
    instructions, ValueError where `archs` are unknown, none or not different.
    """
    check_policy(policy)
    return assemble(graph_of(policy, archs, model))


def graph_of(policy: SyscallPolicy, archs: str | Sequence[str], model: CostModel = CostModel.PRE_5_11) -> Node:
    """The decision graph that `compile_filter` writes: architecture first, then number, then arguments."""
    graph = Graph()
    arguments = Arguments(graph, policy.denied)
    by_token: dict[int, list[str]] = {}
    for arch in listed(archs):
        by_token.setdefault(ARCHITECTURES[arch].token, []).append(arch)
    node = graph.ret(policy.foreign)
    for token, sharing in reversed(by_token.items()):
        spans = []
        for item in number_line(policy, sharing):
            leads = arguments.node(item.rules) if item.rules else graph.ret(item.verdict)
            compat = item.abi == "x32" and len(sharing) > 1
            spans.append(
                Span(item.low, item.high, leads, weight(item.call, item.verdict, bool(item.rules), model, compat))
            )
        node = graph.test("jeq", token, graph.load(NR_OFFSET, graph.search(spans)), node)
    return graph.load(ARCH_OFFSET, node)


def assemble(root: Node) -> bytes:
    """The instructions of a graph, its root first."""
    writer = _Writer()
    writer.write(root)
    code = list(reversed(writer.code))
    if len(code) > MAX_INSTRUCTIONS:
        raise FilterTooLong(f"the policy needs {len(code)} instructions, the kernel accepts {MAX_INSTRUCTIONS}")
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def return_value(verdict: Verdict) -> int:
    """The 32-bit value by which a filter answers `verdict`."""
    return RETURNS[verdict.action] | verdict.errno | verdict.data


class _Writer:
    """Code in reverse: `code[0]` runs last, and a jump from index n to index m skips n - m - 1 instructions."""

    def __init__(self) -> None:
        self.code: list[Instruction] = []
        self.home: dict[int, int] = {}
        self.near: dict[int, int] = {}

    def write(self, node: Node) -> None:
        """Write `node` and all that follows it, unless it stands already."""
        if id(node) in self.home:
            return
        if isinstance(node, Return):
            self._put(RET, 0, 0, return_value(node.verdict))
        elif isinstance(node, Load):
            self.write(node.then)
            self._bring(node.then, 0)
            self._put(LD_ABS, 0, 0, node.offset)
        else:
            self.write(node.no)
            self.write(node.yes)
            self._branch(node)
        self.home[id(node)] = self.near[id(node)] = len(self.code) - 1

    def _branch(self, node: Branch) -> None:
        while self._skip(node.no) > FAR or self._skip(node.yes) > FAR:
            self._bring(node.no, FAR)
            self._bring(node.yes, FAR)
        self._put(JUMPS[node.operation], self._skip(node.yes), self._skip(node.no), node.k)
        if node.mask is not None:
            self._put(AND, 0, 0, node.mask)

    def _bring(self, node: Node, reach: int) -> None:
        """Make `node` reachable from the next instruction with a skip of at most `reach`, by a copy or a jump."""
        if self._skip(node) <= reach:
            return
        if isinstance(node, Return):
            self._put(RET, 0, 0, return_value(node.verdict))
        else:
            self._put(JA, 0, 0, len(self.code) - self.home[id(node)] - 1)
        self.near[id(node)] = len(self.code) - 1

    def _skip(self, node: Node) -> int:
        return len(self.code) - self.near[id(node)] - 1

    def _put(self, code: int, yes: int, no: int, k: int) -> None:
        self.code.append((code, yes, no, k))
