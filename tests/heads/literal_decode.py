"""What each head's outputs mean, in plain loops, and random outputs that look like a network's.

Nothing here is shared with edgecv.heads: each decode follows its network's definition literally, in
double precision. One module a family, with its cases; this has them all.
"""

from __future__ import annotations

from tests.heads import (
    literal_anchors,
    literal_boxes,
    literal_caffe,
    literal_darknet,
    literal_distances,
    literal_grid,
    literal_grids,
    literal_heatmap,
    literal_tables,
    literal_yolo,
)
from tests.heads.literal import Case, Found, Outputs, Row, candidates, cells, corners

__all__ = ["CASES", "Case", "Found", "Outputs", "Row", "candidates", "cells", "corners"]

CASES = (
    *literal_yolo.CASES,
    *literal_tables.CASES,
    *literal_grids.CASES,
    *literal_distances.CASES,
    *literal_heatmap.CASES,
    *literal_darknet.CASES,
    *literal_boxes.CASES,
    *literal_caffe.CASES,
    *literal_grid.CASES,
    *literal_anchors.CASES,
)
