"""Reduces the CRDs of a KubeRay release to the JSON schema that the tests check the manifests against.

    python cluster/crds/refresh.py FOLDER VERSION

FOLDER holds KubeRay's `ray.io_rayclusters.yaml` and `ray.io_rayjobs.yaml` of release VERSION, such as 1.7.0; see
README.md in this folder. Writes `kuberay.json`: no prose, unknown fields refused, and repeated parts, such as the pod
template, written once.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

REDUCED = Path(__file__).resolve().parent / "kuberay.json"
FILES = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}
NOTICE = (
    "Made by refresh.py from KubeRay's CRDs, changed as it says there. "
    "Copyright the KubeRay authors, https://github.com/ray-project/kuberay, Apache License 2.0."
)
# Naming a shorter part would save nothing: its reference and definition take as much.
WORTH_A_NAME = 200

Schema = dict[str, Any]


def reduce_crd(crd: Schema) -> Schema:
    """Return the JSON schema of a CRD's version v1; the metadata is left open, as in the CRD."""
    versions = {version["name"]: version for version in crd["spec"]["versions"]}
    if "v1" not in versions:
        raise ValueError(f"{crd['metadata']['name']}: has no version v1, but {', '.join(versions)}")
    return _reduce(versions["v1"]["schema"]["openAPIV3Schema"])


def _reduce(node: Schema) -> Schema:
    kept = {key: node[key] for key in ("enum", "required", "minimum", "maximum", "pattern") if key in node}
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"], **({"pattern": kept["pattern"]} if "pattern" in kept else {})}
    if "type" in node:
        kept["type"] = [node["type"], "null"] if node.get("nullable") else node["type"]
    kept |= _below(node, lambda _, part: _reduce(part))
    if "properties" in kept and not node.get("x-kubernetes-preserve-unknown-fields"):
        kept["additionalProperties"] = False
    return kept


def share(kinds: dict[str, Schema]) -> tuple[dict[str, Schema], dict[str, Schema]]:
    """Return the schemas with references in place of repeated parts, and the parts by name."""
    seen: Counter[str] = Counter()
    names: dict[str, str] = {}
    parts: dict[str, Schema] = {}

    def count(node: Schema) -> Schema:
        text = json.dumps(node)
        seen[text] += 1
        # Parts inside a repeated part are written once with it and need no name of their own.
        return _below(node, lambda _, part: count(part)) if seen[text] == 1 else node

    def put(name: str, node: Schema) -> Schema:
        text = json.dumps(node)
        whole = node | _below(node, put, f"{name}Item")
        if seen[text] == 1 or len(text) < WORTH_A_NAME:
            return whole
        if text not in names:
            # Parts with the same name can differ: a container's securityContext is not a pod's.
            same = sum(other.partition(".")[0] == name for other in parts)
            names[text] = f"{name}.{same + 1}" if same else name
            parts[names[text]] = whole
        return {"$ref": f"#/$defs/{names[text]}"}

    for schema in kinds.values():
        count(schema)
    return {kind: put(kind, schema) for kind, schema in kinds.items()}, dict(sorted(parts.items()))


def _below(node: Schema, change: Callable[[str, Schema], Schema], item: str = "") -> Schema:
    """Return the schemas inside a node by key, each passed through `change(name, schema)`; items are named `item`."""
    found: Schema = {}
    if "properties" in node:
        found["properties"] = {key: change(key, part) for key, part in node["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            found[key] = change(item, node[key])
    return found


def main(folder: Path, release: str) -> None:
    """Write the reduced schema."""
    kinds = {kind: reduce_crd(yaml.safe_load((folder / name).read_text())) for kind, name in FILES.items()}
    shared, parts = share(kinds)
    whole = {
        "$comment": NOTICE,
        "release": release,
        "sha256": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES.values()},
        "kinds": shared,
        "$defs": parts,
    }
    REDUCED.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2])
