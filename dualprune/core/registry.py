"""A registry: names to objects, filled by a decorator and by an entry-point group of other packages."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from dualprune.errors import ConfigError

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the known name closest to `name`, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {match[0]!r}?" if match else ""


class Registry(Generic[T]):
    """Named objects of one kind.

    A package of the user's adds to it by an entry point in `group`, whose value is the object itself:

        [project.entry-points."dualprune.sources"]
        my_source = "my_package.sources:MySource"
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._items: dict[str, T] = {}
        self._entry_points_loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`; a second one of that name is a ValueError."""

        def add(item: T) -> T:
            if name in self._items:
                raise ValueError(f"{self.kind} {name!r} is registered already, by {self._items[name]!r}")
            self._items[name] = item
            return item

        return add

    def names(self) -> list[str]:
        """Return every registered name, sorted."""
        self._load_entry_points()
        return sorted(self._items)

    def __contains__(self, name: object) -> bool:
        self._load_entry_points()
        return name in self._items

    def __getitem__(self, name: str) -> T:
        self._load_entry_points()
        if name not in self._items:
            known = self.names()
            raise ConfigError(f"unknown {self.kind} {name!r}; there are: {', '.join(known)}{nearest(name, known)}")
        return self._items[name]

    def _load_entry_points(self) -> None:
        if self._entry_points_loaded:
            return
        self._entry_points_loaded = True
        for entry in entry_points(group=self.group):
            if entry.name not in self._items:
                self._items[entry.name] = entry.load()
