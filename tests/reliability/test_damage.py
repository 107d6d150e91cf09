"""A damaged run: every command ends with the result of the undamaged one, or with an error and exit code 2.

Never with another result, and never with a traceback. docs/reliability.md has the outcomes by kind of damage.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pytest

from tests.reliability import sound
from tests.reliability.damage import Damage
from tests.reliability.trials import OTHER, REFUSED, SAME, TRACEBACK, WRONG, Trials

SEED = 0
QUICK, SLOW, PROCESSES = 40, 1500, 12


def wrong(trials: Trials, pairs: Iterable[tuple[Damage, str]]) -> list[str]:
    outcomes = [trials.trial(damage, command) for damage, command in pairs]
    assert {outcome.outcome for outcome in outcomes} >= {SAME, REFUSED}
    return [str(outcome) for outcome in outcomes if outcome.outcome in WRONG]


def test_a_few_trials(trials: Trials, here: None) -> None:
    assert wrong(trials, islice(trials.pairs(SEED), QUICK)) == []


@pytest.mark.slow
def test_many_trials(trials: Trials, here: None) -> None:
    assert wrong(trials, islice(trials.pairs(SEED), QUICK, QUICK + SLOW)) == []


def test_every_kind_of_damage_and_every_place_is_among_the_trials(trials: Trials) -> None:
    damages = trials.damages(SEED)
    assert len({damage.kind for damage in damages}) >= 20
    run = trials.sound / sound.RUN
    for path in run.rglob("*"):
        if path.name != ".lock":
            assert sum(str(path.relative_to(run)) in damage.place for damage in damages) >= 4, path


def test_the_judge_tells_the_outcomes_apart(trials: Trials, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome(content: bytes | None, command: str, name: str = "manifests/record.json") -> str:
        damage = Damage("test", name, lambda root: content is None or (root / name).write_bytes(content))
        return trials.trial(damage, command).outcome

    assert outcome(None, "select --force") == SAME
    assert outcome(b"", "status") == REFUSED
    scores = "scores/method=dual/bucket=00001.parquet"
    assert outcome((trials.other / sound.RUN / scores).read_bytes(), "overlap", scores) == SAME
    monkeypatch.setitem(trials.expected, "overlap", "as it is not")
    assert outcome(None, "overlap") == OTHER
    monkeypatch.setattr("dualprune.stages.status.stage_states", lambda run: 1 // 0)
    assert outcome(None, "status") == TRACEBACK


@pytest.mark.slow
def test_commands_in_processes_of_their_own(tmp_path: Path, here: None) -> None:
    # One bucket: no command starts Ray.
    trials = Trials(tmp_path / "runs", num_buckets=1)
    command_lines = {
        "score --force": ("score", "--force"),
        "select --explain": ("select", "--explain"),
        "export --force": ("export", "--force"),
        "status": ("status",),
        "store check": ("store", "check"),
        "overlap": ("overlap", "--selections", *sound.SELECTIONS),
    }
    seen = set()
    for damage, command in trials.pairs(SEED):
        if command not in command_lines or damage.kind in seen or "permission" in damage.kind:
            continue
        seen.add(damage.kind)
        run = sound.copy(trials.sound, tmp_path / f"run{len(seen)}")
        damage.apply(run)
        first, *more = command_lines[command]
        words = [first, *more, str(run)] if first == "store" else [first, str(run), *more]
        ended = subprocess.run(
            [sys.executable, "-m", "dualprune", *words], capture_output=True, text=True, timeout=120, check=False
        )
        assert ended.returncode in (0, 2), f"{damage} | {command}\n{ended.stderr}"
        assert "Traceback" not in ended.stdout + ended.stderr
        assert (ended.returncode == 2) == ("error: " in ended.stderr)
        # In this process it ends in the same way.
        assert (trials.trial(damage, command).outcome == REFUSED) == (ended.returncode == 2)
        if len(seen) == PROCESSES:
            break
    assert len(seen) == PROCESSES
