"""Apart: which outputs have an axis for the frames of a batch, and what of them is one frame's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from edgecv.backends.base import Array
from edgecv.types import TensorSpec


class Apart(msgspec.Struct, frozen=True):
    """By the shapes that a network states. axes: of each output whether its first axis is the frames';
    None where that is not proven. is_fixed: whether the network takes so many frames and no others.
    """

    axes: Mapping[str, bool | None]
    is_fixed: bool

    @classmethod
    def of(cls, picture: TensorSpec, layout: str, outputs: Sequence[TensorSpec]) -> Apart:
        """picture: the input that frames are made into, of this layout."""
        batch = picture.shape[0] if "n" in layout else None
        axes = {spec.name: _is_batch(spec, batch) if "n" in layout else _is_one(spec) for spec in outputs}
        if len(outputs) == 1 and outputs[0].shape[:1] == (1,) and batch in (1, None):
            # A vector, such as scores of classes; nobody's detections are one row by themselves.
            axes = {outputs[0].name: True}
        return cls(axes, "n" not in layout or isinstance(batch, int))

    @property
    def is_proven(self) -> bool:
        """Whether every output tells the frames of a batch apart."""
        return self.is_fixed or all(self.axes.values())

    def of_image(self, outputs: Mapping[str, Array], number: int, images: int) -> dict[str, Array]:
        """Of raw outputs those of one of the images; what has no batch axis is whole, of all of them.

        What is not proven counts as a batch axis where it has the images' number. Of one image a vector or a
        table, (1,) or (1, n), may be one row of any number: beside others it is taken apart where those of
        more axes are.
        """
        cut = {
            name for name, array in outputs.items() if array.shape[:1] == (images,) and self._has(name, array)
        }
        if images == 1 and any(outputs[name].ndim > 2 for name in cut):
            cut |= {
                name
                for name, array in outputs.items()
                if array.shape[:1] == (1,) and self.axes.get(name) is None
            }
        return {name: array[number] if name in cut else array for name, array in outputs.items()}

    def _has(self, name: str, array: Array) -> bool:
        known = self.axes.get(name)
        return (array.ndim > 2 or len(array) > 1) if known is None else known


def _is_batch(spec: TensorSpec, batch: int | str | None) -> bool | None:
    """Whether an output's first axis is that of an input's batch."""
    if not spec.shape:
        # Of no shape that is known.
        return None
    first = spec.shape[0]
    if isinstance(batch, str) and first == batch:
        return True
    if isinstance(batch, int) and isinstance(first, int):
        # One row of one picture may be a table that has just one.
        return first == batch and (None if batch == 1 and len(spec.shape) <= 2 else True)
    return None


def _is_one(spec: TensorSpec) -> bool:
    """Whether an output of a network without a batch axis has one of its own, which is always 1."""
    return len(spec.shape) > 2 and spec.shape[0] == 1
