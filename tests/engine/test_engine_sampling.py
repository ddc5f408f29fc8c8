"""RoiAlign, MaxRoiPool, GridSample and DeformConv against onnx.reference, plain loops and ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from edgecv.engine.claims import MOST_SAMPLES
from edgecv.engine.compile import compile_model
from edgecv.errors import InputError, UnsupportedOperatorError
from tests.engine.one_node import ISAS, Array, check, model_of, random, run, steps
from tests.graph.evaluate import run_proto

F32 = np.float32
NAN, INF = math.nan, math.inf

# ---- GridSample


def grid_of(n: int, *out: int, reach: float = 1.6, seed: int = 0) -> Array:
    """Points (n, *out, axes) of which many lie outside, and some on the middle between two pixels."""
    points = np.random.default_rng(seed).uniform(-reach, reach, (n, *out, len(out))).astype(F32)
    points.reshape(-1)[::5] = np.round(points.reshape(-1)[::5] * 4) / 4
    return points


@pytest.mark.parametrize("align_corners", [0, 1], ids=["edges", "centers"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_grid_of_points(mode: str, padding: str, align_corners: int) -> None:
    attributes = {"mode": mode, "padding_mode": padding, "align_corners": align_corners}
    for axes, (sides, out) in enumerate((((9,), (7,)), ((5, 6), (4, 5)), ((3, 4, 2), (2, 3, 2))), 1):
        feeds = {"x": random(2, 3, *sides), "grid": grid_of(2, *out, reach=1.6 if axes < 3 else 4)}
        check("GridSample", feeds, tolerance=4e-6, **attributes)


@pytest.mark.parametrize("blocked", [True, False], ids=["blocks", "plain"])
def test_channels_of_a_grid_lie_in_blocks(blocked: bool) -> None:
    feeds = {"x": random(2, 19, 5, 6), "grid": grid_of(2, 3, 4)}
    programs = check("GridSample", feeds, blocked=blocked, tolerance=4e-6)
    assert all(steps(one).count("sample") == 2 for one in programs.values())


def test_a_grid_of_constants_and_one_of_no_points() -> None:
    check("GridSample", {"x": random(1, 3, 4, 5)}, {"grid": grid_of(1, 3, 4)}, tolerance=4e-6)
    nothing = np.zeros((1, 3, 0, 4), F32)
    empty = np.zeros((1, 0, 4, 2), F32)
    check("GridSample", {"x": random(1, 3, 4, 5), "grid": empty}, expected=[nothing])


def test_axes_of_one_pixel() -> None:
    for align_corners in (0, 1):
        for padding in ("zeros", "border", "reflection"):
            feeds = {"x": random(1, 2, 1, 1), "grid": grid_of(1, 4, 4)}
            # Between two corners that are one there is no other place.
            expected = [np.broadcast_to(feeds["x"], (1, 2, 4, 4))] if align_corners else None
            check("GridSample", feeds, expected=expected, padding_mode=padding, align_corners=align_corners)


ODD = ((NAN, 0.0), (0.0, NAN), (NAN, NAN), (INF, 0.0), (-INF, 0.0), (0.0, -INF), (INF, NAN))


@pytest.mark.parametrize("align_corners", [0, 1], ids=["edges", "centers"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_coordinate_that_is_not_finite_counts_as_minus_one(
    mode: str, padding: str, align_corners: int
) -> None:
    grid = np.array(ODD, F32)[None, None]
    attributes = {"mode": mode, "padding_mode": padding, "align_corners": align_corners}
    finite = np.where(np.isfinite(grid), grid, F32(-1))
    x = random(1, 2, 3, 4)
    _, (expected,) = model_of("GridSample", {"x": x, "grid": finite}, **attributes)
    check("GridSample", {"x": x, "grid": grid}, expected=[expected], tolerance=4e-6, **attributes)
    (theirs,) = runtime("GridSample", {"x": x, "grid": grid}, **attributes)
    np.testing.assert_allclose(theirs, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("padding", "expected"),
    # Of 4 columns: none; the last, or the first; one of them.
    [("zeros", ((0,), (0,))), ("border", ((4,), (1,))), ("reflection", ((1, 2, 3, 4), (1, 2, 3, 4)))],
)
def test_coordinates_far_away(padding: str, expected: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x = np.arange(1, 5, dtype=F32).reshape(1, 1, 1, 4)
    for far in (1e6, 1e9, 1e20, 3e38):
        for mode in ("nearest", "linear", "cubic"):
            grid = np.array([[far, 0], [-far, 0]], F32)[None, None]
            model, _ = model_of(
                "GridSample",
                {"x": x, "grid": grid},
                expected=[np.zeros((1, 1, 1, 2), F32)],
                mode=mode,
                padding_mode=padding,
            )
            for isa in ISAS:
                (got,) = run(
                    compile_model(model, {"x": x.shape, "grid": grid.shape}, isa=isa), {"x": x, "g": grid}
                )
                for value, choices in zip(got.reshape(-1), expected, strict=True):
                    assert min(choices) - 0.5 <= value <= max(choices) + 0.5, (far, mode, isa)


def test_what_has_no_weight_is_not_read() -> None:
    x = np.array([[INF, 1, NAN, 2, NAN]], F32)[None, None]
    grid = np.array([[-0.5, 0], [0.5, 0]], F32)[None, None]
    expected = [np.array([1, 2], F32).reshape(1, 1, 1, 2)]
    check("GridSample", {"x": x, "grid": grid}, expected=expected, align_corners=1, tolerance=1e-6)


# ---- RoiAlign and MaxRoiPool

REGIONS = np.array(
    [
        [1, 1, 5, 6],
        [3.3, 2.2, 10.1, 7.7],
        [5, 6, 1, 1],
        [2, 2, 2, 2],
        [-20, -20, -10, -10],
        [-3, -3, 30, 20],
        [10, 7, 14, 12],
        [-90, -40, 80, 70],
    ],
    F32,
)
IMAGES = np.array([0, 1, 1, 0, 1, 0, 1, 0])


@pytest.mark.parametrize("half_pixel", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("samples", [0, 1, 3])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_aligned_regions(mode: str, samples: int, half_pixel: str) -> None:
    for (h, w), scale, blocked in (((2, 3), 1.0, False), ((7, 5), 0.5, True)):
        check(
            "RoiAlign",
            {"x": random(2, 19, 8, 11), "rois": REGIONS, "images": IMAGES},
            blocked=blocked,
            tolerance=4e-6,
            mode=mode,
            sampling_ratio=samples,
            coordinate_transformation_mode=half_pixel,
            spatial_scale=scale,
            output_height=h,
            output_width=w,
        )


def test_regions_without_numbers_are_zeros() -> None:
    x = random(1, 3, 6, 6)
    rois = np.array(
        [[NAN, 1, 4, 4], [1, 1, 4, NAN], [INF, 0, INF, 4], [-INF, 0, INF, 4], [0, 0, 3e38, 3e38]], F32
    )
    images = np.zeros(len(rois), np.int64)
    expected = [np.zeros((len(rois), 3, 2, 2), F32)]
    for mode in ("avg", "max"):
        for samples in (0, 2):
            feeds = {"x": x, "rois": rois[:4], "images": images[:4]}
            attributes = {"mode": mode, "sampling_ratio": samples, "output_height": 2, "output_width": 2}
            check("RoiAlign", feeds, expected=[expected[0][:4]], **attributes)
    check(
        "RoiAlign",
        {"x": x, "rois": rois, "images": images},
        expected=expected,
        output_height=2,
        output_width=2,
    )
    fives = np.concatenate([np.zeros((5, 1), F32), rois], 1)
    check("MaxRoiPool", {"x": x, "rois": fives[:2]}, expected=[expected[0][:2]], pooled_shape=[2, 2])


def test_a_region_of_more_samples_than_are_looked_at() -> None:
    """A bin of 6,000 samples a side, nearly all of them outside."""
    x = np.ones((1, 1, 8, 8), F32)
    rois = np.array([[-3000.0, -3000.0, 3000.0, 3000.0]], F32)
    # From -1 to 8 there are ten samples, one a pixel.
    expected = [np.full((1, 1, 1, 1), 10 * 10 / 6000**2, F32)]
    images = np.zeros(1, np.int64)
    check("RoiAlign", {"x": x, "rois": rois, "images": images}, expected=expected, tolerance=1e-5)
    assert MOST_SAMPLES < 6000


def test_as_many_samples_as_are_claimed() -> None:
    feeds = {
        "x": np.ones((1, 1, 2, 2), F32),
        "rois": np.array([[0, 0, 1, 1]], F32),
        "images": np.zeros(1, np.int64),
    }
    model, _ = model_of("RoiAlign", feeds, expected=[np.ones((1, 1, 1, 1), F32)], sampling_ratio=MOST_SAMPLES)
    assert compile_model(model, {name: a.shape for name, a in feeds.items()}, isa=ISAS[0]).plan


def largest_of_bins(x: Array, rois: Array, pooled: tuple[int, int], scale: float) -> Array:
    """MaxRoiPool as Girshick 2015 (Fast R-CNN, section 2.1) has it, in plain loops."""
    made = np.zeros((len(rois), x.shape[1], *pooled), F32)
    for n, (image, *corners) in enumerate(rois):
        left, top, right, bottom = (math.floor(abs(v * scale) + 0.5) * (1 if v > 0 else -1) for v in corners)
        bin_h = F32(max(bottom - top + 1, 1)) / F32(pooled[0])
        bin_w = F32(max(right - left + 1, 1)) / F32(pooled[1])
        for i, j in np.ndindex(*pooled):
            rows = slice(
                *(np.clip([math.floor(i * bin_h) + top, math.ceil((i + 1) * bin_h) + top], 0, x.shape[2]))
            )
            columns = slice(
                *(np.clip([math.floor(j * bin_w) + left, math.ceil((j + 1) * bin_w) + left], 0, x.shape[3]))
            )
            window = x[int(image), :, rows, columns]
            if window.size:
                made[n, :, i, j] = window.max((1, 2))
    return made


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.0625])
@pytest.mark.parametrize("pooled", [(1, 1), (2, 5), (7, 7)])
def test_the_largest_of_regions(pooled: tuple[int, int], scale: float) -> None:
    x = random(2, 19, 8, 11)
    rois = np.concatenate([IMAGES[:, None].astype(F32), REGIONS], 1)
    expected = largest_of_bins(x, rois, pooled, scale)
    attributes = {"pooled_shape": list(pooled), "spatial_scale": scale}
    check("MaxRoiPool", {"x": x, "rois": rois}, expected=[expected], tolerance=0, **attributes)
    (theirs,) = runtime("MaxRoiPool", {"x": x, "rois": rois}, **attributes)
    np.testing.assert_array_equal(theirs, expected)


@pytest.mark.parametrize("image", [-1, 2, 1 << 40])
def test_an_image_that_is_not_there(image: int) -> None:
    x = random(2, 3, 5, 5)
    images, rois = np.array([0, image]), np.zeros((2, 4), F32)
    fives = np.concatenate([images[:, None].astype(F32), rois], 1)
    cases: list[tuple[str, dict[str, Array], dict[str, Any]]] = [
        ("RoiAlign", {"x": x, "rois": rois, "images": images}, {}),
        ("MaxRoiPool", {"x": x, "rois": fives}, {"pooled_shape": [1, 1]}),
    ]
    for op, feeds, attributes in cases:
        model, _ = model_of(op, feeds, expected=[np.zeros((2, 3, 1, 1), F32)], **attributes)
        compiled = compile_model(model, {name: a.shape for name, a in feeds.items()}, isa=ISAS[0])
        with pytest.raises(InputError, match="index lies outside"):
            run(compiled, feeds)


def test_regions_of_channels_that_lie_apart() -> None:
    """Channels are brought in order first where a Concat has others before them."""
    from onnx import helper, numpy_helper

    from edgecv.graph.model import OnnxModel

    x, rois, images = random(1, 5, 6, 7), REGIONS[:3], np.zeros(3, np.int64)
    nodes = [
        helper.make_node("Conv", ["x", "mix"], ["mixed"]),
        helper.make_node("Concat", ["x", "mixed"], ["both"], axis=1),
        helper.make_node("RoiAlign", ["both", "rois", "images"], ["y"], output_height=2, output_width=2),
    ]
    feeds = {"x": x, "rois": rois, "images": images}
    graph = helper.make_graph(
        nodes,
        "apart",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for name, a in feeds.items()
        ],
        [helper.make_tensor_value_info("y", 1, (3, 10, 2, 2))],
        [numpy_helper.from_array(random(5, 5, 1, 1), "mix")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    (expected,) = run_proto(proto, feeds)
    model = OnnxModel.from_bytes(proto.SerializeToString(), origin="apart")
    for isa in ISAS:
        (got,) = run(compile_model(model, {name: a.shape for name, a in feeds.items()}, isa=isa), feeds)
        np.testing.assert_allclose(got, expected, rtol=0, atol=4e-6 * np.abs(expected).max())


# ---- DeformConv

CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "3x3": {"pads": [1, 1, 1, 1]},
    "strides": {"strides": [2, 1], "pads": [1, 0, 2, 1]},
    "dilations": {"dilations": [2, 1], "pads": [2, 1, 2, 1]},
    "groups": {"group": 2, "pads": [1, 1, 1, 1]},
    "groups of offsets": {"offset_group": 4, "pads": [1, 1, 1, 1]},
    "depthwise": {"group": 4, "offset_group": 2},
}


def operands(
    channels: int, outputs: int, batch: int = 1, size: int = 5, **attributes: Any
) -> dict[str, Array]:
    """x, weights of 3 x 2 taps, offsets, bias and mask of a deformable convolution."""
    pads, strides = attributes.get("pads", [0] * 4), attributes.get("strides", [1, 1])
    dilations = attributes.get("dilations", [1, 1])
    kernel = (3, 2)
    made = [
        (size + i + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
        for i in range(2)
    ]
    taps = 6 * attributes.get("offset_group", 1)
    return {
        "x": random(batch, channels, size, size + 1),
        "weights": random(outputs, channels // attributes.get("group", 1), *kernel, seed=1),
        "offsets": random(batch, 2 * taps, *made, seed=2),
        "bias": random(outputs, seed=3),
        "mask": random(batch, taps, *made, seed=4),
    }


@pytest.mark.parametrize("attributes", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_deformable_convolutions(attributes: dict[str, Any]) -> None:
    feeds = operands(4, 6 if attributes.get("group") != 4 else 4, batch=2, **attributes)
    check("DeformConv", feeds, tolerance=4e-6, **attributes)


@pytest.mark.parametrize("left_out", [("bias",), ("mask",), ("bias", "mask")], ids="+".join)
def test_operands_that_may_be_left_out(left_out: tuple[str, ...]) -> None:
    feeds = operands(2, 3)
    constants: dict[str, Array | None] = {
        name: None if name in left_out else feeds[name] for name in ("bias", "mask")
    }
    rest = {name: feeds[name] for name in ("x", "weights", "offsets")}
    check("DeformConv", rest, constants, tolerance=4e-6)


def test_many_channels_against_onnx_runtime() -> None:
    attributes = {"group": 2, "offset_group": 2, "pads": [1, 1, 1, 1]}
    feeds = operands(38, 36, batch=2, **attributes)
    odd = feeds["offsets"].reshape(-1)
    odd[::11] = np.resize(np.array([NAN, INF, -INF, 1e9, -3e38, -1, 0.5, 4, 5], F32), odd[::11].shape)
    (expected,) = runtime("DeformConv", feeds, **attributes)
    check("DeformConv", feeds, expected=[expected], tolerance=4e-6, **attributes)


def test_a_convolution_of_an_image_of_one_pixel() -> None:
    x, weights = np.full((1, 1, 1, 1), 3, F32), np.full((1, 1, 1, 1), 2, F32)
    offsets = np.array([0.25, -0.5], F32).reshape(1, 2, 1, 1)
    expected = [np.full((1, 1, 1, 1), 6 * 0.75 * 0.5, F32)]
    check("DeformConv", {"x": x, "weights": weights, "offsets": offsets}, expected=expected)


# ---- Bits, and what is refused

ALIKE: dict[str, tuple[str, dict[str, Array], tuple[int, ...], dict[str, Any]]] = {
    "grid": (
        "GridSample",
        {"x": random(1, 9, 6, 7), "grid": grid_of(1, 5, 4)},
        (1, 9, 5, 4),
        {"mode": "cubic"},
    ),
    "regions": (
        "RoiAlign",
        {"x": random(2, 9, 8, 8), "rois": REGIONS, "images": IMAGES},
        (8, 9, 3, 3),
        {"output_height": 3, "output_width": 3},
    ),
    "largest": (
        "RoiAlign",
        {"x": random(2, 9, 8, 8), "rois": REGIONS, "images": IMAGES},
        (8, 9, 3, 3),
        {"output_height": 3, "output_width": 3, "mode": "max", "sampling_ratio": 2},
    ),
}


@pytest.mark.parametrize(("op", "feeds", "shape", "attributes"), ALIKE.values(), ids=ALIKE)
def test_the_same_bits_on_every_isa(
    op: str, feeds: dict[str, Array], shape: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    model, _ = model_of(op, feeds, expected=[np.zeros(shape, F32)], **attributes)
    shapes = {name: a.shape for name, a in feeds.items()}
    results = [
        run(compile_model(model, shapes, isa=isa, threads=threads), feeds, threads)[0].tobytes()
        for isa in ISAS
        for threads in (1, 3)
    ]
    assert len(set(results)) == 1


X, GRID = np.zeros((1, 4, 4, 4), F32), np.zeros((1, 2, 2, 2), F32)
ROIS, IMAGE = np.zeros((1, 4), F32), np.zeros(1, np.int64)
DEFORM = operands(4, 4)
REFUSED: dict[str, tuple[str, dict[str, Array], dict[str, Any], str]] = {
    "float64": ("GridSample", {"x": X.astype(np.float64), "grid": GRID}, {}, "expected float32"),
    "float64 points": ("GridSample", {"x": X, "grid": GRID.astype(np.float64)}, {}, "input 1 of float32"),
    "no pixels": ("GridSample", {"x": X[:, :, :0], "grid": GRID}, {}, "maps with pixels"),
    "mode": ("GridSample", {"x": X, "grid": GRID}, {"mode": "area"}, "mode linear or nearest or cubic"),
    "padding": (
        "GridSample",
        {"x": X, "grid": GRID},
        {"padding_mode": "wrap"},
        "padding_mode zeros or border",
    ),
    "four axes of pixels": (
        "GridSample",
        {"x": np.zeros((1, 1, 2, 2, 2, 2), F32), "grid": np.zeros((1, 1, 1, 1, 1, 4), F32)},
        {},
        "1 to 3 axes",
    ),
    "samples": (
        "RoiAlign",
        {"x": X, "rois": ROIS, "images": IMAGE},
        {"sampling_ratio": MOST_SAMPLES + 1},
        "sampling_ratio of at most",
    ),
    "images": (
        "RoiAlign",
        {"x": X, "rois": ROIS, "images": IMAGE.astype(np.int32)},
        {},
        "input 2 of int64",
    ),
    "pooling": ("RoiAlign", {"x": X, "rois": ROIS, "images": IMAGE}, {"mode": "sum"}, "mode avg or max"),
    "shift": (
        "RoiAlign",
        {"x": X, "rois": ROIS, "images": IMAGE},
        {"coordinate_transformation_mode": "asymmetric"},
        "half_pixel or output_half_pixel",
    ),
    "offsets": ("DeformConv", DEFORM | {"offsets": DEFORM["offsets"][:, :-1]}, {}, "offsets and a mask"),
    "mask": ("DeformConv", DEFORM | {"mask": DEFORM["mask"][:, :-1]}, {}, "offsets and a mask"),
    "offset groups": ("DeformConv", DEFORM, {"offset_group": 3}, "offsets and a mask"),
}


@pytest.mark.parametrize(("op", "feeds", "attributes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(op: str, feeds: dict[str, Array], attributes: dict[str, Any], message: str) -> None:
    model, _ = model_of(op, feeds, expected=[np.zeros((1, 1, 1, 1), feeds["x"].dtype)], **attributes)
    model.proto.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(UnsupportedOperatorError, match=message):
        compile_model(model, {name: a.shape for name, a in feeds.items()}, isa=ISAS[0])


def runtime(op: str, feeds: Mapping[str, Array], **attributes: Any) -> list[Array]:
    """Outputs by ONNX Runtime."""
    pytest.importorskip("onnxruntime", reason="onnxruntime, which this compares with, is not installed")
    from onnx import helper

    declared = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for name, a in feeds.items()
    ]
    nothing = [helper.make_tensor_value_info("y", 1, None)]
    graph = helper.make_graph(
        [helper.make_node(op, list(feeds), ["y"], **attributes)], "one", declared, nothing
    )
    return run_proto(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), feeds
    )
