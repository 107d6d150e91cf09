"""Validates a document against Kubernetes' own schema, and Ray's kinds against that of KubeRay's CRDs."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate

from tests.cluster.documents import pods

KUBERAY = json.loads((Path(__file__).parents[2] / "cluster" / "crds" / "kuberay.json").read_text())
# The oldest and the newest Kubernetes that the manifests are written for.
KUBERNETES_VERSIONS = ("1.30", "1.36")


def schema_errors(document: dict[str, Any], version: str = KUBERNETES_VERSIONS[0]) -> list[str]:
    """Return what is wrong with a document's form; an unknown kind, field or type is wrong."""
    if document.get("kind") not in KUBERAY["kinds"]:
        return _kubernetes_errors(document, version)
    errors = [f"{error.json_path}: {error.message}" for error in _ray_validator(document["kind"]).iter_errors(document)]
    # The CRD does not check the metadata, and describes pods of the Kubernetes version that KubeRay was built with.
    return errors or [error for part in _parts(document) for error in _kubernetes_errors(part, version)]


def _kubernetes_errors(document: dict[str, Any], version: str) -> list[str]:
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [error.message]
    return []


@lru_cache
def _ray_validator(kind: str) -> jsonschema.protocols.Validator:
    return jsonschema.Draft202012Validator({**KUBERAY["kinds"][kind], "$defs": KUBERAY["$defs"]})


def _parts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts from which KubeRay makes Kubernetes documents, each as a document of its own."""
    metadata = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": document["metadata"]}
    templates = [
        {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "part"}, "template": pod.template}
        for pod in pods([document])
    ]
    return [metadata, *templates]
