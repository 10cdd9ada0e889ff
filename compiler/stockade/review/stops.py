"""What stops what: every action in every container type, by the number of layers that must be broken."""

from __future__ import annotations

from collections.abc import Sequence

from stockade.model.action import Aim
from stockade.page.heat import Row, heat, legend
from stockade.page.markup import Child, Html, element, joined
from stockade.page.parts import badge, facts, paragraph, place, share, table
from stockade.prove.matrix import Matrix

WORDS = {
    Aim.KERNEL: "into the kernel",
    Aim.HOST: "onto the host",
    Aim.NEIGHBOURS: "into a neighbour",
    Aim.DENIAL: "more than its share",
    Aim.ITSELF: "in the container itself",
}
LEGEND = ("nothing stops it", "it rests on a single layer", "two layers", "three layers", "four layers or more")


def by_aim(matrix: Matrix) -> dict[Aim, list[str]]:
    """The actions by what they aim at, in the order of `Aim`."""
    return {aim: [name for name, action in matrix.actions.items() if action.aim is aim] for aim in Aim}


def heat_map(matrix: Matrix) -> Html:
    """A row for each action, a number for each container type: the layers that stop it."""
    columns = alike(matrix)
    groups = [(WORDS[aim], [_row(matrix, name, columns) for name in names]) for aim, names in by_aim(matrix).items()]
    counted = [(heading(names), *matrix.held(names[0], 2)) for names in columns]
    held = [(name, f"{held} of {escapes}", share(held, escapes)) for name, held, escapes in counted]
    headings = ["container type", "escapes that two layers or more stop", ""]
    return joined(
        table(headings, held, label="Escapes that two layers or more stop"),
        legend(LEGEND),
        heat([heading(names) for names in columns], groups),
    )


def alike(matrix: Matrix) -> list[tuple[str, ...]]:
    """Container types, those together in which the same layers stop everything, for the same reasons."""
    found: dict[tuple[object, ...], list[str]] = {}
    for container in matrix.types:
        key = tuple(matrix.verdicts[action, container].stopping for action in matrix.actions)
        found.setdefault(key if len(matrix.types) > 12 else (container,), []).append(container)
    return [tuple(names) for names in found.values()]


def heading(names: Sequence[str]) -> str:
    """One name for types that are alike."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} like it"


def _row(matrix: Matrix, name: str, columns: Sequence[Sequence[str]]) -> Row:
    action = matrix.actions[name]
    about = paragraph(
        action.why, " Seen in: ", "; ".join(action.seen_in), ". ", place(f"{action.at.file}:{action.at.line}")
    )
    said: list[tuple[Child, Child]] = []
    for names in columns:
        verdict = matrix.verdicts[name, names[0]]
        reasons = [
            element("li", element("strong", str(a.layer)), ": ", a.reason) for a in verdict.weakest if not a.given
        ]
        layers = matrix.layers(name, names[0])
        said.append(
            (
                joined(heading(names), " ", verdict_badge(layers)),
                element("ul", reasons, class_="reasons") if reasons else "nothing stops it",
            )
        )
    values = [matrix.layers(name, names[0]) for names in columns]
    return Row(name, values, [about, facts(said)], anchor=f"action-{name}")


def verdict_badge(layers: int) -> Html:
    """The number of layers in words."""
    if not layers:
        return badge("bad", "allowed")
    return badge("warn", "one layer") if layers == 1 else badge("good", f"{layers} layers")
