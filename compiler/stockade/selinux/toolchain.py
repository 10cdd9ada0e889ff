"""What each release of SELinux's userspace takes, and which one is here: a policy must fit the tools that build it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from stockade.selinux.libsepol_ffi import exports, highest_policy_version, policy_capabilities

Number = tuple[int, int]
"""A release: (3, 4) is 3.4."""

LOWEST_POLICY_VERSION: Final = 15
DEFAULT_POLICY_VERSION: Final = 31
"""The kernel policy format of a build that names none: every kernel since Linux 4.13 reads it."""


@dataclass(frozen=True, slots=True)
class Release:
    """What a release takes: the highest kernel policy version, policy capabilities in the order of their numbers, and
    those CIL statements and keywords that not every release in the table has."""

    number: Number
    highest_policy_version: int
    capabilities: tuple[str, ...]
    statements: frozenset[str]

    @property
    def name(self) -> str:
        """Such as `3.4`."""
        return ".".join(map(str, self.number))


@dataclass(frozen=True, slots=True)
class Installed:
    """The releases the libsepol here can be, oldest and newest, and what told."""

    lowest: Release
    highest: Release
    how: str


# What each release added: (release, highest policy version, capabilities, statements). From the release notes.
_ADDED: Final[tuple[tuple[Number, int, str, str], ...]] = (
    (
        (3, 2),
        33,
        "network_peer_controls open_perms extended_socket_class always_check_network cgroup_seclabel "
        "nnp_nosuid_transition genfs_seclabel_symlinks",
        "",
    ),
    ((3, 3), 33, "", ""),
    ((3, 4), 33, "ioctl_skip_cloexec", ""),
    ((3, 5), 33, "", ""),
    ((3, 6), 33, "userspace_initial_context", "deny notself other"),
    ((3, 7), 33, "", ""),
    ((3, 8), 34, "netlink_xperm", "nlmsg"),
    ((3, 9), 35, "netif_wildcard genfs_seclabel_wildcard", "typeneveraudit"),
    ((3, 10), 35, "functionfs_seclabel memfd_class bpf_token_perms", ""),
)

# libsepol has no call for its own version, but each release that exports something new says so in its symbols.
_SYMBOLS: Final[tuple[tuple[Number, str], ...]] = (((3, 4), "sepol_av_perm_to_string"), ((3, 6), "cil_write_post_ast"))


def _table() -> dict[Number, Release]:
    table: dict[Number, Release] = {}
    capabilities: tuple[str, ...] = ()
    statements: frozenset[str] = frozenset()
    for number, version, added, words in _ADDED:
        capabilities, statements = (*capabilities, *added.split()), statements | frozenset(words.split())
        table[number] = Release(number, version, capabilities, statements)
    return table


RELEASES: Final = _table()
"""Every release we know, oldest first."""


def parse(name: str) -> Number:
    """`3.4` as (3, 4). Raises ValueError, with the known releases, for one that is not in the table."""
    for number, known in RELEASES.items():
        if known.name == name:
            return number
    raise ValueError(f"no SELinux release {name!r} is known; known are {', '.join(r.name for r in RELEASES.values())}")


def release() -> Installed:
    """The releases that the libsepol here can be. Raises SepolError when there is none to ask, or none that we know.

    It has no call that tells its version, so it is recognised by what it knows: policy capabilities, the highest policy
    version, exported functions. Releases that differ in none of these are told as a range.
    """
    version, capabilities = highest_policy_version(), policy_capabilities()
    symbols = {symbol: exports(symbol) for _, symbol in _SYMBOLS}
    return identify(version, capabilities, [symbol for symbol, there in symbols.items() if there])


def identify(version: int, capabilities: tuple[str, ...], symbols: Collection[str]) -> Installed:
    """The releases with this highest policy version, these policy capabilities and these exported functions.

    A libsepol that has something newer than the table is told as the newest release, which it is at least.
    """
    how = f"policy version {version}, {len(capabilities)} policy capabilities, last {(capabilities or ('none',))[-1]}"
    fits = [
        known
        for number, known in RELEASES.items()
        if known.highest_policy_version == version
        and known.capabilities == capabilities
        and all((symbol in symbols) == (number >= since) for since, symbol in _SYMBOLS)
    ]
    if fits:
        return Installed(fits[0], fits[-1], how)
    newest = list(RELEASES.values())[-1]
    if version >= newest.highest_policy_version and capabilities[: len(newest.capabilities)] == newest.capabilities:
        return Installed(newest, newest, f"{how}: newer than any release known here")
    # Distributions add single features to older releases: what it has in full is what may be relied on.
    below = [known for known in RELEASES.values() if known.highest_policy_version <= version
             and set(known.capabilities) <= set(capabilities)]  # fmt: skip
    if not below:
        raise ValueError(f"no release of libsepol is like the one here: {how}")
    return Installed(below[-1], below[-1], f"{how}: a release with additions of its own")


def check(
    policy_version: int,
    policycaps: Iterable[str],
    target: Number | None = None,
    statements: Iterable[str] = (),
) -> list[str]:
    """What of a policy release `target` does not take, a sentence each; empty when all fits.

    `policycaps` are its policy capabilities, `statements` those CIL words it uses that not every release has (the
    table's). Without `target` the libsepol here is asked for the version and the capabilities.
    """
    if target is None:
        here = release().lowest
        known = Release(here.number, highest_policy_version(), policy_capabilities(), here.statements)
        who = "the libsepol here"
    elif target in RELEASES:
        known = RELEASES[target]
        who = f"release {known.name}"
    else:
        return [f"SELinux release {'.'.join(map(str, target))} is not known"]
    problems = []
    if not LOWEST_POLICY_VERSION <= policy_version <= known.highest_policy_version:
        highest = known.highest_policy_version
        problems.append(f"kernel policy version {policy_version}: {who} takes {LOWEST_POLICY_VERSION} to {highest}")
    problems += _unknown("policy capability", policycaps, known.capabilities, _newest().capabilities, who)
    problems += _unknown("CIL statement", statements, known.statements, _newest().statements, who)
    return problems


def _newest() -> Release:
    return list(RELEASES.values())[-1]


def _unknown(kind: str, asked: Iterable[str], known: Collection[str], ever: Collection[str], who: str) -> list[str]:
    problems = []
    for name in sorted(set(asked) - set(known)):
        if name in ever:
            since = next(r.name for r in RELEASES.values() if name in r.capabilities or name in r.statements)
            problems.append(f"{kind} {name}: {who} does not have it; release {since} does")
        else:
            close = difflib.get_close_matches(name, ever, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            problems.append(f"{kind} {name}: no release is on record as having it{hint}")
    return problems
