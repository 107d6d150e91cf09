"""Takes the CRDs of a KubeRay release, and leaves full schemas for the tests and a word on what differs from ours.

    python cluster/crds/refresh.py FOLDER VERSION

FOLDER holds KubeRay's `ray.io_rayclusters.yaml` and `ray.io_rayjobs.yaml` of release VERSION, such as 1.7.0; see
README.md beside this file. Where nothing differs, `agreed.json` says so: the release, and checksums of its CRDs and of
our schema.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
OURS = HERE / "ray.io_v1.schema.yaml"
REDUCED = HERE / "reduced"
AGREED = HERE / "agreed.json"
FILES = {"RayCluster": "ray.io_rayclusters.yaml", "RayJob": "ray.io_rayjobs.yaml"}

Schema = dict[str, Any]


def reduce_crd(crd: Schema) -> Schema:
    """Return the JSON schema of a CRD's version v1: no prose, unknown fields refused, the metadata left open."""
    versions = {version["name"]: version for version in crd["spec"]["versions"]}
    if "v1" not in versions:
        raise ValueError(f"{crd['metadata']['name']}: has no version v1, but {', '.join(versions)}")
    schema = _reduce(versions["v1"]["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def differences(ours: Schema, full: Schema, definitions: Schema, path: str = "") -> Iterator[str]:
    """Yield what our schema allows or demands otherwise than the full one; fields that we leave out are no matter."""
    if "$ref" in ours:
        ours = definitions[ours["$ref"].rpartition("/")[2]]
    if "x-kubernetes" in ours:
        return
    # Where the CRD gives a type, ours is that type; where it lists values, ours are among them.
    if "type" in full and "type" in ours and ours["type"] != full["type"]:
        yield f"{path}: is {full['type']}, ours says {ours['type']}"
        return
    for value in ours.get("enum", []):
        if "enum" in full and value not in full["enum"]:
            yield f"{path}: {value!r} is not among {full['enum']}"
    for name in full.get("required", []):
        if name not in ours.get("required", []):
            yield f"{path}.{name}: is required, ours says it is not"
    for name, below in ours.get("properties", {}).items():
        if name not in full.get("properties", {}):
            yield f"{path}.{name}: there is no such field"
        else:
            yield from differences(below, full["properties"][name], definitions, f"{path}.{name}")
    if "items" in ours:
        yield from differences(ours["items"], full["items"], definitions, f"{path}[]")


def _reduce(node: Schema) -> Schema:
    kept = {key: node[key] for key in ("enum", "required", "minimum", "maximum", "pattern") if key in node}
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"], **({"pattern": kept["pattern"]} if "pattern" in kept else {})}
    if "type" in node:
        kept["type"] = [node["type"], "null"] if node.get("nullable") else node["type"]
    if "properties" in node:
        kept["properties"] = {name: _reduce(below) for name, below in node["properties"].items()}
        if not node.get("x-kubernetes-preserve-unknown-fields"):
            kept["additionalProperties"] = False
    elif isinstance(node.get("additionalProperties"), dict):
        kept["additionalProperties"] = _reduce(node["additionalProperties"])
    if "items" in node:
        kept["items"] = _reduce(node["items"])
    return kept


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(folder: Path, release: str) -> int:
    """Write the reduced schemas, print the differences; return 1 where there are any."""
    ours = yaml.safe_load(OURS.read_text())
    REDUCED.mkdir(exist_ok=True)
    found = []
    for kind, name in FILES.items():
        full = reduce_crd(yaml.safe_load((folder / name).read_text()))
        (REDUCED / f"{kind}.json").write_text(json.dumps(full, separators=(",", ":")))
        found += differences(ours[kind], full, ours["definitions"], kind)
    if not found:
        crds = {name: checksum(folder / name) for name in FILES.values()}
        agreed = {"kuberay": release, "crds": crds, "schema": checksum(OURS)}
        AGREED.write_text(json.dumps(agreed, indent=2) + "\n")
    print("\n".join(found) or f"{OURS.name} agrees with these CRDs")
    return 1 if found else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
