"""One sound run for all trials of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reliability.sound import work_in_this_process
from tests.reliability.trials import Trials


@pytest.fixture(scope="session")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """Return a sound run and what each command ends with on it; see `here`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        work_in_this_process(monkeypatch)
        return Trials(tmp_path_factory.mktemp("trials") / "runs")


@pytest.fixture
def here() -> Iterator[None]:
    """Process all buckets in this process."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        work_in_this_process(monkeypatch)
        yield
