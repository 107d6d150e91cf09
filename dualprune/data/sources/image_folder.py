"""Folders of image files, one folder per class, as ImageNet is laid out: class/name.jpg."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.parquet import WrittenFile
from dualprune.core.section import Section
from dualprune.core.sections import Images
from dualprune.core.storage import Location
from dualprune.data.decoding import UndecodableError
from dualprune.data.files import SPLIT_WORDS, has_glob, paths_of, tree_below
from dualprune.data.image_files import write_images
from dualprune.data.kept_rows import FILES_PER_PART, KeptPart, grouped
from dualprune.data.listed_source import IMAGE_SUFFIXES, ListedSource, read_images
from dualprune.data.source import SOURCES, Shard, Split
from dualprune.errors import DataError

logger = logging.getLogger(__name__)
FLAT = "set data.layout to flat to take all folders in it as classes"
# Files by their path below a folder, with their bytes, and folders with None.
Tree = dict[str, int | None]


@SOURCES.register("image_folder")
class ImageFolder(ListedSource):
    """Folders with one subfolder of image files per class; an image's id is its path below the folder of the classes.

    The subfolders train, val and test of a folder are its splits.
    """

    class Options(Section):
        """How folders name classes."""

        baseline: ClassVar[Mapping[str, Any]] = {"class_folder": "first"}

        class_folder: Literal["first", "last"] = Field(
            "first",
            description="Which folder on the way to an image is its class where folders lie in folders: the first one, "
            "or the last one, which holds the image.",
        )

    wanted = "the folder that holds one folder per class"
    id_name = "path"
    label_name = "class folder"
    remedy = "rename one of them, or read one of the folders alone"
    facts = ("sample_id", "label", "size")

    def list_samples(self) -> tuple[pa.Table, pa.Table]:
        config = self.config
        # Folders whose paths are those of samples; rows name them by number.
        self._roots: list[Location] = []
        train: list[tuple[Location, Tree]] = []
        test: list[tuple[Location, Tree]] = []
        named_test = [Location.of(path) for path in paths_of(config.test_path)]
        for path in paths_of(config.path):
            root, tree = _opened(path, "data.path")
            tree = _without(tree, [inside for place in named_test if (inside := place.path_inside(root))])
            splits = self._splits(root, tree, "data.path")
            train += _chosen(splits, root, tree, "data.path", ("train",))
            if splits.keys() & {"test", "validation"} and not named_test:
                test += _chosen(splits, root, tree, "data.path", ("test", "validation"))
        for path in paths_of(config.test_path):
            root, tree = _opened(path, "data.test_path")
            test += _chosen(
                self._splits(root, tree, "data.test_path"), root, tree, "data.test_path", ("test", "validation")
            )
        return self._listed(train, "train"), self._listed(test, "test")

    def contents(self, rows: pa.Table) -> Iterator[bytes | UndecodableError]:
        return read_images((self._place(row), row["sample_id"]) for row in rows.to_pylist())

    def place_of(self, row: dict[str, Any]) -> str:
        return str(self._place(row))

    def export_groups(self, kept: NDArray[np.int64], max_rows: int) -> list[list[Shard]]:
        return grouped(([shard] for shard in self.shards("train")), kept, min(max_rows, FILES_PER_PART))

    def export(self, part: KeptPart, place: Location, images: Images) -> list[tuple[str, WrittenFile]]:
        """Write one folder per class, with the kept images or links to them."""
        tables = [self.rows(shard).take(pa.array(kept)) for shard, kept in zip(part.shards, part.rows, strict=True)]
        rows = pa.concat_tables(tables).to_pylist() if tables else []
        wanted = [(str(row["sample_id"]), self._place(row)) for row in rows]
        return write_images(wanted, place, images)

    def _place(self, row: dict[str, Any]) -> Location:
        root: Location = self._roots[int(row["root"])]
        return root / str(row["sample_id"])

    def _splits(self, root: Location, tree: Tree, key: str) -> dict[str, list[str]]:
        """Return the subfolders that are splits, by split; none where the subfolders are classes."""
        if self.config.layout == "flat":
            return {}
        tops = [name for name, size in tree.items() if size is None and "/" not in name]
        found = {split: [top for top in tops if top.lower() in words] for split, words in SPLIT_WORDS.items()}
        found = {split: folders for split, folders in found.items() if folders}
        other = next((top for top in tops if not any(top in folders for folders in found.values())), None)
        if found and other is not None:
            if found.keys() == {"train"} or "train" not in found:
                # A class may be called train.
                return {}
            raise DataError(
                f"{key}: {root / found['train'][0]} is of the split train, {root / other} of none; name the folders in "
                f"data.path and data.test_path, or {FLAT}"
            )
        return found

    def _listed(self, folders: list[tuple[Location, Tree]], split: Split) -> pa.Table:
        columns: dict[str, list[Any]] = {"sample_id": [], "label": [], "size": [], "root": []}
        key = "data.path" if split == "train" or self.config.test_path is None else "data.test_path"
        for root, tree in folders:
            images = {name: size for name, size in tree.items() if size is not None and _is_image(name)}
            others = [name for name, size in tree.items() if size is not None and name not in images]
            if others:
                logger.info(
                    "%s: %d files that are no images are not read, such as %s", key, len(others), root / others[0]
                )
            self._check_folders(root, tree, images, key)
            at = 0 if self.options.class_folder == "first" else -2
            columns["sample_id"] += images
            columns["label"] += [name.split("/")[at] for name in images]
            columns["size"] += images.values()
            columns["root"] += [len(self._roots)] * len(images)
            self._roots.append(root)
        types = {"sample_id": pa.string(), "label": pa.string(), "size": pa.int64(), "root": pa.int32()}
        try:
            return pa.table({name: pa.array(columns[name], kind) for name, kind in types.items()})
        except UnicodeEncodeError as error:
            raise DataError(f"{key}: the name {error.object!r} is not valid UTF-8; rename the file or folder") from None

    def _check_folders(self, root: Location, tree: Tree, images: Mapping[str, Any], key: str) -> None:
        """Raise a DataError where there are no classes, an image lies in no class folder, or a class has no image."""
        folders = [name for name, size in tree.items() if size is None]
        loose = next((name for name in images if "/" not in name), None)
        if loose is not None:
            raise DataError(f"{key}: the image {root / loose} lies in no class folder; expected {root}/CLASS/{loose}")
        if not folders:
            raise DataError(f"{key}: {root} holds no class folder; expected {root}/CLASS/NAME.jpg")
        if self.options.class_folder == "first":
            folders = [name for name in folders if "/" not in name]
        holding = {name[:end] for name in images for end in _slashes(name)}
        empty = [name for name in folders if name not in holding]
        if empty:
            more = f" ({len(empty)} such folders)" if len(empty) > 1 else ""
            raise DataError(
                f"{key}: the class folder {root / empty[0]} holds no image{more}; put its images there, or remove it. "
                f"Images are files {', '.join('*' + suffix for suffix in IMAGE_SUFFIXES)}"
            )


def _opened(path: str, key: str) -> tuple[Location, Tree]:
    root = Location.of(path)
    if has_glob(path):
        raise DataError(f"{key}: {path} is a glob; name the folders themselves, several as a list")
    if not root.exists():
        raise DataError(f"{key}: there is no folder {root}")
    if root.is_file():
        raise DataError(f"{key}: {root} is a file; expected a folder with one folder per class")
    # A camera's files may begin with an underscore.
    return root, tree_below(root, hidden=".")


def _chosen(
    splits: dict[str, list[str]], root: Location, tree: Tree, key: str, wanted: tuple[str, ...]
) -> list[tuple[Location, Tree]]:
    """Return the folders of the first wanted split that has classes, or the folder itself where it has no splits."""
    if not splits:
        return [(root, tree)]
    there = [split for split in wanted if split in splits]
    if not there:
        raise DataError(
            f"{key}: {root} has folders of the split {' and '.join(splits)} only; name the folder, or {FLAT}"
        )
    for split in there:
        parts = [(root / top, _below(tree, top)) for top in splits[split]]
        # ImageNet's own test images have no labels.
        if split == there[-1] or any(size is None for _, part in parts for size in part.values()):
            return parts
        logger.info("%s: %s has no class folders and is not read", key, parts[0][0])
    raise AssertionError("the last split is taken")


def _below(tree: Tree, folder: str) -> Tree:
    return {name[len(folder) + 1 :]: size for name, size in tree.items() if name.startswith(f"{folder}/")}


def _without(tree: Tree, folders: list[str]) -> Tree:
    apart = tuple(f"{folder}/" for folder in folders)
    return {name: size for name, size in tree.items() if not f"{name}/".startswith(apart)} if apart else tree


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _slashes(name: str) -> list[int]:
    return [number for number, character in enumerate(name) if character == "/"]
