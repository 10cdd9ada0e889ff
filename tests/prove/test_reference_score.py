"""The reference policy's hand-written guards on files let a third of all single widenings through; ours let none."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from stockade.prove.mutation import Mutation, Score, measure

from tests.selinux.reference import permissions, to_cil

DATA = Path(__file__).resolve().parents[1] / "data" / "reference-policy.json.gz"
FILES = ("file", "dir", "lnk_file", "chr_file", "blk_file", "sock_file", "fifo_file", "anon_inode")

NAMED = {
    "describe": {"getattr"},
    "relabel": {"relabelfrom", "relabelto"},
    "mount": {"mounton", "quotaon"},
    "relax": {"execmod"},
    "enter": {"entrypoint"},
    "execute": {"execute", "execute_no_trans"},
    "load": {"ioctl", "map", "open", "read", "search", "watch", "watch_mount", "watch_reads", "watch_sb"},
    "block": {"watch_with_perm"},
}
"""What the reference's words for files mean; its word `mutate` is everything else."""

GUARDS = [
    ("unprivileged_s", ["load", "execute"], "read_restricted_o"),
    ("verified_s", ["execute"], "mutable_o"),
    ("all_s", ["mutate"], "immutable_o"),
    ("other_s", ["mutate", "mount"], "dynamic_o"),
    ("confined_s", ["mutate", "mount"], "shared_o"),
    ("unprivileged_s", ["mutate", "mount"], "sensitive_o"),
    ("other_s", ["mutate", "mount"], "write_restricted_o"),
    ("unprivileged_s", ["mutate"], "api_socket_t"),
    ("untrusted_s", ["relabel"], "unconstrained_o"),
    ("untrusted_s", ["block"], "all_o"),
    ("host_s", ["relax"], "all_o"),
    ("all_s", ["enter"], "ephemeral_o"),
    ("all_s", ["enter"], "dynamic_o"),
]
"""Who never has what on which files, of its twenty guards; the others are about processes and the system."""

SURVIVORS = {"load": (0, 12), "execute": (26, 99), "mutate": (50, 176), "relabel": (3, 108), "mount": (65, 91),
             "enter": (199, 235), "block": (0, 110), "relax": (0, 198)}  # fmt: skip


class Reference:
    """The reference's decisions and guards as tables; a bit for each permission of the classes of files."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = json.loads(gzip.decompress(DATA.read_bytes()))
        self.pairs = [(c, p) for c in FILES for p in sorted(self.data["classes"][c])]
        named = {p: verb for verb, found in NAMED.items() for p in found}
        self.verbs = dict.fromkeys([*NAMED, "mutate"], 0)
        for bit, (name, permission) in enumerate(self.pairs):
            verb = "load" if (name, permission) == ("anon_inode", "execute") else named.get(permission, "mutate")
            self.verbs[verb] |= 1 << bit
        self.sets: dict[str, set[str]] = {}
        for name, facts in self.data["types"].items():
            for group in (name, *facts["sets"]):
                self.sets.setdefault(group, set()).add(name)
        self.given = {(s, t): self._mask(s, t) for s in self.sets["all_s"] for t in self.sets["all_o"]}
        self.denied: dict[tuple[str, str], int] = {}
        for who, verbs, what in GUARDS:
            for pair in ((s, t) for s in self.sets[who] for t in self.sets[what]):
                for verb in verbs:
                    self.denied[pair] = self.denied.get(pair, 0) | self.verbs[verb]

    def _mask(self, source: str, target: str) -> int:
        has = permissions(self.data, source, target)
        return sum(1 << bit for bit, (name, p) in enumerate(self.pairs) if p in has.get(name, ()))

    def score(self) -> Score:
        return measure(self.sets["all_s"], self.sets["all_o"], self.verbs, self.given, self.denied)

    def spelled(self, verb: str) -> str:
        """A verb as CIL class permissions."""
        found: dict[str, list[str]] = {}
        for bit, (name, permission) in enumerate(self.pairs):
            if self.verbs[verb] >> bit & 1:
                found.setdefault(name, []).append(permission)
        return " ".join(f"({name} ({' '.join(perms)}))" for name, perms in found.items())

    def rules(self, word: str, who: str, verb: str, what: str) -> str:
        parts = self.spelled(verb).split(") (")
        whole = [f"{'(' if n else ''}{p}{')' if n < len(parts) - 1 else ''}" for n, p in enumerate(parts)]
        return " ".join(f"({word} {who} {what} {part})" for part in whole)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


def test_the_reference_lets_a_third_through(reference: Reference) -> None:
    score = reference.score()
    assert (score.total, sum(score.rejected.values())) == (1029, 686)
    assert abs(100 * score.share - 67) < 1
    left = Counter(one.verb for one in score.survivors)
    assert {verb: (left[verb], tried) for verb, tried in score.tried.items()} == SURVIVORS


def test_libsepol_agrees(reference: Reference) -> None:
    """The same guards as neverallow rules, in CIL with the reference's decisions: all 1,029, one compilation."""
    from stockade.selinux.libsepol import refused_lines

    score = reference.score()
    guards = [reference.rules("neverallow", who, v, what) for who, verbs, what in GUARDS for v in verbs]
    cil = [("reference.cil", to_cil(reference.data)), ("guards.cil", "\n".join(guards).encode())]
    assert refused_lines(cil, b"") == frozenset()
    tried = [
        Mutation(verb, s, t, 0)
        for (s, t), has in sorted(reference.given.items())
        for verb, access in sorted(reference.verbs.items())
        if access & ~has
    ]
    assert len(tried) == 1029
    random.Random(1).shuffle(tried)
    rules = "\n".join(reference.rules("allow", one.subject, one.verb, one.target) for one in tried)
    no = refused_lines(cil, rules.encode())
    survivors = {(one.verb, one.subject, one.target) for one in score.survivors}
    accepted = {(one.verb, one.subject, one.target) for n, one in enumerate(tried, 1) if n not in no}
    assert accepted == survivors
