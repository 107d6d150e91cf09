"""Our own rules for the manifests, as a reviewer of a cluster's security and operation would set them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.cluster.documents import Document, cluster_spec, containers, pods
from tests.cluster.quantities import num_bytes

# Ray drains a node for up to 30 s after SIGTERM; a minute is for an epoch's write and checkpoint in progress.
DRAIN_S = 30
CHECKPOINT_S = 60
METADATA_SERVICE = "169.254.0.0/16"
SPOT_KEYS = ("cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority", "dualprune-spot")

Rule = Callable[[list[Document]], Iterator[str]]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    """Register a rule, which yields what is wrong with an overlay's documents."""
    RULES[function.__name__] = function
    return function


def policy_errors(documents: list[Document], tags_allowed: bool = False) -> list[str]:
    """Return the breaches of every rule; with `tags_allowed` an image may go by tag instead of digest."""
    found = [f"{name}: {problem}" for name, check in RULES.items() for problem in check(documents)]
    return [problem for problem in found if not (tags_allowed and problem.startswith("images_by_digest"))]


@rule
def no_secrets(documents: list[Document]) -> Iterator[str]:
    for document in documents:
        if document["kind"] == "Secret":
            yield f"Secret {document['metadata']['name']} stands in the manifests"
    for where, container in containers(documents):
        for entry in container.get("env", []):
            if re.search(r"PASSWORD|TOKEN|SECRET|ACCESS_KEY|AUTH$", entry["name"]) and "value" in entry:
                yield f"{where}: {entry['name']} has its value in the manifest"
    for document in documents:
        password = (cluster_spec(document) or {}).get("gcsFaultToleranceOptions", {}).get("redisPassword", {})
        if "value" in password:
            yield f"{document['metadata']['name']}: redisPassword has its value in the manifest"


@rule
def no_kubernetes_token(documents: list[Document]) -> Iterator[str]:
    for document in documents:
        if document["kind"] == "ServiceAccount" and document.get("automountServiceAccountToken") is not False:
            yield f"ServiceAccount {document['metadata']['name']} hands its token out"
    for pod in pods(documents):
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.where}: takes its account's token"
        projected = {
            volume["name"]
            for volume in pod.spec.get("volumes", [])
            for source in volume.get("projected", {}).get("sources", [])
            if "serviceAccountToken" in source
        }
        for container in pod.spec["containers"]:
            if projected & {mount["name"] for mount in container.get("volumeMounts", [])}:
                yield f"{pod.where}, container {container['name']}: mounts a Kubernetes token"


@rule
def not_root(documents: list[Document]) -> Iterator[str]:
    for pod in pods(documents):
        context = pod.spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{pod.where}: may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{pod.where}: has no seccomp profile"
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(key):
                yield f"{pod.where}: {key}"
        for volume in pod.spec.get("volumes", []):
            if "hostPath" in volume:
                yield f"{pod.where}: mounts {volume['hostPath']['path']} of the node"


@rule
def confined(documents: list[Document]) -> Iterator[str]:
    for where, container in containers(documents):
        context = container.get("securityContext", {})
        capabilities = context.get("capabilities", {})
        if context.get("privileged"):
            yield f"{where}: privileged"
        if context.get("allowPrivilegeEscalation") is not False:
            yield f"{where}: may gain privileges"
        if context.get("readOnlyRootFilesystem") is not True:
            yield f"{where}: writes to its root file system"
        if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
            yield f"{where}: keeps capabilities"
        if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
            yield f"{where}: may run as root"


@rule
def requests_are_limits(documents: list[Document]) -> Iterator[str]:
    for where, container in containers(documents):
        resources = container.get("resources", {})
        limits = resources.get("limits", {})
        if not {"cpu", "memory"} <= set(limits):
            yield f"{where}: has no limit of cpu and memory"
        if resources.get("requests") != limits:
            yield f"{where}: requests and limits differ"


@rule
def images_named(documents: list[Document]) -> Iterator[str]:
    for where, image in _images(documents):
        if re.search(r":latest(@|$)", image) or not re.search(r"@|:[^/]+$", image):
            yield f"{where}: {image} is whatever was pushed last"


@rule
def images_by_digest(documents: list[Document]) -> Iterator[str]:
    for where, image in _images(documents):
        if not re.search(r"@sha256:[0-9a-f]{64}$", image):
            yield f"{where}: {image} goes by no digest"


