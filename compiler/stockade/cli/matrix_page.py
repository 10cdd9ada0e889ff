"""The matrix of actions and container types to look at: one self-contained page, one picture, plain lines."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from stockade.page.document import Section, document
from stockade.review.stops import WORDS, by_aim, heat_map

if TYPE_CHECKING:
    from stockade.prove.matrix import Matrix

COLOURS = ("#d1495b", "#edae49", "#8fb996", "#5c946e", "#3d6b50", "#25523b", "#14402b")
"""Of a field that 0, 1, 2, ... layers stop; the last for more."""


def _tone(layers: int) -> int:
    return min(layers, len(COLOURS) - 1)


def page(matrix: Matrix) -> str:
    """One HTML page without any other file: a heat map, and behind each row the layers and their reasons."""
    sections = [Section("matrix", "What stops what", heat_map(matrix))]
    return document("How many layers stop what a container might try", sections).decode()


def picture(matrix: Matrix) -> str:
    """One SVG picture: a row for each container type, a square for each action, as many layers as stop it."""
    side, left, top = 9, 82, 34
    ordered = [(aim, names) for aim, names in by_aim(matrix).items() if names]
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
        label = WORDS[aim] if len(names) * side > 60 else aim.value
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
