"""Structures to hold the importer against: every layer in its forms, at sizes that expose rounding.

A harness writes a case with `case.build().write(folder)`, feeds `net.random_inputs()`, and asks the other
framework for the layer that `net.made_by(output)` names, since several layers may write one blob in turn. Of
a Faster R-CNN the second network takes what the other framework pools, its blob `roi_pool`.

truth says what gives the expected numbers: "opencv", the importer of OpenCV 4, which the project's oracle
runs, or "numpy", the definitions of `reference`, for what OpenCV lacks or does otherwise than Caffe. Every
case of a layer can be run by `reference` too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.importers.caffe import topologies
from tests.importers.caffe.nets import Net, Pair

OPENCV, NUMPY = "opencv", "numpy"


@dataclass(frozen=True)
class Case:
    """build: a fresh network. why: what keeps OpenCV from being its truth. slow: full size."""

    id: str
    build: Callable[[], Net]
    truth: str = OPENCV
    why: str = ""
    slow: bool = False
    topology: bool = False


def _one(
    kind: str,
    params: Mapping[str, Any] | None = None,
    size: Sequence[int] = (1, 3, 9, 7),
    *,
    shape: tuple[int, ...] | None = None,
    blobs: Callable[[Net], Sequence[Any]] = lambda net: (),
    before: str = "",
    **how: Any,
) -> Callable[[], Net]:
    """A network of one layer on random numbers. before: a layer that makes them fit, such as Sigmoid."""

    def build() -> Net:
        net = Net(kind.lower())
        bottom = _blob(net, size)
        if before:
            bottom = net.add(before, bottom)
        net.add(kind, bottom, params, blobs=blobs(net), shape=shape, name="out", **how)
        return net

    return build


def _blob(net: Net, size: Sequence[int], name: str = "data") -> str:
    """A blob of that shape: an input, or a convolution of one where a picture has not as many channels."""
    if len(size) != 4 or size[1] in (1, 3, 4):
        return net.input(*size, name=name)
    return net.conv(net.input(size[0], 3, *size[2:], name=name), size[1], 1, name=f"{name}_conv")


def _conv(
    outputs: int, kernel: Pair, *, size: Sequence[int] = (1, 4, 11, 8), **how: Any
) -> Callable[[], Net]:
    def build() -> Net:
        net = Net("conv")
        net.conv(net.input(*size), outputs, kernel, name="out", **how)
        return net

    return build


def _pool(kind: str, kernel: Pair, stride: Pair, pad: Pair = 0, size: Any = (1, 3, 11, 8), **how: Any) -> Any:
    def build() -> Net:
        net = Net("pool")
        net.pool(net.input(*size), kind, kernel, stride, pad, name="out", **how)
        return net

    return build


def _two(
    kind: str,
    params: Mapping[str, Any] | None = None,
    sizes: Sequence[Sequence[int]] = ((1, 3, 9, 7), (1, 3, 9, 7)),
    **how: Any,
) -> Callable[[], Net]:
    """A network of one layer on several inputs, each through a ReLU6-free identity of its own."""

    def build() -> Net:
        net = Net(kind.lower())
        bottoms = [_blob(net, size, f"data{number}") for number, size in enumerate(sizes)]
        net.add(kind, bottoms, params, name="out", **how)
        return net

    return build


def _deconv_rows() -> list[Case]:
    return [
        Case(f"deconvolution-{name}", _conv(outputs, kernel, kind="Deconvolution", **how))
        for name, outputs, kernel, how in (
            ("plain", 3, 3, {}),
            ("stride", 5, 4, {"stride": 2, "pad": 1}),
            ("rectangular", 2, (3, 5), {"stride": (2, 3), "pad": (1, 2)}),
            ("no-bias", 3, 2, {"bias": False, "stride": 2}),
            ("depthwise", 4, 4, {"group": 4, "stride": 2, "pad": 1, "bias": False}),
            ("group", 6, 3, {"group": 2, "stride": 2}),
        )
    ]


def _pooling_rows() -> list[Case]:
    rows: list[Case] = []
    forms: dict[str, tuple[Pair, Pair, Pair]] = {
        "even": (2, 2, 0),
        "ceil": (3, 2, 0),
        "ceil-pad": (3, 2, 1),
        "clipped": (2, 2, 1),
        "stride1": (3, 1, 1),
        "stride-over-kernel": (2, 3, 0),
        "rectangular": ((3, 2), (2, 3), (1, 0)),
        "rectangular-pad": ((2, 5), (3, 2), (0, 2)),
        "large": (5, 3, 2),
        "over-the-map": (9, 2, 0),
    }
    for name, (kernel, stride, pad) in forms.items():
        truth = (NUMPY, "OpenCV 4.14 finds no window") if name == "over-the-map" else (OPENCV, "")
        for kind in ("MAX", "AVE"):
            rows.append(Case(f"pooling-{kind.lower()}-{name}", _pool(kind, kernel, stride, pad), *truth))
    rows += [
        Case("pooling-max-floor", _pool("MAX", 3, 2, floor=True), NUMPY, "reads another field"),
        Case("pooling-ave-floor", _pool("AVE", 3, 2, 1, floor=True), NUMPY, "reads another field"),
        Case("pooling-max-global", _one("Pooling", {"pool": "MAX", "global_pooling": True})),
        Case("pooling-ave-global", _one("Pooling", {"pool": "AVE", "global_pooling": True})),
    ]
    return rows


def _each(
    kind: str, forms: Mapping[str, Mapping[str, Any]], truth: str = OPENCV, why: str = "", **how: Any
) -> list[Case]:
    """A layer without weights, with each of several sets of parameters."""
    return [
        Case(f"{kind.lower()}-{name}", _one(kind, params, **how), truth, why)
        for name, params in forms.items()
    ]


def _depthwise(net: Net) -> Sequence[Any]:
    return [net.weights(4, 1, 3, 3), net.vector(4)]


def _affine(n: int, count: int = 2) -> Callable[[Net], Sequence[Any]]:
    return lambda net: [net.vector(n, 0.5, 1.5) for _ in range(count)]


def _statistics(n: int, factor: float, affine: bool = False) -> Callable[[Net], Sequence[Any]]:
    def blobs(net: Net) -> Sequence[Any]:
        mean, variance = net.vector(n, -1, 1) * factor, net.vector(n, 0.3, 2) * factor
        more = [net.vector(n, 0.5, 1.5), net.vector(n)] if affine else []
        return [mean, variance, np.array([factor]), *more]

    return blobs


def _operand(
    kind: str, params: Mapping[str, Any], shape: Sequence[int], bias: bool = False
) -> Callable[[], Net]:
    """Scale or Bias with a weight of its own."""

    def blobs(net: Net) -> Sequence[Any]:
        return [net.random.uniform(0.5, 1.5, shape).astype(np.float32) for _ in range(1 + bias)]

    return _one(kind, params, blobs=blobs)


def _unpooled(size: Sequence[int], params: Mapping[str, Any]) -> Callable[[], Net]:
    """SegNet's pair: a pooling with its mask, something between, and the Upsample that takes the mask."""

    def build() -> Net:
        net = Net("unpooled")
        x = net.conv(net.input(*size), 4, 3, pad=1)
        x = net.pool(x, "MAX", 2, 2, tops=("pooled", "mask"))
        x = net.conv(x, 4, 3, pad=1)
        net.add("Upsample", (x, "mask"), params, name="out")
        return net

    return build


