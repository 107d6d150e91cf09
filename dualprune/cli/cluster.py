"""Commands about the cluster on which a configuration is to run."""

from __future__ import annotations

from typing import Annotated

import typer

from dualprune.cli.app import Overrides, app

cluster_app = typer.Typer(no_args_is_help=True, help="About Kubernetes manifests.")
app.add_typer(cluster_app, name="cluster")


@cluster_app.callback()
def cluster() -> None:
    """Keep `check` a subcommand, as long as it is the only one."""


@cluster_app.command("check")
def check_overlay(
    config: Annotated[str, typer.Argument(help="A YAML configuration.")],
    overlay: Annotated[str, typer.Argument(help="A kustomize folder such as cluster/overlays/gpu, or built YAML.")],
    overrides: Overrides = None,
) -> None:
    """Check that an overlay provides what a configuration needs of the cluster."""
    from dualprune.cluster.kubernetes import check
    from dualprune.core.config_file import load_config
    from dualprune.errors import ConfigError
    from dualprune.report.console import say

    findings = check(load_config(config, overrides or ()), overlay)
    if findings:
        raise ConfigError("\n".join(map(str, findings)))
    say(f"{config} fits {overlay}")
