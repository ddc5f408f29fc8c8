"""One small adapter for each inference engine that peers.py compares: how its own manual says to run a
network.

An engine is made in a process of its own. All compute in fp32: options that would let one compute in fewer
bits are switched off. `SETTINGS` are its documented ways to run; the fastest on a network is the one that
counts.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FLOAT32 = np.dtype(np.float32)


@dataclass(frozen=True)
class Network:
    """What is run. onnx: its file. outputs: names, in the file's order. folder: for files converted from it.

    tflite: the same network for LiteRT, None where there is none.
    """

    onnx: Path
    outputs: tuple[str, ...]
    folder: Path
    tflite: Path | None = None


class Engine(ABC):
    """One network on one engine."""

    name: ClassVar[str]
    module: ClassVar[str]
    # The name of each way to run it, and what it is made with.
    SETTINGS: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    @abstractmethod
    def __init__(self, network: Network, x: Array, threads: int, **options: Any) -> None:
        """x: float32, the input that every run gets, in memory that stays as it is."""

    @abstractmethod
    def run(self) -> list[Array]:
        """The outputs, in the file's order, until the next run."""

    @classmethod
    def settings(cls, threads: int) -> list[str]:
        """Names of the ways that make a difference at so many threads."""
        return [name for name in cls.SETTINGS if threads > 1 or "spinning" not in name]

    @classmethod
    def version(cls) -> str | None:
        """Of the library."""
        from importlib import metadata

        for distribution in (cls.module.replace("_", "-"), f"{cls.module}-contrib-python-headless"):
            try:
                return metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
        found = getattr(importlib.import_module(cls.module.partition(".")[0]), "__version__", None)
        return None if found is None else str(found)


class Simd(Engine):
    """edgecv's own."""

    name, module = "simd", "edgecv"

    def __init__(self, network: Network, x: Array, threads: int, **options: Any) -> None:
        import edgecv

        self._session = edgecv.compile(str(network.onnx), backend="simd", threads=threads)
        name = self._session.inputs[0].name
        self._session.prepare({name: x.shape})
        self._inputs = {name: x}
        self._out = self._session.empty_outputs()
        self._order = network.outputs

    def run(self) -> list[Array]:
        found = self._session.run(self._inputs, out=self._out)
        return [found[name] for name in self._order]


class OnnxRuntime(Engine):
    """ONNX Runtime, its CPU provider."""

    name, module = "onnxruntime", "onnxruntime"
    SETTINGS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "all optimizations": {},
        "extended optimizations": {"level": "ORT_ENABLE_EXTENDED"},
        "bound input and outputs": {"is_bound": True},
        "no spinning": {"config": {"session.intra_op.allow_spinning": "0"}},
    }

    def __init__(self, network: Network, x: Array, threads: int, **options: Any) -> None:
        import onnxruntime as ort

        given = ort.SessionOptions()
        given.intra_op_num_threads, given.inter_op_num_threads = threads, 1
        given.log_severity_level = 3
        given.graph_optimization_level = getattr(
            ort.GraphOptimizationLevel, options.get("level", "ORT_ENABLE_ALL")
        )
        for key, value in options.get("config", {}).items():
            given.add_session_config_entry(key, value)
        self._session = ort.InferenceSession(str(network.onnx), given, providers=["CPUExecutionProvider"])
        name = self._session.get_inputs()[0].name
        self._inputs, self._outputs = {name: x}, list(network.outputs)
        self._binding = None
        if options.get("is_bound"):
            self._binding = self._session.io_binding()
            self._binding.bind_cpu_input(name, x)
            # Arrays of the right shape, which later runs write into.
            self._bound = [np.array(y) for y in self._session.run(self._outputs, self._inputs)]
            for out, array in zip(self._outputs, self._bound, strict=True):
                value = ort.OrtValue.ortvalue_from_numpy(array)
                self._binding.bind_ortvalue_output(out, value)

    def run(self) -> list[Array]:
        if self._binding is None:
            found: list[Array] = self._session.run(self._outputs, self._inputs)
            return found
        self._session.run_with_iobinding(self._binding)
        return [value.numpy() for value in self._binding.get_outputs()]


