"""Reads YAML that people write: plain values alone, no key twice, no more than a configuration needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from dualprune.errors import ConfigError

# A configuration needs none, and a few lines of nested aliases expand to billions of values.
MOST_ALIASES = 20
MOST_BYTES = 10_000_000


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, except that repeated keys and more than MOST_ALIASES aliases are errors."""

    num_aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.num_aliases += 1
            if self.num_aliases > MOST_ALIASES:
                raise yaml.YAMLError(f"more than {MOST_ALIASES} aliases (*name); write the values out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            line = key.start_mark.line + 1
            try:
                known = seen.get(name)
            except TypeError:
                raise yaml.YAMLError(f"line {line}: a key is a list or a mapping; expected text") from None
            if known is not None:
                raise yaml.YAMLError(f"the key {name!r} is given twice, in lines {known} and {line}; keep one")
            seen[name] = line
        return super().construct_mapping(node, deep)


def parse_yaml(content: bytes | str, name: str, what: str = "it") -> Any:
    """Return the plain values of a YAML document; a ConfigError names the document and what is wrong in it."""
    with _errors(content, name, what):
        loader = _Loader(content)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()


def parse_documents(content: bytes | str, name: str) -> list[Any]:
    """Return the plain values of each YAML document in a file; errors as for `parse_yaml`."""
    with _errors(content, name, "it"):
        loader = _Loader(content)
        documents = []
        try:
            while loader.check_data():  # type: ignore[no-untyped-call]
                documents.append(loader.get_data())
        finally:
            loader.dispose()
    return documents


@contextmanager
def _errors(content: bytes | str, name: str, what: str) -> Iterator[None]:
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{name}: has {len(content):,} bytes; expected at most {MOST_BYTES:,}. Is it the right file?")
    try:
        yield
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{name}: {what} is not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{name}: {what} is not valid YAML: it is nested too deeply") from None
