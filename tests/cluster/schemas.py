"""Holds a document against Kubernetes' own schema, KubeRay's as we wrote it down, and KubeRay's in full where it is."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

CRDS = Path(__file__).parents[2] / "cluster" / "crds"
RAY_KINDS = ("RayCluster", "RayJob")
# The oldest and the newest Kubernetes that the manifests are written for.
KUBERNETES_VERSIONS = ("1.30", "1.36")


def schema_errors(document: dict[str, Any], version: str = KUBERNETES_VERSIONS[0]) -> list[str]:
    """Return what is wrong with a document's form; an unknown kind, field or type is wrong."""
    if document.get("kind") in RAY_KINDS:
        errors = _ray_validator(document["kind"], version).iter_errors(document)
        return [f"{error.json_path}: {error.message}" for error in errors]
    return _kubernetes_errors(document, version)


def full_ray_errors(document: dict[str, Any]) -> list[str]:
    """Return what the full schema of a KubeRay release has against a RayCluster or RayJob."""
    schema = json.loads((CRDS / "reduced" / f"{document['kind']}.json").read_text())
    errors = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in errors]


def _kubernetes_errors(document: dict[str, Any], version: str) -> list[str]:
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [error.message]
    return []


@lru_cache
def _ray_validator(kind: str, version: str) -> jsonschema.protocols.Validator:
    ours = yaml.safe_load((CRDS / "ray.io_v1.schema.yaml").read_text())

    def taken_over(validator, name, instance, schema):
        for message in _kubernetes_errors(_in_its_place(name, instance), version):
            yield jsonschema.ValidationError(message)

    validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"x-kubernetes": taken_over})
    return validator({**ours[kind], "definitions": ours["definitions"]})


def _in_its_place(name: str, instance: Any) -> dict[str, Any]:
    """Return a whole Kubernetes document that holds a part of one."""
    metadata = {"name": "part"}
    if name == "ObjectMeta":
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": instance}
    if name == "PodTemplateSpec":
        return {"apiVersion": "v1", "kind": "PodTemplate", "metadata": metadata, "template": instance}
    container = {"name": "part", name: instance}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
