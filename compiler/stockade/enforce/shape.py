"""Parts of a specification by their keys, each of the kind that it must be, or refused."""

from __future__ import annotations

from stockade.enforce.refusal import WELL_FORMED, refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]


def mapping(holder: Json, key: str, where: str = "") -> Json:
    """An object by its key: an empty one where it is absent or null. Raises Refused where it is something else."""
    value = holder.get(key)
    if value is None:
        return {}
    if type(value) is not dict:
        raise refuse(WELL_FORMED, f"{where}{key} is no object")
    return value


_KINDS: dict[type, frozenset[type]] = {kind: frozenset([kind]) for kind in (dict, str)}


def listing(holder: Json, key: str, kind: type, where: str = "") -> list[Any]:
    """An array of values of one type by its key: an empty one where it is absent or null. Raises Refused."""
    value = holder.get(key)
    if value is None:
        return []
    if type(value) is not list or not _KINDS[kind].issuperset(map(type, value)):
        raise refuse(WELL_FORMED, f"{where}{key} is no array of {'objects' if kind is dict else 'strings'}")
    return value


def text(holder: Json, key: str, where: str = "") -> str:
    """A string by its key: an empty one where it is absent or null. Raises Refused."""
    value = holder.get(key)
    if value is None:
        return ""
    if type(value) is not str:
        raise refuse(WELL_FORMED, f"{where}{key} is no string")
    return value


def number(holder: Json, key: str, where: str = "") -> int | None:
    """An integer by its key, None where it is absent or null. Raises Refused."""
    value = holder.get(key)
    if value is not None and type(value) is not int:
        raise refuse(WELL_FORMED, f"{where}{key} is no integer")
    return value
