"""The matrix of actions and container types to look at: one self-contained page, one picture, plain lines."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from stockade.model.action import Aim
from stockade.page.document import Section, document
from stockade.page.heat import Row, heat, legend
from stockade.page.markup import Html, joined
from stockade.page.parts import badge, facts, paragraph, share, table

if TYPE_CHECKING:
    from stockade.prove.matrix import Matrix

COLOURS = ("#d1495b", "#edae49", "#8fb996", "#5c946e", "#3d6b50", "#25523b", "#14402b")
"""Of a field that 0, 1, 2, ... layers stop; the last for more."""
LEGEND = ("nothing stops it", "it rests on a single layer", "two layers", "three layers", "four layers or more")
_WORDS = {
    Aim.KERNEL: "into the kernel",
    Aim.HOST: "onto the host",
    Aim.NEIGHBOURS: "into a neighbour",
    Aim.DENIAL: "more than its share",
    Aim.ITSELF: "in the container itself",
}


def _tone(layers: int) -> int:
    return min(layers, len(COLOURS) - 1)


def _groups(matrix: Matrix) -> dict[Aim, list[str]]:
    return {aim: [name for name, action in matrix.actions.items() if action.aim is aim] for aim in Aim}


def page(matrix: Matrix) -> str:
    """One HTML page without any other file: a heat map, and behind each row the layers and their reasons."""
    return document(
        "How many layers stop what a container might try",
        [Section("matrix", "What stops what", heat_map(matrix))],
    ).decode()


def heat_map(matrix: Matrix) -> Html:
    """A row for each action, a number for each container type: the layers that stop it."""
    groups = [(_WORDS[aim], [_row(matrix, name) for name in names]) for aim, names in _groups(matrix).items()]
    counted = [(name, *matrix.held(name, 2)) for name in matrix.types]
    held = table(
        ["container type", "escapes that two layers or more stop", ""],
        [(name, f"{held} of {escapes}", share(held, escapes)) for name, held, escapes in counted],
        label="Escapes that two layers or more stop",
    )
    return joined(held, legend(LEGEND), heat(matrix.types, groups))


def _row(matrix: Matrix, name: str) -> Row:
    action = matrix.actions[name]
    said = [
        (
            joined(container, " ", _verdict(matrix.layers(name, container))),
            [paragraph(f"{a.layer}: {a.reason}") for a in matrix.verdicts[name, container].weakest if not a.given]
            or "nothing stops it",
        )
        for container in matrix.types
    ]
    about = paragraph(action.why, " Seen in: ", "; ".join(action.seen_in), ".")
    return Row(name, [matrix.layers(name, container) for container in matrix.types], [about, facts(said)])


def _verdict(layers: int) -> Html:
    if not layers:
        return badge("bad", "allowed")
    return badge("warn", "one layer") if layers == 1 else badge("good", f"{layers} layers")


def picture(matrix: Matrix) -> str:
    """One SVG picture: a row for each container type, a square for each action, as many layers as stop it."""
    side, left, top = 9, 82, 34
    ordered = [(aim, names) for aim, names in _groups(matrix).items() if names]
    width = left + sum(len(names) * side + 6 for _, names in ordered) + 8
    height = top + len(matrix.types) * (side + 3) + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="9" role="img" '
        'aria-label="How many layers stop each action in each container type">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    at = left
    for aim, names in ordered:
        label = _WORDS[aim] if len(names) * side > 60 else aim.value
        parts.append(f'<text x="{at}" y="{top - 8}" fill="#222222">{label}</text>')
        for row, container in enumerate(matrix.types):
            for column, name in enumerate(names):
                x, y = at + column * side, top + row * (side + 3)
                count = matrix.layers(name, container)
                parts.append(
                    f'<rect x="{x}" y="{y}" width="{side - 1}" height="{side}" fill="{COLOURS[_tone(count)]}">'
                    f"<title>{escape(container)}: {escape(name)}: {count}</title></rect>"
                )
        at += len(names) * side + 6
    for row, container in enumerate(matrix.types):
        parts.append(f'<text x="6" y="{top + row * (side + 3) + 8}" fill="#222222">{escape(container)}</text>')
    at = left
    for number, colour in enumerate(COLOURS[:5]):
        y = height - 18
        words = ("nothing stops it", "one layer", "two layers", "three layers", "four or more")[number]
        parts.append(f'<rect x="{at}" y="{y}" width="{side}" height="{side}" fill="{colour}"/>')
        parts.append(f'<text x="{at + side + 4}" y="{y + 8}" fill="#222222">{words}</text>')
        at += 34 + 5 * len(words)
    return "\n".join([*parts, "</svg>"]) + "\n"


def plain(matrix: Matrix) -> str:
    """The table as lines of text, for a file."""
    wide = max(map(len, matrix.actions), default=6)
    lines = [" ".join(["action".ljust(wide), *matrix.types])]
    for name in matrix.actions:
        fields = [str(matrix.layers(name, t)).ljust(len(t)) for t in matrix.types]
        lines.append(" ".join([name.ljust(wide), *fields]).rstrip())
    return "\n".join(lines) + "\n"
