"""Evidence that recognize() weighs: how many cells a model has, and which exporter named its tensors.

Several heads share the shape (1, N, columns), so each claims a model only where nothing speaks for
another; what stays open is claimed by all that it could be, and the caller reports the doubt.
"""

from __future__ import annotations

from edgecv.heads.cells import cell_count
from edgecv.types import ModelFacts, TensorSpec

Size = int | str | None

P5 = (8, 16, 32)
P2 = (4, 8, 16, 32)
P6 = (8, 16, 32, 64)


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
