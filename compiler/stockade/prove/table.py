"""Access vectors of a kernel policy in the model's terms."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from stockade.model.access import mask
from stockade.selinux.binary_values import Vectors


def table_of_vectors(vectors: Vectors) -> dict[tuple[str, str], int]:
    """(source, target) -> access mask. KeyError when a permission is one that the model has not."""
    return {pair: _vector(vector) for pair, vector in vectors.items()}


def _vector(vector: Mapping[str, frozenset[str]]) -> int:
    access = 0
    for name, permissions in vector.items():
        access |= _mask(name, permissions)
    return access


@lru_cache(maxsize=4096)
def _mask(name: str, permissions: frozenset[str]) -> int:
    return mask(name, permissions)
