"""What a network is given to see whether a backend computes it as another one does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from edgecv.backends.base import Array, Sample, Shapes, check_input_bytes
from edgecv.errors import InputError
from edgecv.types import TensorSpec

# A side of a picture whose size is free: a multiple of every stride in use.
FREE_SIDE = 320
_CHANNELS = (1, 3, 4)
# The least side of what may be a picture.
_LEAST_SIDE = 8


def shapes_of(inputs: Iterable[TensorSpec], known: Mapping[str, tuple[int, ...]]) -> Shapes:
    """Shapes to check a network with: what is known, what it states, one picture, and FREE_SIDE.

    Raises InputError where a size is free that nothing tells.
    """
    found: Shapes = {}
    for spec in inputs:
        shape = known.get(spec.name)
        sides = _sides(spec.shape)
        guessed = [
            n if isinstance(n, int) else 1 if axis == 0 else FREE_SIDE if axis in sides else None
            for axis, n in enumerate(spec.shape)
        ]
        sizes = tuple(n for n in guessed if n is not None) if shape is None else tuple(shape)
        if len(sizes) != len(spec.shape):
            raise InputError(f"the size of input {spec} is free")
        if 0 in sizes:
            raise InputError(f"input {spec} takes no values")
        check_input_bytes(spec, sizes)
        found[spec.name] = sizes
    return found


def make(inputs: Sequence[TensorSpec], shapes: Shapes, sample: Sample | None) -> list[dict[str, Array]]:
    """Arrays for all inputs: of the sample those that fit, else a picture where an input can be one; positive
    numbers up to 1; integers 1 and 0 in turn, which index every table of two rows.

    The same bits on every machine. Where floats of a made up picture are, nothing says whether 0 to 1 or 0 to
    255 is what the network is for: then there are both. Raises InputError for a type of input that none of
    this is.
    """
    given = {} if sample is None else sample.make()
    first = _made(inputs, shapes, given, 1.0)
    pictures = [s for s in inputs if s.dtype.kind == "f" and _sides(shapes[s.name])]
    made_up = [s.name for s in pictures if first[s.name] is not given.get(s.name)]
    return [first, _made(inputs, shapes, given, 255.0)] if made_up else [first]


def _made(
    inputs: Iterable[TensorSpec], shapes: Shapes, given: Mapping[str, Array], top: float
) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    made: dict[str, Array] = {}
    for spec in inputs:
        shape, array = shapes[spec.name], given.get(spec.name)
        if array is not None and array.shape == shape and array.dtype == spec.dtype:
            made[spec.name] = array
        elif spec.dtype.kind == "f" or spec.dtype == np.uint8:
            values = _picture(shape) / 255 if _sides(shape) else rng.uniform(0.1, 1, shape)
            most = 255 if spec.dtype == np.uint8 else top if _sides(shape) else 1
            made[spec.name] = np.ascontiguousarray(np.asarray(values * most).astype(spec.dtype))
        elif spec.dtype.kind in "iub":
            made[spec.name] = ((np.arange(int(np.prod(shape))) + 1) % 2).reshape(shape).astype(spec.dtype)
        else:
            raise InputError(f"nothing can be made up for input {spec}")
    return made


def nudged(inputs: Mapping[str, Array], share: float, seed: int) -> dict[str, Array]:
    """The same with noise: of numbers a share of the largest, of pixels one step here and there."""
    rng = np.random.default_rng(seed)
    moved: dict[str, Array] = {}
    for name, array in inputs.items():
        if array.dtype.kind == "f":
            noise = rng.standard_normal(array.shape) * (share * float(np.abs(array).max(initial=0.0)))
            moved[name] = (array + noise).astype(array.dtype)
        elif array.dtype == np.uint8:
            steps = (rng.random(array.shape) < 0.25).astype(np.int16) * rng.choice((-1, 1), array.shape)
            moved[name] = np.clip(array.astype(np.int16) + steps, 0, 255).astype(np.uint8)
        else:
            moved[name] = array
    return moved


def _sides(shape: tuple[int | str | None, ...]) -> tuple[int, ...]:
    """The axes of height and width of what may be a picture; none where it is something else."""
    if len(shape) != 4:
        return ()
    for channels, sides in ((1, (2, 3)), (3, (1, 2))):
        sizes = [n for axis in sides if isinstance(n := shape[axis], int)]
        if shape[channels] in _CHANNELS and all(size >= _LEAST_SIDE for size in sizes):
            return sides
    return ()


def _picture(shape: tuple[int, ...]) -> Array:
    """Generated pictures, 0 to 255, in the layout that the shape says; every other one upside down."""
    # Not imported where nothing is made up.
    from edgecv.media.synthetic import synthetic_frame

    top, left = _sides(shape)
    is_first = top == 2
    channels = shape[1] if is_first else shape[3]
    frame = synthetic_frame(shape[left], shape[top])
    picture = np.dstack([frame, frame[..., 1]])[..., :channels]
    batch = np.stack([picture[:: 1 - 2 * (i % 2)] for i in range(shape[0])])
    return batch.transpose(0, 3, 1, 2) if is_first else batch
