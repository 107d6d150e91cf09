"""Finds the files of a training and a test set: in folders, by globs and in lists, and by the splits in their names."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote

from dualprune.core.sections import DataConfig
from dualprune.core.storage import Location
from dualprune.errors import DataError, StorageError

logger = logging.getLogger(__name__)

# Words in the names of files and folders, as on the Hugging Face hub.
SPLIT_WORDS = {
    "train": {"train", "training"},
    "test": {"test", "testing", "eval", "evaluation"},
    "validation": {"validation", "valid", "val", "dev"},
}
# Names of files and folders that programs put there for themselves begin with one of these.
HIDDEN = "_."
MOST_IN_BRACES = 1_000_000
MISSING_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class DataFile:
    """A file; `name` is its path below the folder that was named.

    Attributes:
        in_folder: a folder was named, not the file or a glob.
        split: in a folder, the split that its name or one of its folders tells.
        above: the part of the path above what tells the split.
    """

    place: Location
    name: str
    in_folder: bool = False
    split: str | None = None
    above: str = ""

    @property
    def partition(self) -> dict[str, str | None]:
        """The columns that its folders hold, such as `year=2024`."""
        pairs = [folder.split("=", 1) for folder in self.name.split("/")[:-1] if "=" in folder]
        return {name: None if value == MISSING_PARTITION else unquote(value) for name, value in pairs}


def find_files(config: DataConfig, suffixes: Sequence[str]) -> tuple[list[DataFile], list[DataFile]]:
    """Return the files of the training and of the test set; a DataError where names do not tell them apart.

    Files that `data.test_path` names are never training data because they also lie in a folder of `data.path`.
    """
    found = _named(config.path, "data.path", config.layout, suffixes)
    named_test = _named(config.test_path, "data.test_path", config.layout, suffixes)
    if config.layout == "flat":
        return found, named_test
    test = _of_split(named_test, "data.test_path", ("test", "validation"))
    taken = {file.place for file in test}
    rest = [file for file in found if not (file.in_folder and file.place in taken)]
    if found and not rest:
        raise DataError("data.path: all of its files are those of data.test_path; name the training files")
    train = _of_split(rest, "data.path", ("train",))
    if config.test_path is None and len(train) < len(rest):
        chosen = {file.place for file in train}
        others = [file for file in rest if file.place not in chosen]
        test = [file for file in others if file.split == "test"] or others
    used = {file.place for file in [*train, *test]}
    unused = [file for file in rest if file.place not in used]
    if unused:
        logger.info("data.path: %d files of other splits are not read, such as %s", len(unused), unused[0].place)
    return train, test


def has_glob(path: str) -> bool:
    """Return whether a path is a glob, not a name that holds such characters."""
    return bool(_glob_base(path)[1])


def base_places(paths: str | Collection[str] | None) -> list[Location]:
    """Return the files and folders of `data.path` or `data.test_path`; of a glob, the folder in which it begins."""
    return [_glob_base(path)[0] for path in paths_of(paths)]


def reading_place(paths: str | Collection[str] | None, place: Location) -> Location | None:
    """Return by which of these paths a file at `place`, or below it, would be read as data; None where by none."""
    for path in paths_of(paths):
        base, pattern = _glob_base(path)
        below = place.path_inside(base)
        if below is not None and _reaches(below.split("/") if below else [], pattern):
            return base
    return None


def paths_of(paths: str | Collection[str] | None) -> list[str]:
    """Return the paths of `data.path` or `data.test_path`, with braces such as `{000..099}` and `{a,b}` written out."""
    return [one for path in ([paths] if isinstance(paths, str) else paths or []) for one in _without_braces(path)]


def _without_braces(path: str) -> Iterator[str]:
    base, mark, options = path.partition("?") if "://" in path else (path, "", "")
    braces = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", base)
    # A name on disk may hold such characters itself.
    if not braces or ("://" not in path and Location.of(path).exists()):
        yield path
        return
    first, last, names = braces.groups()
    width = len(first or "") if (first or "").startswith("0") else 1
    if names is None and not 0 <= int(last) - int(first) < MOST_IN_BRACES:
        raise DataError(f"{path}: {braces[0]} must name 1 to {MOST_IN_BRACES} files; write the lower number first")
    parts = names.split(",") if names is not None else [f"{n:0{width}d}" for n in range(int(first), int(last) + 1)]
    for part in parts:
        yield from _without_braces(f"{base[: braces.start()]}{part}{base[braces.end() :]}{mark}{options}")


def _named(paths: str | Collection[str] | None, key: str, layout: str, suffixes: Sequence[str]) -> list[DataFile]:
    # Braces may stand for thousands of addresses, each of which is looked up.
    with ThreadPoolExecutor(16) as pool:
        found = pool.map(lambda path: list(_expanded(path, key, layout, suffixes)), paths_of(paths))
        files = [file for part in found for file in part]
    seen: set[Location] = set()
    for file in files:
        if file.place in seen:
            raise DataError(f"{key}: {file.place} is named twice; name every file once")
        seen.add(file.place)
    return files


def _expanded(path: str, key: str, layout: str, suffixes: Sequence[str]) -> Iterator[DataFile]:
    base, pattern = _glob_base(path)
    if not base.exists():
        raise DataError(f"{key}: there is no file or folder {base}")
    if base.is_file() and not pattern:
        yield DataFile(base, base.name)
        return
    flat = layout == "flat" and not pattern
    below = [child.name for child in base.children()] if flat else _files_below(base)
    names = [name for name in below if name.lower().endswith(tuple(suffixes)) and _matches(name, pattern)]
    if not names:
        what = f"no file matches {path}" if pattern else f"the folder {base} holds no {suffixes[0]} file"
        raise DataError(f"{key}: {what}")
    if not pattern and len(names) < len(below):
        chosen = set(names)
        first = next(name for name in below if name not in chosen)
        logger.info("%s: %d other files are not read, such as %s", key, len(below) - len(names), base / first)
    for name in names:
        yield DataFile(base / name, name) if pattern else DataFile(base / name, name, True, *_split_of(name))


def _files_below(folder: Location) -> list[str]:
    return [name for name, size in tree_below(folder).items() if size is not None]


def tree_below(folder: Location, hidden: str = HIDDEN) -> dict[str, int | None]:
    """Return the bytes of each file below a folder, None for each subfolder, by path, in the order of the paths' parts.

    Names that begin with one of the characters in `hidden` are left out with all below them.
    """
    found = _local_tree(Path(folder.address), hidden) if folder.is_local else folder.tree().items()
    parts = sorted((name.split("/"), size) for name, size in found)
    return {"/".join(path): size for path, size in parts if not any(part[:1] in hidden for part in path)}


def _local_tree(
    folder: Path, hidden: str, relative: str = "", above: frozenset[str] = frozenset()
) -> Iterator[tuple[str, int | None]]:
    """Yield relative paths with bytes; links are followed, and one that leads back up is a StorageError."""
    real = os.path.realpath(folder)
    if real in above:
        raise StorageError(f"{folder} is a link to a folder above it; remove the link, or name the files")
    try:
        with os.scandir(folder) as found:
            entries = [(entry.name, None if entry.is_dir() else _bytes_of(entry)) for entry in found]
    except OSError as error:
        raise StorageError(f"{folder} cannot be listed: {error.strerror}") from error
    for name, size in entries:
        if name[0] in hidden:
            continue
        yield f"{relative}{name}", size
        if size is None:
            yield from _local_tree(folder / name, hidden, f"{relative}{name}/", above | {real})


def _bytes_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        # A link to nothing. Whoever opens it will say so.
        return 0


def _glob_base(path: str) -> tuple[Location, list[str]]:
    """Return where a path begins and, where it is a glob, the pattern of what follows, one part per folder."""
    place = Location.of(path)
    base, mark, options = place.address.partition("?") if not place.is_local else (place.address, "", "")
    # A name on disk may hold such characters itself.
    if not re.search(r"[*?[]", base) or (place.is_local and place.exists()):
        return place, []
    parts = base.split("/")
    first = next(number for number, part in enumerate(parts) if re.search(r"[*?[]", part))
    return Location(("/".join(parts[:first]) or "/") + mark + options), parts[first:]


def _matches(name: str, pattern: list[str]) -> bool:
    """Return whether a file matches a pattern, or lies below a folder that does."""
    parts = name.split("/")
    return not pattern or any(_fits(parts[:count], pattern) for count in range(1, len(parts) + 1))


def _fits(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[count:], pattern[1:]) for count in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def _reaches(parts: list[str], pattern: list[str]) -> bool:
    """Return whether a pattern may match something at a place, below it, or a folder above it."""
    if not parts or not pattern or pattern[0] == "**":
        return True
    return fnmatchcase(parts[0], pattern[0]) and _reaches(parts[1:], pattern[1:])


def _split_of(name: str) -> tuple[str | None, str]:
    """Return the split that a file's name or else the nearest of its folders tells, and the path above that."""
    parts = name.split("/")
    for number in range(len(parts) - 1, -1, -1):
        part = parts[number].lower()
        # Of folders such as `label=train`, only `split=train` tells a split.
        words = set() if "=" in part and not part.startswith("split=") else set(re.split(r"[^a-z]+", part))
        splits = [split for split, known in SPLIT_WORDS.items() if words & known]
        if len(splits) == 1:
            return splits[0], "/".join(parts[:number])
    return None, ""


def _of_split(files: list[DataFile], key: str, wanted: Sequence[str]) -> list[DataFile]:
    """Return the files of the first split in `wanted` that there is; all where names do not tell several splits."""
    looked_at = [file for file in files if file.in_folder]
    splits = {file.split for file in looked_at}
    if len(splits) < 2 or not splits & {"test", "validation"}:
        return files
    advice = "name the files or use a glob, or set data.layout to flat to read all in the folder as they are"
    unclear = next((file for file in looked_at if file.split is None), None)
    if unclear is not None:
        named = next(file for file in looked_at if file.split is not None)
        raise DataError(f"{key}: {named.place} is of the split {named.split}, {unclear.place} of none; {advice}")
    whole = {file.above for file in looked_at if file.split == "train"}
    whole &= {file.above for file in looked_at if file.split != "train"}
    if len(whole) > 1:
        raise DataError(
            f"{key}: the folders {' and '.join(sorted(whole))} have splits of their own; name one, or use a glob"
        )
    split = next((name for name in wanted if name in splits), None)
    if split is None:
        raise DataError(f"{key}: it has files of the splits {' and '.join(sorted(map(str, splits)))} only; {advice}")
    return [file for file in files if not file.in_folder or file.split == split]
