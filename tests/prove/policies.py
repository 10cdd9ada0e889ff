"""Small random policies for the tests of this room, and what SELinux's own tools say of them."""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import setools
from stockade.selinux.libsepol import compile_cil

TYPES = tuple(f"t{n}" for n in range(7))
ATTRIBUTES = ("wide", "some", "few")
CLASSES = {"file": ("read", "write", "ioctl", "open"), "dir": ("search", "write"), "process": ("transition", "fork")}
HEAD = """\
(handleunknown deny)(mls true)
(class file (read write ioctl open))(class dir (search write))(class process (transition fork))
(classorder (file dir process))
(sensitivity s0)(sensitivityorder (s0))
(category c0)(category c1)(category c2)(categoryorder (c0 c1 c2))(sensitivitycategory s0 (range c0 c2))
(role object_r)(role r)(role r2)(roletype r2 base)
(type base)(roletype r base)(roletype object_r base)
(user u)(userrole u object_r)(userrole u r)(userrole u r2)(userlevel u (s0))(userrange u ((s0) (s0 (range c0 c2))))
(sid kernel)(sidcontext kernel (u r base ((s0) (s0))))(sidorder (kernel))
(allow base base (process (fork)))
"""
BOOLEANS = "(boolean b0 false)(boolean b1 false)"


def compiled(text: str, version: int = 33) -> bytes:
    return compile_cil([("policy.cil", text.encode())], policy_version=version, neverallow=False).policy


class Maker:
    """Statements of one random policy, some of which can be left out or added."""

    def __init__(self, seed: int, types: tuple[str, ...] = TYPES) -> None:
        self.random = random.Random(seed)
        self.types = types

    def frame(self) -> list[str]:
        lines = [f"(type {t})(roletype r {t})(roletype object_r {t})" for t in self.types]
        for attribute in ATTRIBUTES:
            members = [t for t in self.types if self.random.random() < 0.5]
            lines.append(f"(typeattribute {attribute})")
            if members:
                lines.append(f"(typeattributeset {attribute} ({' '.join(members)}))")
        return lines

    def name(self, more: tuple[str, ...] = ()) -> str:
        return self.random.choice((*self.types, *ATTRIBUTES, *more))

    def rule(self, kinds: tuple[str, ...] = ("allow", "allow", "allow", "dontaudit", "auditallow")) -> str:
        tclass = self.random.choice(tuple(CLASSES))
        perms = self.random.sample(CLASSES[tclass], self.random.randint(1, len(CLASSES[tclass])))
        kind = self.random.choice(kinds)
        return f"({kind} {self.name()} {self.name(('self', 'self'))} ({tclass} ({' '.join(perms)})))"

    def transition(self) -> str:
        kind = self.random.choice(("typetransition", "typechange", "typemember", "named", "range"))
        pair = f"{self.random.choice(self.types)} {self.random.choice(self.types)}"
        result = self.random.choice(self.types)
        if kind == "named":
            return f'(typetransition {pair} file "f{self.random.randint(0, 2)}" {result})'
        if kind == "range":
            return f"(rangetransition {pair} process ((s0) (s0 (c{self.random.randint(0, 2)}))))"
        return f"({kind} {pair} {self.random.choice(('file', 'process'))} {result})"

    def extended(self) -> str:
        low = self.random.choice((0x5400, 0x5410, 0x8900))
        span = f"(range {low:#x} {low + self.random.randint(0, 20):#x})"
        kind = self.random.choice(("allowx", "dontauditx"))
        return f"({kind} {self.name()} {self.name(('self',))} (ioctl file ({span})))"

    def conditional(self) -> str:
        test = self.random.choice(("b0", "b1", "(and b0 b1)", "(or b0 (not b1))", "(xor b0 b1)", "(eq b0 b1)"))
        block = self.random.choice(("true", "false"))
        return f"(booleanif {test} ({block} {self.rule(('allow',))}))"


def sediff(old: bytes, new: bytes) -> dict[str, set[tuple[Any, ...]]]:
    """What setools finds changed: vector rules as (gained?, source, target, class, permissions)."""
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for name, data in (("old", old), ("new", new)):
            path = Path(folder) / name
            path.write_bytes(data)
            sides.append(setools.SELinuxPolicy(str(path)))
        found = setools.PolicyDifference(*sides)
        result: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
        for kind in ("allow", "dontaudit", "auditallow"):
            for gained, rules in ((True, f"added_{kind}s"), (False, f"removed_{kind}s")):
                for rule in getattr(found, rules):
                    result[kind].add((gained, *_names(rule), frozenset(rule.perms)))
            for rule, added, removed, _ in getattr(found, f"modified_{kind}s"):
                result[kind] |= {(g, *_names(rule), frozenset(p)) for g, p in ((True, added), (False, removed)) if p}
        for kind in ("type_transition", "type_change", "type_member", "range_transition"):
            for gained, rules in ((True, f"added_{kind}s"), (False, f"removed_{kind}s")):
                result[kind] |= {
                    (gained, *_names(rule), _file(rule), str(rule.default)) for rule in getattr(found, rules)
                }
            for rule, added, removed in getattr(found, f"modified_{kind}s"):
                result[kind] |= {(g, *_names(rule), _file(rule), str(d)) for g, d in ((True, added), (False, removed))}
        return result


def _names(rule: Any) -> tuple[str, str, str]:
    return str(rule.source), str(rule.target), str(rule.tclass)


def _file(rule: Any) -> str:
    try:
        return str(rule.filename)
    except (AttributeError, setools.exception.TERuleNoFilename, setools.exception.RuleUseError):
        return ""
