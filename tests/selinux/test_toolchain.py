"""Which release takes what."""

from __future__ import annotations

import itertools

import pytest
from stockade.selinux import toolchain
from stockade.selinux.libsepol import CilError, compile_cil, highest_policy_version, policy_capabilities
from stockade.selinux.toolchain import RELEASES, check, identify, parse, release


def test_the_table_only_grows() -> None:
    for older, newer in itertools.pairwise(RELEASES.values()):
        assert older.number < newer.number
        assert older.highest_policy_version <= newer.highest_policy_version
        assert newer.capabilities[: len(older.capabilities)] == older.capabilities
        assert older.statements <= newer.statements
    assert len(set(RELEASES[3, 10].capabilities)) == 15


def test_the_library_here_is_what_the_table_says() -> None:
    here = release()
    for known in (here.lowest, here.highest):
        assert known.capabilities == policy_capabilities()
        assert known.highest_policy_version == highest_policy_version()


@pytest.mark.parametrize("capability", RELEASES[3, 10].capabilities)
def test_the_compiler_here_agrees_about_capabilities(small: str, capability: str) -> None:
    text = [("base.cil", f"{small}(policycap {capability})".encode())]
    if check(31, [capability]):
        with pytest.raises(CilError, match="policycap"):
            compile_cil(text)
    else:
        assert compile_cil(text).policy


@pytest.mark.parametrize("version", [14, 15, 31, 33, 34, 35, 36])
def test_the_compiler_here_agrees_about_versions(small: str, version: int) -> None:
    problems = check(version, [])
    if problems:
        with pytest.raises(CilError, match=f"version {version}"):
            compile_cil([("base.cil", small.encode())], policy_version=version)
    else:
        try:
            compile_cil([("base.cil", small.encode())], policy_version=version)
        except CilError as error:  # an old version can be known and yet not hold MLS
            assert "version" in str(error) or "MLS" in str(error)


@pytest.mark.parametrize(
    ("statement", "cil"),
    [("deny", "(deny subject_t object_t (file (read)))"), ("notself", "(neverallow subject_t notself (file (read)))")],
)
def test_the_compiler_here_agrees_about_statements(small: str, statement: str, cil: str) -> None:
    text = [("base.cil", (small + cil).encode())]
    if check(31, [], statements=[statement]):
        with pytest.raises(CilError):
            compile_cil(text)
    else:
        assert compile_cil(text).policy


@pytest.mark.parametrize(
    ("target", "version", "capabilities", "statements", "problems"),
    [
        ((3, 4), 33, ["ioctl_skip_cloexec"], [], []),
        ((3, 3), 33, ["ioctl_skip_cloexec"], [], ["release 3.4 does"]),
        ((3, 4), 31, ["userspace_initial_context"], [], ["release 3.6 does"]),
        ((3, 4), 31, ["netif_wildcard", "genfs_seclabel_wildcard"], [], ["release 3.9 does", "release 3.9 does"]),
        ((3, 9), 35, ["netif_wildcard", "genfs_seclabel_wildcard"], ["deny", "typeneveraudit"], []),
        ((3, 7), 34, [], [], ["15 to 33"]),
        ((3, 5), 31, [], ["deny"], ["release 3.6 does"]),
        ((3, 10), 31, ["open_prems"], [], ["did you mean open_perms"]),
        ((3, 10), 14, [], ["frobnicate"], ["15 to 35", "no release is on record"]),
        ((9, 9), 31, [], [], ["9.9 is not known"]),
    ],
)
def test_what_a_release_takes(
    target: tuple[int, int], version: int, capabilities: list[str], statements: list[str], problems: list[str]
) -> None:
    found = check(version, capabilities, target, statements)
    assert len(found) == len(problems)
    assert all(words in problem for words, problem in zip(problems, found, strict=True))


def symbols(number: tuple[int, int]) -> list[str]:
    return [symbol for since, symbol in toolchain._SYMBOLS if number >= since]


@pytest.mark.parametrize("number", list(RELEASES))
def test_each_release_is_recognised(number: tuple[int, int]) -> None:
    known = RELEASES[number]
    found = identify(known.highest_policy_version, known.capabilities, symbols(number))
    assert found.lowest.number <= number <= found.highest.number
    assert found.lowest.capabilities == found.highest.capabilities == known.capabilities


def test_symbols_and_capabilities_must_agree() -> None:
    old, new = RELEASES[3, 5].capabilities, RELEASES[3, 6].capabilities
    both = ["sepol_av_perm_to_string", "cil_write_post_ast"]
    assert identify(33, new, both).lowest.number == (3, 6)
    assert identify(33, old, both[:1]).highest.number == (3, 5)
    assert "additions" in identify(33, new, both[:1]).how


def test_strangers() -> None:
    newest = RELEASES[3, 10]
    found = identify(40, (*newest.capabilities, "brand_new"), symbols((3, 10)))
    assert found.lowest == newest and "newer than any" in found.how
    older = RELEASES[3, 4]
    found = identify(33, (*older.capabilities, "of_the_distribution"), symbols((3, 4)))
    assert found.highest.capabilities == older.capabilities and "additions" in found.how
    with pytest.raises(ValueError, match="no release"):
        identify(20, (), [])


def test_names() -> None:
    assert parse("3.10") == (3, 10)
    with pytest.raises(ValueError, match=r"known are 3\.2, .*3\.10"):
        parse("3.99")
