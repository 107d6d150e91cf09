"""Commands about the cluster that a configuration is to run on."""

from __future__ import annotations

from typing import Annotated

import typer

from dualprune.cli.app import Overrides, app, console
from dualprune.core.config_file import load_config
from dualprune.errors import ConfigError

cluster_app = typer.Typer(no_args_is_help=True, help="About Kubernetes manifests.")
app.add_typer(cluster_app, name="cluster")


@cluster_app.callback()
def cluster() -> None:
    """Hold the commands below together, however few they are."""


@cluster_app.command("check")
def check_overlay(
    config: Annotated[str, typer.Argument(help="A YAML configuration.")],
    overlay: Annotated[str, typer.Argument(help="A kustomize folder such as cluster/overlays/gpu, or built YAML.")],
    overrides: Overrides = None,
) -> None:
    """Check that what a configuration asks of the cluster is what an overlay gives."""
    from dualprune.cluster.kubernetes import check

    findings = check(load_config(config, overrides or ()), overlay)
    if findings:
        raise ConfigError("\n".join(map(str, findings)))
    console.print(f"{config} fits {overlay}", markup=False, highlight=False, soft_wrap=True)
