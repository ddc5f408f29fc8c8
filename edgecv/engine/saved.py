"""Plans in files: programs, packed weights and the facts that a run needs, in a container of kind `plan`.

| Member | Holds |
|---|---|
| `card.json` | the model's card, where it has one |
| `remarks.json` | what the importer told of the model's files, where it told anything |
| `STAGE.plan.json` | inputs and outputs, sizes of memory, names of the steps |
| `STAGE.program` | the steps, int64, little endian |
| `STAGE.constants` | tables, and arrays that are no larger |
| `STAGE.weights` | packed weights |

The last four are there for each network of the model, its stages in the order in which they run; a model of
one network has the stage `network`. All of them are packed for one instruction set.

The native runtime examines a program against every size and every table before it runs. Tables are therefore
copied out of the file, and checked and examined in the copy: a file that is changed meanwhile cannot lead a
step out of its memory. Weights are values only, and stay where they lie.
"""

# Without annotations from __future__: msgspec would have to compile them one by one when a model is loaded.

import math
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from edgecv import _isa, _simd, container, planfile
from edgecv.container import Bytes, Container
from edgecv.engine.outputs import Output
from edgecv.errors import InputError, ModelFileError, UnavailableError
from edgecv.options import MAX_THREADS
from edgecv.planfile import Told
from edgecv.settings import ISA
from edgecv.types import ModelFacts, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecv.engine.program import Encoded

KIND, BACKEND = planfile.KIND, "simd"
# To be raised when a step's field or table means something else than before under the same name.
VERSION = 1

CARD, REMARKS = planfile.CARD, planfile.TOLD
# Of each stage, after its name and a dot.
PLAN = "plan.json"
_PARTS = (PLAN, "program", "constants", "weights")

# A thousand times what networks in use have.
MAX_PROGRAM_BYTES = 256 << 20
MAX_TENSORS = 1024
# A longer one helps nobody who reads a list.
MAX_SOURCE = 4096
# Of all stages; all pages of an arena are touched when it is made.
MAX_WORK_BYTES = 4 << 30
MAX_TENSOR_BYTES = 1 << 30

# fmt: off
_Dtype = Literal[
    "float32", "float64", "float16", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
]
# fmt: on
_Precision = Literal["fp32", "fp16", "bf16", "int8"]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Tensor(_Struct, frozen=True):
    name: str
    dtype: _Dtype
    shape: tuple[int, ...]
    rows: int | None = None
    axis: int = 0


class _Spec(_Struct, frozen=True):
    name: str
    dtype: _Dtype
    shape: tuple[int | str | None, ...]
    is_ranked: bool = True


class _Declared(_Struct, frozen=True):
    inputs: tuple[_Spec, ...]
    outputs: tuple[_Spec, ...]


class _Plan(_Struct, frozen=True):
    """outputs: those of the network, then counts of rows; `results` says how many are the network's.

    declared: inputs and outputs as the network states them, of a plan that is kept beside its network.
    """

    source: str
    threads: int
    stored: _Precision
    results: int
    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...]
    state_bytes: int
    arena_bytes: int
    labels: tuple[str, ...]
    declared: _Declared | None = None


@cache
def fingerprint() -> str:
    """Of what programs are made of: the operations with their fields, and the choices that fields make."""
    layout = msgspec.json.encode([VERSION, list(_simd.OPS.items()), list(_simd.CHOICES.items())])
    return f"{zlib.crc32(layout):08x}{len(layout):08x}"


class SavedStage(msgspec.Struct, frozen=True, eq=False):
    """One network of a plan out of a file, ready to be given to the runtime.

    What it does not say is not known. origin: the file, and the stage where there are several. source: name
    of the file that it was compiled from. facts: of the network, for these shapes alone. isa: that it is
    packed for. threads: that its steps are cut for; results do not depend on them. outputs: those of the
    network, then counts of rows. labels: names of the steps. stored: precision of the network's file;
    precision: that is computed. declared: facts as the network states them, None where only the plan is
    known.
    """

    origin: str
    source: str
    facts: ModelFacts
    isa: str
    threads: int
    outputs: tuple[Output, ...]
    labels: tuple[str, ...]
    steps: "NDArray[np.int64]"
    constants: Bytes
    weights: Bytes
    state_bytes: int
    arena_bytes: int
    stored: _Precision
    precision: Literal["fp32"] = "fp32"
    declared: ModelFacts | None = None

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
            raise ModelFileError(
                f"{self.origin}: its program is not sound: {planfile.one_line(error)}; {_AGAIN}"
            ) from error
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


class SavedPlan(msgspec.Struct, frozen=True, eq=False):
    """A plan out of a file. origin: the file. backend: that runs it.

    stages: in the order in which they run. card: JSON, None where it has none. told: of the model's files.
    """

    origin: str
    backend: str
    stages: Mapping[str, SavedStage]
    card: bytes | None
    told: Told

    @property
    def first(self) -> SavedStage:
        """The stage that takes the frame."""
        return next(iter(self.stages.values()))


