"""What the compiler made of a model, for people and machines: passes, steps, layouts, memory, work."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgecv import _isa, _simd, machine
from edgecv.engine.claims import name_of
from edgecv.engine.compile import Compiled
from edgecv.engine.program import Step, lanes_of
from edgecv.engine.views import Shape
from edgecv.graph.model import OnnxModel

if TYPE_CHECKING:
    import onnx_ir

# Steps that compute nothing.
COPIES = ("copy", "planes")

# About the longest that steps are timed in one call.
HEARD_NS = 200_000_000

# What lowering adds to the name of a node or a value where it moves data for it.
_PURPOSES = re.compile(r"( \([a-z]+\))+$")


class StepFacts(msgspec.Struct, frozen=True):
    """One step of a plan.

    op: the kernel's family. label: the node, or the value, that it is for. how: its form. result: shape of
    what it writes, () where the graph has no such value. blocks: channels in the blocks that the result lies
    in, 0 where it is row-major. flops: additions and multiplications of the operator; bytes: read and
    written, weights included. ns: the least that it took, None where it was not run.
    """

    op: str
    label: str
    how: str
    result: Shape
    blocks: int
    flops: float
    bytes: int
    ns: float | None = None

    @property
    def is_copy(self) -> bool:
        """Whether it only moves data."""
        return self.op in COPIES

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "op": self.op,
            "label": self.label,
            "how": self.how,
            "result": list(self.result),
            "blocks": self.blocks,
            "flops": self.flops,
            "bytes": self.bytes,
        }


class Explanation(msgspec.Struct, frozen=True):
    """Everything that `edgecv compile --explain` prints. Sizes in bytes.

    inputs, outputs: shapes. before, after: operators of the graph and how many of each; before_text,
    after_text: its nodes, one a line. changes: pass, nodes, what was done. missed: pass, node, why it was
    not. views: operators of the graph after the passes that need no step, since they only say where their
    results lie. values_bytes: of the values that share the arena, were they side by side. scratch_bytes: of
    all threads, None where this machine cannot run the plan. remarks: what was done to the file before.
    """

    origin: str
    isa: str
    lanes: int
    threads: int
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    before: dict[str, int]
    after: dict[str, int]
    views: dict[str, int]
    before_text: str
    after_text: str
    changes: tuple[tuple[str, tuple[str, ...], str], ...]
    missed: tuple[tuple[str, str, str], ...]
    steps: tuple[StepFacts, ...]
    weight_bytes: int
    arena_bytes: int
    values_bytes: int
    scratch_bytes: int | None
    remarks: tuple[str, ...] = ()

    @property
    def flops(self) -> float:
        """Of all steps."""
        return sum(step.flops for step in self.steps)

    @property
    def moved_bytes(self) -> int:
        """Read and written by all steps."""
        return sum(step.bytes for step in self.steps)

    @property
    def ns(self) -> float | None:
        """The steps' least times together; None where nothing was run."""
        times = [step.ns for step in self.steps if step.ns is not None]
        return sum(times) if times else None

    @property
    def memory_bytes(self) -> int:
        """All that a session of one plan holds."""
        return self.weight_bytes + self.arena_bytes + (self.scratch_bytes or 0)

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "file": self.origin,
            "remarks": list(self.remarks),
            "isa": self.isa,
            "lanes": self.lanes,
            "threads": self.threads,
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "outputs": {name: list(shape) for name, shape in self.outputs.items()},
            "operators": {"before": self.before, "after": self.after, "views": self.views},
            "changes": [{"pass": p, "nodes": list(n), "what": w} for p, n, w in self.changes],
            "missed": [{"pass": p, "node": n, "why": w} for p, n, w in self.missed],
            "steps": [step.as_dict() for step in self.steps],
            "flops": self.flops,
            "moved_bytes": self.moved_bytes,
            "memory": {
                "weights": self.weight_bytes,
                "arena": self.arena_bytes,
                "arena_side_by_side": self.values_bytes,
                "scratch": self.scratch_bytes,
            },
            "graph": {"before": self.before_text.splitlines(), "after": self.after_text.splitlines()},
        }


