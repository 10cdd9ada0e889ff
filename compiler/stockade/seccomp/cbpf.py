"""Writes a decision graph as classic BPF, from the last instruction to the first, so that every target is known."""

from __future__ import annotations

import struct

from stockade.model.seccomp import Action, SyscallPolicy, Verdict
from stockade.model.syscalls import ARCHITECTURES
from stockade.seccomp.ranges import number_line
from stockade.seccomp.tree import Branch, FilterTooLong, Graph, Load, Node, Return, Span
from stockade.seccomp.validate import check_policy
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
    Action.LOG: 0x7FFC0000,
    Action.ALLOW: 0x7FFF0000,
}
BUSY, IDLE = 8, 1
"""Weights of a call that programs make and of one they do not: the tree puts the former nearer to its root."""

Instruction = tuple[int, int, int, int]


def compile_filter(policy: SyscallPolicy, arch: str) -> bytes:
    """The filter for one native architecture: an array of struct sock_filter, 8 bytes each, little-endian.

    PolicyError where the policy has no one meaning, FilterTooLong where it needs more than 4096 instructions,
    ValueError where `arch` is not native.
    """
    check_policy(policy)
    return assemble(graph_of(policy, arch))


def graph_of(policy: SyscallPolicy, arch: str) -> Node:
    """The decision graph that `compile_filter` writes: architecture first, then number, then arguments."""
    graph = Graph()
    arguments = Arguments(graph, policy.denied)
    spans = []
    for item in number_line(policy, arch):
        node = arguments.node(item.rules) if item.rules else graph.ret(item.verdict)
        busy = item.calls and (item.rules or item.verdict != policy.denied)
        spans.append(Span(item.low, item.high, node, BUSY if busy else IDLE))
    foreign = graph.ret(policy.foreign)
    known = graph.load(NR_OFFSET, graph.search(spans))
    return graph.load(ARCH_OFFSET, graph.test("jeq", ARCHITECTURES[arch].token, known, foreign))


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
    return RETURNS[verdict.action] | verdict.errno


class _Writer:
    """Code in reverse: `code[0]` runs last, and a jump from index n to index m skips n - m - 1 instructions."""

    def __init__(self) -> None:
        self.code: list[Instruction] = []
        self.at: dict[int, int] = {}

    def write(self, node: Node) -> None:
        """Write `node` and all that follows it, unless it stands already."""
        if id(node) in self.at:
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
        self.at[id(node)] = len(self.code) - 1

    def _branch(self, node: Branch) -> None:
        while self._skip(node.no) > FAR or self._skip(node.yes) > FAR:
            self._bring(node.no, FAR)
            self._bring(node.yes, FAR)
        self._put(JUMPS[node.operation], self._skip(node.yes), self._skip(node.no), node.k)
        if node.mask is not None:
            self._put(AND, 0, 0, node.mask)

    def _bring(self, node: Node, reach: int) -> None:
        """Make `node` reachable from the next instruction with a skip of at most `reach`, by a copy or a jump."""
        skip = self._skip(node)
        if skip <= reach:
            return
        if isinstance(node, Return):
            self._put(RET, 0, 0, return_value(node.verdict))
        else:
            self._put(JA, 0, 0, skip)
        self.at[id(node)] = len(self.code) - 1

    def _skip(self, node: Node) -> int:
        return len(self.code) - self.at[id(node)] - 1

    def _put(self, code: int, yes: int, no: int, k: int) -> None:
        self.code.append((code, yes, no, k))
