"""The networks that users bring, drawn with random weights at a reduced width: what matters here is how their
layers are wired, and how exporters spell them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgecv.graph.model import OnnxModel
from tests.engine.drawing import Drawing


def yolov5() -> OnnxModel:
    """CSP blocks, SPPF, PANet, and the decoding head of YOLOv5 with its grids in the graph."""
    d = Drawing("yolov5", (1, 3, 128, 160))

    def c3(x: str, n: int, depth: int, shortcut: bool = True) -> str:
        a = d.conv(x, n // 2, 1, act="silu")
        b = d.conv(x, n // 2, 1, act="silu")
        for _ in range(depth):
            y = d.conv(d.conv(a, n // 2, 1, act="silu"), n // 2, 3, act="silu")
            a = d.add("Add", [a, y]) if shortcut else y
        return d.conv(d.concat(a, b), n, 1, act="silu")

    x = d.conv("x", 8, 6, 2, pad=2, act="silu")
    x = c3(d.conv(x, 16, 3, 2, act="silu"), 16, 1)
    p3 = c3(d.conv(x, 32, 3, 2, act="silu"), 32, 2)
    p4 = c3(d.conv(p3, 64, 3, 2, act="silu"), 64, 1)
    p5 = c3(d.conv(p4, 96, 3, 2, act="silu"), 96, 1)
    y = d.conv(p5, 48, 1, act="silu")
    pools = [y]
    for _ in range(3):
        pools.append(d.pool(pools[-1], 5, 1, 2))
    p5 = d.conv(d.concat(*pools), 96, 1, act="silu")
    t5 = d.conv(p5, 64, 1, act="silu")
    t4 = c3(d.concat(d.upsample(t5), p4), 64, 1, False)
    l4 = d.conv(t4, 32, 1, act="silu")
    o3 = c3(d.concat(d.upsample(l4), p3), 32, 1, False)
    o4 = c3(d.concat(d.conv(o3, 32, 3, 2, act="silu"), l4), 64, 1, False)
    o5 = c3(d.concat(d.conv(o4, 64, 3, 2, act="silu"), t5), 96, 1, False)
    d.output(_yolov5_head(d, [(o3, 8), (o4, 16), (o5, 32)], (128, 160), 7))
    return d.model()


def _yolov5_head(d: Drawing, maps: list[tuple[str, int]], size: tuple[int, int], classes: int) -> str:
    rows = []
    for x, stride in maps:
        h, w = size[0] // stride, size[1] // stride
        y = d.conv(x, 3 * (5 + classes), 1)
        y = d.reshape(y, 1, 3, 5 + classes, h, w)
        y = d.add("Sigmoid", [d.transpose(y, 0, 1, 3, 4, 2)])
        xy, wh, rest = d.add_many("Split", [y, d.integers(2, 2, 1 + classes)], [None] * 3, axis=4)
        ys, xs = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
        grid = np.stack([xs, ys], -1).astype(np.float32)[None, None] - 0.5
        xy = d.add("Mul", [xy, d.weight(np.float32(2))])
        xy = d.add("Mul", [d.add("Add", [xy, d.weight(grid)]), d.weight(np.float32(stride))])
        wh = d.add("Pow", [d.add("Mul", [wh, d.weight(np.float32(2))]), d.weight(np.float32(2))])
        anchors = np.arange(1, 7, dtype=np.float32).reshape(1, 3, 1, 1, 2) * stride
        wh = d.add("Mul", [wh, d.weight(anchors)])
        y = d.concat(xy, wh, rest, axis=4)
        rows.append(d.reshape(y, 1, 3 * h * w, 5 + classes))
    return d.concat(*rows, axis=1)


def _c2f(d: Drawing, x: str, n: int, depth: int, shortcut: bool = True, pick: str = "split") -> str:
    y = d.conv(x, n, 1, act="silu")
    if pick == "split":
        parts = d.split(y, 2)
    else:
        ends = [(0, n // 2), (n // 2, n)]
        parts = [d.add("Slice", [y, d.integers(a), d.integers(b), d.integers(1)], n // 2) for a, b in ends]
    for _ in range(depth):
        y = d.conv(d.conv(parts[-1], n // 2, 3, act="silu"), n // 2, 3, act="silu")
        parts.append(d.add("Add", [parts[-1], y]) if shortcut else y)
    return d.conv(d.concat(*parts), n, 1, act="silu")


def _attention(d: Drawing, x: str, heads: int, h: int, w: int) -> str:
    """The position-sensitive attention of YOLOv10 and YOLO11."""
    n = d.channels[x]
    key, value = n // heads // 2, n // heads
    qkv = d.conv(x, n + key * heads * 2, 1)
    y = d.reshape(qkv, 1, heads, key * 2 + value, h * w)
    q, k, v = d.add_many("Split", [y, d.integers(key, key, value)], [None] * 3, axis=2)
    scores = d.add("MatMul", [d.transpose(q, 0, 1, 3, 2), k])
    weights = d.add("Softmax", [d.add("Mul", [scores, d.weight(np.float32(key**-0.5))])], axis=-1)
    mixed = d.add("MatMul", [v, d.transpose(weights, 0, 1, 3, 2)])
    flat = d.reshape(mixed, 1, n, h, w)
    d.channels[flat] = n
    image = d.reshape(v, 1, n, h, w)
    d.channels[image] = n
    return d.conv(d.add("Add", [flat, d.conv(image, n, 3, group=n)], n), n, 1)


def _psa(d: Drawing, x: str, heads: int, h: int, w: int) -> str:
    y = d.conv(x, d.channels[x], 1, act="silu")
    a, b = d.split(y, 2)
    b = d.add("Add", [b, _attention(d, b, heads, h, w)])
    wide = d.conv(d.conv(b, 2 * d.channels[b], 1, act="silu"), d.channels[b], 1)
    return d.conv(d.concat(a, d.add("Add", [b, wide])), d.channels[x], 1, act="silu")


def _dfl_head(d: Drawing, maps: list[tuple[str, int]], size: tuple[int, int], classes: int) -> str:
    """Distribution focal loss: a softmax over 16 bins, its mean by a convolution, boxes from distances."""
    rows, points, strides = [], [], []
    for x, stride in maps:
        h, w = size[0] // stride, size[1] // stride
        box = d.conv(d.conv(x, 32, 3, act="silu"), 64, 1)
        cls = d.conv(
            d.conv(d.conv(x, d.channels[x], 3, group=d.channels[x], act="silu"), 16, 1, act="silu"),
            classes,
            1,
        )
        rows.append(d.reshape(d.concat(box, cls), 1, 64 + classes, h * w))
        ys, xs = np.meshgrid(np.arange(h) + 0.5, np.arange(w) + 0.5, indexing="ij")
        points.append(np.stack([xs.ravel(), ys.ravel()]))
        strides.append(np.full(h * w, stride))
    joined = d.concat(*rows, axis=2)
    box, cls = d.add_many("Split", [joined, d.integers(64, classes)], [64, classes], axis=1)
    count = sum(len(s) for s in strides)
    bins = d.add("Softmax", [d.transpose(d.reshape(box, 1, 4, 16, count), 0, 2, 1, 3)], 16, axis=1)
    mean = d.add("Conv", [bins, d.weight(np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1))], 1)
    distances = d.reshape(mean, 1, 4, count)
    lt = d.add("Slice", [distances, d.integers(0), d.integers(2), d.integers(1)])
    rb = d.add("Slice", [distances, d.integers(2), d.integers(4), d.integers(1)])
    anchor = d.weight(np.concatenate(points, 1)[None].astype(np.float32))
    x1, x2 = d.add("Sub", [anchor, lt]), d.add("Add", [anchor, rb])
    center = d.add("Div", [d.add("Add", [x1, x2]), d.weight(np.float32(2))])
    boxes = d.concat(center, d.add("Sub", [x2, x1]), axis=1)
    scaled = d.add("Mul", [boxes, d.weight(np.concatenate(strides)[None, None].astype(np.float32))])
    return d.concat(scaled, d.add("Sigmoid", [cls]), axis=1)


def yolov8() -> OnnxModel:
    """C2f blocks and the anchor-free head of YOLOv8."""
    d = Drawing("yolov8", (1, 3, 96, 128))
    x = _c2f(d, d.conv(d.conv("x", 8, 3, 2, act="silu"), 16, 3, 2, act="silu"), 16, 1)
    p3 = _c2f(d, d.conv(x, 32, 3, 2, act="silu"), 32, 2)
    p4 = _c2f(d, d.conv(p3, 64, 3, 2, act="silu"), 64, 1)
    p5 = _c2f(d, d.conv(p4, 96, 3, 2, act="silu"), 96, 1)
    o4 = _c2f(d, d.concat(d.upsample(p5), p4), 64, 1, False)
    o3 = _c2f(d, d.concat(d.upsample(o4), p3), 32, 1, False)
    d.output(_dfl_head(d, [(o3, 8), (o4, 16), (p5, 32)], (96, 128), 9))
    return d.model()


def yolov10() -> OnnxModel:
    """Depthwise downsampling and attention; slices in place of splits."""
    d = Drawing("yolov10", (1, 3, 96, 96), opset=17)
    x = _c2f(d, d.conv(d.conv("x", 8, 3, 2, act="silu"), 16, 3, 2, act="silu"), 16, 1, pick="slice")
    p3 = _c2f(d, d.conv(d.conv(x, 32, 1, act="silu"), 32, 3, 2, group=32), 32, 1, pick="slice")
    p4 = _c2f(d, d.conv(d.conv(p3, 64, 1, act="silu"), 64, 3, 2, group=64), 64, 1)
    p5 = _psa(d, _c2f(d, d.conv(p4, 64, 3, 2, act="silu"), 64, 1), 2, 3, 3)
    o4 = _c2f(d, d.concat(d.upsample(p5), p4), 64, 1, False)
    d.output(_dfl_head(d, [(p3, 8), (o4, 16), (p5, 32)], (96, 96), 5))
    return d.model()


def yolo11() -> OnnxModel:
    """C3k2 blocks and C2PSA."""
    d = Drawing("yolo11", (1, 3, 64, 96), opset=19)
    x = _c2f(d, d.conv(d.conv("x", 8, 3, 2, act="silu"), 16, 3, 2, act="silu"), 16, 1)
    p3 = _c2f(d, d.conv(x, 32, 3, 2, act="silu"), 32, 1)
    p4 = _c2f(d, d.conv(p3, 48, 3, 2, act="silu"), 48, 1)
    p5 = _psa(d, _c2f(d, d.conv(p4, 64, 3, 2, act="silu"), 64, 1), 2, 2, 3)
    d.output(_dfl_head(d, [(p3, 8), (p4, 16), (p5, 32)], (64, 96), 4))
    return d.model()


def yolov7() -> OnnxModel:
    """ELAN blocks, max-pooling transitions, SPPCSPC, LeakyReLU; the head as YOLOv5's."""
    d = Drawing("yolov7", (1, 3, 128, 128))

    def elan(x: str, n: int) -> str:
        a, b = d.conv(x, n, 1, act="leaky"), d.conv(x, n, 1, act="leaky")
        c = d.conv(d.conv(b, n, 3, act="leaky"), n, 3, act="leaky")
        e = d.conv(d.conv(c, n, 3, act="leaky"), n, 3, act="leaky")
        return d.conv(d.concat(e, c, b, a), 2 * n, 1, act="leaky")

    def down(x: str, n: int) -> str:
        a = d.conv(d.pool(x, 2, 2), n, 1, act="leaky")
        b = d.conv(d.conv(x, n, 1, act="leaky"), n, 3, 2, act="leaky")
        return d.concat(b, a)

    x = d.conv(d.conv(d.conv("x", 8, 3, act="leaky"), 16, 3, 2, act="leaky"), 16, 3, 2, act="leaky")
    p3 = elan(down(elan(x, 12), 12), 24)
    p4 = elan(down(p3, 24), 24)
    p5 = elan(down(p4, 24), 32)
    a = d.conv(p5, 24, 1, act="leaky")
    a = d.concat(a, *(d.pool(a, k, 1, k // 2) for k in (5, 9, 13)))
    p5 = d.conv(d.concat(d.conv(a, 24, 1, act="leaky"), d.conv(p5, 24, 1, act="leaky")), 32, 1, act="leaky")
    o4 = elan(d.concat(d.upsample(d.conv(p5, 24, 1, act="leaky")), p4), 24)
    d.output(_yolov5_head(d, [(p3, 8), (o4, 16), (p5, 32)], (128, 128), 3))
    return d.model()


def yolov4() -> OnnxModel:
    """CSPDarknet with Mish, SPP, PANet with LeakyReLU, raw outputs."""
    d = Drawing("yolov4", (1, 3, 96, 96))

    def csp(x: str, n: int) -> str:
        x = d.conv(x, n, 3, 2, bn=True, act="mish")
        a, b = d.conv(x, n // 2, 1, bn=True, act="mish"), d.conv(x, n // 2, 1, bn=True, act="mish")
        y = d.conv(d.conv(b, n // 2, 1, bn=True, act="mish"), n // 2, 3, bn=True, act="mish")
        b = d.conv(d.add("Add", [b, y]), n // 2, 1, bn=True, act="mish")
        return d.conv(d.concat(b, a), n, 1, bn=True, act="mish")

    x = csp(csp(d.conv("x", 8, 3, bn=True, act="mish"), 16), 24)
    p4 = csp(csp(x, 32), 48)
    p5 = csp(p4, 64)
    x = d.conv(p5, 32, 1, bn=True, act="leaky")
    x = d.concat(*(d.pool(x, k, 1, k // 2) for k in (13, 9, 5)), x)
    x = d.conv(x, 32, 1, bn=True, act="leaky")
    y = d.concat(d.conv(p4, 16, 1, bn=True, act="leaky"), d.upsample(d.conv(x, 16, 1, bn=True, act="leaky")))
    d.output(d.conv(y, 3 * 11, 1), d.conv(x, 3 * 11, 1))
    return d.model()


def yolov3() -> OnnxModel:
    """Darknet-53 residuals, three raw outputs, upsampling by an old Upsample."""
    d = Drawing("yolov3", (1, 3, 96, 96), opset=9)

    def stage(x: str, n: int, depth: int) -> str:
        x = d.conv(x, n, 3, 2, bn=True, act="leaky")
        for _ in range(depth):
            y = d.conv(d.conv(x, n // 2, 1, bn=True, act="leaky"), n, 3, bn=True, act="leaky")
            x = d.add("Add", [x, y])
        return x

    p3 = stage(stage(stage(d.conv("x", 8, 3, bn=True, act="leaky"), 12, 1), 16, 1), 24, 2)
    p4 = stage(p3, 32, 2)
    p5 = stage(p4, 48, 1)

    def up(x: str) -> str:
        return d.add("Upsample", [x, d.weight(np.array([1, 1, 2, 2], np.float32))], mode="nearest")

    o4 = d.concat(up(d.conv(p5, 16, 1, bn=True, act="leaky")), p4)
    o3 = d.concat(up(d.conv(o4, 12, 1, bn=True, act="leaky")), p3)
    d.output(d.conv(p5, 24, 1), d.conv(o4, 24, 1), d.conv(o3, 24, 1))
    return d.model()


def yolox() -> OnnxModel:
    """Focus by strided slices, decoupled heads with sigmoids, outputs joined and turned."""
    d = Drawing("yolox", (1, 3, 96, 128), opset=11)
    parts = []
    for y in (0, 1):
        for x in (0, 1):
            rows = d.add("Slice", ["x", d.integers(y), d.integers(1 << 62), d.integers(2), d.integers(2)], 3)
            columns = [rows, d.integers(x), d.integers(1 << 62), d.integers(3), d.integers(2)]
            parts.append(d.add("Slice", columns, 3))
    z = d.conv(d.concat(parts[0], parts[2], parts[1], parts[3]), 16, 3, bn=True, act="silu")

    def separable(x: str, n: int, stride: int = 1) -> str:
        return d.conv(
            d.conv(x, d.channels[x], 3, stride, group=d.channels[x], bn=True, act="silu"),
            n,
            1,
            bn=True,
            act="silu",
        )

    p3 = separable(separable(z, 24, 2), 32, 2)
    p4 = separable(p3, 48, 2)
    p5 = separable(p4, 64, 2)
    rows = []
    for x, (h, w) in ((p3, (12, 16)), (p4, (6, 8)), (p5, (3, 4))):
        x = d.conv(x, 32, 1, bn=True, act="silu")
        cls, reg = separable(x, 32), separable(x, 32)
        y = d.concat(
            d.conv(reg, 4, 1), d.add("Sigmoid", [d.conv(reg, 1, 1)]), d.add("Sigmoid", [d.conv(cls, 6, 1)])
        )
        rows.append(d.reshape(y, 1, 11, h * w))
    d.output(d.transpose(d.concat(*rows, axis=2), 0, 2, 1))
    return d.model()


def nanodet_plus() -> OnnxModel:
    """ShuffleNetV2 with a ghost path-aggregation network of 5x5 depthwise convolutions."""
    d = Drawing("nanodet_plus", (1, 3, 64, 96))
    x = d.pool(d.conv("x", 16, 3, 2, act="leaky"), 3, 2, 1)
    p3 = _shuffle_stage(d, x, 24, 8, 12, 2)
    p4 = _shuffle_stage(d, p3, 48, 4, 6, 2)

    def ghost(x: str, n: int) -> str:
        a = d.conv(x, n // 2, 1, act="leaky")
        return d.concat(a, d.conv(a, n // 2, 5, group=n // 2, act="leaky"))

    a, b = d.conv(p3, 32, 1, act="leaky"), d.conv(p4, 32, 1, act="leaky")
    a = ghost(d.concat(a, d.upsample(b, mode="linear")), 32)
    b = ghost(d.concat(b, d.conv(d.conv(a, 32, 5, 2, group=32, act="leaky"), 32, 1, act="leaky")), 32)
    rows = []
    for x, n in ((a, 96), (b, 24)):
        y = d.conv(d.conv(x, 32, 5, group=32, act="leaky"), 40, 1)
        cls, box = d.add_many("Split", [y, d.integers(8, 32)], [8, 32], axis=1)
        rows.append(d.reshape(d.concat(d.add("Sigmoid", [cls]), box), 1, 40, n))
    d.output(d.transpose(d.concat(*rows, axis=2), 0, 2, 1))
    return d.model()


def _shuffle_stage(d: Drawing, x: str, n: int, h: int, w: int, depth: int) -> str:
    a = d.conv(d.conv(x, d.channels[x], 3, 2, group=d.channels[x]), n // 2, 1, act="Relu")
    b = d.conv(x, n // 2, 1, act="Relu")
    b = d.conv(d.conv(b, n // 2, 3, 2, group=n // 2), n // 2, 1, act="Relu")
    x = d.shuffle(d.concat(a, b), 2, h, w)
    for _ in range(depth):
        a, b = d.split(x, 2)
        b = d.conv(b, n // 2, 1, act="Relu")
        b = d.conv(d.conv(b, n // 2, 3, group=n // 2), n // 2, 1, act="Relu")
        x = d.shuffle(d.concat(a, b), 2, h, w)
    return x


def shufflenet_v1() -> OnnxModel:
    """Grouped pointwise convolutions, channel shuffles, concatenation with an average pool."""
    d = Drawing("shufflenet_v1", (1, 3, 64, 64))
    x = d.pool(d.conv("x", 24, 3, 2, act="Relu"), 3, 2, 1)
    for n, h, stride in ((60, 8, 2), (60, 8, 1), (120, 4, 2)):
        inputs = d.channels[x]
        made = n - inputs if stride == 2 else n
        y = d.conv(x, 24, 1, group=3, act="Relu")
        y = d.shuffle(y, 3, h * stride, h * stride)
        y = d.conv(d.conv(y, 24, 3, stride, group=24), made, 1, group=3)
        if stride == 2:
            x = d.act(d.concat(d.pool(x, 3, 2, 1, "AveragePool"), y), "Relu")
        else:
            x = d.act(d.add("Add", [x, y]), "Relu")
    d.output(d.linear(d.add("Flatten", [d.add("GlobalAveragePool", [x])], axis=1), 120, 10))
    return d.model()


def shufflenet_v2() -> OnnxModel:
    """Channel splits and shuffles, a mean over pixels."""
    d = Drawing("shufflenet_v2", (1, 3, 64, 64))
    x = d.pool(d.conv("x", 24, 3, 2, act="Relu"), 3, 2, 1)
    x = _shuffle_stage(d, _shuffle_stage(d, x, 58, 8, 8, 2), 116, 4, 4, 1)
    x = d.add("ReduceMean", [d.conv(x, 64, 1, act="Relu")], axes=[2, 3], keepdims=0)
    d.output(d.linear(x, 64, 10))
    return d.model()


def mobilenet_v1() -> OnnxModel:
    """Depthwise separable convolutions with ReLU6 and batch normalization."""
    d = Drawing("mobilenet_v1", (1, 3, 64, 64))
    x = d.conv("x", 16, 3, 2, bn=True, act="relu6")
    for n, stride in ((24, 1), (32, 2), (32, 1), (48, 2)):
        x = d.conv(x, d.channels[x], 3, stride, group=d.channels[x], bn=True, act="relu6")
        x = d.conv(x, n, 1, bn=True, act="relu6")
    y = d.reshape(d.add("GlobalAveragePool", [x]), 1, -1)
    d.output(d.add("Softmax", [d.linear(y, 48, 12)], axis=1))
    return d.model()


def mobilenet_v2() -> OnnxModel:
    """Inverted residuals."""
    d = Drawing("mobilenet_v2", (1, 3, 64, 64))
    x = d.conv("x", 16, 3, 2, bn=True, act="relu6")
    for n, stride in ((12, 1), (20, 2), (20, 1), (32, 2), (32, 1)):
        wide = d.channels[x] * 6
        y = d.conv(x, wide, 1, bn=True, act="relu6")
        y = d.conv(d.conv(y, wide, 3, stride, group=wide, bn=True, act="relu6"), n, 1, bn=True)
        x = d.add("Add", [x, y]) if stride == 1 and n == d.channels[x] else y
    d.output(x)
    return d.model()


def mobilenet_v3() -> OnnxModel:
    """Hard swish in its spelled-out form, squeeze and excitation."""
    d = Drawing("mobilenet_v3", (1, 3, 64, 64))
    x = d.conv("x", 16, 3, 2, bn=True, act="hswish")
    for n, wide, size, stride, act, excite in (
        (16, 16, 3, 2, "Relu", True),
        (24, 40, 3, 2, "Relu", False),
        (24, 44, 3, 1, "Relu", False),
        (40, 96, 5, 2, "hswish", True),
        (40, 120, 5, 1, "HardSwish", True),
    ):
        if act == "HardSwish":
            act = "hswish"
        y = d.conv(x, wide, 1, bn=True, act=act)
        y = d.conv(y, wide, size, stride, group=wide, bn=True, act=act)
        y = d.squeeze_excite(y) if excite else y
        y = d.conv(y, n, 1, bn=True)
        x = d.add("Add", [x, y]) if stride == 1 and n == d.channels[x] else y
    y = d.conv(d.add("GlobalAveragePool", [x]), 64, 1, act="hswish")
    d.output(d.linear(d.add("Flatten", [y], axis=1), 64, 10))
    return d.model()


def efficientnet_lite() -> OnnxModel:
    """MBConv blocks with 5x5 depthwise convolutions, TensorFlow's asymmetric pads."""
    d = Drawing("efficientnet_lite", (1, 3, 65, 65))
    x = d.conv("x", 16, 3, 2, pad=(0, 0, 1, 1), act="relu6")
    for n, wide, size, stride in ((12, 16, 3, 1), (16, 72, 3, 2), (24, 96, 5, 2), (24, 144, 5, 1)):
        pad = (size // 2 - 1, size // 2 - 1, size // 2, size // 2) if stride == 2 else None
        y = d.conv(x, wide, 1, act="relu6")
        y = d.conv(d.conv(y, wide, size, stride, group=wide, pad=pad, act="relu6"), n, 1)
        x = d.add("Add", [x, y]) if stride == 1 and n == d.channels[x] else y
    d.output(x)
    return d.model()


def resnet() -> OnnxModel:
    """Bottlenecks, projections, a ceil-mode pool."""
    d = Drawing("resnet", (1, 3, 64, 64))
    x = d.pool(d.conv("x", 16, 7, 2, bn=True, act="Relu"), 3, 2, 1, ceil=1)
    for n, stride in ((32, 1), (32, 1), (64, 2), (64, 1)):
        y = d.conv(x, n // 4, 1, bn=True, act="Relu")
        y = d.conv(d.conv(y, n // 4, 3, stride, bn=True, act="Relu"), n, 1, bn=True)
        side = d.conv(x, n, 1, stride, bn=True) if d.channels[x] != n or stride > 1 else x
        x = d.act(d.add("Add", [y, side]), "Relu")
    d.output(d.linear(d.add("Flatten", [d.add("GlobalAveragePool", [x])], axis=1), 64, 10))
    return d.model()


def resnext() -> OnnxModel:
    """Grouped 3x3 convolutions of few channels each."""
    d = Drawing("resnext", (1, 3, 32, 32))
    x = d.conv("x", 32, 3, 2, bn=True, act="Relu")
    for _ in range(2):
        y = d.conv(d.conv(x, 64, 1, bn=True, act="Relu"), 64, 3, group=16, bn=True, act="Relu")
        x = d.act(d.add("Add", [d.conv(y, 32, 1, bn=True), x]), "Relu")
    d.output(x)
    return d.model()


def densenet() -> OnnxModel:
    """Normalization before the activation before the convolution; ever longer concatenations."""
    d = Drawing("densenet", (1, 3, 64, 64))
    x = d.pool(d.conv("x", 16, 7, 2, bn=True, act="Relu"), 3, 2, 1)
    for block in range(2):
        for _ in range(3):
            y = d.conv(d.act(d.normalize(x), "Relu"), 32, 1, bn=True, act="Relu")
            x = d.concat(x, d.conv(y, 10, 3, bias=False))
        if block == 0:
            x = d.pool(d.conv(d.act(d.normalize(x), "Relu"), 24, 1), 2, 2, op="AveragePool")
    d.output(d.act(d.normalize(x), "Relu"))
    return d.model()


def inception() -> OnnxModel:
    """Asymmetric kernels, parallel branches, average pools that do not count their border."""
    d = Drawing("inception", (1, 3, 48, 48))
    x = d.conv(d.conv("x", 16, 3, 2, pad=0, act="Relu"), 24, 3, pad=0, act="Relu")
    a = d.conv(x, 16, 1, act="Relu")
    b = d.conv(d.conv(d.conv(x, 12, 1, act="Relu"), 14, (1, 7), act="Relu"), 16, (7, 1), act="Relu")
    c = d.conv(x, 12, 1, act="Relu")
    c1, c2 = d.conv(c, 12, (1, 3), act="Relu"), d.conv(c, 12, (3, 1), act="Relu")
    e = d.conv(d.pool(x, 3, 1, 1, "AveragePool"), 10, 1, act="Relu")
    x = d.concat(a, b, c1, c2, e)
    d.output(d.concat(d.pool(x, 3, 2), d.conv(x, 20, 3, 2, pad=0, act="Relu")))
    return d.model()


def googlenet() -> OnnxModel:
    """LRN between pools, inception blocks with pool projections."""
    d = Drawing("googlenet", (1, 3, 64, 64))
    x = d.add("LRN", [d.pool(d.conv("x", 16, 7, 2, act="Relu"), 3, 2, ceil=1)], size=5, alpha=1e-4, beta=0.75)
    x = d.conv(d.conv(x, 16, 1, act="Relu"), 24, 3, act="Relu")
    for _ in range(2):
        a = d.conv(x, 12, 1, act="Relu")
        b = d.conv(d.conv(x, 12, 1, act="Relu"), 18, 3, act="Relu")
        c = d.conv(d.conv(x, 4, 1, act="Relu"), 8, 5, act="Relu")
        e = d.conv(d.pool(x, 3, 1, 1), 8, 1, act="Relu")
        x = d.concat(a, b, c, e)
    d.output(x)
    return d.model()


def alexnet() -> OnnxModel:
    """An 11x11 stride-4 stem, LRN, grouped convolutions, fully connected layers."""
    d = Drawing("alexnet", (1, 3, 99, 99))
    x = d.conv("x", 24, 11, 4, pad=0, act="Relu")
    x = d.pool(d.add("LRN", [x], size=5, alpha=1e-4, beta=0.75, bias=1.0), 3, 2)
    x = d.pool(d.conv(x, 32, 5, group=2, act="Relu"), 3, 2)
    x = d.conv(d.conv(x, 48, 3, act="Relu"), 32, 3, group=2, act="Relu")
    y = d.act(d.linear(d.add("Flatten", [x], axis=1), 32 * 5 * 5, 64), "Relu")
    y = d.add("Dropout", [y])
    d.output(d.add("Softmax", [d.linear(y, 64, 10)], axis=1))
    return d.model()


def vgg() -> OnnxModel:
    """Plain 3x3 convolutions."""
    d = Drawing("vgg", (1, 3, 64, 64))
    x = "x"
    for n in (8, 16, 32):
        x = d.pool(d.conv(d.conv(x, n, 3, act="Relu"), n, 3, act="Relu"), 2, 2)
    d.output(d.linear(d.reshape(x, 1, 32 * 8 * 8), 32 * 8 * 8, 20))
    return d.model()


def squeezenet() -> OnnxModel:
    """Fire modules; a classifier that is a convolution."""
    d = Drawing("squeezenet", (1, 3, 64, 64))
    x = d.pool(d.conv("x", 24, 7, 2, pad=0, act="Relu"), 3, 2, ceil=1)
    for n in (16, 24):
        s = d.conv(x, n // 2, 1, act="Relu")
        x = d.concat(d.conv(s, n, 1, act="Relu"), d.conv(s, n, 3, act="Relu"))
    y = d.add("GlobalAveragePool", [d.conv(x, 10, 1, act="Relu")])
    d.output(d.add("Softmax", [d.add("Flatten", [y], axis=1)], axis=-1))
    return d.model()


def ssd() -> OnnxModel:
    """MobileNet-SSD: maps turned to rows, scores by softmax."""
    d = Drawing("ssd", (1, 3, 96, 96))
    x = d.conv(d.conv("x", 16, 3, 2, act="Relu"), 24, 3, 2, act="Relu")
    maps = [d.conv(x, 32, 3, 2, act="Relu")]
    maps.append(d.conv(d.conv(maps[0], 16, 1, act="Relu"), 32, 3, 2, act="Relu"))
    maps.append(d.conv(d.conv(maps[1], 16, 1, act="Relu"), 32, 3, 2, act="Relu"))
    boxes, scores = [], []
    for x, n in zip(maps, (12, 6, 3), strict=True):
        boxes.append(d.reshape(d.transpose(d.conv(x, 3 * 4, 3), 0, 2, 3, 1), 1, n * n * 3, 4))
        scores.append(d.reshape(d.transpose(d.conv(x, 3 * 6, 3), 0, 2, 3, 1), 1, n * n * 3, 6))
    d.output(d.concat(*boxes, axis=1), d.add("Softmax", [d.concat(*scores, axis=1)], axis=2))
    return d.model()


def retinanet() -> OnnxModel:
    """A feature pyramid with shared heads, bilinear upsampling."""
    d = Drawing("retinanet", (1, 3, 96, 128))
    c3 = d.conv(d.conv(d.conv("x", 16, 3, 2, act="Relu"), 24, 3, 2, act="Relu"), 32, 3, 2, act="Relu")
    c4 = d.conv(c3, 48, 3, 2, act="Relu")
    c5 = d.conv(c4, 64, 3, 2, act="Relu")
    p5 = d.conv(c5, 24, 1)
    p4 = d.add("Add", [d.upsample(p5, mode="linear"), d.conv(c4, 24, 1)])
    p3 = d.add("Add", [d.upsample(p4, mode="linear"), d.conv(c3, 24, 1)])
    head = [d.weight((d.rng.standard_normal((24, 24, 3, 3)) * 0.1).astype(np.float32)) for _ in range(2)]
    last = d.weight((d.rng.standard_normal((9 * 4, 24, 3, 3)) * 0.1).astype(np.float32))
    rows = []
    for x, n in ((p3, 192), (p4, 48), (p5, 12)):
        for weights in head:
            x = d.act(d.add("Conv", [x, weights], 24, pads=[1, 1, 1, 1]), "Relu")
        y = d.add("Conv", [x, last], 36, pads=[1, 1, 1, 1])
        rows.append(d.reshape(d.transpose(y, 0, 2, 3, 1), 1, n * 9, 4))
    d.output(d.add("Sigmoid", [d.concat(*rows, axis=1)]))
    return d.model()


def fcn() -> OnnxModel:
    """Skip connections cropped to fit, a 16x16 stride-8 transposed convolution."""
    d = Drawing("fcn", (1, 3, 64, 64))
    p3 = d.pool(
        d.conv(
            d.pool(d.conv(d.pool(d.conv("x", 8, 3, act="Relu"), 2, 2), 16, 3, act="Relu"), 2, 2),
            24,
            3,
            act="Relu",
        ),
        2,
        2,
    )
    p4 = d.pool(d.conv(p3, 32, 3, act="Relu"), 2, 2)
    up = d.transposed(d.conv(p4, 5, 1), 5, 4, 2, 0)
    cut = [up, d.integers(1, 1), d.integers(9, 9), d.integers(2, 3)]
    x = d.add("Add", [d.add("Slice", cut, 5), d.conv(p3, 5, 1)])
    d.output(d.transposed(x, 5, 16, 8, 4))
    return d.model()


def segnet() -> OnnxModel:
    """Pools that tell where their maxima were, and unpools that put them back."""
    d = Drawing("segnet", (1, 3, 32, 32))
    x, places = "x", []
    for n in (12, 20):
        x = d.conv(x, n, 3, bn=True, act="Relu")
        x, where = d.add_many("MaxPool", [x], [n, n], kernel_shape=[2, 2], strides=[2, 2])
        places.append(where)
    for n, where in ((12, places[1]), (5, places[0])):
        x = d.add("MaxUnpool", [x, where], kernel_shape=[2, 2], strides=[2, 2])
        x = d.conv(x, n, 3, bn=True, act="Relu")
    d.output(x)
    return d.model()


def unet() -> OnnxModel:
    """Transposed convolutions joined with what came before; a class for each pixel."""
    d = Drawing("unet", (1, 3, 48, 64))
    skips, x = [], "x"
    for n in (8, 16, 24):
        x = d.conv(d.conv(x, n, 3, bn=True, act="Relu"), n, 3, bn=True, act="Relu")
        skips.append(x)
        x = d.pool(x, 2, 2)
    x = d.conv(x, 32, 3, act="Relu")
    for skip in reversed(skips):
        n = d.channels[skip]
        x = d.conv(d.concat(d.transposed(x, n, 2, 2, 0), skip), n, 3, act="Relu")
    d.output(d.add("Softmax", [d.conv(x, 4, 1)], axis=1))
    return d.model()


def autoencoder() -> OnnxModel:
    """To a vector and back, by pixel shuffles; ELU and PReLU."""
    d = Drawing("autoencoder", (2, 3, 32, 32))
    x = d.conv(d.conv("x", 16, 3, 2, act="Elu"), 24, 3, 2)
    x = d.add("PRelu", [x, d.weight(d.rng.random((24, 1, 1)).astype(np.float32))])
    y = d.linear(d.reshape(x, 2, 24 * 64), 24 * 64, 16)
    y = d.reshape(d.linear(d.act(y, "Tanh"), 16, 16 * 64), 2, 16, 8, 8)
    d.channels[y] = 16
    y = d.add("DepthToSpace", [d.conv(y, 48, 3, act="Relu")], 12, blocksize=2, mode="CRD")
    d.output(d.add("Sigmoid", [d.add("DepthToSpace", [d.conv(y, 12, 3)], 3, blocksize=2)]))
    return d.model()


TOPOLOGIES: dict[str, Callable[[], OnnxModel]] = {
    build.__name__: build
    for build in (
        yolov3,
        yolov4,
        yolov5,
        yolov7,
        yolov8,
        yolov10,
        yolo11,
        yolox,
        nanodet_plus,
        ssd,
        retinanet,
        mobilenet_v1,
        mobilenet_v2,
        mobilenet_v3,
        shufflenet_v1,
        shufflenet_v2,
        efficientnet_lite,
        resnet,
        resnext,
        densenet,
        inception,
        googlenet,
        alexnet,
        vgg,
        squeezenet,
        fcn,
        segnet,
        unet,
        autoencoder,
    )
}
