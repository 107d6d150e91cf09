"""A pool of warm workers that trains any list of jobs, each worker an actor with a GPU or a core of its own.

Whatever trains many models uses it: starting Ray Train takes longer than many of these trainings.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import ray
from ray.exceptions import RayError

from dualprune.cluster.progress import progress_bar
from dualprune.cluster.session import user_error
from dualprune.core.cleanup import cleaning_up
from dualprune.core.storage import Location
from dualprune.errors import RunError
from dualprune.stages.evaluate.jobs import Job, Row, TrainingContext

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Call:
    """An actor's task: to train the job of this number, or, with None, to start."""

    actor: Any
    number: int | None


class TrainingPool:
    """Trains jobs on up to `size` workers, which keep the data from job to job, until the `with` block ends.

    A job whose worker dies or fails is trained again by a new worker, at most `max_failures` times (-1: no limit).
    """

    def __init__(self, context: TrainingContext, size: int, max_failures: int) -> None:
        self._size, self._max_failures = size, max_failures
        self._context = ray.put(context)
        workers = context.workers
        self._actor_class = ray.remote(num_cpus=workers.cpus_each, num_gpus=1 if workers.use_gpu else 0)(_Actor)
        self._calls: dict[Any, _Call] = {}
        self._idle: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in [*self._idle, *(call.actor for call in self._calls.values())]:
            _kill(actor)
        self._idle, self._calls = [], {}

    def train(self, jobs: Sequence[tuple[Job, Location]], title: str) -> list[Row]:
        """Train the jobs whose file is missing, and return the rows of all of them, in order.

        Each row is written to its job's file as soon as the job ends, so that an interrupted list can continue.
        """
        todo = [(job, file) for job, file in jobs if not file.exists()]
        # The longest first: no worker is left alone with one at the end.
        todo.sort(key=lambda item: -item[0].work)
        if todo:
            with progress_bar(title, total=len(todo)) as done:
                for number, row in self.results([job for job, _ in todo]):
                    todo[number][1].write_json(row)
                    done(f"{row['subset']} {row['ratio']:g}: {row['accuracy']:.1%}")
        return [{**file.read_record(), "subset": job.subset, "draw": job.draw} for job, file in jobs]

    def results(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Row]]:
        """Yield (number, row) of each job as it ends.

        Raises:
            UserError: a job raised it.
            RunError: a job failed on more workers than `max_failures` allows.
        """
        waiting = deque(range(len(jobs)))
        failures: Counter[int | None] = Counter()
        num_left = len(jobs)
        try:
            while num_left:
                self._start_workers(num_left)
                while waiting and self._idle:
                    actor, number = self._idle.pop(), waiting.popleft()
                    self._calls[actor.run.remote(jobs[number])] = _Call(actor, number)
                [ended], _ = ray.wait(list(self._calls), num_returns=1)
                call = self._calls.pop(ended)
                try:
                    row = ray.get(ended)
                except RayError as error:
                    # After a failure the state of the process is unknown, especially that of its GPU.
                    ray.kill(call.actor)
                    failures[call.number] += 1
                    what = "a worker that starts" if call.number is None else str(jobs[call.number])
                    self._check(what, failures[call.number], error)
                    if call.number is not None:
                        waiting.appendleft(call.number)
                    continue
                self._idle.append(call.actor)
                if call.number is not None:
                    num_left -= 1
                    yield call.number, row
        finally:
            self._abandon()

    def _start_workers(self, num_left: int) -> None:
        """Start as many workers as the remaining jobs can use; each gets a job once it has started."""
        for _ in range(min(self._size, num_left) - len(self._idle) - len(self._calls)):
            actor = self._actor_class.remote()
            self._calls[actor.start.remote(self._context)] = _Call(actor, None)

    def _abandon(self) -> None:
        """Abort the jobs that are still training, with their workers."""
        for ended, call in list(self._calls.items()):
            if call.number is not None:
                _kill(call.actor)
                del self._calls[ended]

    def _check(self, what: str, num_failures: int, error: RayError) -> None:
        """Log a failure after which a new worker may succeed; raise for any other."""
        mistake = user_error(error)
        if mistake is not None:
            raise mistake from None
        # Ray appends a paragraph of guesses to the reason why a process ended.
        reason = str(error).strip().splitlines()[-1].partition(" Some common causes")[0]
        if 0 <= self._max_failures < num_failures:
            raise RunError(
                f"training failed {num_failures} times ({what}), most recently because: {reason}; finished trainings "
                "are kept, and a new run continues from there. scaling.max_failures sets how often to retry"
            ) from error
        logger.warning("%s failed; a new worker tries again: %s", what, reason)


def _kill(actor: Any) -> None:
    with cleaning_up("stopping a worker"):
        ray.kill(actor)


class _Actor:
    """Holds a `Worker`, whose class is imported in the actor's process only: the driver needs no torch."""

    def start(self, context: TrainingContext) -> None:
        """Bring the data to the device; an error here, unlike one of a constructor, reaches the driver as raised."""
        from dualprune.stages.evaluate.worker import Worker

        self._worker = Worker(context)

    def run(self, job: Job) -> Row:
        """Train a job to its end and return its row."""
        return self._worker.run(job)
