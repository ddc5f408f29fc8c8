"""What a backend makes of a network, told by a process of its own, which `guests` starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgecv import backends
from edgecv.backends.base import Array, CompileOptions
from edgecv.backends.guests import Testimony
from edgecv.errors import EdgeCVError
from edgecv.graph.model import OnnxModel


def testify(
    network: str,
    origin: str,
    name: str,
    options: CompileOptions,
    runs: Sequence[Mapping[str, Array]],
    *,
    tell: Callable[..., None],
) -> Testimony:
    """Compile the ONNX file `network` on a backend, and run it on each of these inputs.

    tell: is given each step that is done.
    """
    model = OnnxModel.from_bytes(Path(network).read_bytes(), origin=origin)
    told = Testimony()
    try:
        session = backends.compile_on(name, model, options)
    except EdgeCVError as error:
        return Testimony(failed="compile", error=str(error))
    tell("compiled")
    with session:
        told.precision = session.placement.precision
        try:
            for inputs in runs:
                outputs = session.run(inputs, replan=True)
                told.outputs.append({key: np.array(array) for key, array in outputs.items()})
                tell("run")
        except EdgeCVError as error:
            return Testimony(told.precision, "run", str(error))
    return told
