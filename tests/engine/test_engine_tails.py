"""Detectors' tails with their own NMS, written by hand as exporters write them, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv import _isa
from edgecv.engine.compile import compile_model
from tests.engine.one_node import run
from tests.engine.test_engine_counted import compare
from tests.engine.written import network

Array = np.ndarray
CELLS, CLASSES = 60, 3

WEIGHTS: dict[str, Array] = {
    **{f"i{k}": np.array([k]) for k in range(8)},
    **{f"c{k}": np.array(k) for k in range(8)},
    "last": np.array([-1]),
    "end": np.array([2**62]),
    "five": np.array([5]),
    "twenty": np.array([20]),
    "many": np.array([2**31 - 1]),
    "iou": np.array([0.5], np.float32),
    "least": np.array([0.4], np.float32),
    "conf": np.array(0.4, np.float32),
    "half": np.array(0.5, np.float32),
    "none": np.array(0, np.float32),
    "one": np.array(1, np.float32),
    "apart": np.array(1000, np.float32),
    "classes": np.array([CLASSES]),
    "class_count": np.array(CLASSES),
    "small": np.array(4, np.float32),
    "corners": np.array(
        [[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]], np.float32
    ),
    "anchors": np.random.default_rng(5).uniform(0, 80, (CELLS, 4)).astype(np.float32),
}  # fmt: skip
PRED = f"float[1, {4 + CLASSES}, {CELLS}] pred"
# Rows (cells, 7): corners and scores.
ROWS = """
    turned = Transpose<perm=[0, 2, 1]>(pred)
    center = Slice(turned, i0, i4, i2)  all_scores = Slice(turned, i4, end, i2)
    boxes = MatMul(center, corners)
"""
# As ultralytics' exports: the best class of each cell, those over the threshold, classes moved apart.
ONE_LIST = f"""{ROWS}
    b0 = Squeeze(boxes, i0)  s0 = Squeeze(all_scores, i0)
    best = ReduceMax<keepdims=0>(s0, i1)  label = ArgMax<axis=1, keepdims=0>(s0)
    over = Greater(best, conf)
    found = NonZero(over)  at = Transpose(found)
    fb = GatherND(b0, at)  fs = GatherND(best, at)  fl = GatherND(label, at)
    shape = Shape(fs)  count = Gather(shape, c0)  limit = Squeeze(twenty, i0)
    k = Min(count, limit)  k1 = Reshape(k, last)
    ts, ti = TopK(fs, k1)
    tb = Gather(fb, ti)  tl = Gather(fl, ti)
    lf = Cast<to=1>(tl)  offset = Mul(lf, apart)  offsets = Unsqueeze(offset, i1)
    moved = Add(tb, offsets)
    nb = Unsqueeze(moved, i0)  ns0 = Unsqueeze(ts, i0)  ns = Unsqueeze(ns0, i0)
    kept = NonMaxSuppression(nb, ns, many, iou)
    column = Gather<axis=1>(kept, i2)  index = Squeeze(column, i1)
    few = Slice(index, i0, five)
    ob = Gather(tb, few)  os = Gather(ts, few)  ol = Gather(lf, few)
    osc = Unsqueeze(os, i1)  olc = Unsqueeze(ol, i1)
    rows = Concat<axis=1>(ob, osc, olc)
"""
# All classes of all cells, as YOLOX's and YOLOv7's exports have it.
ALL_CLASSES = f"""{ROWS}
    scores = Transpose<perm=[0, 2, 1]>(all_scores)
    kept = NonMaxSuppression(boxes, scores, five, iou, least)
    image = Slice(kept, i0, i1, i1)  label = Slice(kept, i1, i2, i1)  cell = Slice(kept, i2, end, i1)
"""
# A level of RetinaNet: the best of all scores over the threshold, and what class and anchor each is of.
LEVEL = """
    {0}flat = Reshape({1}, last)  {0}over = Greater({0}flat, conf)
    {0}places = NonZero({0}over)  {0}at = Squeeze({0}places, i0)
    {0}found = Gather({0}flat, {0}at)
    {0}shape = Shape({0}found)  {0}count = Gather({0}shape, i0)
    {0}both = Concat<axis=0>(twenty, {0}count)  {0}k = ReduceMin<keepdims=1>({0}both)
    {0}ts, {0}ti = TopK<sorted=1>({0}found, {0}k)
    {0}index = Gather({0}at, {0}ti)
    {0}cell = Div({0}index, class_count)  {0}label = Mod({0}index, class_count)
    {0}box = Gather({2}, {0}cell)
