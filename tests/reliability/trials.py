"""One trial: a sound run is copied and damaged, one command runs, and how it ended is judged."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from dualprune.dynamics.layout import OWN_FILES
from tests.reliability import sound
from tests.reliability.commands import COMMANDS
from tests.reliability.damage import UNREADABLE, Damage, kinds

SAME, REFUSED, OTHER, TRACEBACK = "same result", "error", "ANOTHER RESULT", "TRACEBACK"
# Outcomes that must not be.
WRONG = (OTHER, TRACEBACK)
NOBODY = 65_534


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Let root, whom no permission stops, have those of nobody; everyone may write in `folder` otherwise."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        if path.stat(follow_symlinks=False).st_mode & 0o777:
            path.chmod(0o777)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


class Outcome(NamedTuple):
    """How one trial ended; `said` is what the command said."""

    damage: Damage
    command: str
    outcome: str
    said: str

    def __str__(self) -> str:
        return f"{self.damage} | {self.command}: {self.outcome}\n{self.said[-1500:]}"


class Trials:
    """A sound run, another one, and what each command ends with on the sound one."""

    def __init__(self, folder: Path, *, num_buckets: int = sound.NUM_BUCKETS) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.sound, self.other = folder / "sound", folder / "other"
        for place, seed in ((self.sound, 0), (self.other, 1)):
            sound.make(place, seed, num_buckets)
        self.expected = {name: self._run(name, None)[0].result for name in COMMANDS}

    def damages(self, seed: int) -> list[Damage]:
        """Return damage of every kind at every place."""
        return list(kinds(self.sound / sound.RUN, self.other / sound.RUN, seed))

    def pairs(self, seed: int) -> Iterator[tuple[Damage, str]]:
        """Yield every damage with every command, in an order in which any beginning is a fair sample."""
        pairs = [(damage, command) for damage in self.damages(seed) for command in COMMANDS]
        random.Random(seed).shuffle(pairs)
        yield from pairs

    def trial(self, damage: Damage, command: str) -> Outcome:
        """Run a command on a damaged copy, and judge how it ended."""
        ended, survived = self._run(command, damage)
        if ended.code not in (0, 2) or "Traceback" in ended.said:
            outcome = TRACEBACK
        elif ended.code == 2:
            outcome = REFUSED if "error: " in ended.said else TRACEBACK
        elif ended.result != self.expected[command] or (command == "store check" and not damage.adds):
            outcome = OTHER
        else:
            outcome = SAME
        if not survived:
            outcome = OTHER
        return Outcome(damage, command, outcome, ended.said)

    def _run(self, command: str, damage: Damage | None) -> tuple[sound.Any, bool]:
        scratch = self.folder / "trial"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        # The run stands where the sound one stood: its path is in what some files say.
        run = sound.copy(self.sound, scratch / sound.RUN)
        if damage is not None:
            damage.apply(run)
        with as_nobody(scratch) if damage is not None and damage.kind in UNREADABLE else nullcontext():
            ended = COMMANDS[command](run, scratch)
        added = damage is not None and damage.adds and not OWN_FILES.fullmatch(Path(damage.place).name)
        survived = damage is None or not added or (run / damage.place).exists()
        if damage is None:
            assert ended.code == 0, ended.said
        return ended, survived
