"""The reference policy's hand-written guards on files let a third of all single widenings through; ours let none."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from stockade.cli.main import main
from stockade.prove.mutation import Score, measure

from tests.selinux.reference import permissions, to_cil

DATA = Path(__file__).resolve().parents[1] / "data" / "reference-policy.json.gz"
CIL = DATA.with_name("reference-policy.cil")
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

    def cil(self) -> bytes:
        """The whole as CIL: the decisions, its words for files as a class map, and its guards on files."""
        lines = [f"(classmap files ({' '.join(sorted(self.verbs))}))"]
        for verb in sorted(self.verbs):
            found: dict[str, list[str]] = {}
            for bit, (name, permission) in enumerate(self.pairs):
                if self.verbs[verb] >> bit & 1:
                    found.setdefault(name, []).append(permission)
            lines += [f"(classmapping files {verb} ({name} ({' '.join(perms)})))" for name, perms in found.items()]
        lines += [f"(neverallow {who} {what} (files ({' '.join(verbs)})))" for who, verbs, what in GUARDS]
        return to_cil(self.data) + "\n".join(lines).encode() + b"\n"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


def test_the_reference_lets_a_third_through(reference: Reference) -> None:
    score = reference.score()
    assert (score.total, sum(score.rejected.values())) == (1029, 686)
    assert abs(100 * score.share - 67) < 1
    left = Counter(one.verb for one in score.survivors)
    assert {verb: (left[verb], tried) for verb, tried in score.tried.items()} == SURVIVORS


def test_one_command_scores_it_given_as_cil(reference: Reference, capsys: pytest.CaptureFixture[str]) -> None:
    """libsepol resolves the words and sets and refuses the widenings; it agrees with the tables on each of 1,029."""
    assert CIL.read_bytes() == reference.cil(), "python -m tests.prove.test_reference_score writes it"
    words = ["check", "--mutate", str(CIL), "--subjects", "all_s", "--objects", "all_o", "--format", "json"]
    code = main(words)
    found = json.loads(capsys.readouterr().out)
    assert (code, found["tried"], found["rejected"]) == (1, 1029, 686)
    assert abs(100 * found["score"] - 67) < 1
    score = reference.score()
    assert found["verbs"] == {
        verb: {"tried": n, "rejected": score.rejected[verb]} for verb, n in sorted(score.tried.items())
    }
    ours = {(one.verb, one.subject, one.target) for one in score.survivors}
    theirs = {(o["verb"], who, what) for o in found["survivors"] for who in o["who"] for what in o["what"]}
    assert theirs == ours


def test_a_guard_less_is_a_lower_score(
    reference: Reference, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cil = CIL.read_bytes()
    guard = b"(neverallow untrusted_s all_o (files (block)))\n"
    assert guard in cil
    (tmp_path / "policy.cil").write_bytes(cil.replace(guard, b""))
    assert main(["check", "--mutate", str(tmp_path), "--subjects", "all_s", "--objects", "all_o"]) == 1
    out = capsys.readouterr().out
    assert "mutation score 56.0 %: 576 of 1029 widenings are refused\n" in out
    assert "may block: " in out


if __name__ == "__main__":
    CIL.write_bytes(Reference().cil())