"""
LEVELS = f"""{ROWS}
    b0 = Squeeze(boxes, i0)
    first = Slice(all_scores, i0, twenty, i1)  second = Slice(all_scores, twenty, end, i1)
    fb = Slice(b0, i0, twenty, i0)  sb = Slice(b0, twenty, end, i0)
    {LEVEL.format("f_", "first", "fb")} {LEVEL.format("s_", "second", "sb")}
    jb = Concat<axis=0>(f_box, s_box)  js = Concat<axis=0>(f_ts, s_ts)  jl = Concat<axis=0>(f_label, s_label)
    cut = Clip(jb, none, apart)
    x1 = Gather<axis=1>(cut, c0)  x2 = Gather<axis=1>(cut, c2)  w = Sub(x2, x1)
    wide = GreaterOrEqual(w, small)  wp = NonZero(wide)  wi = Squeeze(wp, i0)
    kb = Gather(cut, wi)  ks = Gather(js, wi)  kl = Gather(jl, wi)
"""
BY_IF = """
    numel = Size(kb)  empty = Equal(numel, c0)
    kept = If(empty) <
        then_branch = a () => (int64[0] nothing) { nothing = Slice(five, i0, i0) },
        else_branch = b () => (int64[m] some) {
            largest = ReduceMax<keepdims=0>(kb)  lf = Cast<to=1>(kl)  step = Add(largest, one)
            off = Mul(lf, step)  offs = Unsqueeze(off, i1)  mb = Add(kb, offs)
            nb = Unsqueeze(mb, i0)  ns0 = Unsqueeze(ks, i0)  ns = Unsqueeze(ns0, i0)
            rows = NonMaxSuppression(nb, ns, many, iou)
            col = Gather<axis=1>(rows, c2)  some = Identity(col) }>
    few = Slice(kept, i0, five)
    y = Gather(kb, few)  z = Gather(ks, few)  v = Gather(kl, few)
"""

FOUR = "float[1, 5, 4] y, float[1, 5] z, float[1, 5] v, int32[1] m"
TAILS: dict[str, tuple[str, str]] = {
    "final rows": ("float[n, 6] y", f"{ONE_LIST} y = Identity(rows)"),
    "padded rows": ("float[1, 5, 6] y", f"""{ONE_LIST}
        made = Shape(rows)  n = Gather(made, i0)  room = Sub(five, n)  pads = Concat<axis=0>(i0, i0, room, i0)
        padded = Pad(rows, pads)  y = Unsqueeze(padded, i0)"""),
    "zeros behind rows": ("float[5, 6] y", f"""{ONE_LIST}
        made = Shape(rows)  n = Slice(made, i0, i1)  room = Sub(five, n)  rest = Concat<axis=0>(room, i6)
        zeros = ConstantOfShape(rest)  y = Concat<axis=0>(rows, zeros)"""),
    "image, box, class, score": ("float[n, 7] y", f"""{ALL_CLASSES}
        places = Concat<axis=1>(image, cell)  kb = GatherND(boxes, places)
        ks0 = GatherND(scores, kept)  ks = Unsqueeze(ks0, i1)
        fi = Cast<to=1>(image)  fl = Cast<to=1>(label)  y = Concat<axis=1>(fi, kb, fl, ks)"""),
    "selected indices": ("int64[n, 3] y, int64[1] m", f"""{ALL_CLASSES}
        y = Identity(kept)  s = Shape(y)  m = Slice(s, i0, i1)"""),
    "boxes, labels, scores, count": (FOUR, f"""{ALL_CLASSES}
        ks = GatherND(scores, kept)  s = Shape(ks)
        both = Concat<axis=0>(s, five)  k = ReduceMin<keepdims=1>(both)
        ts, ti = TopK(ks, k)  cells = Squeeze(cell, i1)  labels = Squeeze(label, i1)
        tc = Gather(cells, ti)  tl = Gather(labels, ti)  b0 = Squeeze(boxes, i0)  tb = Gather(b0, tc)
        room = Sub(five, k)  pad2 = Concat<axis=0>(i0, i0, room, i0)  pad1 = Concat<axis=0>(i0, room)
        y0 = Pad(tb, pad2)  z0 = Pad(ts, pad1)  tlf = Cast<to=1>(tl)  v0 = Pad(tlf, pad1)
        y = Unsqueeze(y0, i0)  z = Unsqueeze(z0, i0)  v = Unsqueeze(v0, i0)  m = Cast<to=6>(k)"""),
    "levels": ("float[n, 4] y, float[n] z, int64[n] v", f"{LEVELS} {BY_IF}"),
    "masks of rows": ("float[n, 2, 2] y", f"""{ONE_LIST}
        coefficients = Slice(rows, i0, i4, i1)  prototypes = Reshape(corners, shape4)
        masks = MatMul(coefficients, corners)  made = Shape(masks)  n = Gather(made, i0)
        sizes = Concat<axis=0>(n, i2, i2)  wide = Reshape(masks, sizes)  y = Sigmoid(wide)"""),
}  # fmt: skip
WEIGHTS["shape4"] = np.array([4, 4])
# Two images one after the other: what is found in each, padded, and how many.
EACH = """
    {0}over = Greater({0}best, conf)  {0}found = NonZero({0}over)  {0}at = Squeeze({0}found, i0)
    {0}fb = Gather({0}boxes, {0}at)  {0}fs = Gather({0}best, {0}at)
    {0}nb = Unsqueeze({0}fb, i0)  {0}ns0 = Unsqueeze({0}fs, i0)  {0}ns = Unsqueeze({0}ns0, i0)
    {0}kept = NonMaxSuppression({0}nb, {0}ns, five, iou)
    {0}column = Gather<axis=1>({0}kept, c2)
    {0}ob = Gather({0}fb, {0}column)  {0}shape = Shape({0}ob)  {0}n = Gather({0}shape, c0)
    {0}room = Sub(five, {0}n)  {0}pads = Concat<axis=0>(i0, i0, {0}room, i0)  {0}padded = Pad({0}ob, {0}pads)
    {0}y = Unsqueeze({0}padded, i0)  {0}count = Unsqueeze({0}n, i0)
