"""Accuracy of a detector on an annotated dataset, counted as COCO does."""

from __future__ import annotations

from edgecv.evaluate.classes import ClassMap, map_classes
from edgecv.evaluate.dataset import Annotations, Category, Dataset, ImageEntry
from edgecv.evaluate.evaluation import SETTINGS, Detector, Progress, evaluate
from edgecv.evaluate.formats import open_dataset
from edgecv.evaluate.report import (
    ClassResult,
    Curve,
    EvalReport,
    ImageFailure,
    KeypointFigures,
    MaskFigures,
    Thresholds,
)
from edgecv.evaluate.scoring import load_scorer
from edgecv.evaluate.tables import to_class_table, to_other_tables, to_table

__all__ = [
    "SETTINGS",
    "Annotations",
    "Category",
    "ClassMap",
    "ClassResult",
    "Curve",
    "Dataset",
    "Detector",
    "EvalReport",
    "ImageEntry",
    "ImageFailure",
    "KeypointFigures",
    "MaskFigures",
    "Progress",
    "Thresholds",
    "evaluate",
    "load_scorer",
    "map_classes",
    "open_dataset",
    "to_class_table",
    "to_other_tables",
    "to_table",
]
