"""Sentences about a change of policy: as lines for a terminal, and as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stockade.prove.changes import Effect
from stockade.prove.diff_words import Sentence

TITLES = {
    Effect.WIDENS: "Wider",
    Effect.CHANGES: "Changed, in no one direction",
    Effect.NARROWS: "Narrower",
    Effect.NEUTRAL: "No effect by itself",
}
SAME = "Both policies allow the same."


def words(found: Sequence[Sentence]) -> Iterator[str]:
    """One line a sentence, with the effect before it."""
    if not found:
        yield SAME
    for sentence in found:
        yield f"{sentence.effect}: {sentence}"


def markdown(found: Sequence[Sentence]) -> Iterator[str]:
    """A heading, the verdict in one line, then a list for each effect."""
    yield "## Change of policy"
    yield ""
    if not found:
        yield SAME
        return
    count = {effect: sum(sentence.effect is effect for sentence in found) for effect in TITLES}
    yield (
        ", ".join(f"**{number} {title.lower()}**" for effect, title in TITLES.items() if (number := count[effect]))
        + "."
    )
    for effect, title in TITLES.items():
        if count[effect]:
            yield from ("", f"### {title}", "")
            yield from (f"- {sentence}" for sentence in found if sentence.effect is effect)
