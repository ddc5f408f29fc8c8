"""The opencv backend: cv2.dnn, its engine chosen explicitly and read back.

OpenCV 5 has a new graph engine, which runs on the CPU alone and answers a request for any other
target with a warning; OpenCV 4 has the classic one, with targets. Neither tells by itself which one
runs: the dump of the network does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

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
from edgecv.records import frozen
from edgecv.types import Memory, Placement

if TYPE_CHECKING:
    from edgecv.graph.model import OnnxModel

MINIMUM = (4, 8)
# Device kind -> name of the DNN backend, and of the target for each precision.
DEVICES: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("DNN_BACKEND_OPENCV", {"fp32": "DNN_TARGET_CPU", "int8": "DNN_TARGET_CPU"}),
    "cuda": ("DNN_BACKEND_CUDA", {"fp32": "DNN_TARGET_CUDA", "fp16": "DNN_TARGET_CUDA_FP16"}),
    "opencl": ("DNN_BACKEND_OPENCV", {"fp32": "DNN_TARGET_OPENCL", "fp16": "DNN_TARGET_OPENCL_FP16"}),
    "vulkan": ("DNN_BACKEND_VKCOM", {"fp32": "DNN_TARGET_VULKAN"}),
    "npu": ("DNN_BACKEND_TIMVX", {"int8": "DNN_TARGET_NPU"}),
}


class OpenCVBackend(Backend):
    """OpenCV DNN 4.8 to 5."""

    name = "opencv"

    def unavailable(self) -> str | None:
        if reason := why_not_importable("cv2", "opencv"):
            return reason
        import cv2

        if not hasattr(cv2, "dnn"):
            return f"OpenCV {cv2.__version__} was built without its dnn module"
        if _version_tuple(cv2.__version__) < MINIMUM:
            return f"OpenCV {cv2.__version__} is too old: edgecv needs 4.8 or newer"
        return None

    def version(self) -> str:
        import cv2

        return str(cv2.__version__)

    def devices(self) -> tuple[str, ...]:
        return tuple(kind for kind in DEVICES if any(_target(kind, p) for p in DEVICES[kind][1]))

    def compile(self, model: OnnxModel, options: CompileOptions) -> OpenCVSession:
        return OpenCVSession(model, options, self.devices(), self.version())


def _version_tuple(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _has_new_engine() -> bool:
    import cv2

    return hasattr(cv2.dnn, "ENGINE_NEW")


def _target(kind: str, precision: str) -> tuple[int, int] | None:
    """The (backend, target) of a device at a precision, where this build can run it."""
    import cv2

    if kind not in DEVICES or (kind != "cpu" and _has_new_engine()):
        return None
    backend_name, targets = DEVICES[kind]
    backend = getattr(cv2.dnn, backend_name, None)
    target = getattr(cv2.dnn, targets.get(precision, ""), None)
    if backend is None or target is None or target not in cv2.dnn.getAvailableTargets(backend):
        return None
    return backend, target


@frozen
class _Plan:
    shapes: Shapes
    output_shapes: dict[str, tuple[int | None, ...]]


class OpenCVSession(Session[_Plan]):
    """One network in cv2.dnn. OpenCV's thread count is global to the process: sessions must agree."""

    _live: ClassVar[WeakSet[OpenCVSession]] = WeakSet()

    def __init__(
        self, model: OnnxModel, options: CompileOptions, devices: tuple[str, ...], version: str
    ) -> None:
        if options.device_kind == "cpu":
            require_precision("opencv", model, options)
        target = _target(options.device_kind, options.precision)
        if target is None or options.device_index:
            raise PlacementError(
                f"opencv: device {options.device!r} at {options.precision} was asked for; "
                f"OpenCV {version} here can use only {', '.join(devices)}"
            )
        self._threads = options.threads
        self._claim_threads()
        self._net = self._read(model, version)
        engine = self._place(target, options, version)
        super().__init__(
            model,
            Placement(
                backend="opencv",
                version=version,
                device=options.device,
                precision=options.precision,
                threads=options.threads if options.device_kind == "cpu" else 0,
                engine=engine,
            ),
        )
        self._model = model
        self._output_names = [spec.name for spec in self.outputs]
        self._weights = model.weight_bytes
        self._live.add(self)
        self._prepare_static()

    @property
    def memory(self) -> Memory:
        return Memory(weights=self._weights, arena=None)

    def _claim_threads(self) -> None:
        others = {session._threads for session in self._live} - {self._threads}
        if others:
            raise BackendError(
                f"opencv: threads={self._threads} was asked for, and a live OpenCV session of this "
                f"process uses {others.pop()}: OpenCV's thread count is global; close that session or ask "
                "for the same"
            )
        self._set_threads()

    def _set_threads(self) -> None:
        """Anything in the process may have changed the global count since."""
        import cv2

        if cv2.getNumThreads() == self._threads:
            return
        cv2.setNumThreads(self._threads)
        if cv2.getNumThreads() != self._threads:
            raise PlacementError(
                f"opencv: threads={self._threads} was asked for, and this OpenCV build "
                f"uses {cv2.getNumThreads()}"
            )

    @staticmethod
    def _read(model: OnnxModel, version: str) -> Any:
        import cv2

        if _has_new_engine():
            # OpenCV 5.0 leaves out the padding of a 1x1 convolution, and answers with other numbers.
            from edgecv.graph.padding import with_padding_of_points

            model = with_padding_of_points(model)
        data = np.frombuffer(model.data, np.uint8)
        cannot = f"OpenCV {version} cannot compile {model.origin}"
        try:
            if _has_new_engine():
                net = cv2.dnn.readNetFromONNX(data, cv2.dnn.ENGINE_NEW)
            else:
                net = cv2.dnn.readNetFromONNX(data)
        except cv2.error as error:
            raise BackendError(f"{cannot}: {_reason(error)}") from error
        if net.empty():
            raise BackendError(f"{cannot}: its importer refuses a node; it names it in its own log")
        return net

    def _place(self, target: tuple[int, int], options: CompileOptions, version: str) -> str:
        if _has_new_engine():
            # The classic engine has no main graph to dump, and before its first input no dump at all.
            if "main_graph" not in self._net.dump():
                raise PlacementError(
                    f"opencv: the new engine of OpenCV {version} was asked for and another one answers: "
                    "is OPENCV_FORCE_DNN_ENGINE set?"
                )
            return "new engine, DNN_TARGET_CPU"
        backend, target_id = target
        self._net.setPreferableBackend(backend)
        self._net.setPreferableTarget(target_id)
        backend_name, targets = DEVICES[options.device_kind]
        return f"classic engine, {backend_name}, {targets[options.precision]}"

    def _make_plan(self, shapes: Shapes, operands: Mapping[str, Array]) -> _Plan:
        plan = _Plan(shapes, self._model.output_shapes(shapes))
        self._execute(plan, {s.name: np.zeros(shapes[s.name], s.dtype) for s in self.inputs}, None)
        return plan

    def _output_shapes(self, plan: _Plan) -> dict[str, tuple[int | None, ...]]:
        return plan.output_shapes

    def _execute(
        self, plan: _Plan, inputs: Mapping[str, Array], out: Mapping[str, Array] | None
    ) -> dict[str, Array]:
        import cv2

        self._set_threads()
        try:
            for spec in self.inputs:
                self._net.setInput(inputs[spec.name], spec.name)
            arrays = self._net.forward(self._output_names)
        except cv2.error as error:
            raise BackendError(f"opencv: the run failed: {_reason(error)}") from error
        results: dict[str, Array] = {}
        for spec, array in zip(self.outputs, arrays, strict=True):
            if array is None:
                raise BackendError(f"opencv: the run gave no output {spec.name!r}; use another backend")
            expected = plan.output_shapes[spec.name]
            is_told = expected != (None,)
            if is_told and (
                len(expected) != array.ndim
                or any(want not in (None, got) for want, got in zip(expected, array.shape, strict=True))
            ):
                raise BackendError(
                    f"opencv: output {spec.name!r} came as {array.shape}, the model says {expected}: "
                    "OpenCV does not run this graph as its definition says; use another backend"
                )
            if out is None:
                results[spec.name] = np.asarray(array, spec.dtype)
            else:
                np.copyto(out[spec.name], array)
                results[spec.name] = out[spec.name]
        return results

    def _release(self) -> None:
        self._live.discard(self)
        del self._net


def _reason(error: BaseException) -> str:
    """OpenCV's message without the source path that it starts with."""
    text = " ".join(str(error).split())
    return text.split("error: ", 1)[-1][:300]
