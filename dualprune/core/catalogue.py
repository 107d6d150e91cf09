"""Describes every plug-in, for people and for editors: what it is, what it reads, and its options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dualprune.core.config import Config
from dualprune.core.plugins import KINDS, registry
from dualprune.core.registry import nearest
from dualprune.core.section import Section
from dualprune.errors import ConfigError

# kind: the key that chooses one, and the key under which its options stand
PLACES = {
    "score method": ("score.methods", "score.options.{name}"),
    "sampler": ("select.method", "select.options.{name}"),
    "source": ("data.source", "data.options"),
    "model": ("model.name", "model.options"),
    "measurement": ("score.methods", "measure.options.{name}"),
    "statistic": ("record.statistics", ""),
    "curriculum": ("train.curriculum.name", "train.curriculum.options"),
}
# Class attributes that say how a plug-in behaves, beside what it reads.
TRAITS = (
    "signed",
    "scope",
    "min_epochs",
    "has_ratio",
    "low",
    "high",
    "width",
    "first_epoch",
    "stored",
    "family",
    "leaves_out_from",
)
READS = ("reads", "needs")


@dataclass(frozen=True)
class Option:
    """An option: its name, its type in words, its default as a plain value, and what it means."""

    name: str
    type: str
    default: Any
    description: str


@dataclass(frozen=True)
class Description:
    """A plug-in.

    `about` is the first line of its docstring, `reads` what it reads with its default options, `source` where it was
    published, `cost` what it takes beyond training, `differences` how the sources differ from it and which option
    reproduces that, and `traits` what its class declares besides. Where another package's plug-in cannot be loaded,
    `broken` says why, and the rest is empty.
    """

    kind: str
    name: str
    about: str = ""
    chosen_by: str = ""
    options_key: str = ""
    reads: Sequence[str] = ()
    source: str = ""
    cost: str = ""
    differences: Sequence[Mapping[str, str]] = ()
    traits: Mapping[str, Any] | None = None
    options: Sequence[Option] = ()
    broken: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the description as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if value or name in ("reads", "options")}


def catalogue() -> list[Description]:
    """Return every plug-in by kind and name, including those of other packages that cannot be loaded."""
    found = []
    for kind in KINDS:
        names = registry(kind).names()
        found += [_describe(kind, name) for name in names]
        found += [Description(kind, name, broken=why) for name, why in sorted(registry(kind).broken.items())]
    return found


def described(name: str) -> list[Description]:
    """Return the plug-ins of this name, of any kind; where there is none, a ConfigError suggests the nearest name.

    `family/member` is described by its family.
    """
    everything = catalogue()
    found = [one for one in everything if one.name == name.partition("/")[0]]
    if not found:
        known = sorted({one.name for one in everything})
        raise ConfigError(f"there is no plug-in {name!r}; there are: {', '.join(known)}{nearest(name, known)}")
    return found


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration, including the options of every plug-in."""
    schema = Config.model_json_schema()
    for kind, (chosen_by, options_key) in PLACES.items():
        if not options_key:
            continue
        key = chosen_by.rpartition(".")[2]
        section = _section(schema, options_key.removesuffix(".{name}").split(".")[:-1])
        for name in registry(kind).names():
            if _describe(kind, name).broken:
                continue
            reference = {"$ref": f"#/$defs/{_add_definition(schema, kind, name, registry(kind)[name])}"}
            if "{name}" in options_key:
                section["properties"]["options"].setdefault("properties", {})[name] = reference
            else:
                chosen = {"properties": {key: {"pattern": f"^{re.escape(name)}(/.*)?$"}}}
                rule = {"if": chosen, "then": {"properties": {"options": reference}}}
                section.setdefault("allOf", []).append(rule)
    return schema


def _describe(kind: str, name: str) -> Description:
    plugin = registry(kind)[name]
    try:
        return _description(kind, name, plugin)
    except Exception as error:
        # Another package's class may raise anything; list the other plug-ins all the same.
        return Description(kind, name, broken=f"{type(error).__name__}: {error} ({plugin!r})")


def _description(kind: str, name: str, plugin: Any) -> Description:
    chosen_by, options_key = PLACES.get(kind, ("", ""))
    return Description(
        kind,
        name,
        about=(inspect.getdoc(plugin) or "").partition("\n")[0],
        chosen_by=chosen_by,
        options_key=options_key.format(name=name),
        reads=next((tuple(_value(plugin, attribute)) for attribute in READS if hasattr(plugin, attribute)), ()),
        source=getattr(plugin, "source", ""),
        cost=getattr(plugin, "cost", ""),
        differences=tuple(difference._asdict() for difference in getattr(plugin, "differences", ())),
        traits={trait: _plain(_value(plugin, trait)) for trait in TRAITS if hasattr(plugin, trait)},
        options=tuple(_options(plugin.Options)),
    )


def _value(plugin: Any, attribute: str) -> Any:
    # A trait that depends on the options is a property; take its value with the default options.
    if isinstance(inspect.getattr_static(plugin, attribute), property):
        return getattr(plugin(), attribute)
    return getattr(plugin, attribute)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | bool | int | None) else float(value)


def _options(model: type[Section]) -> Iterator[Option]:
    schema = model.model_json_schema()
    for name, properties in schema.get("properties", {}).items():
        default = properties.get("default")
        yield Option(name, type_text(properties, schema.get("$defs", {})), default, properties.get("description", ""))


def type_text(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> str:
    """Return the type that a JSON schema describes, in words: `number > 0`, `hardest | easiest`, `integer or null`."""
    definitions = definitions or {}
    if "$ref" in schema:
        return type_text(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(type_text(part, definitions) for part in schema[key]))
    kind = str(schema.get("type", "any value"))
    if kind == "array" and "items" in schema:
        return f"list of {type_text(schema['items'], definitions)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"mapping to {type_text(schema['additionalProperties'], definitions)}"
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return " ".join([kind, ", ".join(bounds)]) if bounds else kind


def _section(schema: dict[str, Any], way: Sequence[str]) -> dict[str, Any]:
    """Return the definition of the section at a dotted key."""
    found = schema
    for name in way:
        found = schema["$defs"][found["properties"][name]["$ref"].rpartition("/")[2]]
    return found


def _add_definition(schema: dict[str, Any], kind: str, name: str, plugin: Any) -> str:
    """Add the schema of a plug-in's options, and of what it refers to; return the name of its definition."""
    key = f"{kind.replace(' ', '_')}.{name}"
    own = plugin.Options.model_json_schema(ref_template=f"#/$defs/{key}.{{model}}")
    for inner, definition in own.pop("$defs", {}).items():
        schema["$defs"][f"{key}.{inner}"] = definition
    schema["$defs"][key] = own
    return key
