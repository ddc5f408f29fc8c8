"""What every backend is: a probe with a reason, and networks compiled, which sessions run.

A `Backend` compiles a network once, a `Compiled` is shared, a `Session` (in `session`) belongs to one thread
at a time. Whether what came out is what was asked for is looked at in one place, `gate`.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import msgspec

from edgecv.errors import InputError, PlacementError
from edgecv.types import ModelFacts, Placement, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecv.backends.pool import Pool
    from edgecv.backends.session import Session
    from edgecv.container import Container
    from edgecv.graph.model import OnnxModel
    from edgecv.planfile import Told

Array: TypeAlias = "NDArray[Any]"
Shapes = dict[str, tuple[int, ...]]
# A model file states its own input sizes; no blob of a camera frame comes near this.
MAX_INPUT_BYTES = 1 << 30
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
_DEVICE = re.compile(r"[A-Za-z0-9]+(:[0-9]+)?")


class CompileOptions(msgspec.Struct, frozen=True):
    """What the user asked for.

    device: "cpu", "cuda", "cuda:1"…; None: where the backend runs. threads: of one run, the caller included.
    precision: "fp32", "fp16", "bf16" or "int8", and no other; None: at least as precise as the file stores.
    """

    device: str | None = None
    threads: int = 1
    precision: str | None = None

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"threads: expected at least 1, got {self.threads}")
        if self.precision is not None and self.precision not in PRECISIONS:
            raise InputError(f"precision: expected {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.device is None:
            return
        if not _DEVICE.fullmatch(self.device):
            raise InputError(f"device: expected a name such as cpu, cuda or cuda:1, got {self.device!r}")


class Sample(msgspec.Struct, frozen=True):
    """Inputs that say more of a network than made up ones. identity: stands for them. make: some or all of
    them, by name."""

    identity: str
    make: Callable[[], Mapping[str, Array]]


class Check(msgspec.Struct, frozen=True):
    """How a library of others is checked. is_wanted: whether at all. keeps: whether the cache is looked at
    and added to. sample: inputs to check with; None: made up ones."""

    is_wanted: bool = True
    keeps: bool = True
    sample: Sample | None = None


def device_parts(device: str) -> tuple[str, int]:
    """Kind and index of a device: "cuda:1" is ("cuda", 1), "cpu" is ("cpu", 0)."""
    kind, _, index = device.partition(":")
    return kind, int(index or 0)


class Backend(ABC):
    """One inference library. A subclass is registered in `edgecv.backends`.

    name: as users write it. default_device: where it runs unless asked for another.
    takes_pool: whether its sessions run on an `edgecv.Pool`. is_guest: whether it is a library of others,
    which `guests` checks.
    """

    name: ClassVar[str]
    default_device: ClassVar[str] = "cpu"
    takes_pool: ClassVar[bool] = False
    is_guest: ClassVar[bool] = False

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why the backend cannot be used here, as one line with the remedy; None where it can."""

    @abstractmethod
    def version(self) -> str:
        """Version of the library behind it."""

    @abstractmethod
    def devices(self) -> tuple[str, ...]:
        """Devices that it can use here."""

    def examine(  # noqa: B027 - most have nothing to tell
        self, model: OnnxModel, device: str, options: CompileOptions
    ) -> None:
        """Raise what can be told against a network, or the options, before the library sees it."""

    @abstractmethod
    def compile(self, model: OnnxModel, device: str, options: CompileOptions) -> Compiled:
        """The network for this device, which is `options.device` or `default_device`.

        Its placement says what would run. Raises PlacementError where the options cannot be met.
        """

    def open(
        self,
        container: Container,
        device: str,
        options: CompileOptions,
        network: Callable[[str], OnnxModel] | None = None,
    ) -> dict[str, Compiled]:
        """What it compiled and saved before, by stage. Raises as `compile` does, and ModelFileError.

        network: a stage's own, to be read where other shapes are asked for than those that were saved; None:
        there are no others.
        """
        raise InputError(
            f"{container.origin}: {self.name} opens nothing that was saved: compile the network anew"
        )

    def build(self) -> str | None:
        """What tells this build of it, and the processor's ISA, from any other; None where nothing can be
        saved.
        """
        return None

    def save(self, stages: Mapping[str, Compiled], card: str | None, told: Told, origin: str) -> bytes | None:
        """What it compiled, by stage, as a container that `open` takes; None where it cannot be saved.

        card: JSON. told: of the model's files. origin: what the user named.
        """
        return None


class Compiled(ABC):
    """A network, compiled: weights and plans. Any thread may use it, and any number of sessions share it.

    inputs: TensorSpec in the model's own order. declared: likewise the outputs, with the sizes that the file
    states, which may be wrong. placement: what runs where. deadline: "ends" where a run stops between two
    steps once its deadline has passed; "judges" where it is finished first. other_shapes: how to get at
    others than the inputs state, to be added to an error.
    """

    deadline: ClassVar[Literal["ends", "judges"]] = "judges"

    def __init__(self, facts: ModelFacts, placement: Placement) -> None:
        self.inputs: tuple[TensorSpec, ...] = facts.inputs
        self.declared: tuple[TensorSpec, ...] = facts.outputs
        self.placement = placement
        self.other_shapes = ""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs with sizes that are proven for all inputs; by default none is."""
        return tuple(spec.of_any_shape() for spec in self.declared)

    @abstractmethod
    def open(self, pool: Pool | None = None) -> Session[Any]:
        """A session, ready for the shapes of a model whose inputs are static.

        pool: threads that it shares with others; None: of its own, as many as were asked for.
        """


def check_input_bytes(spec: TensorSpec, shape: tuple[int, ...]) -> None:
    """Raise InputError for an input that no memory here was meant for."""
    size = math.prod(shape) * spec.dtype.itemsize
    if size > MAX_INPUT_BYTES:
        raise InputError(
            f"input {spec}: shape {shape} takes {size >> 20} MiB, over the {MAX_INPUT_BYTES >> 20} MiB that "
            "one input may take"
        )


def refuse_pool(backend: str, pool: Pool | None) -> None:
    """Raise PlacementError where a pool is given to a backend whose threads are its own."""
    if pool is not None:
        raise PlacementError(f"pool: {backend} has threads of its own, and takes no Pool; leave it out")


def why_not_importable(module: str, extra: str) -> str | None:
    """Why a backend's library cannot be used, with the extra that brings it; None where it imports."""
    from edgecv import extras

    return extras.why_not_importable(module, extra)


def listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Names and shapes, for a message."""
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
