"""Brands of detectors: which head reads a network that one of them made, and with which parameters.

A brand decodes nothing. `BRANDS` lists them by name; a new one is a new module and a name in the list.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from importlib import import_module
from typing import Any

from edgecv.heads.base import Brand
from edgecv.registry import Registry


def _module(name: str) -> Any:
    return import_module(f"edgecv.heads.brands.{name}")


# fmt: off
_NAMES: tuple[str, ...] = (
    "yolov5", "yolov5_face", "yolov6", "yolov8", "yolov8_pose", "yolov8_raw", "yolo_e2e", "yolov4", "yolov7",
    "yolo_nas", "yolox", "nanodet", "picodet", "fastestdet", "rtmdet", "fcos", "centernet", "yunet", "scrfd",
    "centerface", "retinaface", "retinaface_mxnet", "blazeface", "ultraface", "aizoo", "ssd",
    "torchvision_heads", "paddle", "pinto", "torchvision", "tensorflow", "efficient_nms", "mmdeploy", "detr",
    "rtdetr", "rfdetr", "yolo", "region", "detection", "detectnet", "faster_rcnn", "classifier",
)
# fmt: on

BRANDS: MutableMapping[str, Brand] = Registry(_NAMES, _module)
