"""Sizes of outputs that a file leaves open or declares wrongly: found by inference, else by a run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace

from edgecv.errors import EdgeCVError, InputError
from edgecv.graph.model import OnnxModel
from edgecv.heads.ultralytics import parse_metadata
from edgecv.importers.base import Array, Asked
from edgecv.inputs import Size, axis_sizes, fixed_wh, image_of, layout_of, shape_of
from edgecv.types import ModelFacts, TensorSpec

# What sizes of networks with maps of several strides are multiples of.
_STEPS = (2, 4, 8, 16, 32, 64, 128, 256)
# The name of a batch axis that has none.
_BATCH = "batch"


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
        image = image_of(facts.inputs)
        if asked.imgsz is not None and image is not None:
            channels = axis_sizes(image[1], image[0].shape)["c"]
            check_size(model, image[0].name, image[1], channels, asked.imgsz)
        # Whoever runs the network says why it cannot take these sizes.
        return facts
    outputs = tuple(_filled(spec, found.get(spec.name)) for spec in facts.outputs)
    if asked.run is not None and not all(map(_is_known, outputs)):
        measured = _measured(model, shapes, asked)
        outputs = tuple(_filled(spec, measured.get(spec.name)) for spec in outputs)
    return replace(facts, outputs=outputs, image_wh=image_wh)


def check_size(model: OnnxModel, name: str, layout: str, channels: Size, size_wh: tuple[int, int]) -> None:
    """Raise InputError for a size of the picture that the network cannot take; it names the nearest that fit.

    name, layout, channels: of the input that takes it. By shape inference alone: what it cannot tell is left
    to whoever compiles.
    """
    spec = next((spec for spec in model.facts.inputs if spec.name == name), None)
    if spec is None or len(spec.shape) != len(layout) or fixed_wh(layout, spec.shape) is not None:
        return
    color = channels if isinstance(channels, int) else 3

    def reason(wh: tuple[int, int]) -> str:
        try:
            model.output_shapes({name: shape_of(layout, 1, color, wh)})
        except InputError as error:
            return str(error)
        return ""

    why = reason(size_wh)
    if not why:
        return
    asked = f"{model.origin}: imgsz asks for {size_wh[0]}x{size_wh[1]}, which the network cannot take: "
    for step in _STEPS:
        lower, upper = (
            (max(step, width // step * step), max(step, height // step * step))
            for width, height in (size_wh, tuple(n + step - 1 for n in size_wh))
        )
        if size_wh != lower and not reason(lower) and not reason(upper):
            sizes = " or ".join(dict.fromkeys(f"{width}x{height}" for width, height in (lower, upper)))
            raise InputError(f"{asked}it takes multiples of {step}; the nearest are {sizes}")
    raise InputError(f"{asked}{why.removeprefix(f'{model.origin}: ')}")


def check_not_empty(model: OnnxModel, name: str) -> None:
    """Raise InputError where the input of this name, which is to take a picture, has a size of 0: some
    exporters write free ones so."""
    for spec in model.facts.inputs:
        if spec.name == name and 0 in spec.shape:
            raise InputError(
                f"{model.origin}: input {spec}: a size that is declared 0 takes no values at all; a free "
                "size is written as a name, without a number"
            )


def with_batches(model: OnnxModel, size_wh: tuple[int, int]) -> OnnxModel:
    """The network, its outputs naming the batch axis of its picture where inference proves that it is theirs.

    Some exporters give each open axis a name of its own. size_wh: of the picture, where the file leaves it
    open.
    """
    facts = model.facts
    found = image_of(facts.inputs)
    if found is None or "n" not in found[1] or isinstance(found[0].shape[0], int):
        return model
    symbol = found[0].shape[0] or _BATCH
    if all(spec.shape[:1] == (symbol,) for spec in facts.outputs) and found[0].shape[0]:
        return model
    shapes = _shapes(facts, facts.image_wh or size_wh)
    if shapes is None:
        return model
    open_batch = [spec.name for spec in facts.inputs if spec.shape and not isinstance(spec.shape[0], int)]
    firsts = []
    for batch in (2, 3):
        told = {name: (batch, *shape[1:]) if name in open_batch else shape for name, shape in shapes.items()}
        try:
            found_of = model.output_shapes(told)
            firsts.append({name: (shape or ())[:1] for name, shape in found_of.items()})
        except InputError:
            return model
    proven = {name for name, first in firsts[0].items() if first == (2,) and firsts[1][name] == (3,)}
    outputs = tuple(
        replace(spec, shape=(symbol, *spec.shape[1:])) if spec.name in proven and spec.shape else spec
        for spec in facts.outputs
    )
    inputs = tuple(
        replace(spec, shape=(symbol, *spec.shape[1:])) if spec is found[0] else spec for spec in facts.inputs
    )
    return model.with_facts(replace(facts, inputs=inputs, outputs=outputs))


def _exported_wh(facts: ModelFacts) -> tuple[int, int] | None:
    about = parse_metadata(facts.metadata)
    return about.imgsz_wh if about else None


def _shapes(facts: ModelFacts, image_wh: tuple[int, int]) -> dict[str, tuple[int, ...]] | None:
    """Those of the inputs for one picture; None where there are others than pictures of open sizes."""
    shapes = {}
    for spec in facts.inputs:
        layout = layout_of(spec.shape) or "n"
        axes = {"n": 1, "w": image_wh[0], "h": image_wh[1]}
        sizes = tuple(
            n if isinstance(n, int) else axes.get(layout[i : i + 1]) for i, n in enumerate(spec.shape)
        )
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
