"""The rules of the KubeRay operator beyond the schema of its CRDs, after validation.go of KubeRay 1.7."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from packaging.version import Version

from tests.cluster.documents import Document, cluster_spec, groups

# The limits on names leave room for the suffixes that KubeRay adds.
MAX_NAME = {"RayCluster": 53, "RayJob": 47}
TOKEN_SINCE = Version("2.52.0")
# The CRD takes any string.
MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
# Alpha in KubeRay 1.7: refused unless the operator was started with their feature gates.
GATED = ("networkPolicy", "tlsOptions", "historyServerOptions")

Rule = Callable[[Document], Iterator[str]]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Register a rule, which yields what is wrong with a RayCluster or RayJob."""
    RULES[function.__name__] = function
    return function


def operator_errors(documents: list[Document]) -> list[str]:
    """Return what the operator would refuse."""
    return [
        f"{document['kind']} {document['metadata']['name']}: {name}: {problem}"
        for document in documents
        if document["kind"] in MAX_NAME
        for name, check in RULES.items()
        for problem in check(document)
    ]


@rule
def names(document: Document) -> Iterator[str]:
    name = document["metadata"]["name"]
    if len(name) > MAX_NAME[document["kind"]] or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield f"{name!r} is no DNS label of at most {MAX_NAME[document['kind']]} characters"


@rule
def one_cluster(document: Document) -> Iterator[str]:
    spec = document["spec"]
    if document["kind"] != "RayJob":
        return
    if not spec.get("rayClusterSpec") and not spec.get("clusterSelector"):
        yield "has neither rayClusterSpec nor clusterSelector"
    if spec.get("clusterSelector") and (spec.get("suspend") or spec.get("backoffLimit", 0) > 0):
        yield "clusterSelector goes with neither suspend nor backoffLimit"


@rule
def life_of_a_job(document: Document) -> Iterator[str]:
    spec = document["spec"]
    if document["kind"] != "RayJob":
        return
    if not spec.get("shutdownAfterJobFinishes"):
        for key in ("suspend", "ttlSecondsAfterFinished"):
            if spec.get(key):
                yield f"{key} needs shutdownAfterJobFinishes: true"
    mode = spec.get("submissionMode", MODES[0])
    if mode not in MODES:
        yield f"submissionMode {mode} is none of {', '.join(MODES)}"
    if mode == "InteractiveMode" and spec.get("backoffLimit", 0) > 0:
        yield "InteractiveMode goes without backoffLimit"
    for key in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(key, 1) <= 0:
            yield f"{key} must be more than 0"
    for key in ("ttlSecondsAfterFinished", "backoffLimit"):
        if spec.get(key, 0) < 0:
            yield f"{key} must not be negative"


@rule
def group_sizes(document: Document) -> Iterator[str]:
    spec = cluster_spec(document) or {}
    for group in spec.get("workerGroupSpecs", []):
        low, high = group.get("minReplicas"), group.get("maxReplicas")
        if not spec.get("enableInTreeAutoscaling") and (low is None or high is None):
            yield f"group {group['groupName']} needs minReplicas and maxReplicas"
        elif not 0 <= (low or 0) <= (high if high is not None else low or 0):
            yield f"group {group['groupName']}: minReplicas {low} and maxReplicas {high} are no range"


@rule
def resources_in_one_place(document: Document) -> Iterator[str]:
    for name, group in _groups(document):
        params = group.get("rayStartParams", {})
        if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & set(params):
            yield f"group {name} has resources both in rayStartParams and beside them"
        if "labels" in params:
            yield f"group {name} has labels in rayStartParams; they go beside them"


@rule
def autoscaler(document: Document) -> Iterator[str]:
    spec = cluster_spec(document) or {}
    by_env = _env(spec.get("headGroupSpec", {}), "RAY_enable_autoscaler_v2")
    if not spec.get("enableInTreeAutoscaling"):
        if by_env in ("1", "true"):
            yield "RAY_enable_autoscaler_v2 is set, enableInTreeAutoscaling is not"
        return
    options = spec.get("autoscalerOptions", {})
    if options.get("idleTimeoutSeconds", 0) < 0:
        yield "autoscalerOptions.idleTimeoutSeconds must not be negative"
    if options.get("version") and by_env is not None:
        yield "the version stands in autoscalerOptions and in RAY_enable_autoscaler_v2"
    for name, group in _groups(document):
        if options.get("version") == "v2" and group["template"]["spec"].get("restartPolicy", "Never") != "Never":
            yield f"group {name}: restartPolicy must be Never with autoscaler v2"


@rule
def fault_tolerance(document: Document) -> Iterator[str]:
    spec = cluster_spec(document) or {}
    options = spec.get("gcsFaultToleranceOptions")
    head = spec.get("headGroupSpec", {})
    annotated = "ray.io/ft-enabled" in document["metadata"].get("annotations", {})
    for variable in ("RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME"):
        if _env(head, variable) is not None:
            yield f"{variable} is set on the head; gcsFaultToleranceOptions has a field for it"
    if options is None:
        return
    if annotated or "redis-password" in head.get("rayStartParams", {}):
        yield "fault tolerance is set in gcsFaultToleranceOptions and once more beside it"
    if options.get("backend", "redis") == "rocksdb":
        yield "backend rocksdb needs a feature gate that is off by default"
    elif "storage" in options:
        yield "storage belongs to backend rocksdb"


@rule
def token(document: Document) -> Iterator[str]:
    spec = cluster_spec(document) or {}
    auth = spec.get("authOptions", {})
    if document["kind"] == "RayJob" and auth.get("enableK8sTokenAuth"):
        yield "enableK8sTokenAuth does not go with a RayJob"
    if auth.get("mode") == "token":
        version = spec.get("rayVersion")
        if version is None or Version(version) < TOKEN_SINCE:
            yield f"mode token needs a rayVersion from {TOKEN_SINCE} on, not {version}"


@rule
def gates(document: Document) -> Iterator[str]:
    for key in GATED:
        if key in (cluster_spec(document) or {}):
            yield f"{key} needs a feature gate that is off by default"


def _groups(document: Document) -> Iterator[tuple[str, Document]]:
    spec = cluster_spec(document)
    if spec:
        yield from groups(spec)


def _env(group: Document, name: str) -> Any:
    containers = group.get("template", {}).get("spec", {}).get("containers", [{}])
    values = [entry.get("value", "") for entry in containers[0].get("env", []) if entry["name"] == name]
    return values[0] if values else None