def _in_place() -> Net:
    """Chains that overwrite one blob, the last of which is an output."""
    net = Net("in-place")
    x = net.conv(net.input(1, 3, 9, 7), 6, 3, pad=1, bias=False, name="conv")
    net.batch_norm(x)
    net.relu(x, negative_slope=0.1)
    y = net.conv(x, 4, 1, name="last")
    net.add("Dropout", y, {"dropout_ratio": 0.4}, tops=y)
    net.add("Sigmoid", y, tops=y)
    return net


def _shared_blobs() -> Net:
    """One value taken several times, and split."""
    net = Net("shared")
    x = net.conv(net.input(1, 3, 9, 7), 6, 3, pad=1, name="conv")
    net.add("Split", x, tops=("a", "b"), name="split")
    net.add("Eltwise", ("a", "b"), {"operation": "PROD"}, name="product")
    net.add("Eltwise", (x, "product", "a"), {"operation": "SUM", "coeff": [1.5, -0.5, 2]}, name="out")
    return net


def _silenced() -> Net:
    """What is computed and shown to nobody."""
    net = Net("silenced")
    x = net.input(1, 3, 9, 7)
    net.add("Silence", net.conv(x, 4, 3, name="mute"), tops=())
    net.conv(x, 4, 3, name="out")
    return net


