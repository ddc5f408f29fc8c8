"""Priors: their order and number, beside those of their families; boxes that each class has of its own."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv.errors import HeadError
from edgecv.heads.anchors import Params, decode
from edgecv.heads.base import Query
from edgecv.heads.priors import PriorMap

SHAPES = {
    "squares": (PriorMap(stride=8, sizes=(4, 9)), [(4, 4), (9, 9)]),
    "minimum": (PriorMap(stride=8, min_sizes=(4,)), [(4, 4)]),
    "maximum": (PriorMap(stride=8, min_sizes=(4,), max_sizes=(9,)), [(4, 4), (6, 6)]),
    "ratios": (
        PriorMap(stride=8, min_sizes=(4,), max_sizes=(9,), aspect_ratios=(4,)),
        [(4, 4), (6, 6), (8, 2), (2, 8)],
    ),
    "unflipped": (PriorMap(stride=8, min_sizes=(4,), aspect_ratios=(4,), flip=False), [(4, 4), (8, 2)]),
    "ratios-once": (
        PriorMap(stride=8, min_sizes=(4,), aspect_ratios=(1, 4, 4, 0.25)),
        [(4, 4), (8, 2), (2, 8)],
    ),
    "several": (
        PriorMap(stride=8, min_sizes=(4, 2), max_sizes=(9, 8), aspect_ratios=(4,), flip=False),
        [(4, 4), (6, 6), (8, 2), (2, 2), (4, 4), (4, 1)],
    ),
}


@pytest.mark.parametrize(("one", "shapes"), SHAPES.values(), ids=SHAPES)
def test_priors_of_a_cell(one: PriorMap, shapes: list[tuple[float, float]]) -> None:
    np.testing.assert_allclose(one.shapes, shapes)
    assert one.count((20, 16)) == 3 * 2 * len(shapes)


def test_cells_are_as_many_as_the_map_has() -> None:
    one = PriorMap(stride=(300 / 19, 100.0), min_sizes=(4,), cells_wh=(19, 3))
    assert (one.cells((300, 300)), one.count((300, 300))) == ((19, 3), 57)


def test_each_class_has_its_own_box() -> None:
    params = Params(
        priors=(PriorMap(stride=8, min_sizes=(4,)),),
        variances=(1, 1),
        shared=False,
        classes=3,
        background="first",
    )
    offsets = np.zeros((1, 4, 4), np.float32)
    offsets[0, :, 0] = [0.0, 0.25, 0.5, 0.75]
    outputs = {"boxes": offsets.reshape(-1), "scores": np.array([0.1, 0.5, 0.6, 0.7], np.float32)}
    found = decode(outputs, params, Query((8, 8), 0.4, multi_label=True))
    assert found.class_id.tolist() == [0, 1, 2]
    assert found.xyxy[:, 0].tolist() == [3.0, 4.0, 5.0]


@pytest.mark.parametrize(("boxes", "scores"), [(16, 5), (15, 4), (0, 4), (16, 0)])
def test_rows_in_one_axis_that_do_not_fit(boxes: int, scores: int) -> None:
    params = Params(priors=(PriorMap(stride=8, min_sizes=(4,)),), background="first")
    outputs = {"boxes": np.zeros(boxes, np.float32), "scores": np.zeros(scores, np.float32)}
    with pytest.raises(HeadError, match=r"anchors head: output '(boxes|scores)' expected"):
        decode(outputs, params, Query((16, 16), 0.4))
