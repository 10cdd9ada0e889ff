"""The emulator's arithmetic and answers, and the domains on which the proof rests."""

from __future__ import annotations

import struct
from itertools import product

import pytest
from stockade.model.seccomp import ALLOWED, KILLED, Action, Condition, Verdict
from stockade.seccomp.emulate import BadProgram, decode, run, verdict_of
from stockade.seccomp.regions import EVERYTHING, Domain, least, refine, split_at, split_condition, split_mask
from stockade.seccomp.semantics import holds

WORD = 0xFFFFFFFF


def program(*code: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("<HBBI", *fields) for fields in code)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0x7FFF0000, ALLOWED), (0x7FFF1234, ALLOWED), (0x80000000, KILLED), (0, Verdict(Action.KILL_THREAD)),
     (0x00050001, Verdict(Action.ERRNO, 1)),
     (0x0005FFFF, Verdict(Action.ERRNO, 4095)), (0x7FFC0000, Verdict(Action.LOG)),
     (0x00030007, Verdict(Action.TRAP, data=7)),
     (0x7FC00003, Verdict(Action.NOTIFY)), (0x7FF0FFFF, Verdict(Action.TRACE, data=0xFFFF)), (0x12340000, KILLED)],
)  # fmt: skip
def test_return_values(value: int, expected: Verdict) -> None:
    assert verdict_of(value) == expected
    assert run(program((0x06, 0, 0, value)), 0, 0, [0] * 6) == (expected, 1)


@pytest.mark.parametrize(
    ("opcode", "k", "expected"),
    [(0x04, 2, 9), (0x14, 8, WORD), (0x24, 0x40000001, 0xC0000007), (0x34, 2, 3), (0x44, 8, 15), (0x54, 6, 6),
     (0x64, 31, 0x80000000), (0x74, 1, 3), (0xA4, 2, 5), (0x84, 0, WORD - 6)],
)  # fmt: skip
@pytest.mark.parametrize("by_register", [False, True])
def test_arithmetic(opcode: int, k: int, expected: int, by_register: bool) -> None:
    step = [(0x01, 0, 0, k), (opcode | 8, 0, 0, 0)] if by_register and opcode != 0x84 else [(opcode, 0, 0, k)]
    code = program((0x00, 0, 0, 7), *step, (0x15, 0, 1, expected), (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x50001))
    assert run(code, 0, 0, [0] * 6)[0] == ALLOWED


def test_registers_memory_and_data() -> None:
    """data: nr 1, arch 2, ip 4<<32|3, arguments 6<<32|5 and so on."""
    for offset in range(0, 64, 4):
        code = program(
            (0x20, 0, 0, offset), (0x02, 0, 0, 4), (0x61, 0, 0, 4), (0x87, 0, 0, 0), (0x07, 0, 0, 0), (0x03, 0, 0, 5),
            (0x00, 0, 0, 0), (0x60, 0, 0, 5), (0x15, 0, 1, offset // 4 + 1), (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0),
        )  # fmt: skip
        args = [(2 * at + 6) << 32 | (2 * at + 5) for at in range(6)]
        assert run(code, 2, 1, args, 4 << 32 | 3) == (ALLOWED, 10)


@pytest.mark.parametrize(("opcode", "truth"), [(0x15, "010"), (0x25, "001"), (0x35, "011"), (0x45, "011")])
def test_comparisons(opcode: int, truth: str) -> None:
    for value, expected in zip((1, 2, 3), truth, strict=True):
        for code in ((opcode, 0, 1, 2), (opcode | 8, 0, 1, 0)):
            filter_ = program((0x01, 0, 0, 2), (0x20, 0, 0, 0), code, (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0))
            assert (run(filter_, 0, value, [0] * 6)[0] == ALLOWED) == (expected == "1")


def test_division_by_a_zero_register_ends_the_thread() -> None:
    assert run(program((0x3C, 0, 0, 0), (0x06, 0, 0, 0x7FFF0000)), 0, 0, [0] * 6)[0] == Verdict(Action.KILL_THREAD)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"1234567", "whole number"),
        (b"\x06" * 12, "whole number"),
        (b"\x06" * (8 * 4096 + 1), "more than 4096 instructions"),
    ],
)
def test_bytes_that_are_no_program(data: bytes, why: str) -> None:
    with pytest.raises(BadProgram, match=why):
        decode(data)


def members(domain: Domain) -> set[int]:
    return {v for v in range(domain.low, min(domain.high, 40) + 1) if v & domain.mask == domain.value}


@pytest.mark.parametrize("low", range(17))
def test_least_of_small_domains(low: int) -> None:
    for high, mask in product(range(low, 17), range(16)):
        for value in {bits & mask for bits in range(16)}:
            domain = Domain(low, high, mask, value)
            assert least(domain) == min(members(domain), default=None)


def test_splits_lose_and_invent_nothing() -> None:
    for low, high, mask in product(range(0, 9, 3), range(3, 16, 4), (0, 1, 5, 6)):
        domain = Domain(low, high, mask, mask & 5)
        if least(domain) is None:
            continue
        region = (*EVERYTHING[:4], domain, *EVERYTHING[5:])
        whole = members(domain)
        for k in range(17):
            below, rest = split_at(region, 4, k)
            assert (members(below[4]) if below else set()) == {v for v in whole if v < k}
            assert (members(rest[4]) if rest else set()) == {v for v in whole if v >= k}
        for bits, wanted in product(range(1, 16), range(16)):
            right, wrong = split_mask(region, 4, bits, wanted)
            assert (members(right[4]) if right else set()) == {v for v in whole if v & bits == wanted}
            assert sorted(v for part in wrong for v in members(part[4])) == sorted(
                v for v in whole if v & bits != wanted
            )


WIDE = (1 << 32) - 2


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("ranges", [((2, 4),), ((0, 0), (3, 3)), ((1, WIDE),), ((3, WIDE + 1),)])
@pytest.mark.parametrize("masks", [(), ((1, 1),), ((6, 2), (1, 0))])
def test_conditions_split_exactly(
    width: int, ranges: tuple[tuple[int, int], ...], masks: tuple[tuple[int, int], ...]
) -> None:
    spread = tuple((low, high + (1 << 33)) if width == 64 and high >= WIDE else (low, high) for low, high in ranges)
    condition = Condition(0, width, spread, masks)
    yes, no = split_condition(EVERYTHING, condition)
    for half, value in product((0, 1, 2, 3, WORD), (0, 1, 2, 3, 4, 5, WIDE - 1, WIDE, WORD)):
        holding = [part for part in yes if _in(part, value, half)]
        failing = [part for part in no if _in(part, value, half)]
        expected = holds(condition, [half << 32 | value, 0, 0, 0, 0, 0])
        assert (len(holding), len(failing)) == ((1, 0) if expected else (0, 1))
    assert len(refine(EVERYTHING, [((condition, False),)])) == len(yes) + len(no)


def _in(region: tuple[Domain, ...], lower: int, upper: int) -> bool:
    return all(
        low <= value <= high and value & mask == bits
        for value, (low, high, mask, bits) in ((lower, region[4]), (upper, region[5]))
    )
