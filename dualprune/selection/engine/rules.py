"""The rules of a draw that hold for any sampler: how many to keep, by which noise, and under which constraints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from dualprune.core.arguments import check_whole
from dualprune.core.hashing import seed_salt, stream_salt
from dualprune.core.sections import BalanceConfig, SelectConfig
from dualprune.errors import ConfigError
from dualprune.selection.engine.spec import no_positions
from dualprune.selection.sampler import Ints

# 1: every draw of a seed shares its noise. 2: every purpose has noise of its own.
Stream = Literal[1, 2]
LARGEST_SEED = (1 << 64) - 1


@dataclass(frozen=True)
class DrawRules:
    """The ratios, the seed of the noise, quotas of groups, whether ratios nest, and the stream of the noise.

    `purpose` names the stream; "": that of the sampler, `select/<its name>`. With stream 1 it does not matter.
    """

    ratios: tuple[float, ...]
    seed: int = 0
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    nested: bool = False
    stream: int = 2
    purpose: str = ""

    def __post_init__(self) -> None:
        if self.stream not in get_args(Stream):
            raise ConfigError(f"select.stream: {self.stream!r} is not one of {', '.join(map(str, get_args(Stream)))}")
        if check_whole("seed", self.seed, 0) > LARGEST_SEED:
            raise ConfigError(f"seed: {self.seed} is not in 0 … 2^64 - 1; choose another seed")

    @classmethod
    def of(cls, select: SelectConfig) -> DrawRules:
        """Return the rules of a configuration."""
        return cls(tuple(select.ratios), select.seed, select.balance, select.nested, select.stream)

    def salt(self, sampler: str, part: str = "") -> np.uint64:
        """Return the salt of the noise of a sampler's draw, or of a `part` of it that has noise of its own."""
        if self.stream == 1:
            return seed_salt(self.seed)
        return stream_salt(self.seed, (self.purpose or f"select/{sampler}") + part)


@dataclass(frozen=True)
class Constraints:
    """Positions that are always or never kept, ascending, and the names of the groups of `balance`."""

    forced: Ints = field(default_factory=no_positions)
    excluded: Ints = field(default_factory=no_positions)
    groups: tuple[str, ...] = ("",)
