"""What every backend is: a probe with a reason, and sessions under one set of rules.

The rules live here, once: inputs are checked, a session belongs to one thread at a time, an
unprepared shape raises, and what runs is what was asked for.
"""

from __future__ import annotations

import math
from _thread import allocate_lock
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np

from edgecv.errors import BackendError, InputError, PlacementError, SessionBusyError
from edgecv.records import frozen
from edgecv.types import Memory, ModelFacts, Placement, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecv.graph.model import OnnxModel

Array: TypeAlias = "NDArray[Any]"
Shapes = dict[str, tuple[int, ...]]
# Plans that a session keeps, one a shape; the one not used for longest goes first.
MAX_PLANS = 8
# A model file states its own input sizes; no blob of a camera frame comes near this.
MAX_INPUT_BYTES = 1 << 30


@frozen
class CompileOptions:
    """What the user asked for. device: "cpu", "cuda", "cuda:1"… precision: "fp32", "fp16", "int8"."""

    device: str = "cpu"
    threads: int = 1
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"threads: expected at least 1, got {self.threads}")
        if self.precision not in ("fp32", "fp16", "bf16", "int8"):
            raise InputError(f"precision: expected fp32, fp16, bf16 or int8, got {self.precision!r}")
        kind, _, index = self.device.partition(":")
        if not kind.isalnum() or (index and not index.isdigit()) or self.device.endswith(":"):
            raise InputError(f"device: expected a name such as cpu, cuda or cuda:1, got {self.device!r}")

    @property
    def device_kind(self) -> str:
        """The device without its index."""
        return self.device.partition(":")[0]

    @property
    def device_index(self) -> int:
        """The device's index, 0 where none is given."""
        return int(self.device.partition(":")[2] or 0)


