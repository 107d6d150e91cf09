"""Compiles numeric loops with numba, when they are first called: importing them costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any


def compiled(function: Callable[..., Any]) -> Compiled:
    """Return the function in compiled form; the machine code is kept on disk where a folder for it can be written."""
    return Compiled(function)


class Compiled:
    """A function that numba compiles at its first call, together with the compiled functions that it calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._dispatcher: Any = None
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        if self._dispatcher is None:
            self.dispatcher()
        return self._dispatcher(*arguments)

    def __reduce__(self) -> str:
        # By name, as functions are: the process that loads it compiles it, or finds the machine code on disk.
        return self._function.__qualname__

    def dispatcher(self) -> Any:
        """Return the function as numba compiled it."""
        if self._dispatcher is None:
            import numba

            # numba resolves callees by the module's global names, so those must be bound to compiled functions.
            names = self._function.__globals__
            for name in self._function.__code__.co_names:
                if isinstance(names.get(name), Compiled):
                    names[name] = names[name].dispatcher()
            options = {"nogil": True, "error_model": "numpy"}
            try:
                self._dispatcher = numba.njit(cache=True, **options)(self._function)
            except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
                self._dispatcher = numba.njit(**options)(self._function)
        return self._dispatcher