def _transposed() -> Net:
    net = Net("transposed")
    blobs = [net.weights(20, 6), net.vector(6)]
    params = {"num_output": 6, "transpose": True}
    net.add("InnerProduct", net.input(1, 4, 5, 1), params, blobs=blobs, name="out", shape=(1, 6))
    return net


def _product_axis(axis: int) -> Callable[[], Net]:
    def build() -> Net:
        net = Net("product")
        inputs = {2: 63, 3: 7, -1: 7}[axis]
        blobs = [net.weights(5, inputs), net.vector(5)]
        net.add(
            "InnerProduct", net.input(1, 3, 9, 7), {"num_output": 5, "axis": axis}, blobs=blobs, name="out"
        )
        return net

    return build


def _sliced(params: Mapping[str, Any], tops: int, size: Sequence[int] = (1, 8, 9, 6)) -> Callable[[], Net]:
    def build() -> Net:
        net = Net("sliced")
        names = [f"part{number}" for number in range(tops)]
        net.add("Slice", _blob(net, size), params, tops=names, name="slice")
        return net

    return build


def _cropped(params: Mapping[str, Any], like: Sequence[int] = (1, 3, 5, 4)) -> Callable[[], Net]:
    return _two("Crop", params, ((1, 3, 9, 7), like))


def _shape(*dim: int, **more: int) -> Mapping[str, Any]:
    return {"shape": {"dim": dim}, **more}


def _fully_connected() -> Net:
    net = Net("connected")
    x = net.fc(net.input(1, 3, 9, 7), 12, name="hidden")
    net.relu(x)
    net.fc(x, 5, bias=False, name="out")
    return net


_ABSENT = "OpenCV 4.14 has no such layer"
_OTHERWISE = "OpenCV 4.14 computes something else"

