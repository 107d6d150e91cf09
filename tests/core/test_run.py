from __future__ import annotations

import pytest

from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.errors import RunError


def do(run: RunDirectory, settings: dict, log: list, **options) -> bool:
    with run.stage("work", settings, ["input"], **options) as stage:
        if not stage.done:
            log.append(settings)
            stage.summary = {"n": len(log)}
        return stage.done


@pytest.fixture(params=["local", "s3"])
def run(request, tmp_path) -> RunDirectory:
    return RunDirectory(tmp_path / "run" if request.param == "local" else request.getfixturevalue("s3"))


def test_a_finished_stage_is_skipped_until_its_settings_change(run: RunDirectory) -> None:
    log: list = []
    assert not do(run, {"a": 1}, log)
    assert do(run, {"a": 1}, log)
    assert not do(run, {"a": 2}, log)
    assert not do(run, {"a": 2}, log, force=True)
    assert not do(run, {"a": 2}, log, reopen=True)
    assert log == [{"a": 1}, {"a": 2}, {"a": 2}, {"a": 2}]
    assert run.manifest("work")["summary"] == {"n": 4}


def test_a_stage_that_fails_is_not_done(run: RunDirectory) -> None:
    with pytest.raises(KeyError), run.stage("work", {}):
        raise KeyError
    assert run.manifest("work") is None
    assert run.manifests()["work"]["status"] == "running"
    with run.stage("work", {}) as stage:
        assert not stage.done


def test_other_inputs_do_a_stage_again(run: RunDirectory) -> None:
    for inputs, done in ((["x"], False), (["x"], True), (["y"], False)):
        with run.stage("work", {}, inputs) as stage:
            assert stage.done is done


def test_a_protected_stage_names_what_differs(run: RunDirectory) -> None:
    log: list = []
    do(run, {"train": {"lr": 0.1, "seed": 0}}, log, refuse_change=True)
    with pytest.raises(RunError, match=r"belongs to another configuration \(train\.lr: 0\.1 there, 0\.2 now\)"):
        do(run, {"train": {"lr": 0.2, "seed": 0}}, log, refuse_change=True)
    do(run, {"train": {"lr": 0.2, "seed": 0}}, log, refuse_change=True, force=True)
    assert len(log) == 2


def test_the_configuration_is_stored(run: RunDirectory) -> None:
    with pytest.raises(RunError, match=r"is not a run directory: it has no config\.yaml"):
        run.load_config()
    run.save_config(make_config({"select": {"ratio": 0.5}}))
    assert run.load_config().select.ratio == 0.5
    assert run.load_config(["select.ratio=0.9"]).select.ratio == 0.9


def test_a_stage_that_is_needed_names_the_command(run: RunDirectory) -> None:
    with pytest.raises(RunError, match=r"stage 'select\.x' is not finished; run `dualprune select "):
        run.require("select.x", "select")


def test_scores_of_a_recording_that_is_gone_do_not_count(run: RunDirectory) -> None:
    for key in ("score.dual", "select.beta-0.7"):
        with run.stage(key, {}):
            pass
    (run.dynamics / "epoch=0000" / "_commit.json").write_text("{}")
    run.forget_recording()
    assert list(run.manifests()) == ["select.beta-0.7"]
    assert not run.dynamics.children()
    with pytest.raises(RunError, match=r"stage 'score.dual' is not finished; run `dualprune score"):
        run.require("score.dual", "score")
