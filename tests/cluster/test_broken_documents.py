"""Every check fails on a document that breaks it: a check that cannot fail is useless."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster import operator_rules, policy_rules
from tests.cluster.documents import built, find
from tests.cluster.operator_rules import operator_errors
from tests.cluster.policy_rules import policy_errors
from tests.cluster.schemas import schema_errors

GONE = object()
RAY_JOB, RAY_CLUSTER = ("RayJob", "prune"), ("RayCluster", "dualprune")
HEAD = "headGroupSpec.template.spec"
CPU = "workerGroupSpecs.0"
POD = f"{CPU}.template.spec"
CONTAINER = f"{POD}.containers.0"


def broken(overlay: str, target: tuple[str, str], path: str, value: Any) -> list[dict[str, Any]]:
    """Return an overlay's documents with one value changed; the path starts below `spec` but for `metadata…`."""
    documents = built(overlay)
    node: Any = find(documents, *target)
    keys = path.split(".") if path.startswith("metadata") else ["spec", *path.split(".")]
    for key in keys[:-1]:
        node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
    last: Any = int(keys[-1]) if isinstance(node, list) else keys[-1]
    if value is GONE:
        del node[last]
    elif isinstance(node, list) and last == len(node):
        node.append(value)
    else:
        node[last] = value
    return documents


SCHEMA = [
    (RAY_JOB, "entrypont", "python", "entrypont"),
    (RAY_JOB, "ttlSecondsAfterFinished", "600", "'600' is not of type 'integer'"),
    (RAY_JOB, "rayClusterSpec.headGroupSpec", GONE, "'headGroupSpec' is a required property"),
    (RAY_CLUSTER, f"{CPU}.replica", 2, "replica"),
    (RAY_CLUSTER, f"{CPU}.groupName", GONE, "'groupName' is a required property"),
    (RAY_CLUSTER, f"{CPU}.rayStartParams.num-cpus", 4, "4 is not of type 'string'"),
    (RAY_CLUSTER, f"{CONTAINER}.imagePullPolice", "Always", "imagePullPolice"),
    (RAY_CLUSTER, f"{POD}.tolerations.0.key", 7, "7 is not of type"),
    (RAY_CLUSTER, "autoscalerOptions", {"resources": {"limit": {}}}, "limit"),
    (RAY_CLUSTER, "autoscalerOptions", {"version": "v3"}, "'v3' is not one of"),
    (RAY_CLUSTER, "metadata.label", {"a": "b"}, "label"),
    (("Deployment", "dualprune-redis"), "replica", 1, "replica"),
    (("NetworkPolicy", "redis"), "ingress", [{"form": []}], "form"),
    (("CronJob", "nightly-prune"), "schedule", GONE, "'schedule' is a required property"),
    (("PodDisruptionBudget", "redis"), "minAvailable", [1], "[1] is not"),
]


@pytest.mark.parametrize(("target", "path", "value", "message"), SCHEMA)
def test_schema_refuses(target, path, value, message):
    document = find(broken("gpu", target, path, value), *target)
    errors = schema_errors(document)
    assert len(errors) == 1, errors
    assert message in errors[0]


def test_schema_refuses_an_unknown_kind():
    assert "RayClutser" in schema_errors({"apiVersion": "v1", "kind": "RayClutser", "metadata": {}})[0]


