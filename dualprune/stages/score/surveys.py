"""What is seen of the scores as they are written: a selection then need not look at all of them first.

scores/method=dual/_survey.parquet   score and mean_prob of some samples by chance, from the lowest score on.
                                     The other facts are JSON under the key `survey` of its metadata
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from dualprune.core.storage import Location
from dualprune.selection.engine.sketch import Sketch
from dualprune.selection.engine.spec import DrawSpec
from dualprune.selection.engine.survey import Survey
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import ColumnDraw

SURVEY = "_survey.parquet"
# More than any anchor of a Beta is likely to be made of; selections that ask for more look themselves.
NUM_HARDEST = 100
READS = ("mean_prob",)
FACTS = ("num_hardest", "num_samples", "lowest", "highest", "hardest")
COLUMNS = {"score": pa.float64(), "mean_prob": pa.float64()}
ALL = DrawSpec(ColumnDraw(), 0)


def survey_of_scores(tables: Iterable[pa.Table] = ()) -> Survey:
    """Return a survey of rows of score files."""
    survey = Survey.begin(num_hardest=NUM_HARDEST, reads=READS)
    for table in tables:
        add_scores(survey, table)
    return survey


def add_scores(survey: Survey, table: pa.Table) -> None:
    """Add rows of a score file to a survey."""
    columns = {name: table[name].to_numpy() for name in ("position", "score", "mean_prob")}
    survey.look(ALL, Rows.of(sample_id=table["sample_id"], **columns))


def write_survey(survey: Survey, file: Location) -> None:
    """Write a survey of scores."""
    facts = json.dumps({name: getattr(survey, name) for name in FACTS} | {"step": survey.sketch.step})
    columns = survey.sketch.columns or {name: np.zeros(0) for name in COLUMNS}
    # In an order that does not tell who wrote the scores.
    order = np.lexsort([columns[name] for name in reversed(COLUMNS)])
    schema = pa.schema(COLUMNS, metadata={"survey": facts})
    file.write_table(pa.table({name: columns[name][order] for name in COLUMNS}, schema=schema))


def read_survey(file: Location) -> Survey:
    """Return the survey that a file holds; facts of older versions that are not asked for any more are passed over."""
    table = file.read_table(list(COLUMNS))
    facts = json.loads(table.schema.metadata[b"survey"])
    sketch = Sketch(step=facts["step"])
    if table.num_rows:
        sketch.pieces.append({name: table[name].to_numpy() for name in COLUMNS})
    known = {name: facts[name] for name in FACTS} | {"hardest": [tuple(row) for row in facts["hardest"]]}
    return Survey(np.array([facts["num_samples"]]), np.array([0]), sketch=sketch, reads=READS, **known)


def known_survey(scores: Location) -> Survey | None:
    """Return the survey that scoring has left beside the scores of a method; None where an older version made them."""
    return read_survey(scores / SURVEY) if (scores / SURVEY).exists() else None