LAYERS: tuple[Case, ...] = (
    Case("convolution", _conv(6, 3)),
    Case("convolution-1x1", _conv(6, 1)),
    Case("convolution-stride", _conv(6, 3, stride=2, pad=1)),
    Case("convolution-rectangular", _conv(5, (3, 1), stride=(2, 3), pad=(2, 0))),
    Case("convolution-no-bias", _conv(6, 3, bias=False)),
    Case("convolution-group", _conv(6, 3, group=2)),
    Case("convolution-depthwise", _conv(8, 3, group=4, pad=1)),
    *(
        Case(
            kind.lower(),
            _one(kind, {"num_output": 4, "kernel_size": 3}, (1, 4, 9, 7), blobs=_depthwise),
            *truth,
        )
        for kind, truth in (("ConvolutionDepthwise", ()), ("DepthwiseConvolution", (NUMPY, _ABSENT)))
    ),
    Case("convolution-dilation", _conv(6, 3, dilation=2, pad=2)),
    *_deconv_rows(),
    *_pooling_rows(),
    Case("inner-product", _fully_connected),
    Case("inner-product-transposed", _transposed, NUMPY, "OpenCV takes no transposed weights"),
    Case("inner-product-axis2", _product_axis(2)),
    Case("inner-product-axis3", _product_axis(3)),
    Case("inner-product-last-axis", _product_axis(-1)),
    *_each("ReLU", {"plain": {}, "slope": {"negative_slope": 0.2}}),
    Case("relu6", _one("ReLU6", before="Exp")),
    Case("prelu", _one("PReLU", blobs=_affine(3, 1))),
    Case("prelu-shared", _one("PReLU", {"channel_shared": True}, blobs=_affine(1, 1))),
    *_each("ELU", {"plain": {}, "alpha": {"alpha": 0.7}}),
    *(Case(kind.lower(), _one(kind)) for kind in ("Sigmoid", "TanH", "AbsVal", "BNLL")),
    *_each(
        "Power",
        {
            "plain": {},
            "affine": {"scale": 0.5, "shift": -1.5},
            "square": {"power": 2, "scale": 0.5, "shift": 0.3},
            "cube": {"power": 3},
            "constant": {"power": 0},
        },
    ),
    Case("power-root", _one("Power", {"power": 0.5, "shift": 0.1, "scale": 2}, before="Sigmoid")),
    *_each(
        "Exp",
        {"plain": {}, "base": {"base": 2.0}, "affine": {"base": 3.0, "scale": 0.5, "shift": -1.0}},
    ),
    *_each(
        "Log",
        {"base": {"base": 10.0, "shift": 1.0}, "affine": {"base": 2.0, "scale": 3.0, "shift": 0.5}},
        NUMPY,
        "OpenCV reads no parameters of it",
        before="Sigmoid",
    ),
    Case("log-plain", _one("Log", before="Sigmoid")),
    *(Case(kind.lower(), _one(kind)) for kind in ("Swish", "Mish")),
    Case("threshold", _one("Threshold"), NUMPY, _ABSENT),
    Case("clip", _one("Clip", {"min": -0.5, "max": 0.8}), NUMPY, _ABSENT),
    Case("batchnorm", _one("BatchNorm", blobs=_statistics(3, 1.0))),
    Case("batchnorm-factor", _one("BatchNorm", {"eps": 1e-3}, blobs=_statistics(3, 7.25))),
    Case("batchnorm-factor-zero", _one("BatchNorm", {"eps": 0.1}, blobs=_statistics(3, 0.0))),
    Case("batchnorm-own", _one("BatchNorm", {"use_global_stats": False}, blobs=_statistics(3, 1.0))),
    Case(
        "batchnorm-nvidia",
        _one("BatchNorm", {"scale_bias": True}, blobs=_statistics(3, 2.0, affine=True)),
        NUMPY,
        "OpenCV takes its blobs in another order",
    ),
    Case("bn-inference", _one("BN", {"bn_mode": "INFERENCE"}, blobs=_affine(3)), NUMPY, _ABSENT),
    Case("bn-learn", _one("BN", blobs=_affine(3)), NUMPY, _ABSENT),
    Case("bn-statistics", _one("BN", {"eps": 1e-3}, blobs=_affine(3, 4)), NUMPY, _ABSENT),
    Case("scale", _operand("Scale", {}, (3,))),
    Case("scale-bias", _operand("Scale", {"bias_term": True}, (3,), bias=True)),
    Case("scale-axes", _operand("Scale", {"axis": 1, "num_axes": 2}, (3, 9))),
    Case("scale-rest", _operand("Scale", {"axis": 1, "num_axes": -1}, (3, 9, 7))),
    Case("scale-scalar", _operand("Scale", {"num_axes": 0}, ()), NUMPY, "OpenCV takes no scalar"),
    Case("scale-two", _two("Scale", {"axis": 0}, ((1, 3, 9, 7), (1, 3)))),
    Case("bias", _operand("Bias", {}, (3,)), NUMPY, _ABSENT),
    Case("bias-axes", _operand("Bias", {"axis": -2, "num_axes": -1}, (9, 7)), NUMPY, _ABSENT),
    Case("bias-two", _two("Bias", {"axis": 1}, ((1, 3, 9, 7), (3, 9))), NUMPY, _ABSENT),
    Case("lrn", _one("LRN", {"alpha": 0.3, "beta": 0.6}, (1, 9, 5, 4))),
    Case(
        "lrn-k",
        _one("LRN", {"local_size": 3, "alpha": 0.9, "k": 2.0}, (1, 7, 5, 4)),
        NUMPY,
        _OTHERWISE,
    ),
    Case("lrn-few-channels", _one("LRN", {"local_size": 7, "alpha": 0.9}, (1, 3, 5, 4))),
    Case(
        "lrn-within",
        _one("LRN", {"local_size": 3, "alpha": 0.8, "norm_region": "WITHIN_CHANNEL"}),
    ),
    *_each("MVN", {"plain": {}, "mean": {"normalize_variance": False}, "across": {"across_channels": True}}),
    Case("mvn-eps", _one("MVN", {"eps": 0.5}), NUMPY, "OpenCV adds eps to the variance"),
    Case("normalize", _one("Normalize", blobs=_affine(1, 1))),
    Case(
        "normalize-channels",
        _one("Normalize", {"across_spatial": False, "channel_shared": False}, blobs=_affine(3, 1)),
    ),
    Case("normalize-bbox", _one("NormalizeBBox", blobs=_affine(1, 1))),
    *_each("Softmax", {"channels": {}, "last": {"axis": -1}, "height": {"axis": 2}}),
    Case("softmax-row", _one("Softmax", size=(1, 12, 1, 1))),
    Case("concat", _two("Concat", {}, ((1, 3, 5, 4), (1, 2, 5, 4), (1, 1, 5, 4)))),
    Case("concat-axis", _two("Concat", {"axis": 2}, ((1, 3, 5, 4), (1, 3, 2, 4)))),
    Case("concat-dim", _two("Concat", {"concat_dim": 1}, ((1, 3, 5, 4), (1, 2, 5, 4)))),
    Case("slice-equal", _sliced({}, 4), NUMPY, "OpenCV wants slice_point"),
    Case("slice-points", _sliced({"slice_point": [1, 6]}, 3)),
    Case("slice-axis", _sliced({"axis": 2, "slice_point": [4]}, 2)),
    Case("slice-dim", _sliced({"slice_dim": 1, "slice_point": [3]}, 2)),
    Case("shared-blobs", _shared_blobs),
    Case("eltwise-sum", _two("Eltwise", {"operation": "SUM"})),
    Case("eltwise-coeff", _two("Eltwise", {"operation": "SUM", "coeff": [0.5, -1.25]})),
    Case("eltwise-prod", _two("Eltwise", {"operation": "PROD"}, ((1, 3, 5, 4),) * 3)),
    Case("eltwise-max", _two("Eltwise", {"operation": "MAX"}, ((1, 3, 5, 4),) * 3)),
    Case(
        "axpy",
        _two("Axpy", {}, ((1, 3, 1, 1), (1, 3, 5, 4), (1, 3, 5, 4))),
        NUMPY,
        _OTHERWISE,
    ),
    *_each("Flatten", {"plain": {}, "middle": {"axis": 1, "end_axis": 2}, "tail": {"axis": 2}}),
    *_each(
        "Reshape",
        {
            "rest": _shape(0, -1, 3),
            "copy": _shape(0, 0, -1),
            "axis": _shape(-1, 7, axis=1),
            "tail": _shape(3, 3, axis=2, num_axes=1),
        },
    ),
    *_each(
        "Reshape",
        {"insert": _shape(1, axis=1, num_axes=0), "negative-axis": _shape(7, 1, axis=-2)},
        NUMPY,
        "OpenCV counts its axes otherwise",
    ),
    Case("permute", _one("Permute", {"order": [0, 2, 3, 1]})),
    Case("permute-part", _one("Permute", {"order": [0, 3]}), NUMPY, "OpenCV wants every axis named"),
    Case("crop", _cropped({"offset": [1, 2]})),
    Case("crop-one-offset", _cropped({"offset": [2]})),
    Case("crop-no-offset", _cropped({})),
    Case("crop-channels", _cropped({"axis": 1, "offset": [1, 3, 2]}, (1, 2, 5, 4))),
    Case("tile", _one("Tile", {"tiles": 3}), NUMPY, _ABSENT),
    Case("tile-axis", _one("Tile", {"axis": 2, "tiles": 2}), NUMPY, _ABSENT),
    *_each(
        "Reduction",
        {
            "all": {"operation": "SUM"},
            "magnitudes": {"operation": "ASUM", "axis": 1},
            "squares": {"operation": "SUMSQ", "axis": 2, "coeff": 0.25},
            "mean": {"operation": "MEAN", "axis": -1, "coeff": -2},
        },
        NUMPY,
        _ABSENT,
    ),
    *_each(
        "ArgMax",
        {
            "flat": {},
            "flat-top": {"top_k": 4},
            "pairs": {"out_max_val": True, "top_k": 3},
            "axis": {"axis": 1},
            "axis-top": {"axis": 1, "top_k": 2},
            "axis-values": {"axis": 2, "top_k": 3, "out_max_val": True},
        },
        NUMPY,
        _ABSENT,
    ),
    Case("argmax-ties", _one("ArgMax", {"axis": 1}, before="Threshold"), NUMPY, _ABSENT),
    Case("dropout", _one("Dropout", {"dropout_ratio": 0.3})),
    Case("dropout-scaled", _one("Dropout", {"dropout_ratio": 0.3, "scale_train": False})),
    Case("interp-size", _one("Interp", {"height": 14, "width": 20})),
    Case("interp-zoom", _one("Interp", {"zoom_factor": 3})),
    Case("interp-shrink", _one("Interp", {"shrink_factor": 2}), NUMPY, "OpenCV rounds otherwise"),
    Case(
        "interp-both",
        _one("Interp", {"shrink_factor": 2, "zoom_factor": 3}),
        NUMPY,
        _OTHERWISE,
    ),
    Case(
        "interp-cut",
        _one("Interp", {"zoom_factor": 2, "pad_beg": -1, "pad_end": -2}),
        NUMPY,
        _OTHERWISE,
    ),
    Case("interp-like", _two("Interp", {}, ((1, 3, 5, 4), (1, 2, 9, 11))), NUMPY, "OpenCV takes one bottom"),
    Case("upsample", _one("Upsample", {"scale": 2}), NUMPY, _ABSENT),
    Case("upsample-stride", _one("Upsample", {"stride": 3}), NUMPY, _ABSENT),
    Case("upsample-mask", _unpooled((1, 3, 8, 6), {"scale": 2}), NUMPY, _ABSENT),
    Case("upsample-mask-size", _unpooled((1, 3, 9, 7), {"upsample_h": 9, "upsample_w": 7}), NUMPY, _ABSENT),
    Case(
        "upsample-mask-pad-out",
        _unpooled((1, 3, 9, 7), {"scale": 2, "pad_out_h": True, "pad_out_w": True}),
        NUMPY,
        _ABSENT,
    ),
    *_each("ShuffleChannel", {"two": {"group": 2}, "three": {"group": 3}}, size=(1, 12, 5, 4)),
    Case("in-place", _in_place),
    Case("silence", _silenced),
)

TOPOLOGIES: tuple[Case, ...] = tuple(
    Case(
        name if divisor == 1 else f"{name}-1/{divisor}",
        lambda build=build, divisor=divisor: build(divisor),
        truth,
        why,
        slow=divisor == 1,
        topology=True,
    )
    for name, (build, truth, why) in {
        "alexnet": (topologies.alexnet, OPENCV, ""),
        "googlenet": (topologies.googlenet, OPENCV, ""),
        "squeezenet": (topologies.squeezenet, OPENCV, ""),
        "resnet18": (topologies.resnet18, OPENCV, ""),
        "mobilenet-ssd": (topologies.mobilenet_ssd, OPENCV, ""),
        "vgg-ssd": (topologies.vgg_ssd, OPENCV, ""),
        "zf-faster-rcnn": (topologies.zf_faster_rcnn, OPENCV, ""),
        "vgg16-faster-rcnn": (topologies.vgg_faster_rcnn, OPENCV, ""),
        "fcn": (topologies.fcn, OPENCV, ""),
        "segnet": (topologies.segnet, NUMPY, "OpenCV 4.14 has no BN and reads no Upsample with a mask"),
    }.items()
    for divisor in (8, 1)
)

CASES = LAYERS + TOPOLOGIES
