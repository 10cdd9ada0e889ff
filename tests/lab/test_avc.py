"""The reader of denials: exact on what the kernel writes, and not to be fooled by what it did not."""

from __future__ import annotations

import pytest
from stockade.lab.avc import ConsoleError, denials

LINE = (
    'audit: type=1400 audit(1795416326.923:15): avc:  denied  { read open } for  pid=683 comm="probe" name="x y"'
    ' dev="tmpfs" ino=3 scontext=system_u:system_r:container_t:s0:c1,c2 tcontext=system_u:object_r:private_t:s0'
    " tclass=file permissive=0"
)


def test_every_field() -> None:
    (denial,) = denials(f"Run /init\n[    1.0] {LINE}\nreboot\n")
    assert (denial.serial, denial.pid, denial.command, denial.target) == (15, 683, "probe", "x y")
    assert denial.scontext == "system_u:system_r:container_t:s0:c1,c2"
    assert denial.tcontext == "system_u:object_r:private_t:s0"
    assert (denial.tclass, denial.permissions, denial.permissive) == ("file", frozenset({"read", "open"}), False)


def test_a_name_that_needs_quoting_comes_in_hexadecimal() -> None:
    (denial,) = denials(LINE.replace('comm="probe"', "comm=612262").replace("permissive=0", "permissive=1"))
    assert (denial.command, denial.permissive) == ('a"b', True)


def test_a_console_without_denials() -> None:
    assert denials("Linux version 6.1\n") == ()


def test_the_kernels_order() -> None:
    assert [d.serial for d in denials(f"{LINE.replace(':15)', ':16)')}\n{LINE}\n")] == [15, 16]


@pytest.mark.parametrize(
    "damage",
    [
        LINE[: LINE.index("tclass")],
        LINE.removesuffix(" permissive=0"),
        LINE.replace("permissive=0", "permissive=2"),
        LINE.replace("pid=683", "pid=6a3"),
        LINE.replace("{ read open }", "{ }"),
        LINE.replace("denied", "granted"),
        LINE.replace("type=1400", "type=1107"),
        LINE.replace('comm="probe"', 'comm="pro'),
        LINE.replace("comm=", "pid=1 comm="),
        LINE.replace(" dev=", " device with spaces dev="),
        LINE.replace("audit: type", "audi type"),
        LINE + " extra",
        LINE + "\nsystem: audit_printk_skb: 12 callbacks suppressed",
        LINE + "\nkauditd_printk_skb: 2 callbacks suppressed",
        LINE + "\naudit: audit_lost=3 audit_rate_limit=0",
        LINE + "\n" + LINE.replace(":15)", ":17)"),
    ],
)
def test_damage_is_an_error(damage: str) -> None:
    with pytest.raises(ConsoleError):
        denials(damage)


def test_a_complaint_held_back_is_no_record() -> None:
    assert len(denials(LINE + "\nsel_write_load: 2 callbacks suppressed")) == 1
