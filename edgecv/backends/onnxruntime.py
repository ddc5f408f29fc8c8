"""The onnxruntime backend: one execution provider, named by the device, with I/O bound to our buffers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecv.backends.base import (
    Array,
    Backend,
    CompileOptions,
    Session,
    Shapes,
    require_precision,
    why_not_importable,
)
from edgecv.errors import BackendError, PlacementError
from edgecv.types import Memory, Placement, TensorSpec

if TYPE_CHECKING:
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
_ERRORS_ONLY = 3


@dataclass
class _Plan:
    """A binding for one set of input shapes, and what it is bound to."""

    binding: Any
    output_shapes: dict[str, tuple[int | None, ...]]
    bound: dict[str, int] = field(default_factory=dict)


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime, every execution provider that its build carries."""

    name = "onnxruntime"

    def unavailable(self) -> str | None:
        return why_not_importable("onnxruntime", "onnxruntime")

    def version(self) -> str:
        import onnxruntime

        return str(onnxruntime.__version__)

    def devices(self) -> tuple[str, ...]:
        import onnxruntime

        available = onnxruntime.get_available_providers()
        return tuple(kind for kind, (provider, _) in PROVIDERS.items() if provider in available)

    def compile(self, model: OnnxModel, options: CompileOptions) -> OnnxRuntimeSession:
        return OnnxRuntimeSession(model, options, self.devices(), self.version())


class OnnxRuntimeSession(Session[_Plan]):
    """One model on one execution provider. Outputs are written straight into the caller's arrays."""

    def __init__(
        self, model: OnnxModel, options: CompileOptions, devices: tuple[str, ...], version: str
    ) -> None:
        import onnxruntime

        require_precision("onnxruntime", model, options)
        kind = options.device_kind
        if kind not in devices:
            known = "" if kind in PROVIDERS else f" (devices it knows: {', '.join(PROVIDERS)})"
            raise PlacementError(
                f"onnxruntime: device {options.device!r} was asked for; "
                f"this build has only {', '.join(devices)}{known}"
            )
        provider, index_option = PROVIDERS[kind]
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = _ERRORS_ONLY
        if kind != "cpu":
            # Without it, nodes that the provider lacks run on the CPU, and nobody is told.
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        provider_options = {index_option: str(options.device_index)} if index_option else {}
        try:
            self._session = onnxruntime.InferenceSession(
                model.data, settings, providers=[(provider, provider_options)]
            )
        except Exception as error:  # onnxruntime's errors share no base class
            if kind != "cpu" and "fallback" in str(error):
                raise PlacementError(
                    f"onnxruntime: {provider} cannot run the whole model: {_first_line(error)}"
                ) from error
            raise BackendError(
                f"onnxruntime {version} cannot compile {model.origin}: {_first_line(error)}"
            ) from error
        running = self._session.get_providers()
        if running[0] != provider:
            raise PlacementError(
                f"onnxruntime: {provider} was asked for and {running[0]} would run: "
                "the provider's own libraries are missing or do not fit this machine"
            )
        super().__init__(
            model,
            Placement(
                backend="onnxruntime",
                version=version,
                device=options.device,
                precision=model.precision,
                threads=options.threads if kind in ("cpu", "xnnpack", "acl") else 0,
                engine=provider,
            ),
        )
        self._model = model
        self._check_order()
        self._weights = model.weight_bytes
        self._prepare_static()

    @property
    def memory(self) -> Memory:
        return Memory(weights=self._weights, arena=None)

    def _check_order(self) -> None:
        got = [value.name for value in self._session.get_outputs()]
        expected = [spec.name for spec in self.outputs]
        if got != expected:
            raise BackendError(f"onnxruntime: outputs {got} differ from the model's {expected}")

    def _make_plan(self, shapes: Shapes, operands: Mapping[str, Array]) -> _Plan:
        plan = _Plan(self._session.io_binding(), self._model.output_shapes(shapes))
        zeros = {spec.name: np.zeros(shapes[spec.name], spec.dtype) for spec in self.inputs}
        self._execute(plan, zeros, None)
        return plan

    def _output_shapes(self, plan: _Plan) -> dict[str, tuple[int | None, ...]]:
        return plan.output_shapes

    def _execute(
        self, plan: _Plan, inputs: Mapping[str, Array], out: Mapping[str, Array] | None
    ) -> dict[str, Array]:
        results: dict[str, Array] = {}
        for spec in self.inputs:
            self._bind(plan, plan.binding.bind_input, spec, inputs[spec.name])
        for spec in self.outputs:
            shape = plan.output_shapes[spec.name]
            if out is not None:
                results[spec.name] = out[spec.name]
            elif None not in shape:
                results[spec.name] = np.empty(self._fixed(spec.name, shape), spec.dtype)
            if spec.name in results:
                self._bind(plan, plan.binding.bind_output, spec, results[spec.name])
            else:
                plan.binding.bind_output(spec.name, "cpu")
        try:
            self._session.run_with_iobinding(plan.binding)
        except Exception as error:  # onnxruntime's errors share no base class
            raise BackendError(f"onnxruntime: the run failed: {_first_line(error)}") from error
        if len(results) == len(self.outputs):
            return results
        fetched = plan.binding.copy_outputs_to_cpu()
        return {
            spec.name: results.get(spec.name, array)
            for spec, array in zip(self.outputs, fetched, strict=True)
        }

    @staticmethod
    def _bind(plan: _Plan, bind: Any, spec: TensorSpec, array: Array) -> None:
        pointer = array.ctypes.data
        if plan.bound.get(spec.name) != pointer:
            bind(spec.name, "cpu", 0, spec.dtype, array.shape, pointer)
            plan.bound[spec.name] = pointer

    def _release(self) -> None:
        del self._session


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
