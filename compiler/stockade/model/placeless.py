"""A model as what it says, wherever it was said: for asking whether two sources are the same policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any

from stockade.model.position import Position


def placeless(value: Any) -> Any:
    """A part of the model as plain data without positions, everything in one order."""
    if isinstance(value, Enum) or not (
        dataclasses.is_dataclass(value) or isinstance(value, Mapping | tuple | list | frozenset | set)
    ):
        return value
    if isinstance(value, Mapping):
        return {str(key): placeless(item) for key, item in value.items() if not isinstance(item, Position)}
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {
            "": type(value).__name__,
            **{name: placeless(item) for name, item in fields.items() if not isinstance(item, Position)},
        }
    return sorted((placeless(item) for item in value), key=repr)
