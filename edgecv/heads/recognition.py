"""Evidence that recognize() weighs: how many cells a model has, and which exporter named its tensors.

Several heads share the shape (1, N, columns), so each claims a model only where nothing speaks for
another; what stays open is claimed by all that it could be, and the caller reports the doubt.
"""

from __future__ import annotations

from typing import Literal

from edgecv.heads.cells import cell_count
from edgecv.types import ModelFacts, TensorSpec

Size = int | str | None
MaskSpace = Literal["box", "blob"]

P5 = (8, 16, 32)
P2 = (4, 8, 16, 32)
P6 = (8, 16, 32, 64)
TINY = (16, 32)
FINE = (8, 16)
# Of YOLO networks; some that are retrained have less strides, or finer ones.
YOLO_STRIDES = (P5, P2, P6, TINY, FINE)
# No network leaves more rows, or has more queries, unless it was told to.
MOST_FINAL = 1000


def listed(facts: ModelFacts) -> str:
    """The outputs, for a message."""
    return ", ".join(map(str, facts.outputs)) or "there is none"


def sole_output(facts: ModelFacts, rank: int) -> TensorSpec | None:
    """The output of a model that has one, where it has this many axes, the batch included."""
    if len(facts.outputs) == 1 and len(facts.outputs[0].shape) == rank:
        return facts.outputs[0]
    return None


def is_cells(n: Size, facts: ModelFacts, *stride_sets: tuple[int, ...], anchors: int = 1) -> bool:
    """Whether an axis can count the cells of one of these sets of strides.

    An axis of unknown size always can: exporters leave it open even where the image is fixed. A fixed
    axis beside a dynamic image cannot: the cells grow with the image.
    """
    if not isinstance(n, int):
        return True
    if facts.image_wh is None:
        return False
    return any(n == anchors * cell_count(facts.image_wh, strides) for strides in stride_sets)


def named(facts: ModelFacts, image: str, output: str) -> bool:
    """Whether the model has one image input and one first output of these names."""
    return [spec.name for spec in (*facts.inputs[:1], *facts.outputs[:1])] == [image, output]


def is_yolox_export(facts: ModelFacts) -> bool:
    """Whether the names are those of the export scripts of YOLOX and of YOLOv7."""
    return named(facts, "images", "output")


def is_nanodet_export(facts: ModelFacts) -> bool:
    """Whether the names are those of NanoDet's export script."""
    return named(facts, "data", "output")


def has_yolov6_names(facts: ModelFacts) -> bool:
    """Whether the names are those of YOLOv6's export script."""
    return named(facts, "images", "outputs")


def is_yolov6_export(facts: ModelFacts) -> bool:
    """Whether the graph, under these names, is YOLOv6's: it grows maps by transposed convolutions or
    subtracts distances from the cells' centers, and has no exponential; with a YOLOX it is the other way.
    """
    operators = facts.operators
    return has_yolov6_names(facts) and bool({"Sub", "ConvTranspose"} & operators) and "Exp" not in operators


def paddle_pair(facts: ModelFacts, *stride_sets: tuple[int, ...]) -> tuple[str, str] | None:
    """Boxes (1, N, 4) and scores (1, classes, N) of all cells of some strides, as PaddleDetection has them.

    No other is known to have boxes by rows, scores by columns, and an input called `image`.
    """
    if len(facts.outputs) != 2 or "image" not in [spec.name for spec in facts.inputs]:
        return None
    boxes = [spec for spec in facts.outputs if len(spec.shape) == 3 and spec.shape[2] == 4]
    scores = [spec for spec in facts.outputs if len(spec.shape) == 3 and spec not in boxes]
    if len(boxes) != 1 or len(scores) != 1:
        return None
    rows = boxes[0].shape[1]
    if not isinstance(rows, int) or scores[0].shape[2] != rows or not is_cells(rows, facts, *stride_sets):
        return None
    return boxes[0].name, scores[0].name


def prototypes(facts: ModelFacts) -> TensorSpec | None:
    """Of two outputs, a table and a map (1, m, H, W), the map: the prototypes of masks."""
    if sorted(len(spec.shape) for spec in facts.outputs) != [3, 4]:
        return None
    maps = next(spec for spec in facts.outputs if len(spec.shape) == 4)
    return maps if isinstance(maps.shape[1], int) else None


def table_of(facts: ModelFacts) -> TensorSpec | None:
    """The one output of three axes, alone or beside prototypes; else None."""
    if prototypes(facts) is None:
        return sole_output(facts, rank=3)
    return next(spec for spec in facts.outputs if len(spec.shape) == 3)


def mask_space(masks: TensorSpec, facts: ModelFacts) -> MaskSpace:
    """What masks (…, h, w) lie over: their boxes, where their size is known and not the image's."""
    size, wh = masks.shape[-2:], facts.image_wh
    is_of_box = all(isinstance(n, int) for n in size) and (wh is None or size != wh[::-1])
    return "box" if is_of_box else "blob"


# Landmarks of a face, joints of a person and of a hand, with or without a confidence of each.
_KEYPOINTS = ((5, 2), (5, 3), (17, 2), (17, 3), (21, 3))


def could_be_keypoints(columns: Size, beside: int) -> tuple[int, Literal[2, 3]] | None:
    """Number and values of the keypoints that the columns beside these and one score could be."""
    if isinstance(columns, int):
        for number, values in _KEYPOINTS:
            if columns == beside + 1 + number * values:
                return number, 2 if values == 2 else 3
    return None


def shapes(facts: ModelFacts) -> dict[str, tuple[Size, ...]]:
    """Shapes of the outputs by name, the batch included."""
    return {spec.name: spec.shape for spec in facts.outputs}


# Classes of a network that counts them by COCO's ids, 0 to 90.
COCO_IDS = 91


def detr_outputs(facts: ModelFacts) -> tuple[str, str, Size] | None:
    """Boxes, scores and the number of scores of a query, by the names of DETR's outputs."""
    found = shapes(facts)
    scores = next((name for name in ("logits", "pred_logits") if name in found), None)
    if scores is None or "pred_boxes" not in found:
        return None
    boxes = found["pred_boxes"]
    if len(found[scores]) != 3 or len(boxes) != 3 or boxes[2] != 4 or boxes[1] != found[scores][1]:
        return None
    return "pred_boxes", scores, found[scores][2]
