"""The simd backend: edgecv's own engine on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgecv import machine
from edgecv.backends.base import Array, Backend, CompileOptions, Session, Shapes, require_precision
from edgecv.errors import InputError, PlacementError, UnavailableError, UnsupportedOperatorError
from edgecv.graph.model import OnnxModel
from edgecv.types import Memory, Placement
from edgecv.version import VERSION

if TYPE_CHECKING:
    from edgecv import _simd
    from edgecv.engine.compile import Output


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


@dataclass(frozen=True)
class _Plan:
    """One set of shapes, ready to run."""

    plan: _simd.Plan
    outputs: tuple[Output, ...]


class SimdSession(Session[_Plan]):
    """One model on the engine. A run with `out` allocates nothing.

    deadline_ns: time.monotonic_ns() after which a run ends with DeadlineError, between steps; 0 is none.
    """

    def __init__(self, model: OnnxModel, options: CompileOptions, version: str) -> None:
        from edgecv import _isa, _simd
        from edgecv.engine import claims
        from edgecv.engine.weights import Weights
        from edgecv.graph.passes import shape_operands

        if options.device != "cpu":
            raise PlacementError(f"simd: device {options.device!r} was asked for; it runs on the cpu only")
        require_precision("simd", model, options)
        self._isa: str = _isa.active()
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
                engine=self._isa,
            ),
        )
        with self._naming_the_model():
            claims.check_model(model)
        self._operands = shape_operands(model)
        self._pool = _simd.Pool(options.threads, cpus=machine.cpu_budget())
        self._weights = Weights()
        self._running: _simd.Plan | None = None
        if not self._operands:
            self._prepare_static()

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
