"""How long the rest of some work will take, from when its steps ended."""

from __future__ import annotations

from collections import deque

# Old steps are forgotten, but this many are always kept, however long they take.
NUM_STEPS = 10
RECENT_S = 60.0


class Pace:
    """The time left of work of `total` steps, at the mean pace of the recent ones."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._ends: deque[tuple[float, int]] = deque()
        # The oldest and the newest of these, set at once: another thread may read them.
        self._span: tuple[tuple[float, int], tuple[float, int]] | None = None

    def note(self, count: int, at: float) -> None:
        """Note that `count` steps are done at the time `at`, in seconds of any clock.

        The first call says where work began. A count below the last one, as after a restart, begins anew.
        """
        if self._ends and count < self._ends[-1][1]:
            self._ends.clear()
        if self._ends and count == self._ends[-1][1]:
            return
        self._ends.append((at, count))
        while len(self._ends) > NUM_STEPS + 1 and at - self._ends[1][0] >= RECENT_S:
            self._ends.popleft()
        self._span = self._ends[0], self._ends[-1]

    def left(self, now: float) -> float | None:
        """Return the seconds that the rest will take from `now` on; None until a step has ended."""
        if self._span is None or self._span[0] == self._span[1]:
            return None
        (began, before), (ended, count) = self._span
        return max(0.0, (self._total - count) * (ended - began) / (count - before) - (now - ended))
