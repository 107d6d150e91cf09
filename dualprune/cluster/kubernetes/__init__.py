"""Checks a configuration against the Kubernetes manifests that it is to run on."""

from dualprune.cluster.kubernetes.capacity import Cluster, Group, clusters, cpu_count
from dualprune.cluster.kubernetes.check import Finding, check
from dualprune.cluster.kubernetes.manifests import build

__all__ = ["Cluster", "Finding", "Group", "build", "check", "clusters", "cpu_count"]
