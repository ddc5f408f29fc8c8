"""A network whose outputs nobody has to understand, as the worker measures it: inference alone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgecv import api, backends, machine
from edgecv.backends.base import Array, CompileOptions, Shapes, check_input_bytes
from edgecv.backends.session import Session
from edgecv.errors import HeadError, InputError
from edgecv.options import LoadOptions
from edgecv.types import TensorSpec, Timing


class Network:
    """Runs on made-up inputs, whatever frame it is handed."""

    is_from_cache = False

    def __init__(self, session: Session[Any], inputs: Mapping[str, Array]) -> None:
        self._session = session
        self._inputs = inputs
        self._out = _reusable_outputs(session)
        self.placement = session.placement

    def __call__(self, frame: object) -> SimpleNamespace:
        start = time.perf_counter_ns()
        # Of inputs whose values say shapes a plan is made at the first run.
        self._session.run(self._inputs, out=self._out, replan=True)
        ms = (time.perf_counter_ns() - start) / 1e6
        return SimpleNamespace(timing=Timing((("inference", ms),)))

    def batch(self, frames: Sequence[object]) -> list[SimpleNamespace]:
        """One run: its inputs are as many as were asked for."""
        return [self(frames)]

    def clone(self) -> Network:
        """Another one, on the same weights."""
        return Network(self._session.clone(), self._inputs)


def load(model: str, options: LoadOptions, *, settings: Mapping[str, Any]) -> Network:
    """settings: batch, and shapes of inputs by name. Raises InputError for an axis that nothing gives a size,
    and what `edgecv.compile` raises.
    """
    session = _session(model, options)
    shapes = input_shapes(session.inputs, settings["shapes"], settings["batch"], options.imgsz, model)
    session.prepare(shapes)
    return Network(session, {spec.name: made_up(spec, shapes[spec.name]) for spec in session.inputs})


def input_shapes(
    inputs: Sequence[TensorSpec],
    given: Mapping[str, Sequence[int]],
    batch: int,
    size_wh: tuple[int, int] | None,
    origin: str,
) -> Shapes:
    """Of each input: as given, else as the file has it, an open first axis taking the batch, and open axes of
    a picture its size. Raises InputError for any other open axis, for names that are no input's, and where
    no input has the batch as its first axis.
    """
    names = [spec.name for spec in inputs]
    for name in given:
        if name not in names:
            raise InputError(f"shape: {origin} has no input {name!r}; it has {', '.join(names)}")
    shapes = {
        spec.name: tuple(given[spec.name]) if spec.name in given else _shape(spec, batch, size_wh, origin)
        for spec in inputs
    }
    for spec in inputs:
        check_input_bytes(spec, shapes[spec.name])
    if batch > 1 and not any(shape[:1] == (batch,) for shape in shapes.values()):
        # What one run of it takes would be shared by frames that it has not seen.
        told = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
        raise InputError(
            f"batch: {origin} takes {told}, of which no first axis is {batch}: export it with an open one, "
            "or leave the batch out"
        )
    return shapes


def made_up(spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    """Noise for pictures and maps; ones for vectors and whole numbers, which may be sizes, scales or
    indices.
    """
    rng = np.random.default_rng(0)
    if spec.dtype == np.uint8:
        return rng.integers(0, 256, shape, np.uint8)
    if spec.dtype.kind != "f" or len(shape) < 3:
        return np.ones(shape, spec.dtype)
    return rng.random(shape, np.float32).astype(spec.dtype)


def _reusable_outputs(session: Session[Any]) -> dict[str, Array] | None:
    """As a detector has them; None where a size depends on the data."""
    try:
        return session.empty_outputs()
    except InputError:
        return None


def _session(model: str, options: LoadOptions) -> Session[Any]:
    try:
        loaded = api.resolve(model, options, plans=True)
    except HeadError:
        loaded = None
    if loaded is None or loaded.plan is not None or loaded.is_drafted:
        return api.compile(
            model,
            backend=options.backend,
            device=options.device,
            threads=options.threads,
            precision=options.precision,
            weights=options.weights,
            cache=options.cache,
        )
    if len(loaded.networks) > 1:
        raise InputError(f"{model}: {len(loaded.networks)} networks, and no pipeline joins them")
    asked = CompileOptions(options.device, options.threads or machine.cpu_budget(), options.precision)
    return backends.compile_model(loaded.model, options.backend, asked)


def _shape(spec: TensorSpec, batch: int, size_wh: tuple[int, int] | None, origin: str) -> tuple[int, ...]:
    sizes: list[int] = []
    for axis, n in enumerate(spec.shape):
        if isinstance(n, int):
            sizes.append(n)
        elif axis == 0:
            sizes.append(batch)
        elif len(spec.shape) == 4 and size_wh is not None and axis >= 2:
            sizes.append(size_wh[3 - axis])
        else:
            raise InputError(
                f"shape: {origin}: input {spec} is open: name a size with --shape {spec.name}=1x3x224x224"
            )
    return tuple(sizes)
