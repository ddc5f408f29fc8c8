"""Brands that heads `distances` and `heatmap` read: what speaks for each, and drafts of cards."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from edgecv import heads
from edgecv.errors import HeadError
from edgecv.heads import boxes, distances, heatmap
from edgecv.heads.base import HeadParams, Query
from edgecv.heads.brands import centerface, fastestdet, nanodet, yolox, yunet
from edgecv.types import ModelFacts
from tests.heads import literal_distances, literal_heatmap
from tests.heads.literal import Case
from tests.heads.test_head_recognition import NANODET, YUNET, Shape, ultralytics
from tests.heads.test_head_recognition import facts as plain_facts

Outputs = dict[str, Shape]


def facts(outputs: Outputs, *arguments: Any, ends: dict[str, str] | str = "Conv", **more: Any) -> ModelFacts:
    """ends: of each output, or of all."""
    found = plain_facts(outputs, *arguments, **more)
    ends = dict.fromkeys(outputs, ends) if isinstance(ends, str) else ends
    return msgspec.structs.replace(found, ends=ends)


def maps(side: int, strides: tuple[int, ...], **channels: int) -> Outputs:
    """Maps of each role for each stride, as `role8`."""
    return {
        f"{role}{stride}": (1, width, side // stride, side // stride)
        for role, width in channels.items()
        for stride in strides
    }


def tables(side: int, strides: tuple[int, ...], per_cell: int = 1, **columns: int) -> Outputs:
    return {
        f"{role}{stride}": (1, per_cell * (side // stride) ** 2, width)
        for role, width in columns.items()
        for stride in strides
    }


def names(role: str, strides: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"{role}{stride}" for stride in strides)


P5, P6, P7 = (8, 16, 32), (8, 16, 32, 64), (8, 16, 32, 64, 128)
PICODET = tables(320, P6, cls=80, reg=32)
SCRFD = tables(640, P5, 2, score=1, bbox=4, kps=10)
SCRFD_BOXES = {name: shape for name, shape in SCRFD.items() if not name.startswith("kps")}
RTMDET = maps(640, P5, cls=80, reg=4)
FCOS = maps(640, P7, cls=80, reg=4, ctr=1)
CENTERFACE = {"537": (1, 1, 8, 8), "538": (1, 2, 8, 8), "539": (1, 2, 8, 8), "540": (1, 10, 8, 8)}
CENTERNET = {"hm": (1, 80, 128, 128), "wh": (1, 2, 128, 128), "reg": (1, 2, 128, 128)}


def ends_of(outputs: Outputs, role: str, end: str) -> dict[str, str]:
    return {name: end if name.startswith(role) else "Conv" for name in outputs}


ONE: dict[str, tuple[ModelFacts, str, HeadParams]] = {
    "yolox": (
        facts({"output": (1, 3549, 85)}, (416, 416)),
        "yolox",
        distances.Params(
            output=("output",),
            columns=("box", "objectness", "classes"),
            layout="rows",
            code="center",
            cell_offset=0.0,
        ),
    ),
    "yolox-one-class": (
        facts({"output": (1, 8400, 6)}),
        "yolox",
        yolox.reading(yolox.Params()).params,
    ),
    "yolox-not-square": (
        facts({"output": ("batch", 5040, 85)}, (640, 384)),
        "yolox",
        yolox.reading(yolox.Params()).params,
    ),
    "yolox-decoded": (
        facts({"output": (1, 8400, 85)}, operators=("Conv", "Exp")),
        "yolox",
        boxes.Params(output="output", columns=("box", "objectness", "classes"), format="cxcywh"),
    ),
    "yolox-maps": (
        facts(maps(640, P5, p=85), ends="Concat"),
        "yolox",
        distances.Params(
            output=names("p", P5),
            columns=("box", "objectness", "classes"),
            layout="channels-first",
            code="center",
            cell_offset=0.0,
        ),
    ),
    "nanodet": (
        facts(NANODET, (416, 416), "input.1"),
        "nanodet",
        nanodet.reading(nanodet.Params(cls=("792", "814", "836"), reg=("795", "817", "839"))).params,
    ),
    "nanodet-any-order": (
        facts(dict(reversed(NANODET.items())), (416, 416), "input.1"),
        "nanodet",
        nanodet.reading(nanodet.Params(cls=("792", "814", "836"), reg=("795", "817", "839"))).params,
    ),
    "nanodet-plus": (
        facts({"output": (1, 2125, 112)}, (320, 320), "data"),
        "nanodet",
        distances.Params(
            output=("output",),
            columns=("classes", "box"),
            strides=P6,
            layout="rows",
            bins=8,
            cell_offset=0.0,
        ),
    ),
    "nanodet-plus-dynamic": (
        facts({"output": (1, "N", 112)}, None, "data"),
        "nanodet",
        nanodet.reading(nanodet.Params(output="output", strides=P6, cell_offset=0.0)).params,
    ),
    "picodet": (
        facts(PICODET, (320, 320), "image", ends="Sigmoid"),
        "picodet",
        distances.Params(scores=names("cls", P6), boxes=names("reg", P6), strides=P6, bins=8),
    ),
    "picodet-logits": (
        facts(maps(320, P6, cls=80, reg=32), (320, 320), "image"),
        "picodet",
        distances.Params(scores=names("cls", P6), boxes=names("reg", P6), strides=P6, bins=8, logits=True),
    ),
    "fastestdet": (
        facts({"758": (1, 85, 22, 22)}, (352, 352), "input.1"),
        "fastestdet",
        fastestdet.reading(fastestdet.Params(output="758")).params,
    ),
    "yunet": (facts(YUNET, image="input"), "yunet", yunet.reading(yunet.Params()).params),
    "yunet-dynamic": (
        facts({name: (1, None, shape[2]) for name, shape in YUNET.items()}, None),
        "yunet",
        yunet.reading(yunet.Params()).params,
    ),
    "scrfd": (
        facts(SCRFD, ends=ends_of(SCRFD, "score", "Sigmoid")),
        "scrfd",
        distances.Params(
            scores=names("score", P5),
            boxes=names("bbox", P5),
            keypoints=names("kps", P5),
            cell_offset=0.0,
            anchors_per_cell=2,
        ),
    ),
    "scrfd-without-a-batch": (
        facts({name: shape[1:] for name, shape in SCRFD.items()}, ends="Sigmoid"),
        "scrfd",
        distances.Params(
            scores=names("score", P5),
            boxes=names("bbox", P5),
            keypoints=names("kps", P5),
            cell_offset=0.0,
            anchors_per_cell=2,
        ),
    ),
    "scrfd-boxes-of-logits": (
        facts(SCRFD_BOXES),
        "scrfd",
        distances.Params(
            scores=names("score", P5),
            boxes=names("bbox", P5),
            cell_offset=0.0,
            anchors_per_cell=2,
            logits=True,
        ),
    ),
    "scrfd-five-strides": (
        facts(tables(640, P7, score=1, bbox=4, kps=10), ends="Sigmoid"),
        "scrfd",
        distances.Params(
            scores=names("score", P7),
            boxes=names("bbox", P7),
            keypoints=names("kps", P7),
            strides=P7,
            cell_offset=0.0,
        ),
    ),
    "rtmdet": (
        facts(RTMDET, ends=ends_of(RTMDET, "reg", "Mul")),
        "rtmdet",
        distances.Params(
            scores=names("cls", P5),
            boxes=names("reg", P5),
            cell_offset=0.0,
            unit="pixels",
            logits=True,
        ),
    ),
    "yolov8-raw": (
        facts(maps(640, P5, p=144), ends="Concat"),
        "yolov8_raw",
        distances.Params(output=names("p", P5), bins=16, logits=True),
    ),
    "yolov8-raw-of-metadata": (
        facts(maps(640, P5, p=67), metadata=ultralytics(3)),
        "yolov8_raw",
        distances.Params(output=names("p", P5), bins=16, logits=True),
    ),
    "yolov8-raw-apart": (
        facts(maps(640, P5, box=64, cls=80)),
        "yolov8_raw",
        distances.Params(scores=names("cls", P5), boxes=names("box", P5), bins=16, logits=True),
    ),
    "yolov8-raw-probabilities": (
        facts(maps(640, P5, box=64, cls=80), ends=ends_of(maps(640, P5, box=64, cls=80), "cls", "Sigmoid")),
        "yolov8_raw",
        distances.Params(scores=names("cls", P5), boxes=names("box", P5), bins=16),
    ),
    "yolov8-raw-with-sums": (
        facts(
            maps(640, P5, box=64, cls=80, sum=1),
            ends=ends_of(maps(640, P5, box=64, cls=80, sum=1), "sum", "Clip"),
        ),
        "yolov8_raw",
        distances.Params(scores=names("cls", P5), boxes=names("box", P5), bins=16, logits=True),
    ),
    "yolov8-raw-joined": (
        facts({"b": (1, 64, 8400), "s": (1, 80, 8400)}, ends="Concat"),
        "yolov8_raw",
        distances.Params(scores=("s",), boxes=("b",), bins=16, logits=True),
    ),
    "fcos-exp": (
        facts(FCOS, ends=ends_of(FCOS, "reg", "Exp")),
        "fcos",
        distances.Params(
            scores=names("cls", P7),
            boxes=names("reg", P7),
            objectness=names("ctr", P7),
            strides=P7,
            unit="pixels",
            logits=True,
            powers=(0.5, 0.5),
        ),
    ),
    "fcos-relu": (
        facts(FCOS, ends=ends_of(FCOS, "reg", "Relu")),
        "fcos",
        distances.Params(
            scores=names("cls", P7),
            boxes=names("reg", P7),
            objectness=names("ctr", P7),
            strides=P7,
            logits=True,
            powers=(0.5, 0.5),
        ),
    ),
    "centernet": (
        facts(CENTERNET, (512, 512), "input"),
        "centernet",
        heatmap.Params(heatmap="hm", sizes="wh", offsets="reg", logits=True),
    ),
    "centernet-probabilities": (
        facts(CENTERNET, (512, 512), "input", ends=ends_of(CENTERNET, "hm", "Sigmoid")),
        "centernet",
        heatmap.Params(heatmap="hm", sizes="wh", offsets="reg"),
    ),
    "centerface": (
        facts(CENTERFACE, (32, 32), "input.1"),
        "centerface",
        centerface.params("537", "538", "539", "540"),
    ),
    "centerface-boxes": (
        facts({"535": (1, 1, 8, 8), "536": (1, 2, 8, 8), "537": (1, 2, 8, 8)}, (32, 32), "input.1"),
        "centerface",
        centerface.params("535", "536", "537"),
    ),
}


@pytest.mark.parametrize(("model", "brand", "params"), ONE.values(), ids=ONE)
def test_one_brand(model: ModelFacts, brand: str, params: HeadParams) -> None:
    (reading,) = heads.recognize(model)
    assert (reading.brand, reading.params) == (brand, params)
    assert heads.get(reading.type).Params is type(params)


SEVERAL: dict[str, tuple[ModelFacts, set[str]]] = {
    "joined-maps-of-unknown-classes": (facts(maps(640, P5, p=70), ends="Concat"), {"yolox", "yolov8_raw"}),
}


@pytest.mark.parametrize(("model", "brands"), SEVERAL.values(), ids=SEVERAL)
def test_doubt_lists_every_brand(model: ModelFacts, brands: set[str]) -> None:
    assert {reading.brand for reading in heads.recognize(model)} == brands


NONE: dict[str, ModelFacts] = {
    "yolov8-raw-with-objectness": facts(maps(640, P5, box=64, cls=80, obj=1)),
    "maps-with-anchors": facts(maps(640, P5, p=255)),
    "maps-of-another-joining": facts(maps(640, P5, p=144)),
    "yolov6-or-any-other": facts(RTMDET),
    "rtmdet-scaled-otherwise": facts(RTMDET, ends="Mul"),
    "atss": facts(FCOS, ends=ends_of(FCOS, "reg", "Mul")),
    "picodet-of-another-size": facts(PICODET, (416, 416), "image"),
    "picodet-and-one-more": facts({**PICODET, "more": (1, 10)}, (320, 320), "image"),
    "picodet-as-many-classes-as-bins": facts(tables(320, P6, cls=32, reg=32), (320, 320), "image"),
    "scrfd-without-a-stride": facts({n: s for n, s in SCRFD.items() if not n.endswith("32")}),
    "scrfd-with-other-points": facts({**SCRFD, **tables(640, P5, 2, kps=8)}),
    "yolov8-raw-of-other-classes": facts(maps(640, P5, box=64, cls=80), metadata=ultralytics(3)),
    "yolov8-raw-of-another-task": facts(
        maps(640, P5, box=64, cls=80), metadata=ultralytics(80, task="segment")
    ),
    "centernet-by-other-names": facts(
        {"a": (1, 80, 128, 128), "b": (1, 2, 128, 128), "c": (1, 2, 128, 128)}, (512, 512)
    ),
    "centernet-of-another-stride": facts(CENTERNET, (1024, 1024)),
    "centerface-of-other-channels": facts({**CENTERFACE, "540": (1, 8, 8, 8)}, (32, 32)),
}


@pytest.mark.parametrize("model", NONE.values(), ids=NONE)
def test_no_brand(model: ModelFacts) -> None:
    assert heads.recognize(model) == []


# What a draft cannot know: where cells have their centers, and what confidences are made of.
UNSAID = (
    "cell_offset",
    "unit",
    "powers",
    "clip",
    "code",
    "layout",
    "activation",
    "logits",
    "keypoint_offset",
    "keypoint_scale",
    "keypoint_values",
)


@pytest.mark.parametrize(
    ("model", "params"),
    [(model, params) for model, _, params in ONE.values() if isinstance(params, distances.Params)],
    ids=[id for id, (_, _, params) in ONE.items() if isinstance(params, distances.Params)],
)
def test_drafts_name_outputs_and_strides(model: ModelFacts, params: distances.Params) -> None:
    if any(not isinstance(size, int) for spec in model.outputs for size in spec.shape[1:]):
        with pytest.raises(HeadError, match="the size of the picture is not known"):
            distances.draft(model)
        return
    found = distances.draft(model)
    same = {field: getattr(params, field) for field in (*UNSAID, "columns")}
    assert not params.output or set(found.columns) == set(params.columns)
    assert msgspec.structs.replace(found, **same) == params


@pytest.mark.parametrize(
    "model",
    [facts({"out": (1, 1000)}), facts({"boxes": (1, 8401, 4), "scores": (1, 8401, 80)}), facts({})],
    ids=["classifier", "no-cells", "no-outputs"],
)
def test_drafts_of_what_cannot_be(model: ModelFacts) -> None:
    with pytest.raises(HeadError, match=r"distances head: outputs .*expected a row or a pixel for each cell"):
        distances.draft(model)
    with pytest.raises(HeadError, match=r"heatmap head: outputs .*expected maps of one stride"):
        heatmap.draft(model)


def test_a_draft_of_a_heat_map_goes_by_names() -> None:
    shape = {"reg_offset": 2, "size": 2, "scores": 3, "points": 10}
    model = facts({name: (1, channels, 16, 16) for name, channels in shape.items()}, (64, 64))
    assert heatmap.draft(model) == heatmap.Params(
        heatmap="scores", sizes="size", offsets="reg_offset", landmarks="points", logits=True
    )


@pytest.mark.parametrize("brand", ["scrfd", "rtmdet", "yolov8_raw", "fcos", "centernet", "centerface"])
def test_what_a_brand_says_is_what_its_literal_decode_reads(brand: str) -> None:
    """The parameters that recognition sets, but for names and layout, are those of the cases of decode."""
    reading = next(one for model, of, _ in ONE.values() if of == brand for one in heads.recognize(model))
    cases: list[Case] = [*literal_distances.CASES, *literal_heatmap.CASES]
    family = [case for case in cases if case.id.startswith(brand.replace("_", "-"))]
    assert family
    fields = ("cell_offset", "bins", "code", "anchors_per_cell", "size_code", "axes", "landmark_code", "peak")
    for case in family:
        params = heads.params_from({"type": case.type, **case.params})[1]
        told = [field for field in fields if hasattr(params, field)]
        if "pixels" in case.id:
            told.remove("size_code")
        assert [getattr(params, f) for f in told] == [getattr(reading.params, f) for f in told]


def test_layouts_in_doubt_are_told_by_the_others_or_asked_for() -> None:
    """A square table beside one that is clear; alone it is an error."""
    params = distances.Params(scores=("s8", "s16"), boxes=("b8", "b16"), strides=(8, 16))
    shapes = {"s8": (16, 4), "b8": (16, 4), "s16": (4, 4), "b16": (4, 4)}
    rng = np.random.default_rng(0)
    outputs = {name: rng.uniform(size=shape).astype(np.float32) for name, shape in shapes.items()}
    query = Query((32, 32), 0.5)
    stated = msgspec.structs.replace(params, layout="rows")
    found, expected = (distances.decode(outputs, one, query) for one in (params, stated))
    np.testing.assert_array_equal(found.xyxy, expected.xyxy)
    alone = distances.Params(scores=("s16",), boxes=("b16",), strides=(16,))
    with pytest.raises(HeadError, match=r"'s16' of shape \(4, 4\) may have its channels first or"):
        distances.decode(outputs, alone, query)


def test_anchors_in_rows_and_in_channels_are_an_error() -> None:
    params = distances.Params(scores=("s",), boxes=("b",), strides=(8,), anchors_per_cell=2)
    outputs = {"s": np.zeros((32, 1), np.float32), "b": np.zeros((8, 4, 4), np.float32)}
    with pytest.raises(HeadError, match="some have their anchors in rows, others in channels"):
        distances.decode(outputs, params, Query((32, 32), 0.5))


def test_top_k_keeps_the_best_peaks() -> None:
    heat = np.zeros((1, 8, 8), np.float32)
    for number, (y, x) in enumerate([(0, 0), (3, 3), (7, 7)]):
        heat[0, y, x] = 0.5 + 0.1 * number
    outputs = {"hm": heat, "wh": np.ones((2, 8, 8), np.float32)}
    params = heatmap.Params(heatmap="hm", sizes="wh", top_k=2)
    found = heatmap.decode(outputs, params, Query((32, 32), 0.3))
    np.testing.assert_allclose(found.confidence, [0.6, 0.7])
    assert found.xyxy.tolist() == [[10, 10, 14, 14], [26, 26, 30, 30]]


def test_a_plateau_is_a_peak_everywhere() -> None:
    """As a maximum filter has it: equal neighbors do not exceed one another."""
    heat = np.full((1, 2, 2), 0.5, np.float32)
    outputs = {"hm": heat, "wh": np.ones((2, 2, 2), np.float32)}
    found = heatmap.decode(outputs, heatmap.Params(heatmap="hm", sizes="wh"), Query((8, 8), 0.3))
    assert len(found) == 4
