"""Plug-ins by name: found in a folder of this package and through entry points of other packages."""

from __future__ import annotations

import difflib
import logging
import pkgutil
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from dualprune.core.section import Section
from dualprune.errors import ConfigError, MissingPluginError

logger = logging.getLogger(__name__)
T = TypeVar("T", bound="type[Plugin]")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the known name closest to `name`, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {match[0]!r}?" if match else ""


class Difference(NamedTuple):
    """Where a published method's sources disagree, and the option that reproduces the other behaviour, or why not."""

    what: str
    option: str


class Plugin:
    """Something that a user chooses by name, and that owns its options.

    A plug-in is one class in one file: `name` is set by the decorator that registers it, `Options` is its model of
    options (one field each, with a default and a description), and the first line of its docstring is what
    `dualprune methods` prints.
    """

    name: ClassVar[str]
    # Where a method was published, what it costs beyond training, and how its sources differ from it.
    source: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    differences: ClassVar[tuple[Difference, ...]] = ()

    class Options(Section):
        """No options."""

    def __init__(self, options: Section | None = None) -> None:
        self.options: Any = self.Options() if options is None else options

    def identity(self) -> dict[str, Any]:
        """Return what results depend on: the options that differ from `Options.baseline`, and their version."""
        from dualprune.core.identity import differences

        return differences(self.Options, self.options.model_dump(mode="json"))


class _Package(ModuleType):
    """A folder of plug-ins: where a submodule is bound to its name, its function of the same name takes its place.

    So `dualprune.scores.dual(…)` is the function, however the submodule came to be imported.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and callable(function := getattr(value, name, None)):
            value = function
        super().__setattr__(name, value)


class Registry(Generic[T]):
    """Plug-ins of one kind.

    `folder` is a package of ours, each module of which may register plug-ins; modules whose name begins with an
    underscore are passed over. Another package adds its own by an entry point in `group`:

        [project.entry-points."dualprune.sources"]
        my_source = "my_package.sources:MySource"
    """

    def __init__(self, kind: str, folder: str, group: str) -> None:
        self.kind, self.folder, self.group = kind, folder, group
        # Import errors by name: a broken plug-in of another package is reported only when it is asked for.
        self.broken: dict[str, str] = {}
        self._items: dict[str, T] = {}
        self._scanned = False
        if folder in sys.modules:
            sys.modules[folder].__class__ = _Package

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a class as `name`; a second class of that name is a ValueError."""

        def add(item: T) -> T:
            known = self._items.get(name)
            if known is not None and known is not item:
                raise ValueError(f"{self.kind} {name!r} is registered already, by {known!r}")
            item.name = name
            self._items[name] = item
            return item

        return add

    def names(self) -> list[str]:
        """Return every registered name, sorted."""
        self.scan()
        return sorted(self._items)

    def __contains__(self, name: object) -> bool:
        self._find(str(name))
        return name in self._items

    def __getitem__(self, name: str) -> T:
        self._find(name)
        if name not in self._items:
            if name in self.broken:
                raise ConfigError(
                    f"{self.kind} {name!r} cannot be loaded: {self.broken[name]}; repair or uninstall the package"
                )
            known = self.names()
            raise MissingPluginError(
                f"unknown {self.kind} {name!r}; there are: {', '.join(known)}{nearest(name, known)}"
            )
        return self._items[name]

    def _find(self, name: str) -> None:
        """Import the module of this name, or, where that does not register it, all modules and entry points."""
        if name in self._items or self._scanned:
            return
        if name.isidentifier() and not name.startswith("_") and name in self._modules():
            self._load(name)
        if name not in self._items:
            self.scan()

    def scan(self) -> None:
        """Import every module of the folder and every entry point, once."""
        if self._scanned:
            return
        self._scanned = True
        for module in self._modules():
            self._load(module)
        for entry in entry_points(group=self.group):
            if entry.name in self._items:
                continue
            try:
                item = entry.load()
                self.register(entry.name)(item)
            except Exception as error:
                self.broken[entry.name] = f"{type(error).__name__}: {error} (entry point {entry.value})"
                logger.warning("%s %r of another package cannot be loaded: %s", self.kind, entry.name, error)

    def _modules(self) -> list[str]:
        package = import_module(self.folder)
        return [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]

    def _load(self, name: str) -> None:
        import_module(f"{self.folder}.{name}")
