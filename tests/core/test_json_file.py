"""JSON files notice when they have changed, and name what is wrong in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dualprune.core.config_file import load_stored_config, make_config, store_config
from dualprune.core.json_file import decode, encode
from dualprune.core.storage import Location
from dualprune.errors import ConfigError, DataError

BODY = {"epoch": 7, "files": [{"name": "a", "rows": 3}], "text": "ü", "by_label": {2: 0.1, 10: 1e-7}, "nothing": None}


def test_a_mapping_is_read_as_it_was_written() -> None:
    assert decode(encode(BODY), "f") == json.loads(json.dumps(BODY))
    assert list(json.loads(encode(BODY)))[-1] == "checksum"
    # Without a checksum, as older versions wrote it; other values have none.
    assert decode(json.dumps(BODY).encode(), "f") == json.loads(json.dumps(BODY))
    assert decode(encode("text"), "f") == "text"


def test_every_changed_byte_is_noticed_or_means_nothing() -> None:
    content = encode(BODY)
    for place in range(len(content)):
        for bit in (1, 2, 16):
            changed = bytearray(content)
            changed[place] ^= bit
            try:
                found = decode(bytes(changed), "f")
            except DataError:
                continue
            # In white space, or in the name of the key that holds the checksum.
            assert {name: found[name] for name in BODY} == json.loads(json.dumps(BODY))


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"epoch": str}, "f is damaged: its 'epoch' is 7, not text; restore it"),
        ({"text": int}, "its 'text' is 'ü', not a whole number"),
        ({"flag": int}, "its 'flag' is True, not a whole number"),
        ({"nothing": dict}, "its 'nothing' is None, not a mapping"),
        ({"absent": int}, "it has no 'absent'"),
    ],
)
def test_a_value_of_another_type_is_named(types: dict[str, type], message: str) -> None:
    record = decode(json.dumps(BODY | {"flag": True}).encode(), "f")
    assert record.expect(epoch=int, text=str, files=list, flag=bool) is record
    with pytest.raises(DataError, match=message):
        record.expect(**types)


def test_a_list_of_something_else_is_named() -> None:
    record = decode(b'{"files": [{"name": "a"}], "numbers": [3]}', "f")
    assert record.records("files")[0].expect(name=str) == {"name": "a"}
    for key, message in (("numbers", "its 'numbers' hold 3, not a mapping"), ("none", "it has no 'none'")):
        with pytest.raises(DataError, match=message):
            record.records(key)


def test_a_stored_configuration_that_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    store_config(Location.of(file), make_config({"select": {"ratio": 0.5}}))
    written = file.read_text()
    assert load_stored_config(Location.of(file)).select.ratio == 0.5
    changed = written.replace("ratio: 0.5", "ratio: 0.6")
    for text in (changed, written[: len(written) // 2], written.partition("\n")[0], ""):
        file.write_text(text)
        with pytest.raises(ConfigError, match=r"config\.yaml (has changed since dualprune wrote it|is damaged)"):
            load_stored_config(Location.of(file))
    # Someone changed it on purpose.
    file.write_text(changed.partition("\n")[2])
    assert load_stored_config(Location.of(file)).select.ratio == 0.6
