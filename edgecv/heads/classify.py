"""Classification: one score a class, for the frame as a whole.

The output is (classes,), or (classes, 1, 1) where a network ends in a pooling over the whole map.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgecv.errors import HeadError
from edgecv.heads.base import HeadParams, take
from edgecv.types import FloatArray, ModelFacts

TYPE = "classify"
TASK = "classify"


class Params(HeadParams, frozen=True):
    """output: name of the output. is_probability: whether it ends in a softmax; else we apply it."""

    output: str
    is_probability: bool = False


def draft(facts: ModelFacts) -> Params:
    """The first output of one score a class. Raises HeadError where there is none."""
    for spec in facts.outputs:
        if len(spec.shape) >= 2 and all(size == 1 for size in spec.shape[2:]):
            return Params(output=spec.name, is_probability=facts.ends.get(spec.name) == "Softmax")
    shapes = "; ".join(map(str, facts.outputs[:8]))
    raise HeadError(f"{TYPE} head: outputs {shapes}: expected one of (batch, classes), one score a class")


def probabilities(outputs: Mapping[str, FloatArray], params: Params) -> FloatArray:
    """See `base.ClassificationHead`. What is not a number counts as 0."""
    shape = outputs[params.output].shape if params.output in outputs else (1,)
    # A batch axis that the network's shapes do not prove.
    shape = shape[1:] if len(shape) > 1 and shape[0] == 1 else shape
    if not _is_row(shape):
        raise HeadError(
            f"{TYPE} head: output {params.output!r} expected (classes,) or (classes, 1, 1), got "
            f"{shape}: one score a class and no map; correct the head in the card"
        )
    scores = take(outputs, params.output, (None,) * len(shape), TYPE).reshape(-1)
    if not params.is_probability:
        scores = _softmax(scores)
    return np.asarray(np.clip(np.nan_to_num(scores, nan=0.0), 0, 1), np.float32)


def _is_row(shape: tuple[int, ...]) -> bool:
    return len(shape) >= 1 and shape[0] >= 1 and all(size == 1 for size in shape[1:])


def _softmax(scores: FloatArray) -> FloatArray:
    """exp(x) / sum(exp(x)), float32, from the largest down so that nothing overflows; 0 for no numbers."""
    finite = np.nan_to_num(scores, nan=-np.inf, neginf=-np.inf)
    largest = finite.max()
    if largest == -np.inf:
        return np.zeros_like(finite)
    with np.errstate(over="ignore"):
        powers = np.exp(finite - largest)
    return np.asarray(powers / powers.sum(), np.float32)
