"""The expressions of rules: comparisons over facts, with a third answer for what cannot be known.

The syntax is a small part of Python's, read with its own parser and never run by it. A name with dots is a fact; below
a fact or a bound name, dots and brackets choose a member. `and`, `or`, `all`, `any` and `none` answer where the known
operands decide, and are undetermined where they do not.
"""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stockade.audit.facts.fact import Fact, Outcome, missing

Names = Mapping[str, Any]


class ExpressionError(Exception):
    """An expression that is none; the text says what is wrong in it."""


class Undetermined(Exception):
    """What a fact without a value makes of an expression."""


@dataclass(slots=True)
class Scope:
    """What an expression is asked about: facts by name. It keeps what it read, what broke a quantifier, and which
    members of a list it could not decide about."""

    get: Callable[[str], Fact]
    read: dict[str, Fact] = field(default_factory=dict)
    witnesses: list[Any] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def fact(self, name: str) -> Fact:
        """A fact, noted as read."""
        found = self.read.get(name)
        if found is None:
            found = self.read[name] = self.get(name)
        return found

    def value(self, name: str) -> Any:
        """A fact's value, or Undetermined."""
        fact = self.fact(name)
        if fact.outcome is not Outcome.VALUE:
            where = f" ({fact.path})" if fact.path else ""
            raise Undetermined(f"{name}{where} is {fact.outcome}: {fact.why}")
        return fact.value


Node = Callable[[Scope, Names], Any]

_COMPARE: Final[dict[type, Callable[[Any, Any], bool]]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_QUANTIFIERS: Final = ("all", "any", "none")
_ORDERED: Final = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def _glob(value: Any, *patterns: Any) -> bool:
    return any(fnmatch.fnmatchcase(value, pattern) for pattern in patterns)


def _below(path: Any, *folders: Any) -> bool:
    if ".." in path.split("/"):  # it leads elsewhere
        return False
    return any(folder == "/" or path == folder or path.startswith(folder + "/") for folder in folders)


_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "len": len,
    "glob": _glob,
    "below": _below,
    "starts": lambda value, *heads: value.startswith(heads),
    "names": lambda value: sorted(value),
    "values": lambda value: list(value.values()),
    "items": lambda value: [{"name": name, "value": value[name]} for name in sorted(value)],
    "member": lambda value, name, otherwise: value.get(name, otherwise),
    "type_of": lambda label: label.split(":")[2],
    "subset": lambda few, many: set(few) <= set(many),
}
"""What an expression may call besides the quantifiers and the questions about facts."""


@dataclass(frozen=True, slots=True)
class Expression:
    """Compiled: its text, the facts and sysctls that it names, its meaning, and the parts of its conjunction."""

    text: str
    facts: frozenset[str]
    node: Node
    parts: tuple[tuple[ast.expr, Node], ...]

    def holds(self, scope: Scope) -> bool:
        """Its answer; Undetermined where there is none, or where it is neither true nor false."""
        answer = _guarded(self.node, scope, {})
        if type(answer) is not bool:
            raise Undetermined(f"neither true nor false: {answer!r}")
        return answer

    def broken(self, get: Callable[[str], Fact]) -> tuple[str, Scope]:
        """The first part of a conjunction that does not hold, and what it read."""
        for tree, node in self.parts:
            scope = Scope(get)
            try:
                if _guarded(node, scope, {}) is False:
                    return ast.unparse(tree), scope
            except Undetermined:
                continue
        return self.text, Scope(get)