class StageToSave(msgspec.Struct, frozen=True, eq=False):
    """One network, compiled.

    inputs: with the shapes that it was compiled for. outputs: of the plan, of which the first `results` are
    the network's. source: name of the network's file, and stored: its precision. threads: that the steps are
    cut for. declared: facts as the network states them, of a plan that is kept beside it.
    """

    encoded: "Encoded"
    inputs: Sequence[TensorSpec]
    outputs: Sequence[Output]
    results: int
    source: str
    threads: int
    stored: str
    declared: ModelFacts | None = None


_AGAIN = planfile.AGAIN


def check_stages(names: Iterable[str]) -> None:
    """Raise InputError unless a plan can have stages of these names."""
    names = tuple(names)
    if not 1 <= len(names) <= planfile.MAX_STAGES:
        raise InputError(f"stages: a plan has 1 to {planfile.MAX_STAGES} of them, got {len(names)}")
    for name in names:
        if not planfile.STAGE_NAME.fullmatch(name):
            raise InputError(
                f"stages: {name[:40]!r}: expected 1 to 32 lower case letters, digits, '_' and '-', a "
                "letter "
                "or a digit first"
            )


def to_bytes(
    stages: Mapping[str, StageToSave],
    *,
    card: str | None,
    told: Told = Told(),  # noqa: B008 - frozen
    origin: str = "",
) -> bytes:
    """The container of a plan.

    stages: in the order in which they run, all for one instruction set. card: JSON. told: of the model's
    files. origin: what the plan was made from, for lists. Raises InputError for names that a stage cannot
    have, and for several instruction sets.
    """
    check_stages(stages)
    isa, *others = {stage.encoded.isa for stage in stages.values()}
    if others:
        raise InputError(f"stages: expected one instruction set for all, got {', '.join([isa, *others])}")
    members: dict[str, bytes | NDArray[Any]] = {**planfile.members(card, told)}
    for name, stage in stages.items():
        code = stage.encoded
        parts = (_facts_of(stage), code.steps.astype("<i8"), code.constants, code.weights)
        members |= zip(_members(name), parts, strict=True)
    threads = max(stage.threads for stage in stages.values())
    about = {"isa": isa, "engine": fingerprint(), planfile.THREADS: str(threads)}
    if origin:
        about[planfile.SOURCE] = origin.encode("ascii", "backslashreplace").decode()[:MAX_SOURCE]
    return container.to_bytes(KIND, members, about, BACKEND)


def read(source: str | os.PathLike[str] | bytes) -> SavedPlan:
    """The plan in a file, whose weights are mapped, or in the bytes of one.

    Raises ModelFileError for what is no plan, is damaged or is of another engine; UnavailableError for a
    plan that is packed for an instruction set which this CPU lacks.
    """
    return of(container.read(source))


def of(found: Container) -> SavedPlan:
    """The plan in a container; raises as `read` does."""
    found.expect(KIND)
    isa = _check_about(found)
    names = _stages(found)
    plans = {name: _facts(found, name) for name in names}
    work = sum(plan.state_bytes + plan.arena_bytes for plan in plans.values())
    if work > MAX_WORK_BYTES:
        raise ModelFileError(
            f"{found.origin}: expected stages that work in at most {MAX_WORK_BYTES} bytes, got {work}; "
            f"{_AGAIN}"
        )
    return SavedPlan(
        origin=found.origin,
        backend=found.backend,
        stages={name: _stage(found, name, plan, isa, len(names) == 1) for name, plan in plans.items()},
        card=planfile.card_of(found),
        told=planfile.told_by(found),
    )


def _members(stage: str) -> list[str]:
    return [f"{stage}.{part}" for part in _PARTS]


def _facts_of(stage: StageToSave) -> bytes:
    plan = _Plan(
        source=stage.source,
        threads=stage.threads,
        stored=stage.stored,  # type: ignore[arg-type]
        results=stage.results,
        inputs=tuple(_Tensor(s.name, s.dtype.name, s.shape) for s in stage.inputs),  # type: ignore[arg-type]
        outputs=tuple(_Tensor(o.name, o.dtype.name, o.shape, o.rows, o.axis) for o in stage.outputs),  # type: ignore[arg-type]
        state_bytes=stage.encoded.state_bytes,
        arena_bytes=stage.encoded.arena_bytes,
        labels=stage.encoded.labels,
        declared=None
        if stage.declared is None
        else _Declared(_specs(stage.declared.inputs), _specs(stage.declared.outputs)),
    )
    _check_facts(plan)
    return msgspec.json.encode(plan)


def _specs(tensors: Sequence[TensorSpec]) -> tuple[_Spec, ...]:
    return tuple(_Spec(t.name, t.dtype.name, t.shape, t.is_ranked) for t in tensors)  # type: ignore[arg-type]


def _declared(stated: _Declared | None) -> ModelFacts | None:
    if stated is None:
        return None
    inputs, outputs = (
        tuple(TensorSpec(t.name, np.dtype(t.dtype), t.shape, t.is_ranked) for t in specs)
        for specs in (stated.inputs, stated.outputs)
    )
    return ModelFacts(inputs, outputs)


