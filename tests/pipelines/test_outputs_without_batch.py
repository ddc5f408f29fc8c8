"""Networks whose outputs have no batch axis: those with NMS inside, and tables of one image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import edgecv
from edgecv import heads
from edgecv.errors import HeadError
from edgecv.heads import rows
from edgecv.pipelines.apart import Apart
from edgecv.types import TensorSpec
from tests.networks import model_bytes

F32 = np.float32
SIDE = 64
FRAME = np.zeros((SIDE, SIDE, 3), np.uint8)
MASKS = np.zeros((2, 1, SIDE, SIDE), F32)
MASKS[0, 0, 10:20, 12:18] = 0.9
MASKS[1, 0, 40:44] = 0.7
TABLE = np.array([[0, 1, 2, 30, 40, 2, 0.9], [0, 10, 12, 50, 60, 1, 0.8]], F32)
BOXES = {"boxes": np.array([[10, 8, 30, 30], [0, 32, 64, 60]], F32), "scores": np.array([0.9, 0.8], F32)}


def write(folder: Path, outputs: dict[str, np.ndarray], head: dict[str, Any]) -> Path:
    """A network that gives these outputs, whatever it sees, and its card."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["none"]),
        *(helper.make_node("Add", [f"{name}_", "none"], [name]) for name in outputs),
    ]
    weights: dict[str, Any] = {"zero": np.zeros((), F32)}
    weights |= {f"{name}_": array for name, array in outputs.items()}
    (folder / "net.onnx").write_bytes(
        model_bytes(
            nodes,
            inputs=[("images", [1, 3, SIDE, SIDE])],
            outputs=[(name, list(array.shape)) for name, array in outputs.items()],
            weights=weights,
        )
    )
    card = {
        "schema": 2,
        "name": "net",
        "task": "detect",
        "format": "onnx",
        "inputs": [{"name": "images", "size_wh": [SIDE, SIDE], "color": "rgb"}],
        "head": head,
    }
    (folder / "net.model.json").write_text(json.dumps(card))
    return folder / "net.onnx"


COLUMNS = ["x1", "y1", "x2", "y2", "class", "confidence"]
PINTO = {"type": "rows", "output": "rows", "columns": ["batch", *COLUMNS]}
PASTED = {"type": "rows", "boxes": "boxes", "scores": "scores", "masks": "masks", "mask_space": "blob"}
ONE_ROW = {"type": "rows", "boxes": "boxes", "scores": "scores"}
CELLS = {"type": "distances", "scores": ["scores"], "boxes": ["boxes"], "strides": [16]}


@pytest.mark.parametrize(
    ("head", "outputs", "expected"),
    [
        pytest.param(PINTO, {"rows": TABLE}, [[1, 2, 30, 40], [10, 12, 50, 60]], id="table"),
        pytest.param(PINTO, {"rows": TABLE[:1]}, [[1, 2, 30, 40]], id="table-of-one-row"),
        pytest.param(PINTO, {"rows": TABLE[None]}, [[1, 2, 30, 40], [10, 12, 50, 60]], id="batch"),
        pytest.param(ONE_ROW, BOXES, [[10, 8, 30, 30], [0, 32, 64, 60]], id="boxes"),
        pytest.param(
            ONE_ROW, {name: one[:1] for name, one in BOXES.items()}, [[10, 8, 30, 30]], id="one-box"
        ),
        pytest.param(
            CELLS,
            {"scores": np.eye(16, 1, dtype=F32) * 0.9, "boxes": np.full((16, 4), 0.25, F32)},
            [[4, 4, 12, 12]],
            id="cells",
        ),
    ],
)
def test_outputs_are_read(
    head: dict[str, Any], outputs: dict[str, np.ndarray], expected: list[list[float]], tmp_path: Path
) -> None:
    with edgecv.load(write(tmp_path, outputs, head), backend="simd", threads=1) as detector:
        got = detector(FRAME)
        assert got.xyxy.tolist() == expected
        assert [found.xyxy.tolist() for found in detector.batch([FRAME, FRAME])] == [expected] * 2


