"""Loggers that write the course of every trial: Ray's own integrations."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from dualprune.errors import ConfigError

# By name: the logger's address, and the package that it needs.
_LOGGERS = {
    "csv": ("ray.tune.logger", "CSVLoggerCallback", None),
    "json": ("ray.tune.logger", "JsonLoggerCallback", None),
    "tensorboard": ("ray.tune.logger", "TBXLoggerCallback", "tensorboardX"),
    "mlflow": ("ray.air.integrations.mlflow", "MLflowLoggerCallback", "mlflow"),
    "wandb": ("ray.air.integrations.wandb", "WandbLoggerCallback", "wandb"),
}


def check_loggers(names: Sequence[str]) -> None:
    """Raise a ConfigError for a logger whose package is not installed."""
    for name in names:
        package = _LOGGERS[name][2]
        if package is not None and find_spec(package) is None:
            raise ConfigError(
                f"config.tune.loggers: {name} needs the package {package}, which is not installed; "
                f"install it (`pip install {package}`) or leave {name} out"
            )


def make_loggers(names: Sequence[str], experiment: str) -> list[Any]:
    """Return Ray Tune's callbacks for the loggers of `tune.loggers`.

    MLflow and W&B find their server by their own environment variables; `experiment` names the experiment or project.
    """
    from importlib import import_module

    check_loggers(names)
    made = []
    for name in dict.fromkeys(names):
        module, callback, _ = _LOGGERS[name]
        settings = {"mlflow": {"experiment_name": experiment}, "wandb": {"project": experiment}}.get(name, {})
        made.append(getattr(import_module(module), callback)(**settings))
    return made
