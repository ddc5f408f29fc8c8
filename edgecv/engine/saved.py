"""Plans in files: a program, packed weights and the facts that a run needs, in a container of kind `plan`.

| Member | Holds |
|---|---|
| `plan.json` | inputs and outputs, sizes of memory, names of the steps |
| `card.json` | the model's card, where it has one |
| `program` | the steps, int64, little endian |
| `constants` | tables, and arrays that are no larger |
| `weights` | packed weights |

The native runtime examines the program against every size and every table before it runs. Tables are
therefore copied out of the file, and checked and examined in the copy: a file that is changed meanwhile
cannot lead a step out of its memory. Weights are values only, and stay where they lie.
"""

# Without annotations from __future__: msgspec would have to compile them one by one when a model is loaded.

import math
import os
import zlib
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from edgecv import _isa, _simd, container
from edgecv.container import Bytes, Container
from edgecv.engine.outputs import Output
from edgecv.errors import ModelFileError, UnavailableError
from edgecv.settings import ISA
from edgecv.types import ModelFacts, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecv.engine.program import Encoded

KIND = "plan"
# To be raised when a step's field or table means something else than before under the same name.
VERSION = 1

PLAN, CARD, PROGRAM, CONSTANTS, WEIGHTS = "plan.json", "card.json", "program", "constants", "weights"

# A thousand times what networks in use have.
MAX_JSON_BYTES = 8 << 20
MAX_PROGRAM_BYTES = 256 << 20
MAX_TENSORS = 1024
# All pages of an arena are touched when it is made.
MAX_WORK_BYTES = 4 << 30
MAX_TENSOR_BYTES = 1 << 30

# fmt: off
_Dtype = Literal[
    "float32", "float64", "float16", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
]
# fmt: on


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Tensor(_Struct, frozen=True):
    name: str
    dtype: _Dtype
    shape: tuple[int, ...]
    rows: int | None = None


class _Plan(_Struct, frozen=True):
    """outputs: those of the network, then counts of rows; `results` says how many are the network's."""

    source: str
    threads: int
    results: int
    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...]
    state_bytes: int
    arena_bytes: int
    labels: tuple[str, ...]


@cache
def fingerprint() -> str:
    """Of what programs are made of: the operations with their fields, and the choices that fields make."""
    layout = msgspec.json.encode([VERSION, list(_simd.OPS.items()), list(_simd.CHOICES.items())])
    return f"{zlib.crc32(layout):08x}{len(layout):08x}"


class SavedPlan(msgspec.Struct, frozen=True):
    """A plan out of a file, ready to be given to the runtime. What it does not say is not known.

    origin: the file. source: name of the file that it was compiled from. facts: of the network, for these
    shapes alone. isa: that it is packed for. threads: that its steps are cut for; results do not depend on
    them. outputs: those of the network, then counts of rows. card: JSON, None where it has none.
    """

    origin: str
    source: str
    facts: ModelFacts
    isa: str
    threads: int
    outputs: tuple[Output, ...]
    card: bytes | None
    labels: tuple[str, ...]
    steps: "NDArray[np.int64]"
    constants: Bytes
    weights: Bytes
    state_bytes: int
    arena_bytes: int

    precision = "fp32"

    def load(self) -> _simd.Plan:
        """The program, examined, in memory of its own.

        Raises ModelFileError for one that is not sound, or wants more memory than there is.
        """
        try:
            plan = _simd.Plan(
                isa=self.isa,
                steps=self.steps,
                labels=self.labels,
                constants=self.constants,
                weights=self.weights,
                state_bytes=self.state_bytes,
                arena_bytes=self.arena_bytes,
                input_bytes=tuple(_bytes_of(spec.dtype, spec.shape) for spec in self.facts.inputs),
                output_bytes=tuple(_bytes_of(out.dtype, out.shape) for out in self.outputs),
            )
        except (ModelFileError, ValueError) as error:
            raise ModelFileError(f"{self.origin}: its program is not sound: {error}; {_AGAIN}") from error
        except MemoryError as error:
            size = (self.state_bytes + self.arena_bytes) >> 20
            raise ModelFileError(
                f"{self.origin}: it needs {size} MB to work in, and this machine does not have them: {error}"
            ) from error
        if plan.scratch_bytes > MAX_WORK_BYTES:
            raise ModelFileError(
                f"{self.origin}: expected steps that need at most {MAX_WORK_BYTES >> 20} MB, got "
                f"{plan.scratch_bytes >> 20} MB; {_AGAIN}"
            )
        return plan


_AGAIN = "compile it again: edgecv compile MODEL --out FILE"


def to_bytes(
    encoded: "Encoded",
    inputs: Sequence[TensorSpec],
    outputs: Sequence[Output],
    *,
    results: int,
    source: str,
    threads: int,
    card: str | None,
) -> bytes:
    """The container of a plan.

    inputs: with the shapes that it was compiled for. outputs: of the plan, of which the first `results` are
    the network's. card: JSON.
    """
    plan = _Plan(
        source=source,
        threads=threads,
        results=results,
        inputs=tuple(_Tensor(s.name, s.dtype.name, s.shape) for s in inputs),  # type: ignore[arg-type]
        outputs=tuple(_Tensor(o.name, o.dtype.name, o.shape, o.rows) for o in outputs),  # type: ignore[arg-type]
        state_bytes=encoded.state_bytes,
        arena_bytes=encoded.arena_bytes,
        labels=encoded.labels,
    )
    members: dict[str, bytes | NDArray[Any]] = {
        PLAN: msgspec.json.encode(plan),
        **({} if card is None else {CARD: card.encode()}),
        PROGRAM: encoded.steps.astype("<i8"),
        CONSTANTS: encoded.constants,
        WEIGHTS: encoded.weights,
    }
    return container.to_bytes(KIND, members, {"isa": encoded.isa, "engine": fingerprint()})


