"""The simd backend: edgecv's own engine on the CPU."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec
import numpy as np

from edgecv.backends.base import Array, Backend, Compiled, CompileOptions, Shapes
from edgecv.backends.session import MAX_PLANS, Key, OutputShapes, Session, static_shapes
from edgecv.errors import (
    InputError,
    PlacementError,
    UnavailableError,
    UnsupportedOperatorError,
)
from edgecv.exclusive import Lock
from edgecv.types import Memory, ModelFacts, Placement, TensorSpec
from edgecv.version import VERSION

if TYPE_CHECKING:
    from edgecv import _simd
    from edgecv.backends.pool import Pool
    from edgecv.container import Container
    from edgecv.engine.outputs import Output
    from edgecv.engine.program import Encoded
    from edgecv.engine.saved import SavedStage, StageToSave
    from edgecv.graph.model import OnnxModel
    from edgecv.planfile import Told

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

    def open(
        self,
        container: Container,
        device: str,
        options: CompileOptions,
        network: Callable[[str], OnnxModel] | None = None,
    ) -> dict[str, Compiled]:
        from edgecv.engine import saved

        _check(device, options)
        return {
            name: CompiledStage(stage, options.threads, network and partial(network, name))
            for name, stage in saved.of(container).stages.items()
        }

    def build(self) -> str:
        from edgecv import _isa, build
        from edgecv.engine import saved

        return f"{saved.fingerprint()} {build.fingerprint()} {_isa.active()}"

    def save(self, stages: Mapping[str, Compiled], card: str | None, told: Told, origin: str) -> bytes | None:
        from edgecv.engine import saved

        parts = {
            name: compiled.to_save() if isinstance(compiled, CompiledNetwork) else None
            for name, compiled in stages.items()
        }
        whole = {name: part for name, part in parts.items() if part is not None}
        if len(whole) < len(parts):
            return None
        return saved.to_bytes(whole, card=card, told=told, origin=origin)


class Plan(msgspec.Struct, frozen=True):
    """One set of shapes, compiled. outputs: those of the network, then counts of rows. encoded: None of a
    saved one."""

    program: _simd.Plan
    outputs: tuple[Output, ...]
    encoded: Encoded | None = None


class _Ready(msgspec.Struct, frozen=True):
    """A plan with the memory of one session's runs."""

    plan: Plan
    context: _simd.Context


class _SimdCompiled(Compiled):
    """Plans of one model on the engine, which sessions share. threads: of those that bring no pool."""

    deadline: ClassVar[Literal["ends", "judges"]] = "ends"

    def __init__(self, facts: ModelFacts, isa: str, stored: str, threads: int) -> None:
        placement = Placement(
            backend="simd",
            version=VERSION,
            device="cpu",
            stored=stored,
            precision=PRECISION,
            threads=threads,
            engine=isa,
        )
        super().__init__(facts, placement)
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
        from edgecv.engine.planned import shape_operands
        from edgecv.engine.weights import Weights

        self._model = model
        with self._naming_the_model():
            claims.check_model(model)
        super().__init__(model.facts, _isa.active(), model.precision, threads)
        self._operands = tuple(shape_operands(model))
        self._weights = Weights()
        self._plans: OrderedDict[Key, Plan] = OrderedDict()
        self._lock = Lock()

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._model.proven_outputs

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
        return Plan(compiled.plan, compiled.outputs, compiled.encoded)

    def to_save(self) -> StageToSave | None:
        """The plan that was used last, as `engine.saved` keeps it; None where there is none, or it is for
        values of inputs too."""
        from edgecv.engine import saved

        with self._lock:
            if not self._plans or self._operands:
                return None
            (shapes, _), plan = next(reversed(self._plans.items()))
        if plan.encoded is None:
            return None
        facts = self._model.facts
        return saved.StageToSave(
            encoded=plan.encoded,
            inputs=[TensorSpec(s.name, s.dtype, n) for s, n in zip(facts.inputs, shapes, strict=True)],
            outputs=plan.outputs,
            results=len(facts.outputs),
            source=os.path.basename(self._model.origin).encode("ascii", "backslashreplace").decode(),
            threads=self.threads,
            stored=self._model.precision,
            declared=facts,
        )

    @contextmanager
    def _naming_the_model(self) -> Iterator[None]:
        try:
            yield
        except UnsupportedOperatorError as error:
            raise UnsupportedOperatorError(
                f"simd {VERSION} cannot compile {self._model.origin}: {error}", error.reason
            ) from error


class CompiledStage(_SimdCompiled):
    """A plan out of a file: for the shapes that it was compiled for.

    network: the one that it was compiled from, read when others are asked for; None: there are no others.
    """

    def __init__(
        self, stage: SavedStage, threads: int, network: Callable[[], OnnxModel] | None = None
    ) -> None:
        declared = stage.declared if network is not None else None
        super().__init__(declared or stage.facts, stage.isa, stage.stored, threads)
        self._plan = Plan(stage.load(), stage.outputs)
        self._shapes = static_shapes(stage.facts.inputs)
        self._network = network if declared is not None else None
        self._others: CompiledNetwork | None = None
        self._lock = Lock()
        if self._network is None:
            self.other_shapes = (
                f": {stage.origin} is a plan for its shapes alone; compile {stage.source} for others"
            )

    def plan(self, key: Key, shapes: Shapes, operands: Mapping[str, Array]) -> Plan:
        if shapes == self._shapes or self._network is None:
            return self._plan
        with self._lock:
            if self._others is None:
                self._others = CompiledNetwork(self._network(), self.threads)
        return self._others.plan(key, shapes, operands)


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
        self._context: _simd.Context | None = None
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

    def _about_to_run(self, plan: _Ready) -> None:
        plan.context.reset()
        self._context = plan.context

    def _interrupt(self) -> None:
        context = self._context
        if context is not None:
            context.cancel()

    def _output_shapes(self, plan: _Ready) -> OutputShapes:
        return {out.name: out.declared for out in plan.plan.outputs[: len(self._declared)]}

    def _execute(
        self, plan: _Ready, inputs: Mapping[str, Array], out: Mapping[str, Array] | None, deadline_ns: int
    ) -> dict[str, Array]:
        known, outputs = out or {}, plan.plan.outputs
        arrays = [known[o.name] if o.name in known else np.empty(o.shape, o.dtype) for o in outputs]
        with self._pool.turn(deadline_ns, lambda: self._is_cancelled) as threads:
            plan.context.run(
                threads,
                tuple(inputs[spec.name] for spec in self.inputs),
                tuple(arrays),
                deadline_ns,
            )
        return {o.name: o.cut(arrays, i) for i, o in enumerate(outputs[: len(self._declared)])}

    def _release(self) -> None:
        self._context = None
        if self._owns_pool:
            self._pool.close()


def _check(device: str, options: CompileOptions) -> None:
    if device != "cpu":
        raise PlacementError(f"simd: device {device!r} was asked for; it runs on the cpu only")
    if options.precision not in (None, PRECISION):
        raise PlacementError(
            f"simd: precision {options.precision} was asked for, and the engine computes in {PRECISION} alone"
        )
