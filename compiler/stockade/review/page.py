"""The whole page of a bundle: figures first, then what stops what, who may do what, limits, promises, digests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sized

from stockade.page.document import Section, document
from stockade.page.markup import Child, Html, joined
from stockade.page.parts import badge, code, disclosure, facts, figures, paragraph, table
from stockade.review import access, calls, flows, limits, promises, stops
from stockade.review.gather import Review


def page(review: Review) -> bytes:
    """The page as UTF-8; the same bundle and source give the same bytes."""
    made = review.source.policy.promises if review.source is not None else {}
    sections = [
        Section("types", "Container types", limits.types(review), str(len(review.specs))),
        Section("stops", "What stops what", stops.heat_map(review.matrix), str(len(review.matrix.actions))),
        Section("promises", "Promises", promises.promises(review), str(len(made)) if made else ""),
        Section("access", "Who may do what", access.access_map(review)),
        Section("flows", "Where data goes", flows.flows(review)),
        Section("calls", "System calls", calls.families(review)),
        Section("capabilities", "Capabilities", limits.capabilities(review)),
        Section("limits", "Limits", limits.limits(review)),
        Section("bundle", "Bundle", _bundle(review), str(len(review.bundle.manifest.entries))),
    ]
    manifest = review.bundle.manifest
    return document(
        f"{manifest.policy_name} {manifest.policy_version}",
        sections,
        lead=_lead(review),
        foot=paragraph(
            "Everything here was read back from the compiled bundle of digest ", code(review.bundle.digest), ". "
            "Unfold a row by its name; the keys Tab and Enter do the same."
        ),
    )  # fmt: skip


def _lead(review: Review) -> Html:
    why: Child = None
    if review.source is not None:
        why = paragraph(review.source.policy.host.why)
    else:
        why = paragraph(
            badge("info", "without source"), " Names, reasons and lines are in the policy, which was not at hand."
        )
    trying = [name for name, spec in review.specs.items() if limits.complains(spec)]
    warned = (
        paragraph(badge("bad", "not enforced"), f" {', '.join(trying)}: tried out, in mode complain")
        if trying
        else None
    )
    return joined(why, warned, figures(summary(review)))


def summary(review: Review) -> list[tuple[str, str]]:
    """The figures at the head of the page, each with its words."""
    matrix = review.matrix
    single = sum(matrix.layers(action, name) == 1 for action in matrix.actions for name in matrix.types)
    held = Counter(matrix.held(name, 2) for name in matrix.types).most_common(1)
    found = [
        (str(len(matrix.types)), "container types"),
        (str(len(matrix.actions)), "actions tried against each"),
        (str(single), "verdicts that rest on one layer"),
    ]
    if held:
        (most, escapes), count = held[0]
        found.append((f"{most}/{escapes}", f"escapes stopped twice, in {count} of {len(matrix.types)} types"))
    if review.source is not None:
        given = promises.grants(review)
        made = review.source.policy.promises.values()
        kept = sum(promises.kept(review, one, given) for one in made)
        found.append((f"{kept}/{len(made)}", "promises kept by what was compiled"))
    return found


def _bundle(review: Review) -> Html:
    manifest = review.bundle.manifest
    entries = [
        (code(e.path), limits.size(e.size) if e.size % 1024 == 0 else f"{e.size} B", code(e.sha256), e.media_type)
        for e in manifest.entries
    ]
    said: list[tuple[Child, Child]] = [
        ("policy", f"{manifest.policy_name} {manifest.policy_version}"),
        ("manifest", code(review.bundle.digest)),
        ("source", joined(code(manifest.source), " ", _source(review))),
        ("compiler", code(manifest.compiler)),
        ("kernel policy", joined(code(review.kernel_policy), f", {_counts(review)}")),
    ]
    headings = ["file", "size", "SHA-256", "media type"]
    files = table(headings, entries, label="Files of the bundle", stacked=True)
    return joined(facts(said), disclosure(f"{len(entries)} files, each as the manifest lists it", files))


def _source(review: Review) -> Html:
    if review.source is None:
        return badge("info", "not at hand")
    return badge("good", "is the policy whose words are on this page")


def _counts(review: Review) -> str:
    policy = review.policy
    counted: dict[str, Sized] = {
        "types": policy.types, "classes": policy.classes, "rules": policy.vectors, "constraints": policy.constraints,
    }  # fmt: skip
    return ", ".join(f"{len(found)} {word}" for word, found in counted.items())
