"""Layers that only move values: Concat, Slice, Reshape, Permute, Crop and their like."""

from __future__ import annotations

from edgecv.importers.caffe.prototxt import MAX_AXES
from edgecv.importers.caffe.step import Converter, Priors, Result, Step, count


def concat(step: Step) -> Result:
    """Values one after the other along an axis; so are priors."""
    if all(isinstance(value, Priors) for value in step.bottoms):
        return _join_priors(step)
    p = step.message.concat_param
    axis = step.axis(p.concat_dim if p.HasField("concat_dim") else p.axis)
    rest = [shape[:axis] + shape[axis + 1 :] for shape in (tensor.shape for tensor in step.tensors())]
    for tensor, other in zip(step.tensors(), rest, strict=True):
        if other != rest[0]:
            raise step.error(
                f"bottoms of shapes {step.shape} and {tensor.shape}: expected the same but for axis {axis}"
            )
    if len(step.bottoms) == 1:
        return step.tensor()
    return step.add("Concat", [tensor.name for tensor in step.tensors()], axis=axis)


def slice_(step: Step) -> Result:
    """Parts along an axis, cut where the layer says or into equal ones."""
    step.expect_bottoms(1)
    p = step.message.slice_param
    axis = step.axis(p.slice_dim if p.HasField("slice_dim") else p.axis)
    size, parts = step.shape[axis], len(step.layer.tops)
    if parts == 1:
        return step.tensor()
    points = list(p.slice_point) or [number * size // parts for number in range(1, parts)]
    sizes = [end - start for start, end in zip([0, *points], [*points, size], strict=True)]
    if len(sizes) != parts or min(sizes) < 1 or (not p.slice_point and size % parts):
        raise step.error(f"slice_point {points[:8]} of axis {axis}, {size} long, into {parts} tops")
    return step.add_tops("Split", [step.input], axis=axis, split=sizes)


def split(step: Step) -> Result:
    """The same value under several names."""
    return [step.tensor()] * len(step.layer.tops)


def flatten(step: Step) -> Result:
    """Axes `axis` to `end_axis` as one; priors stay what they are."""
    if isinstance(step.bottoms[0], Priors):
        return step.bottoms[0]
    p = step.message.flatten_param
    shape = step.shape
    first, last = step.axis(p.axis), step.axis(p.end_axis)
    if last < first:
        raise step.error(f"axis {p.axis} to end_axis {p.end_axis} of a bottom of {len(shape)} axes")
    if first == 1 and last == len(shape) - 1:
        return step.tensor() if last == 1 else step.add("Flatten", [step.input], axis=1)
    return step.reshape(step.input, (*shape[:first], count(shape[first : last + 1]), *shape[last + 1 :]))


def reshape(step: Step) -> Result:
    """Other sizes for the axes from `axis` on: 0 keeps one, -1 takes what is left."""
    if isinstance(step.bottoms[0], Priors):
        return step.bottoms[0]
    p = step.message.reshape_param
    shape, rank = step.shape, len(step.shape)
    first = step.axis(p.axis, rank=rank + 1)
    last = rank if p.num_axes == -1 else first + p.num_axes
    if not first <= last <= rank:
        raise step.error(f"axis {p.axis} and num_axes {p.num_axes} of a bottom of {rank} axes")
    new = list(p.shape.dim)
    if len(new) > MAX_AXES:
        raise step.error(f"shape of {len(new)} sizes: expected at most {MAX_AXES}")
    for number, size in enumerate(new):
        if size < -1 or (size == 0 and first + number >= rank):
            raise step.error(f"shape {new[:8]} of a bottom {shape}: size {number} cannot be taken from it")
        if size == 0:
            new[number] = shape[first + number]
    if new.count(-1) > 1:
        raise step.error(f"shape {new[:8]}: expected at most one -1")
    given, open_ = count(shape[first:last]), count([size for size in new if size != -1])
    if -1 in new:
        new[new.index(-1)] = given // open_
    if count(new) != given:
        raise step.error(
            f"shape {list(p.shape.dim)[:8]} for {given} values of a bottom {shape}: the counts differ; the "
            "graph runs one image at a time, so that the first size is 0, 1 or -1"
        )
    return step.reshape(step.input, (*shape[:first], *new, *shape[last:]))


def permute(step: Step) -> str:
    """Axes in the given order, those not named after them."""
    rank = len(step.shape)
    order = list(step.message.permute_param.order)
    if len(set(order)) != len(order) or any(axis >= rank for axis in order):
        raise step.error(f"order {order[:8]} of a bottom of {rank} axes: expected each axis once")
    order += [axis for axis in range(rank) if axis not in order]
    return step.add("Transpose", [step.input], perm=order)


def crop(step: Step) -> Result:
    """The part of the first bottom that has the size of the second, from `axis` on."""
    step.expect_bottoms(2)
    p = step.message.crop_param
    value, like = step.tensors()
    first = step.axis(p.axis)
    axes = list(range(first, len(value.shape)))
    if len(like.shape) != len(value.shape) or len(p.offset) not in (0, 1, len(axes)):
        raise step.error(
            f"bottoms of shapes {value.shape} and {like.shape} with {len(p.offset)} offsets do not fit"
        )
    offsets = list(p.offset) * (len(axes) if len(p.offset) == 1 else 1) or [0] * len(axes)
    ends = [offset + like.shape[axis] for offset, axis in zip(offsets, axes, strict=True)]
    if any(end > value.shape[axis] for end, axis in zip(ends, axes, strict=True)):
        raise step.error(f"offset {offsets} and size {like.shape} reach out of {value.shape}")
    if not any(offsets) and value.shape[first:] == like.shape[first:]:
        return value
    operands = {"starts": offsets, "ends": ends, "axes": axes}
    names = [step.integers(*numbers, role=role) for role, numbers in operands.items()]
    return step.add("Slice", [value.name, *names])


def tile(step: Step) -> str:
    """Copies one after the other along an axis."""
    p = step.message.tile_param
    repeats = [1] * len(step.shape)
    repeats[step.axis(p.axis)] = step.size(p.tiles, "tiles")
    return step.add("Tile", [step.input, step.integers(*repeats, role="repeats")])


def shuffle_channel(step: Step) -> Result:
    """Channel i of group g becomes channel g of group i."""
    group, shape = step.message.shuffle_channel_param.group, step.shape
    if len(shape) < 2 or step.size(group, "group") > shape[1] or shape[1] % group:
        raise step.error(f"group {group} of a bottom of shape {shape}: expected a divisor of the channels")
    if group == 1:
        return step.tensor()
    grouped = step.reshape(step.input, (shape[0], group, shape[1] // group, *shape[2:]), part="groups")
    order = [0, 2, 1, *range(3, len(shape) + 1)]
    turned = step.add("Transpose", [grouped], part="turned", perm=order)
    return step.reshape(turned, shape)


def _join_priors(step: Step) -> Priors:
    priors = [value for value in step.bottoms if isinstance(value, Priors)]
    if not priors:
        raise step.error("takes no bottom: expected 1 or more")
    return Priors(
        maps=tuple(one for value in priors for one in value.maps),
        variances=tuple(one for value in priors for one in value.variances),
        count=sum(value.count for value in priors),
    )


CONVERTERS: dict[str, Converter] = {
    "Concat": concat,
    "Slice": slice_,
    "Split": split,
    "Flatten": flatten,
    "Reshape": reshape,
    "Permute": permute,
    "Crop": crop,
    "Tile": tile,
    "ShuffleChannel": shuffle_channel,
}
