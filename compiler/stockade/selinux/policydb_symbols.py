"""Reads the symbol tables of a kernel policy file: classes, roles, types, users, booleans, levels, and constraints."""

from __future__ import annotations

from typing import Final

from stockade.selinux.policydb_format import Cursor
from stockade.selinux.policydb_values import Account, Class, Constraint, Level, Policydb, Role

_COMPARE: Final = {1: "==", 2: "!=", 3: "dom", 4: "domby", 5: "incomp"}
_OPERANDS: Final = {
    1: ("u1", "u2"), 2: ("r1", "r2"), 4: ("t1", "t2"), 32: ("l1", "l2"), 64: ("l1", "h2"), 128: ("h1", "l2"),
    256: ("h1", "h2"), 512: ("l1", "h1"), 1024: ("l2", "h2"),
}  # fmt: skip


class SymbolReader:
    """What is read of a policy so far, and where in the file it goes on."""

    def __init__(self, data: bytes) -> None:
        self.c = Cursor(data)
        self.policy = Policydb()
        self.users: dict[int, str] = {}
        self.booleans: dict[int, str] = {}
        self.commons: dict[str, dict[str, int]] = {}
        self.constraints: list[tuple[bool, str, frozenset[str], list[tuple[int, int, int, int]]]] = []

    def _entries(self) -> range:
        """One number for each entry of the symbol table that begins here."""
        return range(self.c.numbers(2)[1])

    def symbols(self) -> None:
        """Read all symbol tables."""
        c, policy = self.c, self.policy
        roles = []
        for _ in self._entries():
            length, _, _, count = c.numbers(4)
            name = c.name(length)
            self.commons[name] = self._permissions(count)
        for _ in self._entries():
            self._class()
        for _ in self._entries():
            length, value, _ = c.numbers(3)
            name, dominates, types = c.name(length), c.positions(), c.bits()
            roles.append((value, name, types, dominates))
        by_value = {value: name for value, name, _, _ in roles}
        for value, name, types, dominates in roles:
            policy.roles[value] = Role(name, types, frozenset(by_value[n + 1] for n in dominates))
        self._types()
        accounts = []
        for _ in self._entries():
            length, value, _ = c.numbers(3)
            self.users[value] = c.name(length)
            accounts.append((self.users[value], c.positions(), c.range(), c.level()))
        for _ in self._entries():
            value, state, length = c.numbers(3)
            self.booleans[value] = c.name(length)
            policy.booleans[self.booleans[value]] = bool(state)
        self._levels()
        for user, held, (low, high), level in accounts:
            names = frozenset(by_value[n + 1] for n in held)
            if not policy.mls:
                policy.users[user] = Account(names, "", "", "")
                continue
            texts = [self._level_text(one) for one in (level, low, high)]
            bounds = (self._names(low), self._names(high))
            policy.users[user] = Account(names, texts[0], texts[1], texts[2], bounds)
        for validate, tclass, permissions, expression in self.constraints:
            depth = 0
            for kind, *_ in expression:
                depth += 0 if kind == 1 else -1 if kind in (2, 3) else 1
                if depth < 1:
                    raise c.fail(f"a constraint on {tclass} that is no expression")
            if depth != 1:
                raise c.fail(f"a constraint on {tclass} that is no expression")
            postfix = tuple(token for term in expression for token in self._term(*term))
            policy.constraints.append(Constraint(validate, tclass, permissions, postfix))
        policy.booleans = dict(sorted(policy.booleans.items()))

    def _permissions(self, count: int) -> dict[str, int]:
        found = {}
        for _ in range(count):
            length, value = self.c.numbers(2)
            if not 1 <= value <= 32:
                raise self.c.fail(f"permission {value} of a class")
            found[self.c.name(length)] = 1 << (value - 1)
        return found

    def _class(self) -> None:
        c = self.c
        length, common, value, _, count, constraints = c.numbers(6)
        name = c.name(length)
        shared = self.commons[c.name(common)] if common else {}
        permissions = shared | self._permissions(count)
        self.policy.classes[value] = Class(name, permissions)
        for validate in (False, True):
            for _ in range(c.number() if validate else constraints):
                mask, terms = c.numbers(2)
                named = frozenset(p for p, bit in permissions.items() if mask & bit) if not validate else frozenset()
                self.constraints.append((validate, name, named, [self._expression() for _ in range(terms)]))
        kinds = ("default_user", "default_role", "default_range", "default_type")
        for kind in kinds[: 0 if self.policy.version < 27 else 3 if self.policy.version < 28 else 4]:
            if chosen := c.number():
                words = ("source low", "source high", "source low_high", "target low", "target high",
                         "target low_high", "glblub") if kind == "default_range" else ("source", "target")  # fmt: skip
                if chosen > len(words):
                    raise c.fail(f"{kind} {chosen}")
                self.policy.defaults[kind, name] = words[chosen - 1]

    def _expression(self) -> tuple[int, int, int, int]:
        c = self.c
        kind, attribute, operator = c.numbers(3)
        names = 0
        if kind == 5:
            names = c.bits()
            if self.policy.version >= 29:
                c.bits(), c.bits(), c.number()  # the names as written, attributes among them
        return kind, attribute, operator, names

    def _term(self, kind: int, attribute: int, operator: int, names: int) -> tuple[str | frozenset[str], ...]:
        """One term of a constraint, when all names are known."""
        if kind in (1, 2, 3):
            return (("not", "and", "or")[kind - 1],)
        if kind == 4:
            left, right = _OPERANDS[attribute]
            return left, right, _COMPARE[operator]
        if kind != 5:
            raise self.c.fail(f"term {kind} of a constraint")
        part = attribute & 7
        number = 2 if attribute & 8 else 3 if attribute & 16 else 1
        letter, table = {
            1: ("u", self.users),
            2: ("r", {value: role.name for value, role in self.policy.roles.items()}),
            4: ("t", self.policy.types),
        }[part]
        return f"{letter}{number}", frozenset(table[n + 1] for n in places(names)), _COMPARE[operator]

    def _types(self) -> None:
        policy, aliases, bounds = self.policy, [], []
        for _ in self._entries():
            length, value, properties, bound = self.c.numbers(4)
            name = self.c.name(length)
            if properties & 2:
                policy.attributes[value] = name
            elif properties & 1:
                policy.types[value] = name
                bounds.append((name, bound))
            else:
                aliases.append((name, value))
        policy.aliases = {name: policy.types[value] for name, value in sorted(aliases)}
        policy.bounded = {name: policy.types[bound] for name, bound in bounds if bound}

    def _levels(self) -> None:
        c, policy = self.c, self.policy
        sensitivities, companions, categories = {}, {}, {}
        for _ in self._entries():
            length, alias = c.numbers(2)
            name = c.name(length)
            value, bits = c.level()
            if not alias:
                sensitivities[value], companions[value] = name, bits
        for _ in self._entries():
            length, value, alias = c.numbers(3)
            name = c.name(length)
            if not alias:
                categories[value] = name
        if policy.mls:
            policy.sensitivities = tuple(sensitivities[n + 1] for n in range(len(sensitivities)))
            policy.categories = tuple(categories[n + 1] for n in range(len(categories)))
            policy.levels = {
                sensitivities[value]: frozenset(categories[n + 1] for n in places(bits))
                for value, bits in sorted(companions.items())
            }

    def context(self) -> str:
        """Read a context, as text."""
        user, role, type_ = self.c.numbers(3)
        text = f"{self.users[user]}:{self.policy.roles[role].name}:{self.policy.types[type_]}"
        both = self.c.range()
        return f"{text}:{self.range_text(both)}" if self.policy.mls else text

    def range_text(self, both: tuple[tuple[int, int], tuple[int, int]]) -> str:
        """A range as the kernel writes it."""
        low, high = (self._level_text(one) for one in both)
        return low if low == high else f"{low}-{high}"

    def _level_text(self, level: tuple[int, int]) -> str:
        """As the kernel writes it: two neighbouring categories are listed, three or more are a span."""
        sensitivity, numbers = self.policy.sensitivities[level[0] - 1], places(level[1])
        names, spans, start = self.policy.categories, [], 0
        for n in range(1, len(numbers) + 1):
            if n == len(numbers) or numbers[n] != numbers[n - 1] + 1:
                first, last = names[numbers[start]], names[numbers[n - 1]]
                spans.append(first if n - start == 1 else f"{first}{',' if n - start == 2 else '.'}{last}")
                start = n
        return ":".join(filter(None, (sensitivity, ",".join(spans))))

    def _names(self, level: tuple[int, int]) -> Level:
        return Level(
            self.policy.sensitivities[level[0] - 1], tuple(self.policy.categories[n] for n in places(level[1]))
        )


def places(bits: int) -> list[int]:
    """The places of the ones of a bit set."""
    text = bin(bits)[:1:-1]
    found, at = [], text.find("1")
    while at >= 0:
        found.append(at)
        at = text.find("1", at + 1)
    return found
