"""Reducing CRDs loses prose and repetition, but nothing that validates a document."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.cluster.documents import CLUSTER

TEMPLATE = {
    "description": "a pod template",
    "type": "object",
    "properties": {
        "containers": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "port": {"x-kubernetes-int-or-string": True},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "priority": {"type": "integer", "nullable": True},
        "anything": {"type": "object", "properties": {}, "x-kubernetes-preserve-unknown-fields": True},
    },
    "required": ["containers"],
}
SPEC = {"type": "object", "properties": {"head": TEMPLATE, "worker": TEMPLATE}}
GOOD = {"containers": [{"name": "a"}], "port": "http", "labels": {"a": "b"}, "priority": None, "anything": {"x": 1}}


def crd(version: str = "v1") -> dict:
    schema = {"type": "object", "properties": {"spec": SPEC, "metadata": {"type": "object"}}}
    versions = [{"name": version, "schema": {"openAPIV3Schema": schema}}]
    return {"metadata": {"name": "x.ray.io"}, "spec": {"versions": versions}}


@pytest.fixture
def refresh():
    spec = importlib.util.spec_from_file_location("refresh", CLUSTER / "crds" / "refresh.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def reduced(refresh, tmp_path: Path, monkeypatch) -> dict:
    for name in refresh.FILES.values():
        (tmp_path / name).write_text(yaml.safe_dump(crd()))
    monkeypatch.setattr(refresh, "REDUCED", tmp_path / "kuberay.json")
    monkeypatch.setattr(refresh, "WORTH_A_NAME", 50)
    refresh.main(tmp_path, "9.8.7")
    return json.loads((tmp_path / "kuberay.json").read_text())


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, False),
        ({"port": 80}, False),
        ({"port": [80]}, True),
        ({"prot": 80}, True),
        ({"containers": [{"nam": "a"}]}, True),
        ({"labels": {"a": 1}}, True),
        ({"priority": "high"}, True),
    ],
)
@pytest.mark.parametrize("part", ["head", "worker"])
def test_what_is_reduced_refuses_what_the_crd_refuses(reduced: dict, part: str, change: dict, refused: bool) -> None:
    validator = jsonschema.Draft202012Validator({**reduced["kinds"]["RayJob"], "$defs": reduced["$defs"]})
    document = {"spec": {part: GOOD | change}, "metadata": {"labels": {}}}
    assert (list(validator.iter_errors(document)) != []) == refused


def test_it_says_where_it_is_from_and_repeats_nothing(reduced: dict, tmp_path: Path) -> None:
    assert reduced["release"] == "9.8.7"
    for name, checksum in reduced["sha256"].items():
        assert checksum == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    text = json.dumps(reduced)
    assert "a pod template" not in text
    assert text.count('"containers"') == 2, "the pod template, once: its field, and that the field is required"


def test_a_crd_without_v1(refresh) -> None:
    with pytest.raises(ValueError, match=r"x\.ray\.io: has no version v1, but v2"):
        refresh.reduce_crd(crd("v2"))
