"""Which members of tar shards are samples, how their labels are read, and what is refused."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dualprune.core.sections import DataConfig
from dualprune.data.source import Source, open_source
from dualprune.data.sources import webdataset
from dualprune.errors import ConfigError, DataError
from tests.data.sources.cases import image, items, members_of, tar_of

Members = list[tuple[str, bytes]]
ONE: Members = [("a.png", image(0)), ("a.cls", b"cat")]


def opened(path: object, **values: object) -> Source:
    return open_source(DataConfig(source="webdataset", path=path, **values))


def shard(place: Path, members: Members) -> str:
    place.write_bytes(tar_of(members))
    return str(place)


def ids(source: Source) -> list[str]:
    return pa.Table.from_batches(source.sample_batches())["sample_id"].to_pylist()


def names(source: Source) -> list[str]:
    return [source.classes[label] for part in source.shards("train") for label in source.read(part).labels]


def values(source: Source) -> list[int]:
    return [int(one[0, 0, 0]) for part in source.shards("train") for one in source.read(part).images]


def test_members_in_any_order_with_folders_and_other_files(tmp_path: Path) -> None:
    members = [
        ("./x/1.png", image(1)),
        ("./x/1.seg.png", image(9)),
        ("./x/2.cls", b"1\n"),
        ("./x/1.CLS", b" 0 "),
        ("./x/2.PNG", image(2)),
        ("./x/._1.png", b"of a Mac"),
        ("README", b"no extension"),
        ("notes.md", b"neither image nor label"),
        ("__sharding__.json", b"{}"),
    ]
    source = opened(shard(tmp_path / "a.tar", members))
    assert (ids(source), names(source), values(source)) == (["./x/1", "./x/2"], ["0", "1"], [1, 2])
    masks = opened(shard(tmp_path / "a.tar", members[:2] + members[3:4]), options={"image": ".seg.png"})
    assert values(masks) == [9]


@pytest.mark.parametrize(
    ("extension", "contents", "options", "expected"),
    [
        ("cls", [b"2", b"0", b"10"], {}, ["2", "0", "10"]),
        ("cls", [b"7", b"dog", b"dog\r\n"], {}, ["7", "dog", "dog"]),
        ("txt", ["grün".encode(), b"blue sky", b"blue sky"], {}, ["grün", "blue sky", "blue sky"]),
        ("json", [b'{"label": 1, "x": 2}', b'{"label": "0"}', b'{"label": true}'], {}, ["1", "0", "1"]),
        ("json", [b'{"y": "a"}', b'{"y": "b"}', b'{"y": "b"}'], {"label_field": "y"}, ["a", "b", "b"]),
        ("json", [b'"a"', b'"b"', b'"b"'], {}, ["a", "b", "b"]),
        ("category", [b"a", b"b", b"b"], {"label": "category"}, ["a", "b", "b"]),
    ],
)
def test_labels(tmp_path: Path, extension: str, contents: list[bytes], options: dict, expected: list[str]) -> None:
    members = [
        one
        for key, content in zip("pqr", contents, strict=True)
        for one in ((f"{key}.jpg", image(3)), (f"{key}.{extension}", content))
    ]
    assert names(opened(shard(tmp_path / "a.tar", members), options=options)) == expected


def test_numbers_are_classes_in_their_order(tmp_path: Path) -> None:
    members = members_of([one._replace(label=str(number)) for number, one in enumerate(items(12))])
    assert opened(shard(tmp_path / "a.tar", members)).classes == [str(number) for number in range(12)]


def test_all_shards_have_labels_of_one_kind(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", [*ONE, ("a.json", b'{"label": "dog"}')])
    shard(tmp_path / "1.tar", [("b.png", image(1)), ("b.json", b'{"label": "dog"}')])
    with pytest.raises(DataError, match=r"/1\.tar: the key 'b' has no \.cls, it has \.png, \.json; add it, or set"):
        opened(str(tmp_path))
    assert names(opened(str(tmp_path), options={"label": "json"})) == ["dog", "dog"]


def test_paths_of_shards(tmp_path: Path) -> None:
    for number, start in enumerate(range(0, 24, 2)):
        shard(tmp_path / f"part-{number:03d}.tar", members_of(items(2, start)))
    everything = [f"s{number:04d}" for number in range(24)]
    assert ids(opened(f"{tmp_path}/part-{{000..011}}.tar")) == everything
    assert ids(opened(f"{tmp_path}/part-*.tar")) == everything
    assert ids(opened(str(tmp_path))) == everything
    assert ids(opened(f"{tmp_path}/part-{{010,002}}.tar")) == ["s0020", "s0021", "s0004", "s0005"]
    assert ids(opened([f"{tmp_path}/part-{{009..011}}.tar", f"{tmp_path}/part-000.tar"])) == [
        *everything[18:],
        *everything[:2],
    ]
    with pytest.raises(DataError, match=r"data\.path: there is no file or folder .*/part-012\.tar"):
        opened(f"{tmp_path}/part-{{000..012}}.tar")
    # The test set's labels follow the same list of classes.
    both = opened(f"{tmp_path}/part-{{000..010}}.tar", test_path=f"{tmp_path}/part-011.tar")
    assert both.read(both.shards("test")[0]).labels.tolist() == [1, 2]


def test_shards_end_with_their_files_and_read_nearby_members_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        shard(tmp_path / f"{number}.tar", members_of(items(5, 5 * number)))
    for gap, most in ((1 << 17, 1 << 23), (0, 1 << 23), (1 << 17, 3000), (1 << 17, 1)):
        monkeypatch.setattr(webdataset, "GAP", gap)
        monkeypatch.setattr(webdataset, "READ", most)
        source = opened(str(tmp_path))
        assert [(part.start, part.num_rows) for part in source.shards("train")] == [(0, 5), (5, 5), (10, 5)]
        assert values(source) == list(range(15))
        assert values(opened(str(tmp_path), max_samples=7)) == [
            int(sample_id[1:]) for sample_id in ids(opened(str(tmp_path), max_samples=7))
        ]


def test_a_shard_is_listed_anew_when_it_has_changed(tmp_path: Path) -> None:
    place = shard(tmp_path / "a.tar", members_of(items(3)))
    before = opened(place)
    shard(tmp_path / "a.tar", members_of(items(2)))
    after = opened(place)
    assert (before.num_samples, after.num_samples) == (3, 2)
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(content[:600])
    with pytest.raises(DataError, match=r"/a\.tar is shorter than it was when its samples were listed; restore the fi"):
        before.read(before.shards("train")[0])


def of_kind(kind: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        header = tarfile.TarInfo("a.png")
        header.type, header.linkname = kind, "elsewhere.png"
        tar.addfile(header)
    return stream.getvalue()


WHOLE = tar_of(members_of(items(4)))
DAMAGED = WHOLE[:2048] + b"\x01" * 512 + WHOLE[2560:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            [("a.png", b"")],
            r"/a\.tar: the key 'a' has no label \(\.cls, \.json or \.txt\), it has \.png; add it, or set",
        ),
        ([*ONE, ("b.png", b"")], r"/a\.tar: the key 'b' has no \.cls, it has \.png"),
        (
            [*ONE, ("b.cls", b"1"), ("b.seg.png", b"")],
            r"the key 'b' has no image, it has \.cls, \.seg\.png; add it, or",
        ),
        (
            [*ONE, ("a.jpg", b"")],
            r"the key 'a' has several images, it has \.png, \.cls, \.jpg; set data\.options\.image",
        ),
        ([*ONE, ("a.png", b"")], r"/a\.tar has two members a\.png; keep one of them"),
        (
            [("a.png", b""), ("a.json", b'{"class": 1, "id": 2}')],
            r"'a' has no field 'label' in its \.json; it has: class",
        ),
        ([("a.png", b""), ("a.json", b"{")], r"the key 'a' has a \.json that cannot be read: "),
        (
            [("a.png", b""), ("a.json", b'{"label": [1]}')],
            r"'a' has the label \[1\] in its \.json; expected an integer or",
        ),
        (
            [("a.png", b""), ("a.cls", b" ")],
            r"the key 'a' has the label '' in its \.cls; expected an integer or a text",
        ),
        ([("a.png", b""), ("a.cls", b"\xff")], r"the key 'a' has a \.cls that cannot be read: 'utf-8'"),
        ([*ONE, ("\udcff.png", b"")], r"the name '\\udcff\.png' is not valid UTF-8; rename the member"),
        (of_kind(tarfile.SYMTYPE), r"/a\.tar: the member 'a\.png' is no plain file; write shards without links"),
        (b"", r"/a\.tar is not a readable tar file: empty file"),
        (b"x" * 2000, r"/a\.tar is not a readable tar file: "),
        (WHOLE[:2700], r"/a\.tar is not a readable tar file: unexpected end of data|/a\.tar is damaged"),
        (DAMAGED, r"/a\.tar is damaged at byte \d+: there is no header of a member"),
        (tar_of(ONE, "w:gz"), r"/a\.tar is not a readable tar file: "),
    ],
)
def test_errors(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "a.tar").write_bytes(content if isinstance(content, bytes) else tar_of(content))
    with pytest.raises(DataError, match=message):
        opened(str(tmp_path / "a.tar"))


def test_keys_stand_in_one_shard_only(tmp_path: Path) -> None:
    for name in ("0.tar", "1.tar"):
        shard(tmp_path / name, ONE)
    message = r"1 ids are not unique: the key 'a' stands for .*/0\.tar and for .*/1\.tar; keys must be unique over all"
    with pytest.raises(DataError, match=message):
        opened(str(tmp_path))


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar.xz"])
def test_compressed_shards(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(tar_of(ONE, "w:xz" if name.endswith("xz") else "w:gz"))
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(
            DataError, match=rf"/{name} is compressed as a whole, so single members cannot be read from"
        ):
            opened(str(path))


def test_no_path() -> None:
    with pytest.raises(ConfigError, match=r"data\.path: null; set it to the tar shards of the training set, such as"):
        opened(None)


def test_a_json_label_of_any_json_is_no_traceback(tmp_path: Path) -> None:
    for value in (None, [], 1.5, {"label": None}):
        members = [("a.png", b""), ("a.json", json.dumps(value).encode())]
        with pytest.raises(DataError, match=r"the key 'a' has the label .*expected an integer or a text"):
            opened(shard(tmp_path / "a.tar", members))
