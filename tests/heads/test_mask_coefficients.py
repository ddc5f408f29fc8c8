"""Coefficients of masks that networks cut before their tail have at each cell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgecv import heads
from edgecv.errors import HeadError
from edgecv.heads import distances, grid, levels
from edgecv.heads.base import Query
from edgecv.heads.masks import PrototypeMasks
from tests.heads import literal_grid
from tests.heads.literal import Outputs, candidates, cells, floats
from tests.heads.literal_distances import yolov8_raw
from tests.heads.test_distances_recognition import P5, facts, maps, names
from tests.heads.test_head_recognition import ultralytics

BLOB_WH, CLASSES, MASKS = (64, 48), 3, 5
PROTOTYPES = np.random.default_rng(9).normal(size=(MASKS, 12, 16)).astype(np.float32)


def compare(card: dict[str, Any], outputs: Outputs, rows: list[Any], coefficients: list[list[float]]) -> None:
    """coefficients: of each of the rows, in their order."""
    module, params = heads.params_from(card)
    for multi_label in (False, True):
        found = module.decode(outputs, params, Query(BLOB_WH, 0.5, multi_label))
        expected = candidates(rows, 0.5, multi_label, 30_000)
        assert len(expected) > 3
        assert isinstance(found.masks, PrototypeMasks)
        np.testing.assert_array_equal(found.masks.prototypes, PROTOTYPES)
        assert found.masks.blob_wh == BLOB_WH
        assert found.masks.coefficients.tolist() == [coefficients[one.row] for one in expected]
        np.testing.assert_allclose(found.xyxy, [one.xyxy for one in expected], rtol=1e-4, atol=1e-3)


def test_cells_have_coefficients() -> None:
    """YOLOv8-seg: maps of boxes, of classes and of coefficients for each stride."""
    rng = np.random.default_rng(0)
    outputs: Outputs = {"proto": PROTOTYPES}
    for stride in P5:
        width, height = math.ceil(BLOB_WH[0] / stride), math.ceil(BLOB_WH[1] / stride)
        outputs[f"box{stride}"] = floats(rng.normal(size=(height, width, 64)))
        outputs[f"cls{stride}"] = floats(rng.normal(size=(height, width, CLASSES)))
        outputs[f"mask{stride}"] = floats(rng.normal(size=(height, width, MASKS)))
    card = {
        "type": "distances",
        "scores": names("cls", P5),
        "boxes": names("box", P5),
        "coefficients": names("mask", P5),
        "prototypes": "proto",
        "bins": 16,
        "logits": True,
    }
    rows = yolov8_raw(outputs, card, BLOB_WH)
    coefficients = [
        outputs[f"mask{stride}"][row, column].tolist()
        for stride in P5
        for column, row in cells(BLOB_WH, stride)
    ]
    compare({**card, "layout": "channels-last"}, outputs, rows, coefficients)
    first = {name: np.moveaxis(array, -1, 0) if name != "proto" else array for name, array in outputs.items()}
    contiguous = {name: np.ascontiguousarray(array) for name, array in first.items()}
    compare({**card, "layout": "channels-first"}, contiguous, rows, coefficients)


@pytest.mark.parametrize("layout", literal_grid.LAYOUTS)
@pytest.mark.parametrize("activated", [False, True], ids=["logits", "activated"])
def test_anchors_have_coefficients(layout: str, activated: bool) -> None:
    """YOLOv5-seg: coefficients behind the classes, in the same map."""
    rng = np.random.default_rng(1)
    plain: Outputs = {}
    outputs: Outputs = {"proto": PROTOTYPES}
    coefficients: list[list[float]] = []
    for stride, anchors in literal_grid.ANCHORS.items():
        shape = (len(anchors), math.ceil(BLOB_WH[1] / stride), math.ceil(BLOB_WH[0] / stride))
        values = rng.normal(size=(*shape, 5 + CLASSES))
        values = 1 / (1 + np.exp(-values)) if activated else values
        own = floats(rng.normal(size=(*shape, MASKS)))
        plain[f"map{stride}"] = literal_grid.stored(values, layout)
        outputs[f"map{stride}"] = literal_grid.stored(np.concatenate([values, own], axis=-1), layout)
        coefficients += own.reshape(-1, MASKS).tolist()
    case = literal_grid.case("masks", layout, activated=activated)
    card = {"type": case.type, **case.params, "masks": MASKS, "prototypes": "proto"}
    card["columns"] = ["box", "objectness", "classes", "masks"]
    compare(card, outputs, case.literal(plain, case.params, BLOB_WH), coefficients)


SEGMENT = {**maps(640, P5, box=64, cls=80, mask=32), "proto": (1, 32, 160, 160)}
OF_SEGMENT = distances.Params(
    scores=names("cls", P5),
    boxes=names("box", P5),
    coefficients=names("mask", P5),
    prototypes="proto",
    bins=16,
    logits=True,
)


@pytest.mark.parametrize("metadata", [None, ultralytics(80, task="segment")], ids=["bare", "metadata"])
def test_a_yolov8_that_segments_is_recognized_without_its_tail(metadata: dict[str, str] | None) -> None:
    (reading,) = heads.recognize(facts(SEGMENT, metadata=metadata or {}))
    assert (reading.brand, reading.params) == ("yolov8_raw-seg", OF_SEGMENT)
    assert distances.draft(facts(SEGMENT)) == OF_SEGMENT


@pytest.mark.parametrize(
    "model",
    [
        facts({**SEGMENT, "proto": (1, 16, 160, 160)}),
        facts({**SEGMENT, "proto": (1, 32, 80, 80)}),
        facts(SEGMENT, metadata=ultralytics(3, task="segment")),
        facts(SEGMENT, metadata=ultralytics(80, task="pose")),
        facts({**maps(640, P5, box=64, cls=32, mask=32), "proto": (1, 32, 160, 160)}),
    ],
    ids=["other-prototypes", "other-stride", "other-classes", "other-task", "as-many-classes"],
)
def test_what_does_not_agree_is_no_brand(model: Any) -> None:
    assert heads.recognize(model) == []


def test_a_draft_of_anchors_names_the_prototypes() -> None:
    model = facts({**maps(640, P5, p=3 * 117), "proto": (1, 32, 160, 160)})
    found = grid.draft(model)
    assert (found.masks, found.prototypes, found.columns[-1]) == (32, "proto", "masks")
    assert [layer.output for layer in found.layers] == ["p8", "p16", "p32"]
    of_four_strides = facts(maps(640, (4, *P5), p=255))
    assert levels.without_prototypes(of_four_strides)[0] is not None
    assert (grid.draft(of_four_strides).masks, len(grid.draft(of_four_strides).layers)) == (0, 4)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (
            {"type": "distances", "scores": ["s"], "boxes": ["b"], "strides": [8], "prototypes": "p"},
            "together",
        ),
        ({"type": "distances", "output": ["o"], "coefficients": ["c"], "strides": [8]}, "is a column"),
        ({"type": "grid", "layers": [{"output": "a", "anchors": [[1, 2]]}], "masks": 3}, "each once"),
    ],
)
def test_cards_that_contradict_themselves(card: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        heads.params_from(card)


def test_prototypes_of_another_number_are_an_error() -> None:
    outputs = {
        "s": np.ones((1, 4, 4), np.float32),
        "b": np.ones((4, 4, 4), np.float32),
        "m": np.ones((7, 4, 4), np.float32),
        "p": np.ones((6, 8, 8), np.float32),
    }
    card = {"type": "distances", "scores": ["s"], "boxes": ["b"], "coefficients": ["m"], "prototypes": "p"}
    module, params = heads.params_from({**card, "strides": [8], "layout": "channels-first"})
    with pytest.raises(HeadError, match=r"'p' expected \(7, any, any\), got \(6, 8, 8\)"):
        module.decode(outputs, params, Query((32, 32), 0.5))