def explain(
    model: OnnxModel, compiled: Compiled, shapes: Mapping[str, Shape], threads: int, repeats: int = 0
) -> Explanation:
    """Put together what is to be told about a compiled model.

    shapes, threads: that it was compiled for. repeats: runs on noise of which each step's least time is told.
    """
    from edgecv.engine.text import to_text
    from edgecv.graph.ir import to_ir

    before = to_ir(model, shapes)
    code = compiled.encoded
    # The runtime examines what it can run; scratch is what it says.
    plan = compiled.plan if code.isa in _isa.usable() else None
    facts = _Facts(compiled, lanes_of(code.isa))
    times = (
        _step_times(model, compiled, shapes, threads, repeats) if repeats else [None] * len(compiled.steps)
    )
    return Explanation(
        origin=model.origin,
        isa=code.isa,
        lanes=facts.lanes,
        threads=threads,
        inputs={name: tuple(shape) for name, shape in shapes.items()},
        outputs={out.name: out.shape for out in compiled.outputs[: len(model.facts.outputs)]},
        before=_operators(before.graph),
        after=_operators(compiled.graph.graph),
        views=facts.views(),
        before_text=to_text(before),
        after_text=to_text(compiled.graph),
        changes=tuple((c.pass_name, c.nodes, c.what) for c in compiled.report.changes),
        missed=tuple((m.pass_name, m.node, m.why) for m in compiled.report.missed),
        steps=tuple(facts.of(step, ns) for step, ns in zip(compiled.steps, times, strict=True)),
        weight_bytes=code.constants.nbytes + code.weights.nbytes + code.state_bytes,
        arena_bytes=code.arena_bytes,
        values_bytes=compiled.values_bytes,
        scratch_bytes=None if plan is None else plan.scratch_bytes * threads,
    )


def _step_times(
    model: OnnxModel, compiled: Compiled, shapes: Mapping[str, Shape], threads: int, repeats: int
) -> list[float | None]:
    """The least time of each step, ns, over runs on inputs of noise (zeros, of other types than floats)."""
    rng = np.random.default_rng(0)
    inputs = tuple(
        rng.random(shapes[spec.name]).astype(spec.dtype)
        if spec.dtype.kind == "f"
        else np.zeros(shapes[spec.name], spec.dtype)
        for spec in model.facts.inputs
    )
    outputs = tuple(np.empty(out.shape, out.dtype) for out in compiled.outputs)
    pool = _simd.Pool(threads, budget=machine.cpu_budget())
    context = _simd.Context(compiled.plan)
    try:
        least = context.step_times(pool, inputs, outputs, 1)
        # Between calls Ctrl-C is heard, which native code does not.
        at_once = max(1, int(HEARD_NS / max(float(least.sum()), 1.0)))
        for done in range(1, repeats, at_once):
            runs = min(at_once, repeats - done)
            least = np.minimum(least, context.step_times(pool, inputs, outputs, runs))
        return [float(ns) for ns in least]
    finally:
        pool.close()


def _operators(nodes: onnx_ir.Graph) -> dict[str, int]:
    return dict(sorted(Counter(name_of(node) for node in nodes).items()))


