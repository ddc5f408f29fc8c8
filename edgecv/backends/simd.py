"""The simd backend: edgecv's own engine on the CPU."""

from __future__ import annotations

from _thread import allocate_lock
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec
import numpy as np

from edgecv.backends.base import Array, Backend, Compiled, CompileOptions, Described, Shapes
from edgecv.backends.session import MAX_PLANS, Key, Session
from edgecv.errors import (
    CancelledError,
    InputError,
    PlacementError,
    UnavailableError,
    UnsupportedOperatorError,
)
from edgecv.types import Memory, Placement
from edgecv.version import VERSION

if TYPE_CHECKING:
    from edgecv import _simd
    from edgecv.backends.pool import Pool
    from edgecv.container import Container
    from edgecv.engine.outputs import Output
    from edgecv.engine.saved import SavedStage
    from edgecv.graph.model import OnnxModel

# What the engine computes in; it has no integer kernels for multiplications yet.
PRECISION = "fp32"


class SimdBackend(Backend):
    """The engine of `edgecv.engine`, on the instruction set of this CPU or the one that EDGECV_ISA names."""

    name = "simd"
    takes_pool = True

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

    def compile(self, model: OnnxModel, device: str, options: CompileOptions) -> Compiled:
        _check(device, options)
        return CompiledNetwork(model, options.threads)

    def open(self, container: Container, device: str, options: CompileOptions) -> dict[str, Compiled]:
        from edgecv.engine import saved

        _check(device, options)
        plan = saved.of(container)
        return {name: CompiledStage(stage, options.threads) for name, stage in plan.stages.items()}


class Plan(msgspec.Struct, frozen=True):
    """One set of shapes, compiled. outputs: those of the network, then counts of rows."""

    program: _simd.Plan
    outputs: tuple[Output, ...]


class _Ready(msgspec.Struct, frozen=True):
    """A plan with the memory of one session's runs."""

    plan: Plan
    context: _simd.Context


class _SimdCompiled(Compiled):
    """Plans of one model on the engine, which sessions share. threads: of those that bring no pool."""

    deadline: ClassVar[Literal["ends", "judges"]] = "ends"

    def __init__(self, model: Described, isa: str, stored: str, threads: int) -> None:
        placement = Placement(
            backend="simd",
            version=VERSION,
            device="cpu",
            stored=stored,
            precision=PRECISION,
            threads=threads,
            engine=isa,
        )
        super().__init__(model, placement)
        self.threads = threads

    def open(self, pool: Pool | None = None) -> SimdSession:
        return SimdSession(self, pool)

    @property
    def operands(self) -> tuple[str, ...]:
        """Inputs whose values plans are made for."""
        return ()

    @abstractmethod
    def plan(self, key: Key, shapes: Shapes, operands: Mapping[str, Array]) -> Plan:
        """The plan for these shapes and values, made once."""


class CompiledNetwork(_SimdCompiled):
    """A network on the engine, which compiles it for each set of shapes; packed weights are shared by all."""

    def __init__(self, model: OnnxModel, threads: int) -> None:
        from edgecv import _isa
        from edgecv.engine import claims
        from edgecv.engine.weights import Weights
        from edgecv.graph.passes import shape_operands

        self._model = model
        with self._naming_the_model():
            claims.check_model(model)
        super().__init__(model, _isa.active(), model.precision, threads)
        self._operands = tuple(shape_operands(model))
        self._weights = Weights()
        self._plans: OrderedDict[Key, Plan] = OrderedDict()
        self._lock = allocate_lock()

    @property
    def operands(self) -> tuple[str, ...]:
        return self._operands

    def plan(self, key: Key, shapes: Shapes, operands: Mapping[str, Array]) -> Plan:
        with self._lock:
            if key not in self._plans:
                self._plans[key] = self._compiled(shapes, operands)
                if len(self._plans) > MAX_PLANS:
                    self._plans.popitem(last=False)
            self._plans.move_to_end(key)
            return self._plans[key]

    def _compiled(self, shapes: Shapes, operands: Mapping[str, Array]) -> Plan:
        from edgecv.engine.compile import compile_model

        with self._naming_the_model():
            compiled = compile_model(
                self._model,
                shapes,
                isa=self.placement.engine,
                threads=self.threads,
                operands=operands,
                weights=self._weights,
            )
        return Plan(compiled.plan, compiled.outputs)

    @contextmanager
    def _naming_the_model(self) -> Iterator[None]:
        try:
            yield
        except UnsupportedOperatorError as error:
            raise UnsupportedOperatorError(
                f"simd {VERSION} cannot compile {self._model.origin}: {error}", error.reason
            ) from error


