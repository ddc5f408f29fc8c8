"""Networks of PINTO0309's model zoo with NMS inside: one table, whose name says what its columns are.

`batchno_classid_score_x1y1x2y2` is (n, 7), in blob pixels; of two outputs `score` is the other. The
networks come from everywhere, and are fed as they were.
"""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.recognition import shapes
from edgecv.heads.rows import Params as Rows
from edgecv.heads.rows import named_columns
from edgecv.types import ModelFacts

NAME = "pinto"


def recognize(facts: ModelFacts) -> Reading | None:
    """By the name of the table, which has to be as wide as it says."""
    found = shapes(facts)
    tables = [name for name in found if named_columns(name) is not None]
    others = set(found) - set(tables)
    if len(tables) != 1 or not others <= {"score", "scores"}:
        return None
    (name,) = tables
    columns = named_columns(name)
    assert columns is not None
    if ("confidence" in columns) == bool(others) or len(found[name]) != 2:
        return None
    width, known = found[name][1], len(columns)
    if isinstance(width, int) and (width < known if "keypoints" in columns else width != known):
        return None
    params = Rows(output=name, columns=columns, scores=next(iter(others), None), keypoint_values=2)
    return Reading(NAME, "rows", params)
