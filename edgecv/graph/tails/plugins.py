"""TensorRT's plugins in place of NonMaxSuppression, which nothing but TensorRT runs.

Fields and meaning: the README of `efficientNMSPlugin` and `batchedNMSPlugin` in NVIDIA/TensorRT. Both compare
class by class unless told otherwise, and every class over the threshold is a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from edgecv import extras
from edgecv.graph.model import OnnxModel
from edgecv.graph.tails.cutting import Cut
from edgecv.graph.tails.expressions import CLASS, At, Expression, Unproven, Var, number, of
from edgecv.graph.tails.finding import prepared, without_functions
from edgecv.graph.tails.meaning import ANCHOR
from edgecv.graph.tails.reader import Index, Reader
from edgecv.graph.tails.records import Found, Tail, as_written

with extras.required("models"):
    import onnx
    from onnx import TensorProto, helper

Coordinates = Literal["pixels", "fractions"] | None


class _Said(msgspec.Struct, frozen=True):
    """What a node's fields say. box_format: of the boxes that go in; candidates: of a class, None: all."""

    iou: float
    confidence: float
    max_det: int
    background: int | None
    is_agnostic: bool
    is_logit: bool
    box_format: Literal["xyxy", "cxcywh"]
    coordinates: Coordinates
    candidates: int | None


def _efficient(fields: Mapping[str, Any]) -> _Said:
    coding = int(fields.get("box_coding", 0))
    return _Said(
        iou=float(fields["iou_threshold"]),
        confidence=float(fields["score_threshold"]),
        max_det=int(fields["max_output_boxes"]),
        background=_background(fields.get("background_class", -1)),
        is_agnostic=bool(fields.get("class_agnostic", 0)),
        is_logit=bool(fields.get("score_activation", 0)),
        box_format="cxcywh" if coding == 1 else "xyxy",
        coordinates=None,
        candidates=None,
    )


def _batched(fields: Mapping[str, Any]) -> _Said:
    if not fields.get("shareLocation", 1):
        raise Unproven("BatchedNMS with boxes of their own for each class (shareLocation=0)")
    is_normalized = bool(fields.get("isNormalized", 1))
    if is_normalized and fields.get("clipBoxes", 1):
        raise Unproven("BatchedNMS that clips boxes to 0 to 1 behind the suppression (clipBoxes=1)")
    return _Said(
        iou=float(fields["iouThreshold"]),
        confidence=float(fields["scoreThreshold"]),
        max_det=int(fields["keepTopK"]),
        background=_background(fields.get("backgroundLabelId", -1)),
        is_agnostic=False,
        is_logit=False,
        box_format="xyxy",
        coordinates="fractions" if is_normalized else None,
        candidates=int(fields["topK"]),
    )


def _background(label: Any) -> int | None:
    return int(label) if int(label) >= 0 else None


PLUGINS = {
    "EfficientNMS_TRT": _efficient,
    "BatchedNMS_TRT": _batched,
    "BatchedNMSDynamic_TRT": _batched,
}


def by_plugin(
    model: OnnxModel, sizes: Mapping[str, tuple[int, ...]], plugins: Sequence[onnx.NodeProto]
) -> Found:
    """The tail around a plugin. Raises Unproven."""
    model = without_functions(model)
    if len(plugins) > 1:
        raise Unproven(f"the graph has {len(plugins)} plugins that suppress boxes")
    (node,) = plugins
    said = _said(node)
    if len(node.input) != 2 or len(node.output) != 4:
        raise Unproven(
            f"{node.name!r} ({node.op_type}): expected boxes and scores, and four outputs: "
            f"it has {len(node.input)} inputs and {len(node.output)} outputs"
        )
    reader = Reader(prepared(_without(model, node, said.max_det), sizes).graph)
    # Some give classes as floats.
    reader.whole.add(node.output[3])
    kept, told = _outputs(model, reader, node)
    boxes_in, scores_in = (reader.value(name) for name in node.input)
    of_boxes, of_scores = (tuple(n.whole for n in reader.sizes(one)) for one in (boxes_in, scores_in))
    anchors, classes = _check_sizes(node, of_boxes, of_scores)
    cut = Cut(reader, model.proto, anchors)
    row, zero = of(Var(ANCHOR)), number(0)
    columns = [
        of(At(node.input[0], (zero, row, number(k)) if len(of_boxes) == 3 else (zero, row, zero, number(k))))
        for k in range(4)
    ]
    boxes, scores = (
        cut.combined(columns),
        cut.scores(of(At(node.input[1], (zero, row, of(Var(CLASS, classes))))), classes),
    )
    if said.is_logit:
        scores = cut.activated(scores)
    if said.candidates is not None and said.candidates < anchors:
        scores = cut.best_of_each(scores, said.candidates)
    tail = Tail(
        operator=node.op_type,
        boxes=cut.give_out(boxes, "boxes"),
        scores=cut.give_out(scores, "scores"),
        boxes_are_rows=boxes.rows,
        scores_are_rows=scores.rows,
        box_format=said.box_format,
        coordinates=said.coordinates,
        classes=classes,
        background=said.background,
        multi_label=classes > 1,
        iou=as_written(said.iou),
        confidence=as_written(said.confidence),
        max_det=said.max_det,
        max_per_class=None,
        class_agnostic=said.is_agnostic,
        kept=tuple(kept),
        outputs=tuple(told),
    )
    return Found(tail, cut.model(model.origin, kept))


