"""Session: what runs a compiled network, under one set of rules.

The rules live here, once: inputs are checked, a session belongs to one thread at a time, an unprepared shape
raises, and a run that is late or cancelled has no result.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, TypeVar

import numpy as np
from msgspec.structs import replace

from edgecv import clock
from edgecv.arguments import check_named, check_pool, shape_of
from edgecv.backends.base import Array, Compiled, Shapes, check_input_bytes, listed
from edgecv.errors import CancelledError, InputError
from edgecv.exclusive import Exclusive
from edgecv.sealed import Sealed
from edgecv.types import Memory, TensorSpec

if TYPE_CHECKING:
    from edgecv.backends.pool import Pool

# Plans that a session keeps, one a shape; the one not used for longest goes first.
MAX_PLANS = 8
PlanT = TypeVar("PlanT")
SessionT = TypeVar("SessionT", bound="Session[Any]")
# Shapes in the order of the inputs, and the values of inputs that say shapes.
Key: TypeAlias = tuple[tuple[tuple[int, ...], ...], tuple[bytes, ...]]
# By the names of the outputs.
OutputShapes: TypeAlias = dict[str, tuple[int | None, ...] | None]


class Session(Sealed, Generic[PlanT]):
    """What runs a compiled network. Its state belongs to one thread at a time: a second concurrent run
    raises.

    compiled: the network, shared with other sessions. inputs: TensorSpec in the model's own order.
    placement: what runs where. A model with static shapes is prepared when the session is opened.
    """

    PER_CALL: ClassVar[dict[str, str]] = {"deadline": "run(inputs, deadline_ns=…)"}

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.inputs: tuple[TensorSpec, ...] = compiled.inputs
        self._declared: tuple[TensorSpec, ...] = compiled.declared
        self._outputs: tuple[TensorSpec, ...] | None = None
        self.placement = compiled.placement
        self._plans: OrderedDict[Key, PlanT] = OrderedDict()
        self._exclusive = Exclusive("session")
        self._is_running = self._is_cancelled = False

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """TensorSpec in the model's own order, with the sizes that all prepared shapes of the inputs give.

        A size that depends on the data, or differs from one prepared shape to another, has the name that the
        file gives it, or None. Whatever else the file declares of outputs is not repeated here: it may be
        wrong.
        """
        if self._outputs is None:
            shapes = [self._output_shapes(plan) for plan in list(self._plans.values())]
            self._outputs = self.compiled.outputs if not shapes else self._known(shapes)
        return self._outputs

    def _known(self, plans: list[OutputShapes]) -> tuple[TensorSpec, ...]:
        is_static = all(spec.is_static for spec in self.inputs)
        return tuple(
            _known(spec, [shapes[spec.name] for shapes in plans], is_static=is_static)
            for spec in self._declared
        )

    @property
    @abstractmethod
    def memory(self) -> Memory:
        """Bytes of weights and arena, None where the backend does not tell.

        Each session counts what it shares with clones, or with others on its pool, as if it were alone.
        """

    @abstractmethod
    def _make_plan(self, key: Key, shapes: Shapes, operands: Mapping[str, Array]) -> PlanT:
        """Everything that one set of input shapes needs; run once before the first frame.

        key: stands for shapes and operands. operands: the inputs that `_plan_operands` named, by value.
        """

    def _plan_operands(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Those inputs whose values, such as a shape, a plan is made for; none by default."""
        return {}

    @abstractmethod
    def _execute(
        self, plan: PlanT, inputs: Mapping[str, Array], out: Mapping[str, Array] | None, deadline_ns: int
    ) -> dict[str, Array]:
        """Run checked inputs; write into checked `out` where given. A `Compiled` that says "ends" ends at the
        deadline."""

    @abstractmethod
    def _output_shapes(self, plan: PlanT) -> OutputShapes:
        """Shapes of the outputs under a plan; None marks a size that depends on the data, and an output whose
        number of axes does."""

    def _release(self) -> None:
        """Let go of what the library holds."""

    def _about_to_run(self, plan: PlanT) -> None:
        """What comes from now on is for the run of this plan: a cancel too."""

    def _interrupt(self) -> None:
        """End the run that is about to begin, or in progress, where the library can."""

    def prepare(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make the plan for these input shapes, so that `run` takes them.

        shapes: input name -> sizes. Raises InputError for sizes that the model does not take.
        """
        check_named("shapes", shapes, "shapes")
        with self._exclusive:
            key = self._check_shapes({name: shape_of(name, shape) for name, shape in shapes.items()})
            self._plan(key, {}, make=True)

    def run(
        self,
        inputs: Mapping[str, Array],
        *,
        out: Mapping[str, Array] | None = None,
        replan: bool = False,
        deadline_ns: int = 0,
    ) -> dict[str, Array]:
        """One inference.

        inputs: name -> C-contiguous array of the input's dtype and a prepared shape. out: arrays from
        `empty_outputs()` to write into; else fresh ones. replan: prepare an unprepared shape now
        instead of raising InputError. deadline_ns: of time.monotonic_ns(), 0 for none; one that is past
        already raises before the run, one that passes during it ends the run or, where `compiled.deadline`
        says "judges", is told after it. Returns the outputs in the model's own order.

        Raises DeadlineError and CancelledError, after which the outputs are not to be used.
        """
        with self._exclusive:
            clock.check_deadline(deadline_ns, "run")
            key = self._check_inputs(inputs)
            plan = self._plan(key, self._plan_operands(inputs), make=replan)
            if out is not None:
                self._check_out(plan, out)
            self._about_to_run(plan)
            self._is_cancelled, self._is_running = False, True
            try:
                results = self._execute(plan, inputs, out, deadline_ns)
            finally:
                self._is_running = False
            if self._is_cancelled:
                raise CancelledError("run: cancelled while it ran")
            clock.judge(deadline_ns, "run")
            return results

    def cancel(self) -> None:
        """End the run in progress, if there is one, from another thread: it raises CancelledError.

        Where the library cannot stop (`compiled.deadline` says "judges") the run is finished first.
        """
        if self._is_running:
            self._is_cancelled = True
            self._interrupt()

    def clone(self, pool: Pool | None = None) -> Session[PlanT]:
        """Another session on the same weights and plans, for another thread; prepared for the same shapes.

        pool: threads that it shares; None: of its own. A run in progress goes on.
        """
        check_pool(pool)
        self._exclusive.check_open()
        twin = self.compiled.open(pool)
        try:
            for shapes in [shapes for shapes, operands in list(self._plans) if not operands]:
                twin.prepare({s.name: shape for s, shape in zip(self.inputs, shapes, strict=True)})
        except BaseException:
            twin.close()
            raise
        return twin

    def empty_outputs(self) -> dict[str, Array]:
        """Arrays for `run(out=…)`, for the shape that was prepared or run last.

        Raises InputError where an output's size depends on the data.
        """
        with self._exclusive:
            if not self._plans:
                raise InputError("empty_outputs: no shape is prepared yet; call prepare() first")
            shapes = self._output_shapes(next(reversed(self._plans.values())))
            return {
                spec.name: np.empty(self._fixed(spec.name, shapes[spec.name]), spec.dtype)
                for spec in self._declared
            }

    def close(self) -> None:
        """Release everything; a closed session raises on use. Closing twice is fine.

        What it shares with clones lives as long as the last of them.
        """
        if self._exclusive.close():
            self._plans.clear()
            self._release()
            del self.compiled

    def __enter__(self: SessionT) -> SessionT:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _prepare_static(self) -> None:
        """Prepare the one shape of a model whose inputs are all static."""
        shapes = static_shapes(self.inputs)
        if shapes is None:
            return
        try:
            self.prepare(shapes)
        except BaseException:
            self.close()
            raise

    def _plan(
        self, shapes_in_order: tuple[tuple[int, ...], ...], operands: dict[str, Array], *, make: bool
    ) -> PlanT:
        key = (shapes_in_order, tuple(value.tobytes() for value in operands.values()))
        plan = self._plans.get(key)
        if plan is None:
            shapes = {spec.name: shape for spec, shape in zip(self.inputs, shapes_in_order, strict=True)}
            if not make:
                values = f", with these values of {', '.join(operands)}," if operands else ""
                remedy = "run(replan=True)" if operands else "call prepare() with them, or run(replan=True)"
                raise InputError(
                    f"input shapes {listed(shapes)}{values} are not prepared; prepared: "
                    f"{'; '.join(self._prepared()) or 'none'}: {remedy}"
                )
            plan = self._make_plan(key, shapes, operands)
            self._plans[key] = plan
            self._outputs = None
            if len(self._plans) > MAX_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return plan

    def _prepared(self) -> list[str]:
        return [
            listed({spec.name: shape for spec, shape in zip(self.inputs, shapes, strict=True)})
            for shapes, _ in self._plans
        ]

    def _check_names(self, names: Mapping[str, object]) -> None:
        expected = [spec.name for spec in self.inputs]
        if set(names) != set(expected):
            raise InputError(f"inputs: expected {', '.join(expected)}, got {', '.join(names) or 'none'}")

    def _check_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
        self._check_names(shapes)
        for spec in self.inputs:
            shape = shapes[spec.name]
            if not _fits(spec, shape):
                why = self.compiled.other_shapes
                if 0 in spec.shape and 0 not in shape:
                    why = (
                        ": a size that is declared 0 takes no values at all; a free size is written as a "
                        "name, without a number"
                    )
                raise InputError(f"input {spec}: got shape {shape}{why}")
            check_input_bytes(spec, shape)
        return tuple(shapes[spec.name] for spec in self.inputs)

    def _check_inputs(self, inputs: Mapping[str, Array]) -> tuple[tuple[int, ...], ...]:
        check_named("inputs", inputs, "arrays")
        self._check_names(inputs)
        for spec in self.inputs:
            array = inputs[spec.name]
            if not isinstance(array, np.ndarray):
                raise InputError(f"input {spec}: expected a numpy array, got {type(array).__name__}")
            if array.dtype != spec.dtype:
                raise InputError(
                    f"input {spec}: got {array.dtype} {array.shape}; image.to_blob makes a blob of a frame"
                )
            if not array.flags.c_contiguous:
                raise InputError(f"input {spec}: not C-contiguous; pass np.ascontiguousarray(array)")
        return self._check_shapes({name: array.shape for name, array in inputs.items()})

    def _check_out(self, plan: PlanT, out: Mapping[str, Array]) -> None:
        shapes = self._output_shapes(plan)
        expected = [spec.name for spec in self._declared]
        if set(out) != set(expected):
            raise InputError(f"out: expected {', '.join(expected)}, got {', '.join(out) or 'none'}")
        for spec in self._declared:
            array, shape = out[spec.name], self._fixed(spec.name, shapes[spec.name])
            fits = array.dtype == spec.dtype and array.shape == shape
            if not fits or not array.flags.c_contiguous or not array.flags.writeable:
                raise InputError(
                    f"out {spec.name!r}: expected a writable C-contiguous {spec.dtype} {shape}, got "
                    f"{array.dtype} {array.shape}; empty_outputs() makes the right arrays"
                )

    @staticmethod
    def _fixed(name: str, shape: tuple[int | None, ...] | None) -> tuple[int, ...]:
        fixed = tuple(n for n in shape or () if n is not None)
        if shape is None or len(fixed) != len(shape):
            raise InputError(f"output {name!r}: its size depends on the data; call run() without out")
        return fixed


def _fits(spec: TensorSpec, shape: tuple[int, ...]) -> bool:
    """Whether an input takes a shape."""
    if not spec.is_ranked:
        return all(n > 0 for n in shape)
    return len(shape) == len(spec.shape) and all(
        (got > 0 or want == 0) and (not isinstance(want, int) or want == got)
        for want, got in zip(spec.shape, shape, strict=True)
    )


def _known(spec: TensorSpec, shapes: list[tuple[int | None, ...] | None], *, is_static: bool) -> TensorSpec:
    """An output as it comes under several plans. is_static: whether the inputs have one shape alone."""
    ranks = {None if shape is None else len(shape) for shape in shapes}
    rank = ranks.pop()
    if rank is None or ranks:
        return replace(spec, shape=(), is_ranked=False)
    names = spec.shape if len(spec.shape) == rank else (None,) * rank
    sizes: list[int | str | None] = []
    for name, *found in zip(names, *(shape or () for shape in shapes), strict=True):
        size = found[0] if len(set(found)) == 1 else None
        sizes.append(name if isinstance(name, str) and not (is_static and size is not None) else size)
    return replace(spec, shape=tuple(sizes), is_ranked=True)


def told_shape(
    spec: TensorSpec, proven: tuple[int | None, ...] | None, seen: tuple[int, ...]
) -> tuple[int | None, ...]:
    """The shape of an output: what is proven of it; where nothing is, what the file declares, if that is what
    came of a run."""
    sizes = proven if proven is not None and len(proven) == len(seen) else (None,) * len(seen)
    declared = spec.shape if len(spec.shape) == len(seen) else (None,) * len(seen)
    return tuple(
        came if came == size or (size is None and came == stated) else None
        for size, stated, came in zip(sizes, declared, seen, strict=True)
    )


def into(out: Mapping[str, Array] | None, name: str, array: Array) -> Array:
    """What was computed, in the caller's array where there is one. Raises InputError for another shape."""
    if out is None:
        return array
    if out[name].shape != array.shape:
        raise InputError(
            f"out {name!r}: expected {array.shape}, got {out[name].shape}: its size depends on the data; "
            "call run() without out"
        )
    np.copyto(out[name], array)
    return out[name]


def static_shapes(inputs: Iterable[TensorSpec]) -> Shapes | None:
    """The one set of shapes of inputs that are all static; None where one is not."""
    shapes = {spec.name: tuple(n for n in spec.shape if isinstance(n, int)) for spec in inputs}
    return shapes if all(spec.is_static for spec in inputs) else None