"""


def test_images_one_by_one() -> None:
    half = CELLS // 2
    body = f"""
        rows = Transpose<perm=[0, 2, 1]>(pred)  both = Reshape(rows, two)
        a = Gather(both, c0)  b = Gather(both, c1)
        a_boxes = Slice(a, i0, i4, i1)  a_scores = Slice(a, i4, end, i1)
        b_boxes = Slice(b, i0, i4, i1)  b_scores = Slice(b, i4, end, i1)
        a_best = ReduceMax<keepdims=0>(a_scores, i1)  b_best = ReduceMax<keepdims=0>(b_scores, i1)
        {EACH.format("a_")} {EACH.format("b_")}
        y = Concat<axis=0>(a_y, b_y)  z = Concat<axis=0>(a_count, b_count)"""
    weights = WEIGHTS | {"two": np.array([2, half, 4 + CLASSES])}
    model = network(f"({PRED}) => (float[2, 5, 4] y, int64[2] z) {{ {body} }}", **weights)
    pictures = [prediction(objects) for objects in (12, 0, 5)]
    # Nothing in the second image alone.
    pictures.append(np.where(np.arange(CELLS) < half, pictures[0], np.minimum(pictures[0], 0.1)))
    compare(model, [{"pred": picture} for picture in pictures])


def prediction(objects: int, seed: int = 0) -> Array:
    """Centers and sizes, and scores of which so many cells have one over the threshold."""
    rng = np.random.default_rng([seed, objects])
    pred = np.concatenate(
        [
            rng.uniform(0, 100, (2, CELLS)),
            rng.uniform(2, 40, (2, CELLS)),
            rng.uniform(0, 0.39, (CLASSES, CELLS)),
        ]
    )
    cells = rng.permutation(CELLS)[:objects]
    pred[4 + rng.integers(0, CLASSES, objects), cells] = rng.uniform(0.41, 1, objects)
    return pred[None].astype(np.float32)


@pytest.mark.parametrize("tail", TAILS)
def test_tails_of_detectors(tail: str) -> None:
    outputs, body = TAILS[tail]
    model = network(f"({PRED}) => ({outputs}) {{ {body} }}", **WEIGHTS)
    found = compare(model, [{"pred": prediction(objects)} for objects in (12, 0, CELLS, 1, 3)])
    assert not np.any(found[1])
    assert all(np.any(found[i]) for i in (0, 2, 3, 4))


@pytest.mark.parametrize("isa", _isa.usable())
def test_bits_are_the_same_however_many_threads(isa: str) -> None:
    outputs, body = TAILS["padded rows"]
    model = network(f"({PRED}) => ({outputs}) {{ {body} }}", **WEIGHTS)
    x = {"pred": prediction(30)}
    made = [
        run(compile_model(model, {"pred": x["pred"].shape}, isa=isa, threads=n), x, threads=n) for n in (1, 2)
    ]
    assert made[0][0].tobytes() == made[1][0].tobytes()
    assert made[0][0].any()