class Reference(OnnxRuntime):
    """ONNX Runtime without any optimization: the numbers that all others are held against."""

    name = "reference"
    SETTINGS: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {"level": "ORT_DISABLE_ALL"}}


class OpenVino(Engine):
    """OpenVINO. Its CPU plugin computes in bfloat16 where the processor can, unless it is told not to."""

    name, module = "openvino", "openvino"
    SETTINGS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "latency": {},
        "latency, not pinned": {"ENABLE_CPU_PINNING": "NO"},
        "one stream, no hint": {"PERFORMANCE_HINT": None, "NUM_STREAMS": "1"},
    }

    def __init__(self, network: Network, x: Array, threads: int, **options: Any) -> None:
        import openvino as ov

        config: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": str(threads),
            "INFERENCE_PRECISION_HINT": "f32",
            "EXECUTION_MODE_HINT": "ACCURACY",
        } | options
        core = ov.Core()
        model = core.read_model(str(network.onnx))
        compiled = core.compile_model(model, "CPU", {k: v for k, v in config.items() if v is not None})
        self._request = compiled.create_infer_request()
        # A request holds neither the memory of its input nor the network that it is of.
        self._x, self._compiled = x, compiled
        self._request.set_input_tensor(ov.Tensor(x, shared_memory=True))
        self._tensors = [self._request.get_tensor(compiled.output(name)) for name in network.outputs]

    def run(self) -> list[Array]:
        self._request.infer()
        return [tensor.data for tensor in self._tensors]


class Ncnn(Engine):
    """ncnn, from what pnnx makes of the file."""

    name, module = "ncnn", "ncnn"
    SETTINGS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "no Winograd": {"use_winograd_convolution": False},
        "no sgemm": {"use_sgemm_convolution": False},
        "no spinning": {"openmp_blocktime": 0},
    }
    # Storage and arithmetic of fewer bits than fp32.
    NARROW = (
        "use_fp16_packed",
        "use_fp16_storage",
        "use_fp16_arithmetic",
        "use_bf16_packed",
        "use_bf16_storage",
        "use_int8_inference",
    )

    def __init__(self, network: Network, x: Array, threads: int, **options: Any) -> None:
        import ncnn

        stem = network.folder / network.onnx.stem
        if not stem.with_suffix(".ncnn.param").exists():
            self._convert(network)
        self._net = ncnn.Net()
        self._net.opt.num_threads = threads
        self._net.opt.use_vulkan_compute = False
        for name in self.NARROW:
            if hasattr(self._net.opt, name):
                setattr(self._net.opt, name, False)
        for name, value in options.items():
            setattr(self._net.opt, name, value)
        for load, suffix in ((self._net.load_param, ".param"), (self._net.load_model, ".bin")):
            if load(f"{stem}.ncnn{suffix}"):
                raise RuntimeError(f"ncnn cannot load {stem.name}.ncnn{suffix}")
        self._x = x
        self._mat = ncnn.Mat(x[0])
        self._outputs = [f"out{i}" for i in range(len(network.outputs))]

    @staticmethod
    def _convert(network: Network) -> None:
        # The package itself imports torch; its program does not need it.
        spec = importlib.util.find_spec("pnnx")
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("No module named 'pnnx', which converts for ncnn")
        program = Path(spec.origin).parent / "pnnx"
        copy = network.folder / network.onnx.name
        if not copy.exists():
            shutil.copy(network.onnx, copy)
        _call([str(program), copy.name, "fp16=0"], network.folder)

    def run(self) -> list[Array]:
        extractor = self._net.create_extractor()
        extractor.input("in0", self._mat)
        found = []
        for name in self._outputs:
            status, mat = extractor.extract(name)
            if status:
                raise RuntimeError(f"ncnn cannot compute {name}: status {status}")
            found.append(np.asarray(mat))
        return found


