"""Runs classic-BPF seccomp filters as the kernel would, after the checks with which the kernel accepts them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from stockade.model.seccomp import Action, Verdict

MAX_INSTRUCTIONS = 4096
DATA_SIZE = 64
WORD = 0xFFFFFFFF
MAX_ERRNO = 4095

LD_ABS, LD_LEN, LD_IMM, LD_MEM, ST, STX = 0x20, 0x80, 0x00, 0x60, 0x02, 0x03
LDX_LEN, LDX_IMM, LDX_MEM, TAX, TXA = 0x81, 0x01, 0x61, 0x07, 0x87
RET_K, RET_A, JA, NEG = 0x06, 0x16, 0x05, 0x84
ARITHMETIC = {0x00: "add", 0x10: "sub", 0x20: "mul", 0x30: "div", 0x40: "or", 0x50: "and", 0x60: "lsh", 0x70: "rsh"}
ARITHMETIC[0xA0] = "xor"
COMPARISONS = {0x10: "jeq", 0x20: "jgt", 0x30: "jge", 0x40: "jset"}
ALU, JUMP, X = 0x04, 0x05, 0x08
_PLAIN = {LD_ABS, LD_LEN, LD_IMM, LD_MEM, ST, STX, LDX_LEN, LDX_IMM, LDX_MEM, TAX, TXA, RET_K, RET_A, JA, NEG}
_MEMORY = {LD_MEM, ST, LDX_MEM, STX}
OPCODES = (
    _PLAIN
    | {ALU | op | source for op in ARITHMETIC for source in (0, X)}
    | {JUMP | op | s for op in COMPARISONS for s in (0, X)}
)

_ACTIONS = {
    0x80000000: Action.KILL_PROCESS,
    0x00000000: Action.KILL_THREAD,
    0x00030000: Action.TRAP,
    0x00050000: Action.ERRNO,
    0x7FC00000: Action.NOTIFY,
    0x7FF00000: Action.TRACE,
    0x7FFC0000: Action.LOG,
    0x7FFF0000: Action.ALLOW,
}


class BadProgram(ValueError):
    """What the kernel would refuse to install."""


class Instruction(NamedTuple):
    """One struct sock_filter; `yes` and `no` are the jt and jf skips."""

    code: int
    yes: int
    no: int
    k: int


def decode(program: bytes) -> tuple[Instruction, ...]:
    """The instructions of a program that the kernel would accept; BadProgram names the first that it would not."""
    if not program:
        raise BadProgram("it is empty")
    if len(program) > 8 * MAX_INSTRUCTIONS:
        raise BadProgram(f"more than {MAX_INSTRUCTIONS} instructions, which the kernel refuses")
    if len(program) % 8:
        raise BadProgram(f"{len(program)} bytes are not a whole number of 8-byte instructions")
    code = tuple(Instruction(*fields) for fields in struct.iter_unpack("<HBBI", program))
    for at, instruction in enumerate(code):
        problem = _problem(instruction, len(code) - at - 1)
        if problem:
            raise BadProgram(f"instruction {at} ({instruction.code:#06x}): {problem}")
    if code[-1].code not in (RET_K, RET_A):
        raise BadProgram(f"instruction {len(code) - 1} is the last and does not return")
    _check_memory(code)
    return code


def _problem(instruction: Instruction, remaining: int) -> str | None:
    code, k = instruction.code, instruction.k
    if code not in OPCODES:
        return "not an instruction that seccomp accepts"
    if code == LD_ABS and (k % 4 or k >= DATA_SIZE):
        return f"load from offset {k}, outside the {DATA_SIZE} bytes or not aligned"
    if code in _MEMORY and k >= 16:
        return f"scratch word {k}, there are 16"
    if code == JA and k >= remaining:
        return f"jump by {k} with {remaining} instructions left"
    if code & 7 == JUMP and code != JA and max(instruction.yes, instruction.no) >= remaining:
        return f"jump by {max(instruction.yes, instruction.no)} with {remaining} instructions left"
    if code == ALU | 0x30 and k == 0:
        return "division by zero"
    if code in (ALU | 0x60, ALU | 0x70) and k >= 32:
        return f"shift by {k}"
    return None


def _check_memory(code: Sequence[Instruction]) -> None:
    """Every scratch word is written on all ways that lead to a read of it."""
    valid = [0xFFFF] * len(code)
    written = 0
    for at, instruction in enumerate(code):
        written &= valid[at]
        if instruction.code in (ST, STX):
            written |= 1 << instruction.k
        elif instruction.code in (LD_MEM, LDX_MEM) and not written & 1 << instruction.k:
            raise BadProgram(f"instruction {at} reads scratch word {instruction.k} before it is written")
        elif instruction.code & 7 == JUMP:
            skips = (instruction.k,) if instruction.code == JA else (instruction.yes, instruction.no)
            for skip in skips:
                valid[at + 1 + skip] &= written
            written = 0xFFFF


def verdict_of(value: int) -> Verdict:
    """What a returned value means; an action that the kernel does not know kills the process, as there."""
    action = _ACTIONS.get(value & 0xFFFF0000, Action.KILL_PROCESS)
    data = value & 0xFFFF
    if action is Action.ERRNO:
        return Verdict(action, errno=min(data, MAX_ERRNO))
    return Verdict(action, data=data if action in (Action.TRACE, Action.TRAP) else 0)


def run(
    program: bytes | tuple[Instruction, ...], arch_token: int, nr: int, args: Sequence[int], ip: int = 0
) -> tuple[Verdict, int]:
    """The program's verdict on one call and how many instructions it took; BadProgram as from `decode`."""
    code = decode(program) if isinstance(program, bytes) else program
    data = struct.unpack("<16I", struct.pack("<II7Q", nr, arch_token, ip, *args))
    return run_words(code, data)


