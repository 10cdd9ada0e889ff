"""A function that is asked once for each thing: for what many container types have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class Once(Generic[Arguments, Result]):
    """Remembers results by the identity of the arguments, and the value of those that are text, bytes or tuples.

    Identity, because hashing a policy of hundreds of rules costs what is to be saved. What is equal and not the same is
    asked again, which is slower and never wrong; arguments are kept, so that the place of one cannot be another's.
    """

    def __init__(self, function: Callable[Arguments, Result]) -> None:
        self._function: Callable[..., Result] = function
        self._known: dict[tuple[Any, ...], tuple[object, Result]] = {}

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """The function's result. An exception is not remembered."""
        given = (*args, *sorted(kwargs.items()))
        key = tuple(arg if isinstance(arg, str | bytes | tuple) else id(arg) for arg in given)
        if key not in self._known:
            self._known[key] = given, self._function(*args, **kwargs)
        return self._known[key][1]
