"""What can happen to the files of a run directory: each kind of damage, applied to a copy."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# What JSON of another type, or with other types inside, may look like.
OTHER_JSON = ("[]", "null", "3", '"text"', "{}", '{"version": 99}', "[[[]]]", '{"fingerprint": null, "files": 3}')
# Files that people and programs leave, and folders and files that look like ours.
FOREIGN = (
    ".DS_Store",
    "notes.txt",
    "manifests/.DS_Store",
    "manifests/notes.txt",
    "manifests/select.json.bak",
    "manifests/select.beta-0.5.json~",
    "index/bucket=00099.parquet",
    "index/bucket=00000 (copy).parquet",
    "index/.tmp-bucket=00000.parquet-0123abcd",
    "dynamics/.DS_Store",
    "dynamics/epoch=0099/bucket=00000.parquet",
    "dynamics/epoch=abc/bucket=00000.parquet",
    "dynamics/epoch=/x",
    "dynamics/epoch=0003 (copy)/_commit.json",
    "dynamics/epoch=0003/bucket=00099.parquet",
    "dynamics/epoch=0003/.tmp-bucket=00001.parquet-0123abcd",
    "scores/method=dual/bucket=00099.parquet",
    "scores/method=dual/.DS_Store",
    "scores/.DS_Store",
    "selections/.DS_Store",
    "selections/mine/kept.parquet/bucket=00000.parquet",
    "selections/beta-0.5/notes.txt",
    "selections/beta-0.5/kept.parquet/.DS_Store",
    "selections/beta-0.5/kept.parquet/bucket=00099.parquet",
    "selections/beta-0.5/kept.parquet/.tmp-bucket=00001.parquet-0123abcd",
    "selections/beta-0.5/kept.parquet/notes.txt",
    "exports/.DS_Store",
    "exports/beta-0.5/notes.txt",
    "exports/beta-0.5/data/part-00099.parquet",
    "exports/beta-0.5/data/notes.txt",
    "columns/x/bucket=00000.parquet",
    "groups/column=x/bucket=00000.parquet",
    "tune/trials/a.json",
    "evaluation/a.json",
)

UNREADABLE = ("file without permission", "folder without permission")


@dataclass(frozen=True)
class Damage:
    """One kind of damage at one place; `apply` does it to a run directory."""

    kind: str
    place: str
    apply: Callable[[Path], object]

    def __str__(self) -> str:
        return f"{self.kind}: {self.place}"

    @property
    def adds(self) -> bool:
        """Whether files were added, and none changed."""
        return self.kind == "file added"


def files_of(run: Path) -> list[str]:
    """Return the files of a run directory, sorted, without its lock."""
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and path.name != ".lock")


def kinds(run: Path, other: Path, seed: int) -> Iterator[Damage]:
    """Yield damage of every kind, at every place of a sound run where it can happen; `other` is another run."""
    files = files_of(run)
    for name in files:
        yield from _of_content(name, (run / name).stat().st_size, random.Random(f"{seed} {name}"))
        yield from _of_place(name)
        if (other / name).is_file() and (other / name).read_bytes() != (run / name).read_bytes():
            yield Damage("file of another run", name, _copied(other / name, name))
    for name in filter(lambda name: name.endswith(".json"), files):
        for text in OTHER_JSON:
            yield Damage("other JSON", f"{name} = {text}", _with_content(name, lambda old, text=text: text.encode()))
    for first, second in swaps(files):
        yield Damage("two files swapped", f"{first} <-> {second}", _swapped(first, second))
    for name in sorted({str(parent) for file in files for parent in Path(file).parents if str(parent) != "."}):
        yield Damage("folder deleted", name, lambda root, name=name: shutil.rmtree(root / name))
        yield Damage("folder emptied", name, _emptied(name))
        yield Damage(UNREADABLE[1], name, lambda root, name=name: (root / name).chmod(0))
        yield Damage("folder replaced by a file", name, _replaced_by_file(name))
        yield Damage("link that leads to itself", f"{name}/", _link(name, itself=True))
    for first, second in swaps(sorted({str(Path(name).parent) for name in files})):
        yield Damage("two folders swapped", f"{first} <-> {second}", _swapped(first, second))
    for name in FOREIGN:
        yield Damage("file added", name, _added(name))


def swaps(names: list[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of names that differ in one part of their path only, in the same kind of file: neighbours."""
    known: dict[tuple[str, int], str] = {}
    for name in names:
        for number, found in enumerate(re.finditer(r"(?<==)\d+|\d\.\d", name)):
            rest = (name[: found.start()] + "#" + name[found.end() :], number)
            if rest in known:
                yield known[rest], name
            known[rest] = name