OPERATOR = {
    "names": [
        (RAY_JOB, "metadata.name", "p" * 48, "at most 47"),
        (RAY_CLUSTER, "metadata.name", "Dual", "no DNS label"),
    ],
    "one_cluster": [
        (RAY_JOB, "rayClusterSpec", GONE, "neither"),
        (RAY_JOB, "clusterSelector", {"ray.io/cluster": "dualprune"}, "goes with neither"),
    ],
    "life_of_a_job": [
        (RAY_JOB, "shutdownAfterJobFinishes", False, "suspend needs"),
        (RAY_JOB, "shutdownAfterJobFinishes", GONE, "ttlSecondsAfterFinished needs"),
        (RAY_JOB, "submissionMode", "InteractiveMode", "without backoffLimit"),
        (RAY_JOB, "submissionMode", "HttpMode", "is none of"),
        (RAY_JOB, "activeDeadlineSeconds", 0, "more than 0"),
        (RAY_JOB, "backoffLimit", -1, "negative"),
    ],
    "group_sizes": [
        (RAY_CLUSTER, f"{CPU}.maxReplicas", GONE, "needs minReplicas and maxReplicas"),
        (RAY_CLUSTER, f"{CPU}.maxReplicas", 1, "no range"),
        (RAY_CLUSTER, f"{CPU}.minReplicas", -1, "no range"),
    ],
    "resources_in_one_place": [
        (RAY_CLUSTER, "headGroupSpec.resources", {"CPU": "0"}, "both in rayStartParams"),
        (RAY_CLUSTER, f"{CPU}.rayStartParams.labels", "a=b", "labels in rayStartParams"),
    ],
    "autoscaler": [
        (RAY_CLUSTER, f"{POD}.restartPolicy", "Always", "must be Never"),
        (RAY_CLUSTER, "autoscalerOptions.idleTimeoutSeconds", -1, "negative"),
        (RAY_CLUSTER, f"{HEAD}.containers.0.env.0", {"name": "RAY_enable_autoscaler_v2", "value": "1"}, "and in RAY"),
        (RAY_CLUSTER, "enableInTreeAutoscaling", False, "enableInTreeAutoscaling is not"),
    ],
    "fault_tolerance": [
        (RAY_CLUSTER, f"{HEAD}.containers.0.env.0", {"name": "RAY_REDIS_ADDRESS", "value": "x:1"}, "has a field for"),
        (RAY_CLUSTER, "headGroupSpec.rayStartParams.redis-password", "x", "once more"),
        (RAY_CLUSTER, "metadata.annotations", {"ray.io/ft-enabled": "true"}, "once more"),
        (RAY_CLUSTER, "gcsFaultToleranceOptions.backend", "rocksdb", "feature gate"),
        (RAY_CLUSTER, "gcsFaultToleranceOptions.storage", {"size": "1Gi"}, "belongs to"),
    ],
    "token": [
        (RAY_CLUSTER, "rayVersion", GONE, "not None"),
        (RAY_CLUSTER, "rayVersion", "2.51.0", "not 2.51.0"),
        (RAY_JOB, "rayClusterSpec.authOptions.enableK8sTokenAuth", True, "does not go with a RayJob"),
    ],
    "gates": [(RAY_CLUSTER, "networkPolicy", {"mode": "DenyAll"}, "feature gate")],
}


def test_every_rule_of_the_operator_is_shown_to_fail():
    assert set(OPERATOR) == set(operator_rules.RULES)