def _said(node: onnx.NodeProto) -> _Said:
    fields = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    try:
        # Exporters write a number as a list of one.
        flat = {
            name: value[0] if isinstance(value, list) and len(value) == 1 else value
            for name, value in fields.items()
        }
        said = PLUGINS[node.op_type](flat)
    except (KeyError, TypeError, ValueError) as error:
        raise Unproven(f"{node.name!r} ({node.op_type}): a field is missing or wrong: {error}") from None
    if said.max_det < 1 or not 0 <= said.iou <= 1:
        raise Unproven(f"{node.name!r} ({node.op_type}): IoU {said.iou:g}, at most {said.max_det}")
    return said


def _check_sizes(
    node: onnx.NodeProto, boxes: tuple[int | None, ...], scores: tuple[int | None, ...]
) -> tuple[int, int]:
    """How many boxes and classes."""
    is_plain = len(boxes) == 3 or (len(boxes) == 4 and boxes[2] == 1)
    if not is_plain or len(scores) != 3 or boxes[-1] != 4 or boxes[:2] != scores[:2] or boxes[0] != 1:
        raise Unproven(
            f"{node.name!r} ({node.op_type}): expected boxes (1, N, 4) and scores "
            f"(1, N, classes), got {boxes} and {scores}"
        )
    count, classes = scores[1:]
    if count is None or classes is None:
        raise Unproven("how many boxes the network makes is not known before the run")
    return count, classes


def _without(model: OnnxModel, node: onnx.NodeProto, most: int) -> OnnxModel:
    """The graph with a plugin's outputs as inputs, and what goes into it as outputs."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    proto.graph.node.remove(node)
    shapes = ((1, 1), (1, most, 4), (1, most), (1, most))
    float_classes = node.op_type != "EfficientNMS_TRT"
    kinds = (
        TensorProto.INT32,
        TensorProto.FLOAT,
        TensorProto.FLOAT,
        TensorProto.FLOAT if float_classes else TensorProto.INT32,
    )
    left = [one for one in proto.graph.output if one.name not in node.output]
    del proto.graph.output[:]
    proto.graph.output.extend(left)
    given_out = {one.name for one in left}
    for name, shape, kind in zip(node.output, shapes, kinds, strict=True):
        if name:
            proto.graph.input.append(helper.make_tensor_value_info(name, kind, shape))
    for name in node.input:
        if name not in given_out:
            proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return OnnxModel(proto, model.origin)


def _outputs(model: OnnxModel, reader: Reader, node: onnx.NodeProto) -> tuple[list[str], list[str]]:
    """Outputs that do not depend on the plugin, and what the columns of the others are."""
    roles = dict(zip(node.output, ("count", "box", "score", "class"), strict=True))
    names = ("x1", "y1", "x2", "y2")
    kept, told = [], []
    for output in model.proto.graph.output:
        value = reader.value(output.name)
        sizes = tuple(n.whole or 0 for n in reader.sizes(value))
        found = []
        for column in range(sizes[-1] if len(sizes) == 3 else 1):
            index = _row(sizes, column)
            atom = reader.deep(of(At(output.name, index))).atom
            role = roles.get(atom.value) if isinstance(atom, At) else None
            if isinstance(atom, At) and role == "box":
                place = atom.index[2].whole
                role = names[place] if place is not None else None
            found.append(role)
        if not _depends(model, output.name, set(node.output)):
            kept.append(output.name)
        elif None in found:
            raise Unproven(f"output {output.name!r} is computed from what the {node.op_type} gives")
        else:
            told.append(f"{output.name}: {', '.join(str(role) for role in found)}")
    return kept, told


def _row(sizes: tuple[int, ...], column: int) -> Index:
    index: list[Expression] = [number(0)] * len(sizes)
    if len(sizes) == 3:
        index[1], index[2] = of(Var("row")), number(column)
    elif len(sizes) == 2 and sizes[1] == 4:
        index[0] = of(Var("row"))
    elif sizes:
        index[-1 if sizes[-1] > 1 else 0] = of(Var("row")) if max(sizes) > 1 else number(0)
    return tuple(index)


def _depends(model: OnnxModel, name: str, sources: set[str]) -> bool:
    """Whether a value is computed from any of some others."""
    makers = {output: node for node in model.proto.graph.node for output in node.output}
    waiting, seen = [name], set()
    while waiting:
        one = waiting.pop()
        if one in sources:
            return True
        if one in makers and one not in seen:
            seen.add(one)
            waiting += makers[one].input
    return False