def _of_content(name: str, size: int, rng: random.Random) -> Iterator[Damage]:
    for where in sorted({size // 2, size // 4, *(rng.randrange(size) for _ in range(4))}):
        bit = 1 << rng.randrange(8)

        def flipped(old: bytes, where: int = where, bit: int = bit) -> bytes:
            return old[:where] + bytes([old[where] ^ bit]) + old[where + 1 :]

        yield Damage("byte changed", f"{name} at {where}", _with_content(name, flipped))
        yield Damage("byte changed, time kept", f"{name} at {where}", _with_content(name, flipped, keep_time=True))
    digits = rng.random()

    def other_digit(old: bytes) -> bytes:
        """Change one digit: what stays valid JSON or YAML says something else then."""
        places = [place for place, byte in enumerate(old) if 48 <= byte < 57]
        if not places:
            return old + b"0"
        place = places[int(digits * len(places))]
        return old[:place] + bytes([old[place] + 1]) + old[place + 1 :]

    yield Damage("digit changed", name, _with_content(name, other_digit))
    for share in (rng.random(), 0.99):
        yield Damage(
            "file cut", f"{name} to {share:.2f}", _with_content(name, lambda old, s=share: old[: int(s * len(old))])
        )
    yield Damage("file emptied", name, _with_content(name, lambda old: b""))
    noise = rng.randbytes(size)
    yield Damage("noise", name, _with_content(name, lambda old: noise))
    yield Damage("zeros", name, _with_content(name, lambda old: bytes(len(old))))
    yield Damage("noise", f"{name} appended", _with_content(name, lambda old: old + noise[:100]))


def _of_place(name: str) -> Iterator[Damage]:
    yield Damage("file deleted", name, lambda root: (root / name).unlink())
    yield Damage("file replaced by a folder", name, _replaced_by_folder(name))
    yield Damage("link that leads to itself", name, _link(name, itself=True))
    yield Damage("link that leads nowhere", name, _link(name, itself=False))
    yield Damage(UNREADABLE[0], name, lambda root: (root / name).chmod(0))


def _with_content(name: str, change: Callable[[bytes], bytes], *, keep_time: bool = False) -> Callable[[Path], object]:
    def apply(root: Path) -> None:
        before = (root / name).stat()
        (root / name).write_bytes(change((root / name).read_bytes()))
        if keep_time:
            os.utime(root / name, ns=(before.st_atime_ns, before.st_mtime_ns))

    return apply


def _copied(source: Path, name: str) -> Callable[[Path], object]:
    return lambda root: shutil.copyfile(source, root / name)


def _swapped(first: str, second: str) -> Callable[[Path], object]:
    def apply(root: Path) -> None:
        (root / first).rename(root / "aside")
        (root / second).rename(root / first)
        (root / "aside").rename(root / second)

    return apply


def _emptied(name: str) -> Callable[[Path], object]:
    def apply(root: Path) -> None:
        shutil.rmtree(root / name)
        (root / name).mkdir()

    return apply


def _removed(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()


def _replaced_by_folder(name: str) -> Callable[[Path], object]:
    def apply(root: Path) -> None:
        (root / name).unlink()
        (root / name).mkdir()

    return apply


def _replaced_by_file(name: str) -> Callable[[Path], object]:
    def apply(root: Path) -> None:
        shutil.rmtree(root / name)
        (root / name).write_text("a file")

    return apply


def _link(name: str, *, itself: bool) -> Callable[[Path], object]:
    def apply(root: Path) -> None:
        _removed(root / name)
        (root / name).symlink_to(Path(name).name if itself else "nowhere")

    return apply


def _added(name: str) -> Callable[[Path], object]:
    def apply(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not ours")

    return apply
