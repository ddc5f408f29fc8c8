"""The onnxruntime backend: one execution provider, named by the device, with I/O bound to our buffers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecv.backends.base import (
    Array,
    Backend,
    Compiled,
    CompileOptions,
    Shapes,
    device_parts,
    refuse_pool,
    why_not_importable,
)
from edgecv.backends.session import Key, OutputShapes, Session, into, told_shape
from edgecv.errors import BackendError, EdgeCVError, PlacementError
from edgecv.types import Memory, Placement, TensorSpec

if TYPE_CHECKING:
    from edgecv.backends.pool import Pool
    from edgecv.graph.model import OnnxModel

# Device kind -> execution provider and its option for the device's index.
PROVIDERS: dict[str, tuple[str, str | None]] = {
    "cpu": ("CPUExecutionProvider", None),
    "cuda": ("CUDAExecutionProvider", "device_id"),
    "tensorrt": ("TensorrtExecutionProvider", "device_id"),
    "rocm": ("ROCMExecutionProvider", "device_id"),
    "migraphx": ("MIGraphXExecutionProvider", "device_id"),
    "openvino": ("OpenVINOExecutionProvider", None),
    "coreml": ("CoreMLExecutionProvider", None),
    "directml": ("DmlExecutionProvider", "device_id"),
    "xnnpack": ("XnnpackExecutionProvider", None),
    "acl": ("ACLExecutionProvider", None),
    "qnn": ("QNNExecutionProvider", None),
}
# Its errors are raised here, and not written to stderr as well.
_FATAL_ONLY = 4
# Operators that multiply: in integers, and in the type of their operands.
_INTEGER = ("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm")
_MULTIPLYING = ("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")
# Weights in blocks: integer arithmetic at the fourth level of accuracy, floats at the others.
_BLOCKED, _BLOCKED_INTEGER_LEVEL = "MatMulNBits", 4
# What says what it made of a graph; the others compile it into something of their own.
_READABLE = ("cpu", "cuda", "rocm", "directml")
_PRECISIONS = {1: "fp32", 10: "fp16", 16: "bf16", 2: "int8", 3: "int8"}


@dataclass
class _Plan:
    """A binding for one set of input shapes, and what it is bound to.

    output_shapes: as far as they are known. proven: outputs of which they are beyond doubt: only these are
    bound to memory of ours.
    """

    binding: Any
    output_shapes: OutputShapes = field(default_factory=dict)
    proven: frozenset[str] = frozenset()
    bound: dict[str, int] = field(default_factory=dict)


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime, every execution provider that its build carries."""

    name = "onnxruntime"
    is_guest = True

    def unavailable(self) -> str | None:
        return why_not_importable("onnxruntime", "onnxruntime")

    def version(self) -> str:
        import onnxruntime

        return str(onnxruntime.__version__)

    def devices(self) -> tuple[str, ...]:
        import onnxruntime

        available = onnxruntime.get_available_providers()
        return tuple(kind for kind, (provider, _) in PROVIDERS.items() if provider in available)

    def compile(self, model: OnnxModel, device: str, options: CompileOptions) -> Compiled:
        kind, index = device_parts(device)
        devices = self.devices()
        if kind not in devices:
            known = "" if kind in PROVIDERS else f" (devices it knows: {', '.join(PROVIDERS)})"
            raise PlacementError(
                f"onnxruntime: device {device!r} was asked for; this build has only "
                f"{', '.join(devices)}{known}"
            )
        provider, index_option = PROVIDERS[kind]
        if index and index_option is None:
            raise PlacementError(f"onnxruntime: device {device!r} was asked for; there is one {kind} alone")
        provider_options = {index_option: str(index)} if index_option else {}
        is_plain = model.precision == "fp32" and not model.has_integer_operators
        if not is_plain and kind not in _READABLE and options.precision is not None:
            raise PlacementError(
                f"onnxruntime: precision {options.precision} was asked for, and {provider} does not tell "
                "what "
                f"it computes a model of {model.precision} in; ask for none"
            )
        reads_back = not is_plain and kind in _READABLE
        running, precision = _load(
            model, provider, provider_options, options.threads, self.version(), reads_back=reads_back
        )
        return CompiledOnnxRuntime(
            model,
            Placement(
                backend="onnxruntime",
                version=self.version(),
                device=device,
                stored=model.precision,
                precision=precision,
                threads=options.threads if kind in ("cpu", "xnnpack", "acl") else 0,
                engine=provider,
            ),
            running,
        )