def test_masks_over_the_picture(tmp_path: Path) -> None:
    path = write(tmp_path, {**BOXES, "masks": MASKS}, PASTED)
    with edgecv.load(path, backend="simd", threads=1) as detector:
        got = detector(FRAME)
    assert got.masks is not None
    for i, (x0, y0, x1, y1) in enumerate(got.xyxy.astype(int).tolist()):
        inside = np.zeros((SIDE, SIDE), bool)
        inside[y0:y1, x0:x1] = True
        np.testing.assert_array_equal(got.masks.mask(i), (MASKS[i, 0] > 0.5) & inside)


def split(head: dict[str, Any], outputs: dict[str, np.ndarray], number: int, images: int) -> Any:
    return rows.of_image(outputs, heads.params_from(head)[1], number, images)  # type: ignore[arg-type]


def test_a_column_says_whose_a_row_is() -> None:
    table = np.concatenate([TABLE, TABLE, TABLE])
    table[:, 0] = [0, 1, 2, 0, 1, np.nan]
    marks = np.arange(6, dtype=F32)
    head = {**PINTO, "columns": ["batch", *COLUMNS[:-1], "skip"], "scores": "marks"}
    for number, mine in enumerate(([0, 3], [1, 4], [2])):
        found = split(head, {"rows": table, "marks": marks}, number, 3)
        assert found["marks"].tolist() == mine
        assert not found["rows"][:, 0].any()
        np.testing.assert_array_equal(found["rows"][:, 1:], table[mine, 1:])


def test_counts_say_whose_a_row_is() -> None:
    head = {"type": "rows", "output": "rows", "columns": COLUMNS, "count": "count"}
    table, counts = TABLE.repeat(2, axis=0)[:, 1:], np.array([1, 0, 3])
    for number, mine in enumerate((slice(0, 1), slice(1, 1), slice(1, 4))):
        found = split(head, {"rows": table, "count": counts}, number, 3)
        np.testing.assert_array_equal(found["rows"], table[mine])
        assert found["count"].tolist() == [counts[number]]


def test_prototypes_keep_their_batch_axis() -> None:
    head = {"type": "rows", "output": "rows", "columns": ["batch", *COLUMNS, "masks"], "prototypes": "p"}
    outputs = {"rows": np.hstack([TABLE, TABLE[:, :2]]), "p": np.arange(2, dtype=F32).reshape(2, 1, 1, 1)}
    assert split(head, outputs, 1, 2)["p"].tolist() == [[[1]]]


def test_rows_that_nothing_tells_apart() -> None:
    head = {"type": "rows", "output": "rows", "columns": COLUMNS}
    outputs = {"rows": TABLE[:, 1:]}
    assert split(head, outputs, 0, 1)["rows"] is outputs["rows"]
    with pytest.raises(
        HeadError, match=r"'rows' has no batch axis.* 2 frames: give this network one frame.* for one"
    ):
        split(head, outputs, 0, 2)


@pytest.mark.parametrize(
    ("count", "takes_one"), [((1,), True), (("n",), False), ((None,), True), ((), True)], ids=str
)
def test_one_count_is_of_one_image(count: tuple[Any, ...], takes_one: bool) -> None:
    params: Any = heads.params_from({"type": "rows", "output": "rows", "columns": COLUMNS, "count": "count"})[
        1
    ]
    assert rows.takes_one([spec("rows", "rows", 6), spec("count", *count)], params) == takes_one


def spec(name: str, *shape: int | str | None) -> TensorSpec:
    return TensorSpec(name, np.dtype(F32), shape)