class CompiledStage(_SimdCompiled):
    """A plan out of a file: for the shapes that it was compiled for, and no others."""

    def __init__(self, stage: SavedStage, threads: int) -> None:
        super().__init__(stage, stage.isa, stage.stored, threads)
        self._plan = Plan(stage.load(), stage.outputs)
        self.other_shapes = (
            f": {stage.origin} is a plan for its shapes alone; compile {stage.source} for others"
        )

    def plan(self, key: Key, shapes: Shapes, operands: Mapping[str, Array]) -> Plan:
        return self._plan


class SimdSession(Session[_Ready]):
    """Runs of one model on the engine. A run with `out` allocates nothing."""

    compiled: _SimdCompiled

    def __init__(self, compiled: _SimdCompiled, pool: Pool | None) -> None:
        super().__init__(compiled)
        self._owns_pool = pool is None
        if pool is None:
            from edgecv.backends.pool import Pool

            pool = Pool(compiled.threads)
        self._pool = pool
        self._running: _simd.Context | None = None
        self.placement = msgspec.structs.replace(self.placement, threads=pool.threads)
        if not compiled.operands:
            self._prepare_static()

    @property
    def memory(self) -> Memory:
        plans = [ready.plan.program for ready in self._plans.values()]
        return Memory(
            weights=sum(plan.constant_bytes + plan.state_bytes for plan in plans)
            + max((plan.weight_bytes for plan in plans), default=0),
            # The pool has scratch for each of its threads, as much as the neediest plan wants.
            arena=sum(plan.arena_bytes for plan in plans)
            + self._pool.threads * max((plan.scratch_bytes for plan in plans), default=0),
        )

    def _plan_operands(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {name: inputs[name] for name in self.compiled.operands}

    def _make_plan(self, key: Key, shapes: Shapes, operands: Mapping[str, Array]) -> _Ready:
        from edgecv import _simd

        plan = self.compiled.plan(key, shapes, operands)
        return _Ready(plan, _simd.Context(plan.program))

    def _interrupt(self) -> None:
        context = self._running
        if context is not None:
            context.cancel()

    def _output_shapes(self, plan: _Ready) -> dict[str, tuple[int | None, ...]]:
        return {
            out.name: out.shape if out.rows is None else (None, *out.shape[1:])
            for out in plan.plan.outputs[: len(self.outputs)]
        }

    def _execute(
        self, plan: _Ready, inputs: Mapping[str, Array], out: Mapping[str, Array] | None, deadline_ns: int
    ) -> dict[str, Array]:
        known, outputs = out or {}, plan.plan.outputs
        arrays = [known[o.name] if o.name in known else np.empty(o.shape, o.dtype) for o in outputs]
        self._pool.begin(deadline_ns)
        self._running = plan.context
        try:
            if self._is_cancelled:
                raise CancelledError("run: cancelled before it began")
            plan.context.run(
                self._pool.native,
                tuple(inputs[spec.name] for spec in self.inputs),
                tuple(arrays),
                deadline_ns,
            )
        finally:
            self._running = None
            self._pool.end()
        return {
            o.name: array if o.rows is None else array[: int(arrays[o.rows][0])]
            for o, array in zip(outputs[: len(self.outputs)], arrays, strict=False)
        }

    def _release(self) -> None:
        if self._owns_pool:
            self._pool.close()


def _check(device: str, options: CompileOptions) -> None:
    if device != "cpu":
        raise PlacementError(f"simd: device {device!r} was asked for; it runs on the cpu only")
    if options.precision not in (None, PRECISION):
        raise PlacementError(
            f"simd: precision {options.precision} was asked for, and the engine computes in {PRECISION} alone"
        )