class Mnn(Engine):
    """MNN."""

    name, module = "mnn", "MNN"
    SETTINGS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "session": {"precision": "high"},
        "session, normal precision": {"precision": "normal"},
        "session, high power": {"precision": "high", "power": "high", "memory": "high"},
    }

    def __init__(self, network: Network, x: Array, threads: int, **options: Any) -> None:
        import MNN

        converted = network.folder / f"{network.onnx.stem}.mnn"
        if not converted.exists():
            # Not MNN.tools.mnnconvert, which runs `pip install` in whatever environment is on the path, and
            # reports what is converted to its makers. This is the converter that it calls.
            main = "import sys, MNN, _tools; _tools.mnnconvert(sys.argv)"
            given = ["-f", "ONNX", "--modelFile", str(network.onnx), "--MNNModel", str(converted)]
            _call([sys.executable, "-c", main, *given, "--bizCode", "x"], network.folder)
        self._mnn, self._x, self._names = MNN, x, network.outputs
        self._net = MNN.Interpreter(str(converted))
        self._session = self._net.createSession({"backend": "CPU", "numThread": threads, **options})
        self._input = self._net.getSessionInput(self._session)
        if tuple(self._input.getShape()) != x.shape:
            self._net.resizeTensor(self._input, x.shape)
            self._net.resizeSession(self._session)
        self._given = MNN.Tensor(x.shape, MNN.Halide_Type_Float, x, MNN.Tensor_DimensionType_Caffe)
        self._found = []
        for name in self._names:
            out = self._net.getSessionOutput(self._session, name)
            array = np.zeros(out.getShape(), np.float32)
            host = MNN.Tensor(out.getShape(), MNN.Halide_Type_Float, array, MNN.Tensor_DimensionType_Caffe)
            self._found.append((out, host))

    def run(self) -> list[Array]:
        self._input.copyFrom(self._given)
        self._net.runSession(self._session)
        found = []
        for out, host in self._found:
            out.copyToHostTensor(host)
            found.append(host.getNumpyData())
        return found


class OpenCv(Engine):
    """OpenCV's dnn."""

    name, module = "opencv", "cv2"
    SETTINGS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "new engine": {"engine": "ENGINE_NEW"},
        "new engine, no Winograd": {"engine": "ENGINE_NEW", "winograd": False},
        "classic engine": {"engine": "ENGINE_CLASSIC"},
    }

    def __init__(self, network: Network, x: Array, threads: int, **options: Any) -> None:
        import cv2

        cv2.setNumThreads(threads)
        engine = getattr(cv2.dnn, options["engine"])
        self._net = cv2.dnn.readNetFromONNX(str(network.onnx), engine)
        if not options.get("winograd", True):
            self._net.enableWinograd(False)
        self._x, self._outputs = x, list(network.outputs)

    def run(self) -> list[Array]:
        self._net.setInput(self._x)
        return list(self._net.forward(self._outputs))


class LiteRt(Engine):
    """LiteRT with XNNPACK, from a .tflite file that somebody has converted."""

    name, module = "litert", "ai_edge_litert.interpreter"

    def __init__(self, network: Network, x: Array, threads: int, **options: Any) -> None:
        from ai_edge_litert.interpreter import Interpreter

        if network.tflite is None:
            raise FileNotFoundError("it reads .tflite files, and none was given: --tflite FOLDER")
        self._net = Interpreter(str(network.tflite), num_threads=threads)
        wanted = tuple(self._net.get_input_details()[0]["shape"])
        self._x = x if wanted == x.shape else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]["index"]
        self._outputs = [detail["index"] for detail in self._net.get_output_details()]

    def run(self) -> list[Array]:
        self._net.set_tensor(self._input, self._x)
        self._net.invoke()
        return [self._net.get_tensor(index) for index in self._outputs]

    @classmethod
    def version(cls) -> str | None:
        from importlib import metadata

        return metadata.version("ai-edge-litert")


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no reason given"]
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}: {last[0]}")


OWN = Simd.name
ENGINES: dict[str, type[Engine]] = {
    engine.name: engine for engine in (Simd, OnnxRuntime, OpenVino, Ncnn, Mnn, OpenCv, LiteRt)
}
