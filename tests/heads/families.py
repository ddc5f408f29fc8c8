"""What the project reads: families of networks, the decoding of each, and the tests that compare it.

`python tools/write_models.py` makes the table of docs/models.md of this. Decodings, parameters and what bare
files do are not stated here: they are those of the cases and files that the tests of heads try.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple

import msgspec
import numpy as np

from edgecv import heads
from edgecv.heads.base import HeadParams, Reading
from edgecv.types import ModelFacts
from tests.heads import (
    test_anchors_recognition,
    test_boxes_recognition,
    test_distances_recognition,
    test_exports_recognition,
    test_head_recognition,
    test_mask_coefficients,
    test_masks_recognition,
)
from tests.heads.literal_decode import CASES, Case


class Compared(Enum):
    """What else a family is compared with: in a word or two, in full, and the test that does it."""

    EXPORTS = (
        "bare file",
        "a file with the family's names, shapes and metadata, and random weights: from the file to objects, "
        "beside ONNX Runtime's outputs in plain loops",
        "tests/heads/test_boxes_end_to_end.py::test_bare_exports_are_read",
    )
    OWN_NMS = (
        "own NMS",
        "a file with NMS inside: from the file to objects, beside ONNX Runtime on the whole graph",
        "tests/importers/test_own_nms.py::test_rows_are_those_of_the_whole_graph",
    )
    TAILS = (
        "tail",
        "the graph's own NMS, replaced by edgecv's: the rows of ONNX Runtime on the whole graph",
        "tests/graph/test_tails.py::test_rows_are_those_of_the_whole_graph",
    )
    TORCH = (
        "PyTorch",
        "torchvision's and transformers' own modules of random weights, exported where these are installed: "
        "objects beside ONNX Runtime on the whole graph, and post-processing in NumPy",
        "tests/importers/test_torch_exports.py::test_torchvisions_detectors_are_read",
    )
    MASKS = (
        "masks",
        "masks of random numbers, beside their definition pixel by pixel",
        "tests/heads/test_head_masks.py::test_masks_over_the_blob_equal_the_definition",
    )
    COEFFICIENTS = (
        "coefficients",
        "candidates with coefficients of masks, beside plain loops",
        "tests/heads/test_mask_coefficients.py::test_cells_have_coefficients",
    )
    PHOTOS = (
        "photos",
        "real weights: from photos to objects, beside ONNX Runtime's outputs in plain loops",
        "tests/heads/test_cards_on_photos.py::test_finds_what_onnxruntime_and_the_formula_find",
    )
    AP = (
        "AP",
        "real weights: AP on COCO's pictures, beside that of an independent evaluation of the same file",
        "tests/evaluate/test_reference_accuracy.py::test_ap",
    )
    AP_DARKNET = (
        "AP through OpenCV 4",
        "real weights: AP on COCO's pictures, beside that of OpenCV 4 on the same files",
        "tests/evaluate/test_reference_accuracy.py::test_ap_of_a_darknet_network",
    )
    AP_PLAIN = (
        "AP of plain loops",
        "real weights: AP on COCO's pictures, beside that of ONNX Runtime's outputs in plain loops",
        "tests/evaluate/test_reference_accuracy.py::test_ap_of_picodet",
    )
    LANDMARKS = (
        "one another",
        "real weights: SCRFD and YuNet put landmarks of photos in the same places",
        "tests/heads/test_face_landmarks.py::test_scrfd_and_yunet_agree_on_landmarks",
    )
    YOLO_OF_OPENCV = (
        "OpenCV 4",
        "files of random weights, beside OpenCV 4 on the same files",
        "tests/importers/test_oracle_detections.py::test_yolo_and_region",
    )
    SSD_OF_OPENCV = (
        "OpenCV 4",
        "files of random weights, beside OpenCV 4 on the same files",
        "tests/importers/test_oracle_detections.py::test_detection_output",
    )

    @property
    def word(self) -> str:
        return str(self.value[0])

    @property
    def meaning(self) -> str:
        return str(self.value[1])

    @property
    def test(self) -> str:
        """File and function."""
        return str(self.value[2])


class Family(NamedTuple):
    """name: as those who use it call it. cases: what reads it, by its ids in the tables of plain loops.

    bare: files of it by their ids in the tables of recognition. compared: with what else. files: whose files
    they are, if not ONNX. card: the one that comes with edgecv.
    """

    name: str
    cases: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    compared: tuple[Compared, ...] = ()
    files: str = ""
    card: str = ""


_C = Compared
_SSD_OF_CAFFE = ("ssd-caffe-flat", "ssd-caffe-clipped", "ssd-caffe-corners", "ssd-caffe-corner-sizes")

FAMILIES = (
    Family(
        "YOLOv8 to YOLO12, YOLOv5u",
        ("yolov8", "boxes-columns"),
        ("yolov8", "yolov8-bare"),
        (_C.EXPORTS, _C.OWN_NMS),
    ),
    Family("the same, transposed by a converter", ("yolov8-transposed",), ("yolov8-transposed",)),
    Family("YOLOv8-pose, -face and kin: keypoints", ("boxes-pose",), ("pose",), (_C.EXPORTS, _C.OWN_NMS)),
    Family(
        "YOLOv8-seg and kin: masks", ("boxes-masks",), ("segment", "segment-bare"), (_C.EXPORTS, _C.OWN_NMS)
    ),
    Family("YOLOv8-obb and kin: oriented boxes", ("boxes-angle",), ("obb", "obb-bare"), (_C.EXPORTS,)),
    Family("YOLOv5, YOLOv7", ("yolov5-decoded",), ("yolov5", "yolov5-one-class")),
    Family("YOLOv5-seg: masks", ("boxes-masks",), ("yolov5-segment",)),
    Family("yolov5-face: keypoints", ("boxes-yolov5-face",), ("yolov5-face",)),
    Family("yolov7-face, YOLOv7-pose: keypoints", ("boxes-yolov7-face",), ("yolov7-pose",)),
    Family("YOLOX, decoded by the network", ("yolox-decoded",), ("yolox-decoded",)),
    Family("YOLOv6 without NMS", ("boxes-objectness",), ("exports/yolov6",)),
    Family("DAMO-YOLO without NMS", ("boxes-apart-corners",)),
    Family("YOLOv4 of pytorch-YOLOv4", ("boxes-yolov4",), ("yolov4",)),
    Family("YOLO-NAS", ("boxes-apart-corners",), ("yolo-nas",)),
    Family("PP-YOLOE without NMS", ("boxes-apart-scores-by-columns",), ("pp-yoloe-without-nms",)),
    Family(
        "PicoDet with its post-processing, without NMS",
        ("boxes-apart-scores-by-columns",),
        ("exports/picodet",),
    ),
    Family(
        "UltraFace, decoded by the network",
        ("boxes-apart-background-first", "ssd"),
        ("ultraface-640",),
        (_C.PHOTOS,),
        card="ultraface-rfb-640",
    ),
    Family("distances from cells, joined by the network", ("boxes-ltrb-strides", "boxes-ltrb-pixels")),
    Family(
        "any other table of boxes",
        ("boxes-rows", "boxes-xyxy", "boxes-xywh", "boxes-yxyx", "boxes-scores-first"),
    ),
    Family(
        "any other boxes beside scores",
        (
            "boxes-apart-fractions",
            "boxes-apart-background-last",
            "boxes-apart-logits",
            "boxes-apart-softmax",
            "boxes-apart-objectness",
            "boxes-apart-objectness-logits",
            "boxes-apart-both-by-columns",
            "boxes-apart-landmarks",
            "ssd-no-background",
        ),
    ),
    Family("YOLOv10, YOLO26", ("yolo_e2e", "rows-e2e"), ("e2e",), (_C.EXPORTS,)),
    Family("YOLO26-pose and kin: keypoints", ("rows-keypoints",), ("pose-nms",), (_C.EXPORTS,)),
    Family("YOLO26-seg and kin: masks", ("rows-masks",), ("segment-nms",), (_C.EXPORTS,)),
    Family("YOLO26-obb and kin: oriented boxes", ("rows-angle",), ("obb-nms",), (_C.EXPORTS,)),
    Family("YOLOv7 with NMS inside", ("rows-pinto",), ("yolov7-end2end",), (_C.TAILS,)),
    Family(
        "YOLO-NAS with NMS inside",
        ("rows-pinto", "rows-tensorflow"),
        ("yolo-nas-flat", "yolo-nas-batch"),
    ),
    Family("PaddleDetection with NMS inside", ("rows-paddle",), ("paddle",)),
    Family("PINTO0309's model zoo", ("rows-pinto",), ("pinto", "pinto-score-apart"), (_C.TAILS,)),
    Family(
        "torchvision: Faster R-CNN, RetinaNet, SSD, FCOS",
        ("rows-torchvision",),
        ("torchvision",),
        (_C.TAILS, _C.OWN_NMS, _C.TORCH),
    ),
    Family(
        "Mask R-CNN of torchvision: masks",
        ("rows-roi-masks",),
        ("torchvision-named-sizes", "torchvision-not-pasted"),
        (_C.MASKS,),
    ),
    Family(
        "Mask R-CNN of MMDeploy: masks",
        ("rows-roi-masks",),
        ("mmdeploy-pasted", "mmdeploy-not-pasted"),
        (_C.MASKS,),
    ),
    Family("Keypoint R-CNN of torchvision: keypoints", ("rows-roi-masks",), ("torchvision-keypoints",)),
    Family("TensorFlow's object detection API", ("rows-tensorflow",), ("tensorflow",), (_C.TAILS,)),
    Family("networks that end as EfficientNMS does", ("rows-tensorflow",), ("efficient-nms",)),
    Family("MMDeploy", ("rows-mmdeploy",), ("mmdeploy",)),
    Family("RT-DETR, D-FINE with final boxes", ("rows-torchvision",), ("rt-detr-final",)),
    Family("any other final rows", ("rows-skip", "rows-yxyx")),
    Family("DETR, YOLOS", ("queries-detr",), ("detr",), (_C.TORCH,)),
    Family("DETR that segments: masks", ("queries-detr",), ("detr-masks",), (_C.MASKS,)),
    Family(
        "RT-DETR, Deformable and Conditional DETR",
        ("queries-rtdetr", "queries-corners"),
        ("rt-detr-of-coco", "conditional-detr-of-five-classes"),
        (_C.TORCH,),
    ),
    Family("RT-DETR of Ultralytics", ("queries-ultralytics",), ("rt-detr-of-ultralytics",)),
    Family("RF-DETR", ("queries-rtdetr",), ("rf-detr",)),
    Family("RF-DETR-seg: masks", ("queries-rtdetr",), ("rfdetr",), (_C.MASKS,)),
    Family(
        "YOLOX", ("yolox", "yolox-maps"), ("yolox", "yolox-maps"), (_C.PHOTOS, _C.AP), card="yolox-nano-416"
    ),
    Family(
        "NanoDet",
        ("nanodet-levels", "nanodet-logits"),
        ("nanodet",),
        (_C.PHOTOS, _C.AP),
        card="nanodet-m-416",
    ),
    Family("NanoDet-Plus", ("nanodet-plus",), ("nanodet",)),
    Family(
        "PicoDet without post-processing",
        ("picodet",),
        ("picodet",),
        (_C.PHOTOS, _C.AP_PLAIN),
        card="picodet-s-320",
    ),
    Family("FastestDet", ("fastestdet",), ("fastestdet",), (_C.PHOTOS, _C.AP), card="fastestdet-352"),
    Family("YuNet: keypoints", ("yunet",), ("yunet",), (_C.PHOTOS, _C.LANDMARKS), card="yunet-n-640"),
    Family(
        "SCRFD: keypoints",
        ("scrfd", "scrfd-boxes", "scrfd-maps"),
        ("scrfd",),
        (_C.PHOTOS, _C.LANDMARKS),
        card="scrfd-500m-kps",
    ),
    Family("RTMDet without post-processing", ("rtmdet",), ("rtmdet",)),
    Family("FCOS", ("fcos-exp", "fcos-relu", "fcos-product"), ("fcos-exp", "fcos-relu")),
    Family(
        "YOLOv8 to YOLO12, cut before the decoding",
        ("yolov8-raw", "yolov8-raw-apart", "yolov8-raw-joined"),
        ("yolov8-raw", "yolov8-raw-apart"),
    ),
    Family("YOLOv8-pose, cut before the decoding: keypoints", ("yolov8-raw-pose",)),
    Family(
        "YOLOv8-seg, cut before the decoding: masks",
        ("yolov8-raw-apart",),
        ("yolov8-raw-segment",),
        (_C.COEFFICIENTS,),
    ),
    Family("any other distances from cells", ("pixels",)),
    Family("CenterNet", ("centernet", "centernet-pixels"), ("centernet",)),
    Family("CenterNet for poses: keypoints", ("centernet-pose",)),
    Family("CenterFace: keypoints", ("centerface",), ("centerface",)),
    Family("YOLOv3, YOLOv4", ("yolo",), (), (_C.YOLO_OF_OPENCV, _C.AP_DARKNET), files="Darknet"),
    Family("Scaled-YOLOv4, YOLOv4-CSP", ("yolo-new-coords",), (), (_C.YOLO_OF_OPENCV,), files="Darknet"),
    Family(
        "YOLOv2",
        ("region", "region-no-softmax", "region-background", "region-coords"),
        (),
        (_C.YOLO_OF_OPENCV,),
        files="Darknet",
    ),
    Family("YOLOv5, YOLOv7, raw", ("yolov5-raw", "grid-rows")),
    Family(
        "YOLOv5, YOLOv7, cut for an NPU",
        (
            "grid-cut",
            "grid-cut-anchors-apart",
            "grid-cut-activated",
            "grid-channels-last",
            "grid-channels-last-anchors-apart",
        ),
    ),
    Family("YOLOv3, YOLOv4 of other exporters", ("grid-rows-exp",)),
    Family("yolov5-face, raw: keypoints", ("grid-face",)),
    Family("YOLOv7-pose, raw: keypoints", ("grid-pose",)),
    Family("YOLOv1", ("detection", "detection-sqrt", "detection-softmax"), files="Darknet"),
    Family(
        "UltraFace with priors",
        ("ssd-priors",),
        ("ultraface-320-priors",),
        (_C.PHOTOS,),
        card="ultraface-rfb-320",
    ),
    Family("SSD", _SSD_OF_CAFFE, (), (_C.SSD_OF_OPENCV,), files="Caffe"),
    Family("SSDlite, SSD300 of torchvision, cut before NMS", ("anchors-ssdlite",), ("ssdlite",)),
    Family(
        "RetinaNet, cut before NMS",
        ("anchors-retinanet", "anchors-retinanet-joined"),
        ("retinanet",),
    ),
    Family(
        "EfficientDet, cut before NMS",
        ("anchors-efficientdet", "anchors-efficientdet-last", "anchors-efficientdet-min-height"),
    ),
    Family("RetinaFace: keypoints", ("anchors-retinaface", "anchors-background-last"), ("retinaface",)),
    Family("BlazeFace, palms and poses of MediaPipe: keypoints", ("anchors-blazeface",), ("blazeface",)),
    Family("face masks of AIZOO", (), ("aizoo",), (_C.PHOTOS,), card="face-mask-260"),
    Family("DetectNet of DIGITS", ("detectnet",), files="Caffe"),
    Family("DetectNet_v2 of TAO", ("anchors-tao",), ("detectnet-tao",)),
    Family(
        "Faster R-CNN in two networks",
        ("faster_rcnn", "faster_rcnn-agnostic", "faster_rcnn-agnostic-four"),
        files="Caffe",
    ),
)

# Files of it, by the ids of the tests of recognition.
BARE: Mapping[str, ModelFacts] = {
    **{id: model for id, (model, _, _) in test_masks_recognition.ONE.items()},
    **{f"exports/{id}": model for id, (model, _, _) in test_exports_recognition.ONE.items()},
    "yolov8-raw-segment": test_distances_recognition.facts(test_mask_coefficients.SEGMENT),
    **{id: model for id, (model, _) in test_head_recognition.ONE_HEAD.items()},
    **{id: model for id, (model, _, _) in test_boxes_recognition.ONE.items()},
    **{id: model for id, (model, _, _) in test_distances_recognition.ONE.items()},
    **{id: model for id, (model, _, _) in test_anchors_recognition.RECOGNIZED.items()},
}
BY_ID: Mapping[str, Case] = {case.id: case for case in CASES}

# What is another in each network and says nothing of a family, and what says something without its value.
_OF_A_NETWORK = frozenset(("output", "classes", "top_k", "strides", "stride", "min_height"))
_BY_NAME = frozenset(
    ("keypoints", "masks", "keypoint_count", "side", "num", "coords", "features", "means", "stds")
)


class Read(NamedTuple):
    """One way to read a family.

    names: of the outputs. has_input: whether how it is fed is known too. has_metadata: whether the file has
    some.
    """

    type: str
    params: HeadParams
    names: frozenset[str]
    has_input: bool = False
    has_metadata: bool = False


def reading_of(id: str) -> Reading:
    """How a file of the tests of recognition is read."""
    (reading,) = heads.recognize(BARE[id])
    return reading


def readings(family: Family) -> Iterator[Read]:
    """As bare files of it are read; of a family that has none as its card, or as the cases of plain loops."""
    for id in family.bare:
        one = reading_of(id)
        names = frozenset(spec.name for spec in BARE[id].outputs)
        yield Read(one.type, one.params, names, one.input is not None, bool(BARE[id].metadata))
    if family.bare:
        return
    for id in family.cases:
        case = BY_ID[id]
        module, params = heads.params_from({"type": case.type, **case.params})
        yield Read(module.TYPE, params, frozenset(case.make(np.random.default_rng(0), (64, 64), 3)))


def decoding(family: Family) -> str:
    """The type of the head that reads it."""
    (type,) = {one.type for one in readings(family)}
    return type


def table() -> str:
    """The rows of docs/models.md, by decoding."""
    order = list(heads.HEADS)
    lines = [
        "| Family | Decoding | Parameters | A bare file | Compared with |",
        "|---|---|---|---|---|",
    ]
    for family in sorted(FAMILIES, key=lambda one: order.index(decoding(one))):
        cells = (
            _name(family),
            f"`{decoding(family)}`",
            _parameters(family),
            _bare(family),
            _compared(family),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "".join(f"{line}\n" for line in lines)


def _name(family: Family) -> str:
    return f"{family.name} (`{family.card}`)" if family.card else family.name


def _bare(family: Family) -> str:
    if family.files:
        return f"{family.files}'s files run"
    if not family.bare:
        return "wants a card"
    found = list(readings(family))
    if not any(one.has_input for one in found):
        return "is read; its input wants a card"
    return "runs, by its metadata" if all(one.has_metadata for one in found) else "runs"


def _compared(family: Family) -> str:
    return ", ".join([*(["plain loops"] if family.cases else []), *(one.word for one in family.compared)])


def _parameters(family: Family) -> str:
    found: list[str] = []
    for one in readings(family):
        text = ", ".join(_stated(one)) or "the defaults"
        if text not in found:
            found.append(text)
    return "; or ".join(found)


def _stated(one: Read) -> Iterator[str]:
    """The fields that are not as they are without a card, but those that are of one network alone."""
    for field in msgspec.structs.fields(one.params):
        value, name = getattr(one.params, field.name), f"`{field.name}`"
        if value == field.default or field.name in _OF_A_NETWORK or value is None:
            continue
        if field.name == "layers":
            scales = {layer.scale_x_y for layer in value}
            yield f"{name} of `anchors`"
            if scales != {1.0}:
                yield f"`scale_x_y` {scales.pop():g}" if len(scales) == 1 else "`scale_x_y`"
        elif value is True or field.name in _BY_NAME or _names_outputs(value, one.names) or _is_nested(value):
            yield name
        else:
            yield f"{name} {_shown(value)}"


def _names_outputs(value: Any, names: frozenset[str]) -> bool:
    given = (value,) if isinstance(value, str) else value if isinstance(value, tuple) else ()
    return bool(given) and all(isinstance(name, str) and name in names for name in given)


def _is_nested(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(each, tuple | msgspec.Struct) for each in value)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def legend() -> str:
    """What the last column's words mean, and where the tests are."""
    lines = ["| Word | Compared | By |", "|---|---|---|"]
    lines.append(
        "| plain loops | candidates of random outputs, beside the decoding's definition in loops over plain "
        "numbers; hostile values, other precisions, outputs that do not fit | "
        "`tests/heads/test_head_decode.py` |"
    )
    found: dict[tuple[str, str], list[str]] = {}
    for one in Compared:
        found.setdefault((one.word, one.meaning), []).append(f"`{one.test.partition('::')[0]}`")
    lines += [
        f"| {word} | {meaning} | {', '.join(dict.fromkeys(files))} |"
        for (word, meaning), files in found.items()
    ]
    return "".join(f"{line}\n" for line in lines)