def _load(
    model: OnnxModel,
    provider: str,
    provider_options: dict[str, str],
    threads: int,
    version: str,
    *,
    reads_back: bool,
) -> tuple[Any, str]:
    """ONNX Runtime's session on this provider and no other, and the precision that it computes in."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _FATAL_ONLY
    is_cpu = provider == PROVIDERS["cpu"][0]
    if not is_cpu:
        # Without it, nodes that the provider lacks run on the CPU, and nobody is told.
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    with ExitStack() as stack:
        written = None
        if reads_back:
            # What was made of the graph is told by the graph that it writes.
            written = Path(stack.enter_context(TemporaryDirectory(prefix="edgecv-"))) / "optimized.onnx"
            settings.optimized_model_filepath = str(written)
        try:
            session = onnxruntime.InferenceSession(
                model.data_of_proven, settings, providers=[(provider, provider_options)]
            )
        except Exception as error:  # onnxruntime's errors share no base class
            if not is_cpu and "fallback" in str(error):
                raise PlacementError(
                    f"onnxruntime: {provider} cannot run the whole model: {_first_line(error)}"
                ) from error
            raise BackendError(
                f"onnxruntime {version} cannot compile {model.origin}: {_first_line(error)}"
            ) from error
        precision = model.precision if written is None else _computed(written)
    running = session.get_providers()
    if running[0] != provider:
        raise PlacementError(
            f"onnxruntime: {provider} was asked for and {running[0]} would run: "
            "the provider's own libraries are missing or do not fit this machine"
        )
    return session, precision


def _computed(optimized: Path) -> str:
    """The precision in which most weights are multiplied, in a graph that ONNX Runtime has optimized.

    Integer kernels have operators of their own; for the others the type of the weights tells, which casts
    that it inserted have changed.
    """
    import onnx

    sizes = {"int8": 0, "fp32": 0, "fp16": 0, "bf16": 0}
    waiting: list[tuple[Any, dict[str, tuple[int, int]]]] = [(onnx.load(str(optimized)).graph, {})]
    while waiting:
        graph, outer = waiting.pop()
        weights = {**outer, **{t.name: (t.data_type, math.prod(t.dims)) for t in graph.initializer}}
        for node in graph.node:
            attributes = {a.name: a for a in node.attribute}
            _follow(weights, node, attributes)
            computed = _multiplied(weights, node, attributes)
            for name, size in computed.items():
                sizes[name] += size
            for attribute in node.attribute:
                parts = [attribute.g] if attribute.HasField("g") else attribute.graphs
                waiting += [(part, weights) for part in parts]
    return max(sizes, key=lambda name: sizes[name]) if any(sizes.values()) else "fp32"


def _follow(weights: dict[str, tuple[int, int]], node: Any, attributes: Mapping[str, Any]) -> None:
    """A weight that is converted is one of another type."""
    size = weights.get(node.input[0], (0, 0))[1] if node.input else 0
    if node.op_type == "Cast":
        weights[node.output[0]] = attributes["to"].i, size
    elif node.op_type == "DequantizeLinear":
        weights[node.output[0]] = weights.get(node.input[1], (1, 0))[0], size
    elif node.op_type == "QuantizeLinear":
        weights[node.output[0]] = 3, size


def _multiplied(
    weights: Mapping[str, tuple[int, int]], node: Any, attributes: Mapping[str, Any]
) -> dict[str, int]:
    """How many weights a node multiplies by, by the precision; 1 where none is known."""
    known = [weights[name] for name in node.input if name in weights]
    if node.op_type == _BLOCKED:
        level = attributes["accuracy_level"].i if "accuracy_level" in attributes else 0
        name = "int8" if level == _BLOCKED_INTEGER_LEVEL else "fp32"
        return {name: attributes["K"].i * attributes["N"].i}
    if node.op_type.startswith("QLinear") or node.op_type in _INTEGER:
        return {"int8": max((size for kind, size in known if _PRECISIONS.get(kind) == "int8"), default=1)}
    if node.op_type not in _MULTIPLYING:
        return {}
    floats = [(_PRECISIONS[kind], size) for kind, size in known if kind in (1, 10, 16)]
    name, size = max(floats, key=lambda each: each[1], default=("fp32", 0))
    return {name: max(size, 1)}


class CompiledOnnxRuntime(Compiled):
    """A network in ONNX Runtime, whose sessions run side by side."""

    def __init__(self, model: OnnxModel, placement: Placement, running: Any) -> None:
        super().__init__(model.facts, placement)
        self.model = model
        self.running = running
        got = [value.name for value in running.get_outputs()]
        expected = [spec.name for spec in self.declared]
        if got != expected:
            raise BackendError(f"onnxruntime: outputs {got} differ from the model's {expected}")

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.model.proven_outputs

    def open(self, pool: Pool | None = None) -> OnnxRuntimeSession:
        refuse_pool("onnxruntime", pool)
        return OnnxRuntimeSession(self)


class OnnxRuntimeSession(Session[_Plan]):
    """One model on one execution provider. Outputs are written straight into the caller's arrays."""

    def __init__(self, compiled: CompiledOnnxRuntime) -> None:
        super().__init__(compiled)
        self._running = compiled.running
        self._model = compiled.model
        names = {spec.name for spec in self.inputs}
        # An output that is an input has no node: bound to memory of ours it comes back unwritten.
        self._made = [spec for spec in self._declared if spec.name not in names]
        self._prepare_static()

    @property
    def memory(self) -> Memory:
        return Memory(weights=self._model.weight_bytes, arena=None)

    def _make_plan(self, key: Key, shapes: Shapes, operands: Mapping[str, Array]) -> _Plan:
        plan = _Plan(self._running.io_binding())
        proven: OutputShapes = {}
        doubt = None
        try:
            proven = self._model.output_shapes(shapes)
        except EdgeCVError as error:
            # ONNX Runtime may know better.
            doubt = error
        zeros = {spec.name: np.zeros(shapes[spec.name], spec.dtype) for spec in self.inputs}
        try:
            seen = self._execute(plan, zeros, None, 0)
        except BackendError as error:
            raise (doubt or error) from error
        for spec in self._declared:
            plan.output_shapes[spec.name] = told_shape(spec, proven.get(spec.name), seen[spec.name].shape)
        plan.proven = frozenset(
            name for name, array in seen.items() if name not in shapes and proven.get(name) == array.shape
        )
        return plan

    def _output_shapes(self, plan: _Plan) -> OutputShapes:
        return plan.output_shapes

    def _execute(
        self, plan: _Plan, inputs: Mapping[str, Array], out: Mapping[str, Array] | None, deadline_ns: int
    ) -> dict[str, Array]:
        arrays = {name: array for name, array in (out or {}).items() if name in plan.proven}
        for spec in self.inputs:
            self._bind(plan, plan.binding.bind_input, spec, inputs[spec.name])
        for spec in self._made:
            name = spec.name
            if name not in plan.proven:
                plan.binding.bind_output(name, "cpu")
                continue
            if name not in arrays:
                arrays[name] = np.empty(self._fixed(name, plan.output_shapes[name]), spec.dtype)
            self._bind(plan, plan.binding.bind_output, spec, arrays[name])
        if self._made:
            try:
                self._running.run_with_iobinding(plan.binding)
            except Exception as error:  # onnxruntime's errors share no base class
                raise BackendError(f"onnxruntime: the run failed: {_first_line(error)}") from error
        if len(arrays) < len(self._made):
            # In the order in which they were bound first.
            for spec, value in zip(self._made, plan.binding.get_outputs(), strict=True):
                if spec.name not in arrays:
                    arrays[spec.name] = into(out, spec.name, value.numpy())
        for spec in self._declared:
            if spec.name in inputs:
                arrays[spec.name] = into(out, spec.name, np.array(inputs[spec.name]))
        return {spec.name: arrays[spec.name] for spec in self._declared}

    @staticmethod
    def _bind(plan: _Plan, bind: Any, spec: TensorSpec, array: Array) -> None:
        pointer = array.ctypes.data
        if plan.bound.get(spec.name) != pointer:
            bind(spec.name, "cpu", 0, spec.dtype, array.shape, pointer)
            plan.bound[spec.name] = pointer

    def _release(self) -> None:
        del self._running


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