def _check_about(found: Container) -> str:
    """The instruction set of a plan that this build and this CPU can run."""
    if found.backend != BACKEND:
        raise ModelFileError(
            f"{found.origin}: expected a plan of {BACKEND}, got one of {found.backend[:40]!r}; {_AGAIN}"
        )
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


def _stages(found: Container) -> list[str]:
    """Names of the stages, of a container that has the members of a plan, in order, and no others."""
    stages = [name.removesuffix(f".{PLAN}") for name in found.names if name.endswith(f".{PLAN}")]
    try:
        check_stages(stages)
    except InputError as error:
        raise ModelFileError(f"{found.origin}: {error}; {_AGAIN}") from error
    expected = [name for name in (CARD, REMARKS) if name in found]
    for stage in stages:
        expected += _members(stage)
    if list(found.names) != expected:
        raise ModelFileError(
            f"{found.origin}: expected the members {', '.join(expected)}, got {', '.join(found.names)}; "
            f"{_AGAIN}"
        )
    return stages


def _stage(found: Container, name: str, plan: _Plan, isa: str, alone: bool) -> SavedStage:
    _, program, constants, weights = _members(name)
    steps = found.copied(program, most=MAX_PROGRAM_BYTES)
    if len(steps) % 8:
        raise ModelFileError(f"{found.origin}: {program} of {len(steps)} bytes is not of int64; {_AGAIN}")
    outputs = tuple(Output(t.name, t.shape, np.dtype(t.dtype), t.rows, t.axis) for t in plan.outputs)
    return SavedStage(
        origin=found.origin if alone else f"{found.origin}: {name}",
        source=plan.source,
        facts=ModelFacts(
            inputs=tuple(TensorSpec(t.name, np.dtype(t.dtype), t.shape) for t in plan.inputs),
            outputs=tuple(TensorSpec(o.name, o.dtype, o.declared) for o in outputs[: plan.results]),
            image_wh=next(((t.shape[3], t.shape[2]) for t in plan.inputs if len(t.shape) == 4), None),
        ),
        isa=isa,
        threads=plan.threads,
        outputs=outputs,
        labels=plan.labels,
        steps=steps.view(np.int64),
        constants=found.copied(constants),
        weights=found.mapped(weights),
        state_bytes=plan.state_bytes,
        arena_bytes=plan.arena_bytes,
        stored=plan.stored,
        declared=_declared(plan.declared),
    )


def _facts(found: Container, stage: str) -> _Plan:
    name = f"{stage}.{PLAN}"
    plan: _Plan = planfile.decoded(found, name, _Plan)
    try:
        _check_facts(plan)
    except ValueError as error:
        raise ModelFileError(f"{found.origin}: {name}: {error}; {_AGAIN}") from error
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
    if plan.declared is not None:
        _check_declared(plan, plan.declared)
    if not 1 <= plan.results <= len(plan.outputs):
        raise ValueError(f"`results`: expected 1 to {len(plan.outputs)}, got {plan.results}")
    for tensor in plan.outputs:
        if tensor.rows is None:
            continue
        if not plan.results <= tensor.rows < len(plan.outputs):
            raise ValueError(f"`outputs`: {tensor.name[:40]!r}: rows {tensor.rows} is no count of rows")
        if not 0 <= tensor.axis < len(tensor.shape):
            raise ValueError(f"`outputs`: {tensor.name[:40]!r}: it has no axis {tensor.axis}")
        count = plan.outputs[tensor.rows]
        if (count.dtype, count.shape, count.rows) != ("int64", (1,), None):
            raise ValueError(f"`outputs`: {count.name[:40]!r} is no count of rows")
    if not 1 <= plan.threads <= MAX_THREADS:
        raise ValueError(f"`threads`: expected 1 to {MAX_THREADS}, got {plan.threads}")
    if min(plan.state_bytes, plan.arena_bytes) < 0 or plan.state_bytes + plan.arena_bytes > MAX_WORK_BYTES:
        raise ValueError(
            f"`arena_bytes`, `state_bytes`: expected at most {MAX_WORK_BYTES}, got {plan.arena_bytes} and "
            f"{plan.state_bytes}"
        )


def _check_declared(plan: _Plan, declared: _Declared) -> None:
    """Raise ValueError unless the plan is one of the network that is declared; outputs may state any
    sizes.
    """
    for kind, specs, tensors in (
        ("inputs", declared.inputs, plan.inputs),
        ("outputs", declared.outputs, plan.outputs[: plan.results]),
    ):
        if [(s.name, s.dtype) for s in specs] != [(t.name, t.dtype) for t in tensors]:
            raise ValueError(f"`declared`: its {kind} are not those of the plan")
    for spec, tensor in zip(declared.inputs, plan.inputs, strict=True):
        sizes = zip(spec.shape, tensor.shape, strict=False)
        if not spec.is_ranked:
            continue
        if len(spec.shape) != len(tensor.shape) or any(isinstance(n, int) and n != got for n, got in sizes):
            raise ValueError(f"`declared`: {spec.name[:40]!r} does not take the shape of the plan")


def _bytes_of(dtype: np.dtype[np.generic], shape: Sequence[int | str | None]) -> int:
    return math.prod(n for n in shape if isinstance(n, int)) * dtype.itemsize
