"""`stockade check --mutate` on CIL that others wrote: what its own neverallow rules refuse."""

from __future__ import annotations

from pathlib import Path

from stockade.cli.files import MIB, read
from stockade.cli.output import Answer, Stop, json_document, table, text

_LIMIT = 256 * MIB


def mutate_cil(path: Path, subjects: str | None, objects: str | None, verbs: str | None, form: str) -> Answer:
    """Score the CIL of a file, or of all `.cil` files of a folder in the order of their names."""
    from stockade.prove.foreign import Unscored, score
    from stockade.selinux.libsepol import CilError, SepolError

    parts = sorted(path.glob("*.cil")) if path.is_dir() else [path]
    try:
        found = score([(str(part), read(part, _LIMIT)) for part in parts], subjects, objects, verbs)
    except (CilError, Unscored) as error:
        raise Stop(f"{path}: {error}", Answer.NO if isinstance(error, CilError) else Answer.USAGE) from None
    except SepolError as error:
        raise Stop(f"{path}: {error}") from error
    refused = sum(found.rejected.values())
    reach: dict[tuple[str, str], list[str]] = {}
    for one in found.survivors:
        reach.setdefault((one.verb, one.subject), []).append(one.target)
    blocks: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (verb, subject), targets in reach.items():
        blocks.setdefault((verb, tuple(targets)), []).append(subject)
    if form == "json":
        json_document(
            {
                "score": round(found.share, 6),
                "tried": found.total,
                "rejected": refused,
                "compiled": found.total,
                "verbs": {v: {"tried": n, "rejected": found.rejected[v]} for v, n in sorted(found.tried.items())},
                "survivors": [
                    {"verb": verb, "who": who, "what": list(what), "access": ""} for (verb, what), who in blocks.items()
                ],
                "waivers": [],
            }
        )
    else:
        table(
            ("verb", "widenings", "refused"),
            [(verb, str(tried), str(found.rejected[verb])) for verb, tried in sorted(found.tried.items())],
        )
        for (verb, what), who in blocks.items():
            text(f"survives: {', '.join(who)} may {verb}: {', '.join(what)}")
        text(f"{path}: mutation score {100 * found.share:.1f} %: {refused} of {found.total} widenings are refused")
    return Answer.NO if found.survivors else Answer.YES


def is_cil(path: Path | None) -> bool:
    """Whether a path is CIL and no policy of ours: what is called `.cil`, or a folder with such files and no host."""
    if path is None:
        return False
    if path.is_dir():
        return not (path / "host").is_dir() and any(path.glob("*.cil"))
    return path.suffix == ".cil"