def run_words(code: tuple[Instruction, ...], data: Sequence[int]) -> tuple[Verdict, int]:
    """The same on the sixteen words of struct seccomp_data, for a decoded program."""
    a = x = at = steps = 0
    memory = [0] * 16
    while True:
        opcode, yes, no, k = code[at]
        at += 1
        steps += 1
        kind = opcode & 7
        if opcode == LD_ABS:
            a = data[k >> 2]
        elif opcode == JA:
            at += k
        elif kind == JUMP:
            at += yes if _compare(opcode & 0xF0, a, x if opcode & X else k) else no
        elif opcode == RET_K:
            return verdict_of(k), steps
        elif opcode == RET_A:
            return verdict_of(a), steps
        elif opcode == NEG:
            a = -a & WORD
        elif kind == ALU:
            operand = x if opcode & X else k
            if opcode & 0xF0 == 0x30 and operand == 0:
                return verdict_of(0), steps
            a = _compute(opcode & 0xF0, a, operand)
        elif opcode in (LD_IMM, LD_LEN):
            a = k if opcode == LD_IMM else DATA_SIZE
        elif opcode in (LDX_IMM, LDX_LEN):
            x = k if opcode == LDX_IMM else DATA_SIZE
        elif opcode == LD_MEM:
            a = memory[k]
        elif opcode == LDX_MEM:
            x = memory[k]
        elif opcode == ST:
            memory[k] = a
        elif opcode == STX:
            memory[k] = x
        elif opcode == TAX:
            x = a
        else:
            a = x


def _compare(operation: int, a: int, b: int) -> bool:
    if operation == 0x10:
        return a == b
    if operation == 0x20:
        return a > b
    if operation == 0x30:
        return a >= b
    return a & b != 0


def _compute(operation: int, a: int, b: int) -> int:
    name = ARITHMETIC[operation]
    if name == "add":
        return a + b & WORD
    if name == "sub":
        return a - b & WORD
    if name == "mul":
        return a * b & WORD
    if name == "div":
        return a // b
    if name == "or":
        return a | b
    if name == "and":
        return a & b
    if name == "xor":
        return a ^ b
    # A shift held in X is taken modulo 32, as the kernel's own interpreter does.
    return (a << (b & 31)) & WORD if name == "lsh" else a >> (b & 31)