@pytest.mark.parametrize(
    ("rule", "target", "path", "value", "message"),
    [(rule, *case) for rule, cases in OPERATOR.items() for case in cases],
)
def test_operator_rule_refuses(rule, target, path, value, message):
    documents = broken("gpu-autoscale" if rule == "autoscaler" else "gpu", target, path, value)
    if value is False and path == "enableInTreeAutoscaling":
        head = find(documents, *target)["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
        head["env"].append({"name": "RAY_enable_autoscaler_v2", "value": "true"})
    errors = [error for error in operator_errors(documents) if f": {rule}: " in error]
    assert any(message in error for error in errors), errors


TOKEN_VOLUME = {"name": "tmp", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
POLICY = {
    "no_secrets": [
        (RAY_CLUSTER, f"{CONTAINER}.env.2", {"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}, "has its value"),
        (RAY_CLUSTER, "gcsFaultToleranceOptions.redisPassword", {"value": "x"}, "redisPassword"),
        (("Service", "dualprune-redis"), "KIND", "Secret", "stands in the manifests"),
    ],
    "no_kubernetes_token": [
        (RAY_CLUSTER, f"{POD}.automountServiceAccountToken", GONE, "takes its account's token"),
        (("ServiceAccount", "dualprune-ray"), "TOP.automountServiceAccountToken", True, "hands its token out"),
        (RAY_CLUSTER, f"{POD}.volumes.0", TOKEN_VOLUME, "mounts a Kubernetes token"),
    ],
    "not_root": [
        (RAY_CLUSTER, f"{POD}.securityContext.runAsNonRoot", GONE, "may run as root"),
        (RAY_CLUSTER, f"{POD}.securityContext.runAsUser", 0, "may run as root"),
        (RAY_JOB, "rayClusterSpec.headGroupSpec.template.spec.securityContext.seccompProfile", GONE, "no seccomp"),
        (RAY_CLUSTER, f"{POD}.hostNetwork", True, "hostNetwork"),
        (RAY_CLUSTER, f"{POD}.volumes.2", {"name": "x", "hostPath": {"path": "/"}}, "mounts / of the node"),
    ],
    "confined": [
        (RAY_CLUSTER, f"{CONTAINER}.securityContext.privileged", True, "privileged"),
        (RAY_CLUSTER, f"{CONTAINER}.securityContext.allowPrivilegeEscalation", GONE, "may gain privileges"),
        (RAY_CLUSTER, f"{CONTAINER}.securityContext.readOnlyRootFilesystem", False, "writes to its root"),
        (RAY_CLUSTER, f"{CONTAINER}.securityContext.capabilities.add", ["SYS_PTRACE"], "keeps capabilities"),
        (RAY_CLUSTER, f"{CONTAINER}.securityContext.capabilities", GONE, "keeps capabilities"),
        (RAY_CLUSTER, f"{CONTAINER}.securityContext.runAsUser", 0, "may run as root"),
        (RAY_CLUSTER, "autoscalerOptions.securityContext", GONE, "the autoscaler: may gain privileges"),
    ],
    "requests_are_limits": [
        (RAY_CLUSTER, f"{CONTAINER}.resources.limits.memory", GONE, "no limit of cpu and memory"),
        (RAY_CLUSTER, f"{CONTAINER}.resources.requests.cpu", "1", "requests and limits differ"),
        (RAY_CLUSTER, "autoscalerOptions.resources.requests.cpu", "1", "the autoscaler: requests and limits differ"),
    ],
    "images_named": [
        (RAY_CLUSTER, f"{CONTAINER}.image", "registry.example.com/dualprune:latest", "pushed last"),
        (RAY_CLUSTER, f"{CONTAINER}.image", "registry.example.com:5000/dualprune", "pushed last"),
    ],
    "images_by_digest": [(RAY_CLUSTER, f"{CONTAINER}.image", "registry.example.com/dualprune:1.2", "no digest")],
    "time_to_end": [
        (RAY_CLUSTER, f"{POD}.terminationGracePeriodSeconds", 104, "needs 105 s"),
        (RAY_CLUSTER, f"{HEAD}.terminationGracePeriodSeconds", GONE, "needs 90 s"),
    ],
    "memory_and_disk": [
        (RAY_CLUSTER, f"{CPU}.rayStartParams.object-store-memory", "60000000000", "more than half"),
        (RAY_CLUSTER, f"{CPU}.rayStartParams.object-store-memory", GONE, "has no limit"),
        (RAY_CLUSTER, f"{CONTAINER}.volumeMounts.2", {"name": "shm", "mountPath": "/dev/shm"}, "mounts /dev/shm"),
        (RAY_CLUSTER, f"{POD}.volumes.0.emptyDir", {}, "no sizeLimit"),
        (RAY_CLUSTER, f"{POD}.volumes.0.emptyDir.sizeLimit", "1Ti", "larger than"),
    ],
    "heads_stay": [
        (RAY_CLUSTER, "headGroupSpec.template.metadata.labels.dualprune-cluster", "other", "has 0 disruption budgets"),
        (("PodDisruptionBudget", "prune-head"), "minAvailable", 0, "has 1 disruption budgets"),
        (RAY_CLUSTER, f"{HEAD}.tolerations", [{"operator": "Exists"}], "spot node"),
    ],
    "heads_do_no_work": [(RAY_CLUSTER, "headGroupSpec.rayStartParams.num-cpus", GONE, "tasks run on the head")],
    "token_on_the_job_port": [
        (RAY_CLUSTER, "authOptions", GONE, "runs code"),
        (RAY_JOB, "rayClusterSpec.authOptions.mode", "disabled", "runs code"),
    ],
    "walls": [
        (("NetworkPolicy", "deny-all"), "policyTypes", ["Ingress"], "shuts everything"),
        (("NetworkPolicy", "job-port"), "ingress.0.from", GONE, "job-port: lets anyone in"),
        (("NetworkPolicy", "job-port"), "ingress.0.from.0", {"namespaceSelector": {}}, "job-port: lets anyone in"),
        (("NetworkPolicy", "job-port"), "ingress.0.from.0", {"ipBlock": {"cidr": "0.0.0.0/0"}}, "lets anyone in"),
        (("NetworkPolicy", "job-port"), "ingress.0.ports", GONE, "opens every port"),
        (("NetworkPolicy", "object-store"), "egress.0.to.0.ipBlock.except", ["10.0.0.0/8"], "credentials service"),
        (("NetworkPolicy", "names"), "egress.0.to", GONE, "credentials service"),
    ],
}


def test_every_policy_rule_is_shown_to_fail():
    assert set(POLICY) == set(policy_rules.RULES)


@pytest.mark.parametrize(
    ("rule", "target", "path", "value", "message"),
    [(rule, *case) for rule, cases in POLICY.items() for case in cases],
)
def test_policy_rule_refuses(rule, target, path, value, message):
    if path == "KIND":
        documents = built("gpu-autoscale")
        find(documents, *target)["kind"] = value
    elif path.startswith("TOP."):
        documents = built("gpu-autoscale")
        find(documents, *target)[path.removeprefix("TOP.")] = value
    else:
        documents = broken("gpu-autoscale", target, path, value)
    errors = [error for error in policy_errors(documents) if error.startswith(f"{rule}: ")]
    assert any(message in error for error in errors), errors


def test_a_tag_passes_where_tags_are_allowed():
    documents = broken("gpu", RAY_CLUSTER, f"{CONTAINER}.image", "localhost/dualprune-cpu:dev")
    assert policy_errors(documents) != []
    assert policy_errors(documents, tags_allowed=True) == []