@rule
def time_to_end(documents: list[Document]) -> Iterator[str]:
    for pod in pods(documents):
        if pod.group is None:
            continue
        commands = [c.get("lifecycle", {}).get("preStop", {}).get("exec", {}) for c in pod.spec["containers"]]
        pre_stop = sum(int(c["command"][-1]) for c in commands if c)
        needed = pre_stop + DRAIN_S + CHECKPOINT_S
        if pod.spec.get("terminationGracePeriodSeconds", 30) < needed:
            yield f"{pod.where}: needs {needed} s to end well"


@rule
def memory_and_disk(documents: list[Document]) -> Iterator[str]:
    for pod in pods(documents):
        limits = pod.spec["containers"][0]["resources"].get("limits", {})
        if pod.group is not None:
            # /dev/shm counts against the container's memory; the data loaders need room in it as well.
            if int(pod.ray_start_params.get("object-store-memory", 2**62)) > num_bytes(limits.get("memory", "0")) // 2:
                yield f"{pod.where}: the object store takes more than half of the memory, or has no limit"
            if any(m["mountPath"] == "/dev/shm" for m in pod.spec["containers"][0].get("volumeMounts", [])):
                yield f"{pod.where}: mounts /dev/shm, which KubeRay does with the right size"
        sizes = [v["emptyDir"].get("sizeLimit") for v in pod.spec.get("volumes", []) if "emptyDir" in v]
        if None in sizes:
            yield f"{pod.where}: an emptyDir has no sizeLimit"
        elif sum(map(num_bytes, sizes)) > num_bytes(limits.get("ephemeral-storage", "0")):
            yield f"{pod.where}: its emptyDirs are larger than its ephemeral-storage"


@rule
def heads_stay(documents: list[Document]) -> Iterator[str]:
    budgets = [d["spec"] for d in documents if d["kind"] == "PodDisruptionBudget"]
    for pod in pods(documents):
        if pod.group == "head":
            labels = {**pod.template["metadata"].get("labels", {}), "ray.io/node-type": "head"}
            over = [b for b in budgets if b["selector"]["matchLabels"].items() <= labels.items()]
            if [budget.get("minAvailable") for budget in over] != [1]:
                yield f"{pod.where}: has {len(over)} disruption budgets with minAvailable 1; there must be one"
            if any(t.get("key") in (*SPOT_KEYS, None) for t in pod.spec.get("tolerations", [])):
                yield f"{pod.where}: the head may land on a spot node"


@rule
def heads_do_no_work(documents: list[Document]) -> Iterator[str]:
    for pod in pods(documents):
        if pod.group == "head" and pod.ray_start_params.get("num-cpus") != "0":
            yield f"{pod.where}: tasks run on the head"


@rule
def token_on_the_job_port(documents: list[Document]) -> Iterator[str]:
    for document in documents:
        spec = cluster_spec(document)
        auth = (spec or {}).get("authOptions", {})
        if spec is not None and not (auth.get("mode") == "token" and auth.get("secretName")):
            yield f"{document['kind']} {document['metadata']['name']}: anyone who reaches the job port runs code"


@rule
def walls(documents: list[Document]) -> Iterator[str]:
    policies = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "NetworkPolicy"}
    closed = [p for p in policies.values() if p["podSelector"] == {} and not p.get("ingress") and not p.get("egress")]
    if not any(set(p["policyTypes"]) == {"Ingress", "Egress"} for p in closed):
        yield "there is no policy that shuts everything not named"
    for name, policy in policies.items():
        for ingress in policy.get("ingress", []):
            if not ingress.get("from") or any(_anyone(peer) for peer in ingress["from"]):
                yield f"{name}: lets anyone in"
            elif not ingress.get("ports") and not _ray_nodes_alone(policy, ingress["from"]):
                yield f"{name}: opens every port"
        for egress in policy.get("egress", []):
            blocks = [peer["ipBlock"] for peer in egress.get("to", []) if "ipBlock" in peer]
            if not egress.get("to") or any(METADATA_SERVICE not in block.get("except", []) for block in blocks):
                yield f"{name}: lets pods reach the cloud's credentials service"


def _anyone(peer: Document) -> bool:
    return "ipBlock" in peer or (not peer.get("namespaceSelector", True)) or peer == {"podSelector": {}}


def _ray_nodes_alone(policy: Document, peers: list[Document]) -> bool:
    ray = {"matchExpressions": [{"key": "ray.io/cluster", "operator": "Exists"}]}
    return policy["podSelector"] == ray and peers == [{"podSelector": ray}]


def _images(documents: list[Document]) -> Iterator[tuple[str, str]]:
    for where, container in containers(documents):
        if "image" in container:
            yield where, container["image"]