def read(source: str | os.PathLike[str] | bytes) -> SavedPlan:
    """The plan in a file, whose weights are mapped, or in the bytes of one.

    Raises ModelFileError for what is no plan, is damaged or is of another engine; UnavailableError for a
    plan that is packed for an instruction set which this CPU lacks.
    """
    found = container.read(source)
    found.expect(KIND)
    isa = _check_about(found)
    plan = _facts(found)
    program = found.copied(PROGRAM, most=MAX_PROGRAM_BYTES)
    if len(program) % 8:
        raise ModelFileError(f"{found.origin}: its program of {len(program)} bytes is not of int64; {_AGAIN}")
    return SavedPlan(
        origin=found.origin,
        source=plan.source,
        facts=ModelFacts(
            inputs=tuple(TensorSpec(t.name, np.dtype(t.dtype), t.shape) for t in plan.inputs),
            outputs=tuple(
                TensorSpec(t.name, np.dtype(t.dtype), t.shape if t.rows is None else (None, *t.shape[1:]))
                for t in plan.outputs[: plan.results]
            ),
            image_wh=next(((t.shape[3], t.shape[2]) for t in plan.inputs if len(t.shape) == 4), None),
        ),
        isa=isa,
        threads=plan.threads,
        outputs=tuple(Output(t.name, t.shape, np.dtype(t.dtype), t.rows) for t in plan.outputs),
        card=bytes(found.copied(CARD, most=MAX_JSON_BYTES)) if CARD in found else None,
        labels=plan.labels,
        steps=program.view(np.int64),
        constants=found.copied(CONSTANTS),
        weights=found.mapped(WEIGHTS),
        state_bytes=plan.state_bytes,
        arena_bytes=plan.arena_bytes,
    )


def _check_about(found: Container) -> str:
    """The instruction set of a plan that this build and this CPU can run."""
    engine = found.about.get("engine", "")
    if engine != fingerprint():
        raise ModelFileError(
            f"{found.origin}: expected a plan of engine {fingerprint()}, got one of {engine[:40] or 'none'} "
            f"({found.written_by[:40]}): this build lays its programs out in another way; {_AGAIN}"
        )
    isa = found.about.get("isa", "")
    if isa not in _isa.usable():
        raise UnavailableError(
            f"{found.origin}: it is packed for {isa[:20] or 'no instruction set'}, which this CPU or this "
            f"build does not have; usable here: {', '.join(_isa.usable())}; compile it for one of these with "
            "--isa"
        )
    forced = ISA.get()
    if forced and forced != isa:
        raise UnavailableError(
            f"{found.origin}: it is packed for {isa}, and EDGECV_ISA={forced} asks for another; compile it "
            "for that with --isa"
        )
    return isa


def _facts(found: Container) -> _Plan:
    text = found.copied(PLAN, most=MAX_JSON_BYTES)
    try:
        plan = msgspec.json.decode(text.data, type=_Plan)
        _check_facts(plan)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ModelFileError(f"{found.origin}: {PLAN}: {error}; {_AGAIN}") from error
    return plan


def _check_facts(plan: _Plan) -> None:
    """Raise ValueError unless arrays can be made of what it says."""
    for kind, tensors in (("inputs", plan.inputs), ("outputs", plan.outputs)):
        if not 1 <= len(tensors) <= MAX_TENSORS or len({t.name for t in tensors}) != len(tensors):
            raise ValueError(f"`{kind}`: expected 1 to {MAX_TENSORS} of different names, got {len(tensors)}")
        for tensor in tensors:
            if len(tensor.shape) > 16 or min(tensor.shape, default=0) < 0:
                raise ValueError(f"`{kind}`: {tensor.name[:40]!r}: {tensor.shape[:20]} is no shape")
            if _bytes_of(np.dtype(tensor.dtype), tensor.shape) > MAX_TENSOR_BYTES:
                raise ValueError(f"`{kind}`: {tensor.name[:40]!r} takes over {MAX_TENSOR_BYTES >> 20} MB")
    if not 1 <= plan.results <= len(plan.outputs):
        raise ValueError(f"`results`: expected 1 to {len(plan.outputs)}, got {plan.results}")
    for tensor in plan.outputs:
        if tensor.rows is None:
            continue
        if not plan.results <= tensor.rows < len(plan.outputs) or not tensor.shape:
            raise ValueError(f"`outputs`: {tensor.name[:40]!r}: rows {tensor.rows} is no count of rows")
        count = plan.outputs[tensor.rows]
        if (count.dtype, count.shape, count.rows) != ("int64", (1,), None):
            raise ValueError(f"`outputs`: {count.name[:40]!r} is no count of rows")
    if not 1 <= plan.threads <= 256:
        raise ValueError(f"`threads`: expected 1 to 256, got {plan.threads}")
    if min(plan.state_bytes, plan.arena_bytes) < 0 or plan.state_bytes + plan.arena_bytes > MAX_WORK_BYTES:
        raise ValueError(
            f"`arena_bytes`, `state_bytes`: expected at most {MAX_WORK_BYTES}, got {plan.arena_bytes} and "
            f"{plan.state_bytes}"
        )


def _bytes_of(dtype: np.dtype[np.generic], shape: Sequence[int | str | None]) -> int:
    return math.prod(n for n in shape if isinstance(n, int)) * dtype.itemsize
