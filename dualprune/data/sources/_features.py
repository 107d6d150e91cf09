"""The features of Hugging Face's datasets: what a column holds, and the names of classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dualprune.core.storage import Location
from dualprune.errors import ConfigError, DataError

IMAGES = ("Image", "Array3D", "Array2D")


def features_of(place: Location, schema: pa.Schema) -> dict[str, Any]:
    """Return the features by column, as a file's schema has them."""
    metadata = (schema.metadata or {}).get(b"huggingface")
    if metadata is None:
        raise DataError(
            f"{place} does not say what its columns hold (there is no 'huggingface' in the metadata of its schema); "
            "for Parquet files of other programs set data.source to parquet"
        )
    try:
        features = json.loads(metadata)["info"]["features"]
        return {str(name): feature for name, feature in features.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{place}: 'huggingface' in the metadata of its schema cannot be read ({error!r})") from None


def image_column(features: Mapping[str, Any], place: Location) -> str:
    """Return the one column of images."""
    return _one(features, IMAGES, "image_column", place)


def label_column(features: Mapping[str, Any], place: Location) -> str:
    """Return the one column of classes, or else the one called `label`."""
    if not _of_kinds(features, ("ClassLabel",)) and "label" in features:
        return "label"
    return _one(features, ("ClassLabel",), "label_column", place)


def class_names(feature: Any) -> tuple[str, ...] | None:
    """Return the names of a ClassLabel's classes, by label; None for another feature."""
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    if not isinstance(names, list) or len(set(names)) != len(names):
        return None
    return tuple(map(str, names))


def _of_kinds(features: Mapping[str, Any], kinds: tuple[str, ...]) -> list[str]:
    return [name for name, one in features.items() if isinstance(one, dict) and one.get("_type") in kinds]


def _one(features: Mapping[str, Any], kinds: tuple[str, ...], key: str, place: Location) -> str:
    found = next((named for kind in kinds if (named := _of_kinds(features, (kind,)))), [])
    if len(found) == 1:
        return found[0]
    what = f"the columns {', '.join(found)} are all {kinds[0]}" if found else f"no column is {kinds[0]}"
    raise ConfigError(f"data.options.{key}: {what} in {place}; name one of: {', '.join(features)}")