class _Facts:
    """What steps are, in terms of the graph that they were made of."""

    def __init__(self, compiled: Compiled, lanes: int) -> None:
        graph = compiled.graph.graph
        self.lanes = lanes
        self._nodes = {node.name or "": node for node in graph}
        self._values = {value.name or "": value for node in graph for value in node.outputs}
        self._values |= {value.name or "": value for value in (*graph.inputs, *graph.initializers.values())}
        parts = [part for step in compiled.steps for part in (step.members or (step,))]
        self._labels = {_PURPOSES.sub("", part.label) for part in parts}

    def of(self, step: Step, ns: float | None) -> StepFacts:
        last = step.members[-1] if step.members else step
        how = " > ".join(f"{part.op} {self._how(part)}" for part in step.members)
        return StepFacts(
            op=step.op,
            label=step.label,
            how=how or self._how(step),
            result=self._result(last.label),
            blocks=self.lanes if _lies_in_blocks(last, self.lanes) else 0,
            flops=step.flops,
            bytes=step.bytes,
            ns=ns,
        )

    def views(self) -> dict[str, int]:
        """Operators that no step is for."""
        free = [
            name_of(node)
            for node in self._nodes.values()
            if node.name not in self._labels and self._labels.isdisjoint(value.name for value in node.outputs)
        ]
        return dict(sorted(Counter(free).items()))

    def _result(self, label: str) -> Shape:
        name = _PURPOSES.sub("", label)
        node = self._nodes.get(name)
        value = node.outputs[0] if node is not None else self._values.get(name)
        shape = None if value is None else value.shape
        return () if shape is None else tuple(n for n in shape if isinstance(n, int))

    def _how(self, step: Step) -> str:
        number = {name: value for name, value in step.fields.items() if isinstance(value, int)}
        words: list[str] = []
        if step.op == "conv":
            gathered = "edges gathered" if number["inner_runs"] else "gathered"
            words = [self._window(step.label), gathered if number["n_planes"] else ""]
            words += ["in pairs"] if number["paired"] else []
            words += ["+residual"] if _is_set(step, "residual") else []
        elif step.op == "depthwise":
            words = [
                _window([number["kernel_h"], number["kernel_w"]], [number["stride_y"], number["stride_x"]])
            ]
        elif step.op in ("map", "map_nd"):
            words = [_choice("map_op", number["op"]).removesuffix("_")]
        elif step.op == "pool":
            words = [_choice("pool_kind", number["kind"]), self._window(step.label)]
        elif step.op in ("spatial", "reduce_nd", "softmax_nd", "gather_nd", "scatter_nd"):
            kinds = {"spatial": "reduce", "scatter_nd": "gather"}
            words = [_choice(f"{kinds.get(step.op, step.op.removesuffix('_nd'))}_kind", number["kind"])]
        elif step.op == "resize":
            words = [str(self._attribute(step.label, "mode") or "")]
        elif step.op in COPIES:
            words = list(re.findall(r"\(([a-z]+)\)$", step.label))
        if number.get("activation"):
            words.append(f"+{_choice('activation', number['activation'])}")
        return " ".join(word for word in words if word)

    def _window(self, label: str) -> str:
        """Size and stride of a node's window."""
        node = self._nodes.get(_PURPOSES.sub("", label))
        weights = node.inputs[1] if node is not None and len(node.inputs) > 1 else None
        sizes = self._attribute(label, "kernel_shape")
        if not sizes and weights is not None and weights.shape is not None:
            sizes = tuple(weights.shape)[2:]
        return _window(sizes or (), self._attribute(label, "strides") or ())

    def _attribute(self, label: str, name: str) -> Any:
        node = self._nodes.get(_PURPOSES.sub("", label))
        attribute = None if node is None else node.attributes.get(name)
        return None if attribute is None else attribute.value


def _window(sizes: Any, strides: Any) -> str:
    """ "3x3/2": size, and stride where it is not 1."""
    size = "x".join(map(str, sizes))
    if not size or all(stride == 1 for stride in strides):
        return size
    return f"{size}/{strides[0] if len(set(strides)) == 1 else 'x'.join(map(str, strides))}"


def _is_set(step: Step, name: str) -> bool:
    value = step.fields[name]
    return bool(value if isinstance(value, int) else value.value)


def _choice(kind: str, number: int) -> str:
    return _simd.CHOICES[kind][number]


def _lies_in_blocks(step: Step, lanes: int) -> bool:
    number = {name: value for name, value in step.fields.items() if isinstance(value, int)}
    if step.op == "conv":
        pixels = number["runs"] * number["pixels"]
        return number["y_pixel"] % lanes == 0 and (number["y_block"] > lanes or pixels == 1)
    if step.op == "planes":
        return number["y_pixel"] == lanes
    return step.op in ("depthwise", "pool", "spatial", "resize", "map")
