"""Promises with their proof: what was asked of the compiled thing, how often, and what it answered."""

from __future__ import annotations

from collections.abc import Mapping

from stockade.model.access import words
from stockade.model.promise import ActionPromise, LabelPromise, Promise
from stockade.page.markup import Child, Html, element, joined
from stockade.page.parts import badge, disclosure, facts, paragraph, place
from stockade.prove.labels import breaches
from stockade.review.access import access_of
from stockade.review.gather import Review
from stockade.review.stops import verdict_badge


def promises(review: Review) -> Html:
    """Every promise to unfold, those on all layers first. Without a source there are no promises to hold it against."""
    if review.source is None:
        return paragraph("What is promised stands in the source, which is not at hand.", quiet=True)
    given = grants(review)
    made = review.source.policy.promises.values()
    on_actions = [_action(review, one) for one in made if isinstance(one, ActionPromise)]
    on_labels = [_label(review, one, given) for one in made if isinstance(one, LabelPromise)]
    return joined(
        paragraph("Held against the kernel policy and each type's artefacts, not against the source.", quiet=True),
        element("h3", "over all layers ", element("small", len(on_actions))), on_actions,
        element("h3", "on labels ", element("small", len(on_labels))), on_labels,
    )  # fmt: skip


def grants(review: Review) -> dict[tuple[str, str], int]:
    """(subject's label, object's label) -> access, as the kernel policy gives it."""
    return {
        (subject, target): access_of(vectors)
        for subject in review.table.domains()
        for target, vectors in review.table.given(subject).items()
    }


def kept(review: Review, promise: Promise, given: Mapping[tuple[str, str], int]) -> bool:
    """Does the compiled thing keep it?"""
    if isinstance(promise, LabelPromise):
        return not any(breaches(promise, given))
    return all(
        review.matrix.layers(action, name) >= promise.layers
        for name in promise.containers & set(review.matrix.types)
        for action in promise.actions
    )


def _summary(promise: Promise, holds: bool, proof: str) -> Child:
    mark = badge("good", "kept") if holds else badge("bad", "broken")
    return joined(mark, " ", element("strong", promise.name), " ", element("small", proof))


def _label(review: Review, promise: LabelPromise, given: Mapping[tuple[str, str], int]) -> Html:
    members = sorted(frozenset[str]().union(*(part.members for part in promise.who.parts)))
    asked = sum(len(promise.what.members(subject)) for subject in members)
    found = list(breaches(promise, given))
    body: list[tuple[Child, Child]] = [
        ("never", joined(", ".join(promise.verbs) or words(promise.access))),
        ("who", ", ".join(review.name(label) for label in members)),
        ("what", str(promise.what)),
        ("proof", f"{asked} pairs of labels asked of {review.kernel_policy}; {len(found)} have any of it"),
    ]
    body += [(f"silent on {name}", why) for name, why in sorted(promise.silent_on.items())]
    body += [(review.name(s), f"{review.name(t)}: {words(access)}") for s, t, access in found]
    return disclosure(
        _summary(promise, not found, "1 pair" if asked == 1 else f"{asked} pairs"),
        paragraph(promise.why, " ", place(f"{promise.at.file}:{promise.at.line}")), facts(body),
    )  # fmt: skip


def _action(review: Review, promise: ActionPromise) -> Html:
    names = sorted(promise.containers & set(review.matrix.types))
    asked = [(review.matrix.layers(action, name), action, name) for action in promise.actions for name in names]
    least = min(asked, default=(0, "", ""))[0]
    need = f"at least {promise.layers} {'layer' if promise.layers == 1 else 'layers'}"
    body: list[tuple[Child, Child]] = [("types", ", ".join(names)), ("promised", need)]
    for action in promise.actions:
        fields: list[Child] = [[name, " ", verdict_badge(review.matrix.layers(action, name)), " "] for name in names]
        body.append((element("a", action, href=f"#action-{action}"), fields))
    body += [(f"silent on {name}", why) for name, why in sorted(promise.silent_on.items())]
    proof = f"{len(asked)} verdicts, the weakest has {least}, promised {promise.layers}"
    return disclosure(
        _summary(promise, least >= promise.layers, proof),
        paragraph(promise.why, " ", place(f"{promise.at.file}:{promise.at.line}")), facts(body),
    )  # fmt: skip
