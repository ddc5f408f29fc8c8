"""The opencv backend: cv2.dnn, its engine chosen explicitly and read back.

OpenCV 5 has a new graph engine, which runs on the CPU alone and answers a request for any other
target with a warning; OpenCV 4 has the classic one, with targets. Neither tells by itself which one
runs: the dump of the network does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

import msgspec
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
from edgecv.errors import BackendError, PlacementError, UnsupportedOperatorError
from edgecv.types import Memory, Placement, TensorSpec

if TYPE_CHECKING:
    from edgecv.backends.pool import Pool
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
    is_guest = True

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

    def examine(self, model: OnnxModel, device: str, options: CompileOptions) -> None:
        from edgecv.graph import data_sizes

        node = data_sizes.size_of_data(model)
        if node is not None:
            # OpenCV 5 divides by the number of rows, and ends the process where there are none.
            raise UnsupportedOperatorError(
                f"opencv {self.version()} cannot compile {model.origin}: data decide the size of what {node} "
                "gives, and OpenCV may end the process where that is nothing",
                "sizes that data decide",
            )

    def compile(self, model: OnnxModel, device: str, options: CompileOptions) -> Compiled:
        return CompiledOpenCV(model, device, options, self.version(), self.devices())


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


class _Plan(msgspec.Struct, frozen=True):
    """output_shapes: as far as they are known. proven: those beyond doubt, which a run is held against."""

    shapes: Shapes
    proven: OutputShapes
    output_shapes: OutputShapes


class CompiledOpenCV(Compiled):
    """A network for cv2.dnn. Each session reads it anew: what cv2 holds belongs to one thread."""

    def __init__(
        self, model: OnnxModel, device: str, options: CompileOptions, version: str, devices: tuple[str, ...]
    ) -> None:
        kind, index = device_parts(device)
        # A GPU target computes in the precision that it is set to; on the CPU the network decides.
        self._precision = model.precision if kind == "cpu" else options.precision or "fp32"
        target = _target(kind, self._precision if kind != "cpu" else "fp32")
        if target is None or index:
            raise PlacementError(
                f"opencv: device {device!r} at {self._precision} was asked for; "
                f"OpenCV {version} here can use only {', '.join(devices)}"
            )
        self.model = model
        self.threads = options.threads
        self._kind, self._target, self._version = kind, target, version
        claim_threads(self.threads)
        # Taken by one session, whichever thread opens it.
        self._spare: list[Any] = [self.read()]
        engine, precision = self._read_back(self._spare[0])
        super().__init__(
            model.facts,
            Placement(
                backend="opencv",
                version=version,
                device=device,
                stored=model.precision,
                precision=precision,
                threads=options.threads if kind == "cpu" else 0,
                engine=engine,
            ),
        )

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.model.proven_outputs

    def open(self, pool: Pool | None = None) -> OpenCVSession:
        refuse_pool("opencv", pool)
        try:
            net = self._spare.pop()
        except IndexError:
            net = self.read()
        return OpenCVSession(self, net)

    def read(self) -> Any:
        """The network in cv2, on its target."""
        net = _read(self.model, self._version)
        if not _has_new_engine():
            backend, target = self._target
            net.setPreferableBackend(backend)
            net.setPreferableTarget(target)
        return net

    def _read_back(self, net: Any) -> tuple[str, str]:
        """The engine that answers, and the precision that it computes in."""
        if _has_new_engine():
            dump = net.dump()
            # The classic engine has no main graph to dump, and before its first input no dump at all.
            if "main_graph" not in dump:
                raise PlacementError(
                    f"opencv: the new engine of OpenCV {self._version} was asked for and another one "
                    "answers: is OPENCV_FORCE_DNN_ENGINE set?"
                )
            return "new engine, DNN_TARGET_CPU", self._computed("Int8 {" in dump)
        backend_name, targets = DEVICES[self._kind]
        if self._kind == "cpu":
            is_integer = any(name.endswith("Int8") for name in net.getLayerTypes())
            return f"classic engine, {backend_name}, DNN_TARGET_CPU", self._computed(is_integer)
        return f"classic engine, {backend_name}, {targets[self._precision]}", self._precision

    def _computed(self, has_integers: bool) -> str:
        """What most weights are multiplied in: a few integer layers of a float network do not decide."""
        return "int8" if has_integers and self.model.precision == "int8" else "fp32"


def claim_threads(threads: int) -> None:
    """Set OpenCV's count of threads. Raises BackendError where a live session wants another."""
    others = {session.threads for session in list(OpenCVSession.live)} - {threads}
    if others:
        raise BackendError(
            f"opencv: threads={threads} was asked for, and a live OpenCV session of this "
            f"process uses {others.pop()}: OpenCV's thread count is global; close that session or ask "
            "for the same"
        )
    _set_threads(threads)


