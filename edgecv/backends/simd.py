"""The simd backend: edgecv's own engine on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from edgecv.backends.base import (
    Array,
    Backend,
    CompileOptions,
    Described,
    Session,
    Shapes,
    require_precision,
)
from edgecv.errors import InputError, PlacementError, UnavailableError, UnsupportedOperatorError
from edgecv.records import frozen
from edgecv.types import Memory, Placement
from edgecv.version import VERSION

if TYPE_CHECKING:
    from edgecv import _simd
    from edgecv.engine.outputs import Output
    from edgecv.engine.saved import SavedStage
    from edgecv.graph.model import OnnxModel


class SimdBackend(Backend):
    """The engine of `edgecv.engine`, on the instruction set of this CPU or the one that EDGECV_ISA names."""

    name = "simd"

    def unavailable(self) -> str | None:
        from edgecv import _isa

        try:
            _isa.active()
        except (InputError, UnavailableError) as error:
            return str(error)
        return None

    def version(self) -> str:
        return VERSION

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def compile(self, model: OnnxModel, options: CompileOptions) -> SimdSession:
        return SimdSession(model, options, self.version())

    def open(self, plan: SavedStage, options: CompileOptions) -> SavedSession:
        """A session on a plan that was compiled before; PlacementError where it does not run as asked for."""
        return SavedSession(plan, options, self.version())


@frozen
class _Plan:
    """One set of shapes, ready to run."""

    plan: _simd.Plan
    outputs: tuple[Output, ...]


class _EngineSession(Session[_Plan]):
    """Plans of one model on the engine. A run with `out` allocates nothing.

    deadline_ns: time.monotonic_ns() after which a run ends with DeadlineError, between steps; 0 is none.
    """

    def __init__(self, model: Described, isa: str, options: CompileOptions, version: str) -> None:
        from edgecv import _simd

        self._isa = isa
        self._threads = options.threads
        self.deadline_ns = 0
        super().__init__(
            model,
            Placement(
                backend="simd",
                version=version,
                device="cpu",
                precision="fp32",
                threads=options.threads,
                engine=isa,
            ),
        )
        self._pool = _simd.Pool(options.threads, cpus=_cpus_for(options.threads))
        self._running: _simd.Plan | None = None

    @property
    def memory(self) -> Memory:
        plans = [plan.plan for plan in self._plans.values()]
        return Memory(
            weights=sum(plan.constant_bytes + plan.state_bytes for plan in plans)
            + max((plan.weight_bytes for plan in plans), default=0),
            # The pool has scratch for each of its threads, as much as the neediest plan wants.
            arena=sum(plan.arena_bytes for plan in plans)
            + self._threads * max((plan.scratch_bytes for plan in plans), default=0),
        )

    def cancel(self) -> None:
        """End the run in progress, from another thread: it raises CancelledError."""
        plan = self._running
        if plan is not None:
            plan.cancel()

    def _output_shapes(self, plan: _Plan) -> dict[str, tuple[int | None, ...]]:
        return {
            out.name: out.shape if out.rows is None else (None, *out.shape[1:])
            for out in plan.outputs[: len(self.outputs)]
        }

    def _execute(
        self, plan: _Plan, inputs: Mapping[str, Array], out: Mapping[str, Array] | None
    ) -> dict[str, Array]:
        known = out or {}
        arrays = [known[o.name] if o.name in known else np.empty(o.shape, o.dtype) for o in plan.outputs]
        self._running = plan.plan
        try:
            plan.plan.run(
                self._pool,
                tuple(inputs[spec.name] for spec in self.inputs),
                tuple(arrays),
                self.deadline_ns,
            )
        finally:
            self._running = None
        return {
            o.name: array if o.rows is None else array[: int(arrays[o.rows][0])]
            for o, array in zip(plan.outputs[: len(self.outputs)], arrays, strict=False)
        }

    def _release(self) -> None:
        self._pool.close()


class SimdSession(_EngineSession):
    """One model on the engine, which compiles it for each set of shapes."""

    def __init__(self, model: OnnxModel, options: CompileOptions, version: str) -> None:
        from edgecv import _isa
        from edgecv.engine import claims
        from edgecv.engine.weights import Weights
        from edgecv.graph.passes import shape_operands

        _check_device(options)
        require_precision("simd", model, options)
        self._model = model
        with self._naming_the_model():
            claims.check_model(model)
        super().__init__(model, _isa.active(), options, version)
        self._operands = shape_operands(model)
        self._weights = Weights()
        if not self._operands:
            self._prepare_static()

    def _plan_operands(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {name: inputs[name] for name in self._operands}

    def _make_plan(self, shapes: Shapes, operands: Mapping[str, Array]) -> _Plan:
        from edgecv.engine.compile import compile_model

        with self._naming_the_model():
            compiled = compile_model(
                self._model,
                shapes,
                isa=self._isa,
                threads=self._threads,
                operands=operands,
                weights=self._weights,
            )
        return _Plan(compiled.plan, compiled.outputs)

    @contextmanager
    def _naming_the_model(self) -> Iterator[None]:
        try:
            yield
        except UnsupportedOperatorError as error:
            raise UnsupportedOperatorError(
                f"simd {VERSION} cannot compile {self._model.origin}: {error}", error.reason
            ) from error


class SavedSession(_EngineSession):
    """One plan out of a file on the engine: for the shapes that it was compiled for, and no others."""

    def __init__(self, saved: SavedStage, options: CompileOptions, version: str) -> None:
        _check_device(options)
        if options.precision != saved.precision:
            raise PlacementError(
                f"simd: precision {options.precision} was asked for, and {saved.origin} is a plan in "
                f"{saved.precision}; ask for precision={saved.precision}"
            )
        super().__init__(saved, saved.isa, options, version)
        self._saved = saved
        self._prepare_static()

    def _make_plan(self, shapes: Shapes, operands: Mapping[str, Array]) -> _Plan:
        return _Plan(self._saved.load(), self._saved.outputs)

    def _check_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
        try:
            return super()._check_shapes(shapes)
        except InputError as error:
            raise InputError(
                f"{error}: {self._saved.origin} is a plan for its shapes alone; compile "
                f"{self._saved.source} for others"
            ) from None


def _cpus_for(threads: int) -> int | None:
    """How many may run at a time; None for a thread alone, which waits for no other."""
    if threads == 1:
        return None
    from edgecv import machine

    return machine.cpu_budget()


def _check_device(options: CompileOptions) -> None:
    if options.device != "cpu":
        raise PlacementError(f"simd: device {options.device!r} was asked for; it runs on the cpu only")