class Backend(ABC):
    """One inference library. A subclass is registered in `edgecv.backends`."""

    name: str

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why the backend cannot be used here, as one line with the remedy; None where it can."""

    @abstractmethod
    def version(self) -> str:
        """Version of the library behind it."""

    @abstractmethod
    def devices(self) -> tuple[str, ...]:
        """Devices that it can use here."""

    @abstractmethod
    def compile(self, model: OnnxModel, options: CompileOptions) -> Session[Any]:
        """A session that runs exactly as asked for; PlacementError where that cannot be."""


PlanT = TypeVar("PlanT")
# Shapes in the order of the inputs, and the values of inputs that say shapes.
_Key = tuple[tuple[tuple[int, ...], ...], tuple[bytes, ...]]


class Described(Protocol):
    """What a session is made for, and tells the shapes and dtypes of its tensors."""

    @property
    def facts(self) -> ModelFacts: ...


class Session(ABC, Generic[PlanT]):
    """A compiled model. Its state belongs to one thread at a time: a second concurrent run raises.

    inputs, outputs: TensorSpec in the model's own order. placement: what runs where. A model with
    static shapes is prepared when it is compiled.
    """

    def __init__(self, model: Described, placement: Placement) -> None:
        self.inputs: tuple[TensorSpec, ...] = model.facts.inputs
        self.outputs: tuple[TensorSpec, ...] = model.facts.outputs
        self.placement = placement
        self._plans: OrderedDict[_Key, PlanT] = OrderedDict()
        self._exclusive = Exclusive("session")

    @property
    @abstractmethod
    def memory(self) -> Memory:
        """Bytes of weights and arena, None where the backend does not tell."""

    @abstractmethod
    def _make_plan(self, shapes: Shapes, operands: Mapping[str, Array]) -> PlanT:
        """Everything that one set of input shapes needs; run once before the first frame.

        operands: the inputs that `_plan_operands` named, by value.
        """

    def _plan_operands(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Those inputs whose values, such as a shape, a plan is made for; none by default."""
        return {}

    @abstractmethod
    def _execute(
        self, plan: PlanT, inputs: Mapping[str, Array], out: Mapping[str, Array] | None
    ) -> dict[str, Array]:
        """Run checked inputs; write into checked `out` where given."""

    @abstractmethod
    def _output_shapes(self, plan: PlanT) -> dict[str, tuple[int | None, ...]]:
        """Shapes of the outputs under a plan; None marks a size that depends on the data."""

    def _release(self) -> None:
        """Let go of what the library holds."""

    def prepare(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make the plan for these input shapes, so that `run` takes them.

        shapes: input name -> sizes. Raises InputError for sizes that the model does not take.
        """
        with self._exclusive:
            key = self._check_shapes({name: tuple(shape) for name, shape in shapes.items()})
            self._plan(key, {}, make=True)

    def run(
        self,
        inputs: Mapping[str, Array],
        *,
        out: Mapping[str, Array] | None = None,
        replan: bool = False,
    ) -> dict[str, Array]:
        """One inference.

        inputs: name -> C-contiguous array of the input's dtype and a prepared shape. out: arrays from
        `empty_outputs()` to write into; else fresh ones. replan: prepare an unprepared shape now
        instead of raising InputError. Returns the outputs in the model's own order.
        """
        with self._exclusive:
            key = self._check_inputs(inputs)
            plan = self._plan(key, self._plan_operands(inputs), make=replan)
            if out is not None:
                self._check_out(plan, out)
            return self._execute(plan, inputs, out)

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
                for spec in self.outputs
            }

    def close(self) -> None:
        """Release everything; a closed session raises on use. Closing twice is fine."""
        if self._exclusive.close():
            self._plans.clear()
            self._release()

    def __enter__(self) -> Session[PlanT]:
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
        if all(spec.is_static for spec in self.inputs):
            self.prepare({s.name: tuple(n for n in s.shape if isinstance(n, int)) for s in self.inputs})

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
                    f"input shapes {_listed(shapes)}{values} are not prepared; prepared: "
                    f"{'; '.join(self._prepared()) or 'none'}: {remedy}"
                )
            plan = self._make_plan(shapes, operands)
            self._plans[key] = plan
            if len(self._plans) > MAX_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return plan

    def _prepared(self) -> list[str]:
        return [
            _listed({spec.name: shape for spec, shape in zip(self.inputs, shapes, strict=True)})
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
            fits = len(shape) == len(spec.shape) and all(
                (got > 0 or want == 0) and (not isinstance(want, int) or want == got)
                for want, got in zip(spec.shape, shape, strict=False)
            )
            if not fits:
                raise InputError(f"input {spec}: got shape {shape}")
            check_input_bytes(spec, shape)
        return tuple(shapes[spec.name] for spec in self.inputs)

    def _check_inputs(self, inputs: Mapping[str, Array]) -> tuple[tuple[int, ...], ...]:
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
        expected = [spec.name for spec in self.outputs]
        if set(out) != set(expected):
            raise InputError(f"out: expected {', '.join(expected)}, got {', '.join(out) or 'none'}")
        for spec in self.outputs:
            array, shape = out[spec.name], self._fixed(spec.name, shapes[spec.name])
            fits = array.dtype == spec.dtype and array.shape == shape
            if not fits or not array.flags.c_contiguous or not array.flags.writeable:
                raise InputError(
                    f"out {spec.name!r}: expected a writable C-contiguous {spec.dtype} {shape}, got "
                    f"{array.dtype} {array.shape}; empty_outputs() makes the right arrays"
                )

    @staticmethod
    def _fixed(name: str, shape: tuple[int | None, ...]) -> tuple[int, ...]:
        fixed = tuple(n for n in shape if n is not None)
        if len(fixed) != len(shape):
            raise InputError(f"output {name!r}: its size depends on the data; call run() without out")
        return fixed


class Exclusive:
    """One thread at a time: a second one raises instead of waiting; so does use after `close()`."""

    def __init__(self, what: str) -> None:
        self._what = what
        # A threading.Lock, without the import of the rest of threading before the first result.
        self._lock = allocate_lock()
        self._closed = False

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise SessionBusyError(
                f"this {self._what} is running in another thread: give each thread its own {self._what}"
            )
        if self._closed:
            self._lock.release()
            raise BackendError(f"this {self._what} is closed")

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def close(self) -> bool:
        """Refuse further use; waits for a run in progress. Returns False when it was closed already."""
        with self._lock:
            was_open, self._closed = not self._closed, True
        return was_open


def check_input_bytes(spec: TensorSpec, shape: tuple[int, ...]) -> None:
    """Raise InputError for an input that no memory here was meant for."""
    size = math.prod(shape) * spec.dtype.itemsize
    if size > MAX_INPUT_BYTES:
        raise InputError(
            f"input {spec}: shape {shape} takes {size >> 20} MiB, over the {MAX_INPUT_BYTES >> 20} MiB that "
            "one input may take"
        )


def why_not_importable(module: str, extra: str) -> str | None:
    """Why a backend's library cannot be used, with the extra that brings it; None where it imports."""
    from edgecv import extras

    return extras.why_not_importable(module, extra)


def require_precision(backend: str, model: OnnxModel, options: CompileOptions) -> None:
    """Raise PlacementError unless the model's own weights are of the precision that was asked for.

    For backends that run a model at the precision of its file.
    """
    if options.precision != model.precision:
        raise PlacementError(
            f"{backend}: precision {options.precision} was asked for, and this model is {model.precision}, "
            f"which the backend runs as it is; ask for precision={model.precision}, or convert the model"
        )


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
