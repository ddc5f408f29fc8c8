"""JSON outputs follow the schemas in docs/schemas, which are those of the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv import bench, evaluate, loop, schemas
from edgecv.masks import Masks
from edgecv.media import Frame
from edgecv.types import Classification, Detections, Placement, Result, Seen, Timing

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"

OBJECT = {"xyxy": [1, 2, 3, 4], "confidence": 1, "class_id": 0, "class_name": ""}

stages = st.lists(st.tuples(st.text(min_size=1), st.floats(0, 1e6)), max_size=6, unique_by=lambda s: s[0])
seen = st.builds(
    Seen,
    st.builds(Timing, stages.map(tuple)),
    st.builds(
        Placement,
        *[st.text()] * 5,
        st.integers(0, 64),
        st.text(),
        st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple),
    ),
    st.none() | st.floats(0, 1e9),
)


def detections(n: int, points: int | None, more: bool, how: Seen) -> Detections:
    """more: with a tracker, masks and oriented boxes."""
    rng = np.random.default_rng(n)
    crops = tuple(rng.random((i, 4)) < 0.7 for i in range(n))
    masks = Masks(crops, np.ones((n, 2), np.int32), (9, 9))
    return Detections(
        rng.random((n, 4), np.float32) * 100,
        rng.random(n, np.float32),
        rng.integers(0, 5, n).astype(np.int32),
        names=("a", "b"),
        keypoints=None if points is None else rng.random((n, points, 3), np.float32),
        tracker_id=np.arange(n, dtype=np.int32) if more else None,
        masks=masks if more else None,
        xywhr=rng.random((n, 5), np.float32) if more else None,
        seen=how,
    )


def classes(n: int, how: Seen) -> Classification:
    rng = np.random.default_rng(n)
    return Classification(np.arange(n, dtype=np.int32), rng.random(n, np.float32), seen=how)


@pytest.mark.parametrize("verb", schemas.OUTPUTS)
def test_the_files_are_those_of_the_code(verb: str) -> None:
    path = FOLDER / f"{verb}.json"
    assert path.read_text() == schemas.text(verb), "run: python tools/write_schemas.py"


def test_there_are_no_other_files() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(schemas.OUTPUTS)


def line_of(found: Result) -> Any:
    frame = Frame(np.zeros((4, 6, 3), np.uint8), "a.png", 3, captured_ns=1)
    return json.loads(msgspec.json.encode(loop.record(frame, found)))


@given(st.integers(0, 4), st.none() | st.integers(0, 3), st.booleans(), seen)
def test_a_line_of_detect(n: int, points: int | None, more: bool, how: Seen) -> None:
    line = line_of(detections(n, points, more, how))
    found = msgspec.convert(line, schemas.Detected, strict=True)
    assert json.loads(msgspec.json.encode(found)) == line
    assert list(line["timing_ms"]) == [name for name, _ in how.timing.stages]


@given(st.integers(0, 4), seen)
def test_a_line_of_classify(n: int, how: Seen) -> None:
    line = line_of(classes(n, how))
    found = msgspec.convert(line, schemas.Classified, strict=True)
    assert json.loads(msgspec.json.encode(found)) == line


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (
            schemas.Detected,
            {"detections": [{"xyxy": [1, 2, 3], "confidence": 1, "class_id": 0, "class_name": ""}]},
        ),
        (
            schemas.Detected,
            {"detections": [{"xyxy": [1, 2, 3, 4], "confidence": 2, "class_id": 0, "class_name": ""}]},
        ),
        (schemas.Detected, {"detections": [{**OBJECT, "keypoints": [[1, 2]]}]}),
        (schemas.Detected, {"detections": [{**OBJECT, "mask": [[[1, 2], [3, 4.5]]]}]}),
        (schemas.Detected, {"detections": [{**OBJECT, "xywhr": [1, 2, 3, 4]}]}),
        (schemas.Classified, {"classes": [{"confidence": 0.5, "class_id": -1, "class_name": ""}]}),
        (schemas.Classified, {"more": 1}),
        (schemas.Classified, {"age_ms": -1}),
    ],
)
def test_what_does_not_follow_is_found(kind: Any, wrong: dict[str, Any]) -> None:
    how = Seen(Timing((("a", 1.0),)), Placement("b", "1", "cpu", "fp32", "fp32", 1, "e"))
    found = detections(1, None, False, how) if kind is schemas.Detected else classes(1, how)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**line_of(found), **wrong}, kind, strict=True)


def test_reports_are_in_the_schemas_too() -> None:
    assert set(schemas.schema("bench")["$defs"]) >= {"BenchReport", "BenchResult", "Summary", "LoadOptions"}
    assert set(schemas.schema("eval")["$defs"]) >= {"Evaluated", "ClassResult", "ImageFailure"}
    assert issubclass(schemas.Evaluated, evaluate.EvalReport)
    assert schemas.OUTPUTS["bench"] == (bench.BenchReport,)
    assert set(schemas.schema("bench_layers")["$defs"]) >= {"LayersReport", "NetworkLayers", "Layer"}
    for verb in schemas.OUTPUTS:
        assert schemas.schema(verb)["$schema"].endswith("2020-12/schema")


def test_a_result_that_no_model_made_has_no_stages() -> None:
    found = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    assert found.as_dict() == {"detections": []}
