"""Input (checkpoints, images, names, YAML) cannot run code, fill the memory or leave the folder."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shlex
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from rich.console import Console

from dualprune.cli.compare import _ids, _plain
from dualprune.cluster.jobs import Submission
from dualprune.core.config import Config
from dualprune.core.config_file import load_config, make_config
from dualprune.core.sections import DataConfig
from dualprune.core.storage import Location
from dualprune.data.decoding import UndecodableError, open_image
from dualprune.data.source import Shard, open_source
from dualprune.errors import AddressError, ConfigError
from dualprune.training import checkpoint
from dualprune.training.loop import Trainer


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_a_checkpoint_that_carries_code_does_not_run_it(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    buffer = io.BytesIO()
    torch.save({"model": Bomb(mark)}, buffer)
    folder = tmp_path / "epoch=0000.abc"
    folder.mkdir()
    (folder / checkpoint.STATE).write_bytes(buffer.getvalue())
    record = {"epoch": 0, "sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}
    (folder / checkpoint.RECORD).write_text(json.dumps(record))
    model = torch.nn.Linear(2, 2)
    trainer = Trainer(model, Config().train, total_steps=1, device=torch.device("cpu"))
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        checkpoint.restore(trainer, Location.of(folder))
    assert not mark.exists()
    # The bomb is a real one.
    torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    assert mark.exists()


def test_yaml_of_a_configuration_makes_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"data: !!python/object/apply:os.mkdir ['{tmp_path / 'ran'}']\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(path)
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(None, [f"data.path=!!python/object/apply:os.mkdir ['{tmp_path / 'ran'}']"])
    assert not (tmp_path / "ran").exists()


def png_of(width: int, height: int) -> bytes:
    """Return a small PNG file whose header says that it is large."""

    def part(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", rows) + part(b"IEND", b"")


@pytest.mark.parametrize("side", [8_000, 60_000])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(side: int, monkeypatch) -> None:
    monkeypatch.setattr(ImageFile, "load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(UndecodableError, match="pixels"):
        open_image(png_of(side, side), Config().data.max_pixels)


def test_an_image_that_other_code_opens_is_refused_by_its_header_too(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / "rendered-sst2" / "train"
    for name in ("negative", "positive"):
        (folder / name).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "negative" / "good.png")
    (folder / "positive" / "bomb.png").write_bytes(png_of(8_000, 8_000))
    options = {"name": "RenderedSST2", "root": str(tmp_path)}
    source = open_source(DataConfig(source="torchvision", options=options, on_error="skip"))
    source.shape  # noqa: B018 - the first image is read before decoding counts as a failure
    loaded = []
    monkeypatch.setattr(PngImageFile, "load_prepare", lambda self: loaded.append(self.size))
    limit = Image.MAX_IMAGE_PIXELS
    assert source.read(Shard("train", 1, 1)).failed == {0: 1}
    assert loaded == []
    assert limit == Image.MAX_IMAGE_PIXELS


def test_an_image_that_another_program_would_draw_is_no_image() -> None:
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    assert Image.open(io.BytesIO(page)).format == "EPS"
    with pytest.raises(UndecodableError, match="no image of the formats AVIF, BMP"):
        open_image(page, Config().data.max_pixels)


@pytest.mark.parametrize("name", ["../elsewhere", "/etc/x", "a/../../b", "..", "", "a b", "a\nb", ".hidden"])
def test_a_selections_name_cannot_leave_the_run_directory(name: str) -> None:
    with pytest.raises(ConfigError, match=r"select\.name"):
        make_config({"select": {"name": name}})
    with pytest.raises(ConfigError, match=r"evaluate\.selections"):
        make_config({"evaluate": {"selections": [name]}})


def test_what_a_user_names_reaches_the_jobs_shell_as_one_word() -> None:
    evil = "s3://bucket/$(touch x); `id` '\"&& rm -rf /"
    words = shlex.split(Submission("prune", Config(), evil).entrypoint())
    assert words == ["python", "-m", "pipelines.prune", "--config", "config.yaml", "--run", evil]


def test_an_id_and_a_class_reach_the_terminal_as_text(capsys) -> None:
    evil = "[/red][link=http://x]\x1b]0;title\x07"
    Console(width=200, force_terminal=True, color_system=None).print(_ids([evil, 7]), _plain(evil), _plain("cat"))
    shown = capsys.readouterr().out
    assert shown == f"{evil!r}, 7 {evil!r} cat\n"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("s3://bucket/runs/a?endpoint_override=http://h&region=eu", "s3://bucket/runs/a"),
        ("s3://bucket/runs/a@b", "s3://bucket/runs/a@b"),
        ("/home/me@work/run", "/home/me@work/run"),
        ("gs://bucket", "gs://bucket"),
    ],
)
def test_options_of_an_address_are_left_out_of_what_is_shown(address: str, shown: str) -> None:
    assert str(Location.of(address)) == shown
    assert Location.of(address).address == address


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:hidden@bucket/runs/a",
        "s3://hidden@bucket/runs/a",
        "s3://bucket/runs/a?endpoint_override=http://h&secret_key=hidden",
        "s3://bucket/a?access_key=hidden",
        "gs://bucket/a?token=hidden",
    ],
)
def test_an_address_with_credentials_is_refused_without_showing_them(address: str) -> None:
    with pytest.raises(AddressError, match="the address holds a name or password; take them out") as caught:
        Location.of(address)
    assert "hidden" not in str(caught.value)
    # Nor do they appear where such a location was made in another way.
    assert "hidden" not in str(Location(address))