def _set_threads(threads: int) -> None:
    """Anything in the process may have changed the global count since."""
    import cv2

    if cv2.getNumThreads() == threads:
        return
    cv2.setNumThreads(threads)
    if cv2.getNumThreads() != threads:
        raise PlacementError(
            f"opencv: threads={threads} was asked for, and this OpenCV build uses {cv2.getNumThreads()}"
        )


def _read(model: OnnxModel, version: str) -> Any:
    import cv2

    if _has_new_engine():
        # OpenCV 5.0 leaves out the padding of a 1x1 convolution, and answers with other numbers.
        from edgecv.backends.opencv_padding import with_padding_of_points

        model = with_padding_of_points(model)
    cannot = f"OpenCV {version} cannot compile {model.origin}"
    data = np.frombuffer(_with_shapes(model, cannot), np.uint8)
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


def _with_shapes(model: OnnxModel, cannot: str) -> bytes:
    """The network as OpenCV reads it: each output with a shape, whether the file says one or not.

    Raises BackendError for an input without one, or of no values.
    """
    for spec in model.facts.inputs:
        if not spec.is_ranked or 0 in spec.shape:
            why = "no values" if spec.is_ranked else "no shape"
            raise BackendError(f"{cannot}: input {spec.name!r} has {why}, which OpenCV does not read")
    if all(spec.is_ranked for spec in model.facts.outputs):
        return model.data
    from edgecv.graph.model import with_output_shapes

    for spec in model.proven_outputs:
        if not spec.is_ranked:
            raise BackendError(f"{cannot}: output {spec.name!r} has no shape, which OpenCV does not read")
    return with_output_shapes(model).data


class OpenCVSession(Session[_Plan]):
    """One network in cv2.dnn. OpenCV's thread count is global to the process: sessions must agree."""

    live: ClassVar[WeakSet[OpenCVSession]] = WeakSet()

    def __init__(self, compiled: CompiledOpenCV, net: Any) -> None:
        claim_threads(compiled.threads)
        super().__init__(compiled)
        self.threads = compiled.threads
        self._net = net
        self._model = compiled.model
        self._output_names = [spec.name for spec in self._declared]
        self.live.add(self)
        self._prepare_static()

    @property
    def memory(self) -> Memory:
        return Memory(weights=self._model.weight_bytes, arena=None)

    def _make_plan(self, key: Key, shapes: Shapes, operands: Mapping[str, Array]) -> _Plan:
        proven = self._model.output_shapes(shapes)
        zeros = {s.name: np.zeros(shapes[s.name], s.dtype) for s in self.inputs}
        seen = self._execute(_Plan(shapes, proven, {}), zeros, None, 0)
        known = {s.name: told_shape(s, proven[s.name], seen[s.name].shape) for s in self._declared}
        return _Plan(shapes, proven, dict(known))

    def _output_shapes(self, plan: _Plan) -> OutputShapes:
        return plan.output_shapes

    def _execute(
        self, plan: _Plan, inputs: Mapping[str, Array], out: Mapping[str, Array] | None, deadline_ns: int
    ) -> dict[str, Array]:
        import cv2

        _set_threads(self.threads)
        try:
            for spec in self.inputs:
                self._net.setInput(inputs[spec.name], spec.name)
            arrays = self._net.forward(self._output_names)
        except cv2.error as error:
            raise BackendError(f"opencv: the run failed: {_reason(error)}") from error
        results: dict[str, Array] = {}
        for spec, array in zip(self._declared, arrays, strict=True):
            if array is None:
                raise BackendError(f"opencv: the run gave no output {spec.name!r}; use another backend")
            expected = plan.proven[spec.name]
            if expected is not None and (
                len(expected) != array.ndim
                or any(want not in (None, got) for want, got in zip(expected, array.shape, strict=True))
            ):
                raise BackendError(
                    f"opencv: output {spec.name!r} came as {array.shape}, the graph makes {expected}: "
                    "OpenCV does not run this graph as its definition says; use another backend"
                )
            results[spec.name] = into(out, spec.name, np.asarray(array, spec.dtype))
        return results

    def _release(self) -> None:
        self.live.discard(self)
        del self._net


def _reason(error: BaseException) -> str:
    """OpenCV's message without the source path that it starts with."""
    text = " ".join(str(error).split())
    return text.split("error: ", 1)[-1][:300]