# Of an input and an output what they state; images; the output's shape, and what of it is one image's.
APART: dict[str, tuple[tuple[Any, ...], tuple[Any, ...], int, tuple[int, ...], tuple[int, ...]]] = {
    "batch": (("n", 3, 8, 8), ("n", 9, 7), 2, (2, 9, 7), (9, 7)),
    "batch of classes": (("n", 3, 8, 8), ("n", 9), 2, (2, 9), (9,)),
    "another symbol": (("n", 3, 8, 8), ("m", 7), 1, (1, 7), (1, 7)),
    "another symbol, rows": (("n", 3, 8, 8), ("m", 7), 1, (5, 7), (5, 7)),
    "a fixed batch": ((2, 3, 8, 8), (2, 7), 2, (2, 7), (7,)),
    "a batch that is not the input's": ((2, 3, 8, 8), (1, 9, 7), 2, (1, 9, 7), (1, 9, 7)),
    "a batch that is a stale one": ((2, 3, 8, 8), (2, 9, 7), 2, (6, 9, 7), (6, 9, 7)),
    "scores of classes": ((1, 3, 8, 8), (1, 9), 1, (1, 9), (9,)),
    "boxes of more": ((1, 3, 8, 8), (1, 4), 1, (3, 4), (3, 4)),
    "maps": ((1, 3, 8, 8), (1, 5, 2, 2), 1, (1, 5, 2, 2), (5, 2, 2)),
    "no shape": ((1, 3, 8, 8), (), 1, (1, 9, 7), (9, 7)),
    "no batch axis": ((3, 8, 8), ("n", 4), 1, (1, 4), (1, 4)),
    "no batch axis, masks": ((3, 8, 8), ("n", 1, 8, 8), 1, (1, 1, 8, 8), (1, 1, 8, 8)),
    "no batch axis, but of outputs": ((3, 8, 8), (1, 9, 7), 1, (1, 9, 7), (9, 7)),
}


@pytest.mark.parametrize(("given", "told", "images", "shape", "expected"), APART.values(), ids=APART)
def test_only_a_proven_batch_axis_is_taken_apart(
    given: Any, told: Any, images: int, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    layout = "nchw" if len(given) == 4 else "chw"
    apart = Apart.of(spec("images", *given), layout, [spec("output", *told)])
    for number in range(images):
        array = np.arange(np.prod(shape), dtype=F32).reshape(shape)
        found = apart.of_image({"output": array}, number, images)["output"]
        assert found.shape == expected
        np.testing.assert_array_equal(found, array if expected == shape else array[number])


def test_a_row_lies_as_the_tables_beside_it_do() -> None:
    outputs = [spec("boxes", 1, 9, 4), spec("scores", 1, 9)]
    apart = Apart.of(spec("images", 1, 3, 8, 8), "nchw", outputs)
    found = apart.of_image({"boxes": np.zeros((1, 9, 4), F32), "scores": np.zeros((1, 9), F32)}, 0, 1)
    assert (found["boxes"].shape, found["scores"].shape) == ((9, 4), (9,))


PAIR = {"boxes": np.array([[10, 8, 30, 30]], F32), "scores": np.array([[0.9]], F32)}
QUERIES = {"boxes": np.array([[0.5, 0.5, 0.25, 0.25]], F32), "logits": np.array([[4, -9]], F32)}


@pytest.mark.parametrize(
    ("head", "outputs"),
    [
        pytest.param(
            {"type": "boxes", "boxes": "boxes", "scores": "scores", "format": "xyxy"}, PAIR, id="boxes"
        ),
        pytest.param({"type": "queries", "boxes": "boxes", "scores": "logits"}, QUERIES, id="queries"),
    ],
)
@pytest.mark.parametrize("backend", ["simd", "onnxruntime"])
def test_a_table_of_one_row_is_a_table(
    head: dict[str, Any], outputs: dict[str, np.ndarray], backend: str, tmp_path: Path
) -> None:
    if backend != "simd":
        pytest.importorskip(backend)
    with edgecv.load(write(tmp_path, outputs, head), backend=backend, threads=1, cache=False) as detector:
        assert len(detector(FRAME)) == 1
        assert [len(found) for found in detector.batch([FRAME] * 3)] == [1, 1, 1]
