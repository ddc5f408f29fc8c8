"""Sizes of outputs that a file leaves open or declares wrongly: found by inference, else by a run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace

from edgecv.errors import EdgeCVError
from edgecv.graph.model import OnnxModel
from edgecv.heads.ultralytics import parse_metadata
from edgecv.importers.base import Array, Asked
from edgecv.types import ModelFacts, TensorSpec

Size = int | str | None


def known_facts(model: OnnxModel, asked: Asked) -> ModelFacts:
    """What the file says, but of outputs the sizes that they have at the picture's size where these can be
    told, in place of what it declares.

    The picture's size: the network's own, else `asked.imgsz`, else what metadata says; without one nothing is
    found. Sizes that depend on data stay open, and so does the batch.
    """
    facts = model.facts
    image_wh = facts.image_wh or asked.imgsz or _exported_wh(facts)
    shapes = None if image_wh is None else _shapes(facts, image_wh)
    if shapes is None:
        return facts
    found: Mapping[str, tuple[int | None, ...] | None] = {}
    try:
        found = model.output_shapes(shapes)
    except EdgeCVError:
        # Whoever runs the network says why it cannot take these sizes.
        return facts
    outputs = tuple(_filled(spec, found.get(spec.name)) for spec in facts.outputs)
    if asked.run is not None and not all(map(_is_known, outputs)):
        measured = _measured(model, shapes, asked)
        outputs = tuple(_filled(spec, measured.get(spec.name)) for spec in outputs)
    return replace(facts, outputs=outputs, image_wh=image_wh)


def _exported_wh(facts: ModelFacts) -> tuple[int, int] | None:
    about = parse_metadata(facts.metadata)
    return about.imgsz_wh if about else None


def _shapes(facts: ModelFacts, image_wh: tuple[int, int]) -> dict[str, tuple[int, ...]] | None:
    """Those of the inputs for one picture; None where there are others than pictures of open sizes."""
    shapes = {}
    for spec in facts.inputs:
        sizes: tuple[Size, ...] = spec.shape
        if len(sizes) == 4:
            height, width = (
                n if isinstance(n, int) else m for n, m in zip(sizes[2:], image_wh[::-1], strict=True)
            )
            sizes = (*sizes[:2], height, width)
        sizes = tuple(1 if i == 0 and not isinstance(n, int) else n for i, n in enumerate(sizes))
        if not spec.is_ranked or not all(isinstance(n, int) for n in sizes):
            return None
        shapes[spec.name] = tuple(n for n in sizes if isinstance(n, int))
    return shapes


def _is_known(spec: TensorSpec) -> bool:
    return len(spec.shape) > 0 and all(isinstance(n, int) for n in spec.shape[1:])


def _filled(spec: TensorSpec, found: tuple[int | None, ...] | None) -> TensorSpec:
    """The output with what was found in place of what is declared; an open batch stays."""
    if found is None:
        return spec
    if len(found) != len(spec.shape) or not spec.is_ranked:
        return replace(spec, shape=found, is_ranked=True)
    sizes = [m or n for n, m in zip(spec.shape, found, strict=True)]
    if sizes and not isinstance(spec.shape[0], int):
        sizes[0] = spec.shape[0]
    return replace(spec, shape=tuple(sizes))


def _measured(
    model: OnnxModel, shapes: Mapping[str, tuple[int, ...]], asked: Asked
) -> dict[str, tuple[int | None, ...]]:
    """Shapes of outputs by runs on two pictures: what differs, or is 0, depends on data."""
    assert asked.run is not None
    noise = np.random.default_rng(0)
    feeds: list[dict[str, Array]] = [
        {spec.name: np.asarray(make(shapes[spec.name])).astype(spec.dtype) for spec in model.facts.inputs}
        for make in (np.zeros, noise.random)
    ]
    try:
        first, second = asked.run(model, feeds)
    except EdgeCVError:
        return {}
    return {
        name: tuple(n if n == m else None for n, m in zip(array.shape, second[name].shape, strict=True))
        for name, array in first.items()
        if array.ndim == second[name].ndim
    }