def compiled(text: str, known: Collection[str]) -> Expression:
    """An expression over the facts of the names `known`; ExpressionError where it is none."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ExpressionError(f"not an expression: {error}") from None
    compiler = _Compiler(known)
    conjunction = isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And)
    operands = tree.values if isinstance(tree, ast.BoolOp) and conjunction else [tree]
    parts = tuple((one, compiler.node(one, frozenset())) for one in operands)
    node = compiler.both([node for _, node in parts], True) if conjunction else parts[0][1]
    return Expression(" ".join(text.split()), frozenset(compiler.facts), node, parts)


def _guarded(node: Node, scope: Scope, names: Names) -> Any:
    try:
        return node(scope, names)
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise Undetermined(f"a fact of an unexpected form: {type(error).__name__} {error}") from None


class _Compiler:
    def __init__(self, known: Collection[str]) -> None:
        self.known = known
        self.facts: set[str] = set()

    def node(self, tree: ast.expr, bound: frozenset[str]) -> Node:
        """The meaning of a part; `bound` are the names that quantifiers around it gave."""
        match tree:
            case ast.Constant(value=None | bool() | int() | str() as value):
                return lambda scope, names: value
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                nodes = [self.node(one, bound) for one in elements]
                return lambda scope, names: [one(scope, names) for one in nodes]
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._chain(tree, bound)
            case ast.BoolOp(op=operator, values=operands):
                return self.both([self.node(one, bound) for one in operands], isinstance(operator, ast.And))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.node(operand, bound)
                return lambda scope, names: not _truth(inner(scope, names))
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
                return lambda scope, names: -value
            case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
                one, other = self.node(left, bound), self.node(right, bound)
                return lambda scope, names: one(scope, names) & other(scope, names)
            case ast.Compare(left=left, ops=operators, comparators=rest):
                return self._compare(left, operators, rest, bound)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, arguments, bound)
        raise ExpressionError(f"`{ast.unparse(tree)}` is not of the language of rules")

    def _chain(self, tree: ast.expr, bound: frozenset[str]) -> Node:
        steps: list[ast.expr | str] = []
        while not isinstance(tree, ast.Name):
            if isinstance(tree, ast.Attribute):
                steps.insert(0, tree.attr)
                tree = tree.value
            elif isinstance(tree, ast.Subscript):
                steps.insert(0, tree.slice)
                tree = tree.value
            elif isinstance(tree, ast.Call):
                return _members(self.node(tree, bound), self._steps(steps, bound))
            else:
                raise ExpressionError(f"`{ast.unparse(tree)}` has no members")
        if tree.id in bound:
            variable = tree.id
            return _members(lambda scope, names: names[variable], self._steps(steps, bound))
        words = [tree.id]
        for step in steps:
            if not isinstance(step, str):
                break
            words.append(step)
        for length in range(len(words), 0, -1):
            name = ".".join(words[:length])
            if name in self.known:
                self.facts.add(name)
                return _members(_fact(name), self._steps(steps[length - 1 :], bound))
        raise ExpressionError(f"no fact `{'.'.join(words)}`{_near('.'.join(words), self.known)}")

    def _steps(self, steps: list[ast.expr | str], bound: frozenset[str]) -> list[str | Node]:
        return [step if isinstance(step, str) else self.node(step, bound) for step in steps]

    def both(self, nodes: list[Node], all_of: bool) -> Node:
        """All (or any) of the parts, decided as soon as the known ones decide."""

        def answer(scope: Scope, names: Names) -> bool:
            unknown: Undetermined | None = None
            for node in nodes:
                try:
                    if _truth(_guarded(node, scope, names)) is not all_of:
                        return not all_of
                except Undetermined as error:
                    unknown = unknown or error
            if unknown:
                raise unknown
            return all_of

        return answer

    def _compare(self, left: ast.expr, operators: list[ast.cmpop], rest: list[ast.expr], bound: frozenset[str]) -> Node:
        nodes = [self.node(one, bound) for one in (left, *rest)]
        kinds = [type(operator) for operator in operators]
        for kind in kinds:
            if kind not in _COMPARE:
                raise ExpressionError("`is` compares identities, which facts have none of; use ==")

        def answer(scope: Scope, names: Names) -> bool:
            values = [node(scope, names) for node in nodes]
            for kind, one, other in zip(kinds, values, values[1:], strict=False):
                if kind in _ORDERED and not (type(one) is type(other) is int):
                    raise Undetermined(f"{one!r} and {other!r} have no order")
                if kind in (ast.Eq, ast.NotEq) and type(one) is not type(other) and None not in (one, other):
                    raise Undetermined(f"{one!r} and {other!r} are of different types")
                if not _COMPARE[kind](one, other):
                    return False
            return True

        return answer

    def _call(self, name: str, arguments: list[ast.expr], bound: frozenset[str]) -> Node:
        if name in (*_QUANTIFIERS, "count", "each"):
            return self._quantifier(name, arguments, bound)
        if name in ("sysctl", "file") and len(arguments) == 1:
            match arguments[0]:
                case ast.Constant(value=str() as key):
                    fact = f"{name}:{key}"
                    self.facts.add(fact)
                    return lambda scope, names: scope.value(fact)
            raise ExpressionError(f"{name}() takes one name in quotes")
        if name in ("absent", "present") and len(arguments) == 1:
            fact = self._fact_name(arguments[0])
            self.facts.add(fact)
            wanted = name == "absent"
            return lambda scope, names: _presence(scope.fact(fact), fact) is not wanted
        if name not in _FUNCTIONS:
            raise ExpressionError(
                f"no function `{name}`{_near(name, [*_FUNCTIONS, *_QUANTIFIERS, 'sysctl', 'absent'])}"
            )
        nodes = [self.node(one, bound) for one in arguments]
        function = _FUNCTIONS[name]
        return lambda scope, names: function(*[node(scope, names) for node in nodes])

    def _fact_name(self, tree: ast.expr) -> str:
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id in ("sysctl", "file"):
            match tree.args:
                case [ast.Constant(value=str() as key)]:
                    return f"{tree.func.id}:{key}"
        name = ast.unparse(tree)
        if name not in self.known:
            raise ExpressionError(f"no fact `{name}`{_near(name, self.known)}")
        return name

    def _quantifier(self, name: str, arguments: list[ast.expr], bound: frozenset[str]) -> Node:
        match arguments:
            case [ast.GeneratorExp(elt=body, generators=[ast.comprehension(ast.Name(id=variable), source, filters)])]:
                pass
            case _:
                raise ExpressionError(f"{name}() takes `condition for name in list if condition`")
        inner = bound | {variable}
        over = self.node(source, bound)
        where = [self.node(one, inner) for one in filters]
        test = self.node(body, inner)
        chosen = self.both(where, True) if where else None
        holds_without = {"all": True, "none": False, "any": False}.get(name)

        def members(scope: Scope, names: Names) -> list[tuple[Any, Any, Undetermined | None]]:
            found: list[tuple[Any, Any, Undetermined | None]] = []
            for member in over(scope, names):
                now = {**names, variable: member}
                try:
                    if chosen and not chosen(scope, now):
                        continue
                    value = _guarded(test, scope, now)
                    # A member without a value never counts as one that was found, whatever is asked of it.
                    lost = missing(member) if value is not holds_without else ""
                    found.append((member, value, Undetermined(lost) if lost else None))
                except Undetermined as error:
                    found.append((member, None, error))
            return found

        if name == "each":
            return lambda scope, names: [_certain(value, error) for _, value, error in members(scope, names)]
        if name == "count":
            return lambda scope, names: sum(_truth(_certain(v, error)) for _, v, error in members(scope, names))
        breaks, answer_then = {"all": (False, False), "none": (True, False), "any": (True, True)}[name]

        def answer(scope: Scope, names: Names) -> bool:
            unknown, broken = [], []
            for member, value, error in members(scope, names):
                if error:
                    unknown.append(str(error))
                elif _truth(value) is breaks:
                    broken.append(member)
                    if name == "any":
                        return True
            several = list(dict.fromkeys(unknown))
            if not bound:
                scope.witnesses += broken
                scope.unknown += several
            if broken:
                return answer_then
            if several:
                more = f"; and {len(several) - 1} more" if len(several) > 1 else ""
                raise Undetermined(f"{several[0]}{more}")
            return not answer_then

        return answer


def _fact(name: str) -> Node:
    return lambda scope, names: scope.value(name)


def _certain(value: Any, error: Undetermined | None) -> Any:
    if error:
        raise error
    return value


def _members(base: Node, steps: list[str | Node]) -> Node:
    if not steps:
        return base

    def answer(scope: Scope, names: Names) -> Any:
        value = base(scope, names)
        for step in steps:
            key = step if isinstance(step, str) else step(scope, names)
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                raise Undetermined(missing(value) or f"there is no {key!r} in {_short(value)}") from None
        return value

    return answer


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise Undetermined(f"neither true nor false: {_short(value)}")
    return value


def _presence(fact: Fact, name: str) -> bool:
    """Is there no such thing? Undetermined where it could not be read."""
    if fact.outcome in (Outcome.UNREADABLE, Outcome.MALFORMED):
        raise Undetermined(f"{name} is {fact.outcome}: {fact.why}")
    return fact.outcome is Outcome.VALUE


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:57]}..."


def _near(name: str, known: Collection[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""
