"""A library that answers with something else than was asked for is found out after compilation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgecv.backends import BACKENDS, CompileOptions, compile_model
from edgecv.backends import opencv as opencv_backend
from edgecv.backends.base import why_not_importable
from edgecv.backends.onnxruntime import OnnxRuntimeBackend
from edgecv.errors import BackendError, PlacementError
from edgecv.importers import read_model
from tests.networks import tiny_yolov8

needs_onnxruntime = pytest.mark.skipif(
    BACKENDS["onnxruntime"].unavailable() is not None, reason=str(BACKENDS["onnxruntime"].unavailable())
)
needs_opencv = pytest.mark.skipif(
    BACKENDS["opencv"].unavailable() is not None, reason=str(BACKENDS["opencv"].unavailable())
)


@needs_onnxruntime
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_onnxruntime_that_falls_back_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real library, asked for a provider that its build lacks, warns and takes the CPU."""
    if "cuda" in BACKENDS["onnxruntime"].devices():
        pytest.skip("onnxruntime has cuda here")
    monkeypatch.setattr(OnnxRuntimeBackend, "devices", lambda _: ("cpu", "cuda"))
    with pytest.raises(PlacementError, match="CUDAExecutionProvider"):
        compile_model(read_model(tiny_yolov8()), "onnxruntime", CompileOptions(device="cuda"))


@needs_opencv
def test_opencv_engine_is_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    if not hasattr(cv2.dnn, "ENGINE_NEW"):
        pytest.skip(f"OpenCV {cv2.__version__} has one engine only")

    class FakeClassicNet:
        def empty(self) -> bool:
            return False

        def dump(self) -> str:
            return "digraph G {}"

    monkeypatch.setattr(opencv_backend, "_read", lambda *_: FakeClassicNet())
    with pytest.raises(PlacementError, match="OPENCV_FORCE_DNN_ENGINE"):
        compile_model(read_model(tiny_yolov8()), "opencv", CompileOptions())


@needs_opencv
def test_opencv_sessions_must_agree_on_threads() -> None:
    model = read_model(tiny_yolov8())
    with compile_model(model, "opencv", CompileOptions(threads=1)):
        with pytest.raises(BackendError, match="global"):
            compile_model(model, "opencv", CompileOptions(threads=2))
        with compile_model(model, "opencv", CompileOptions(threads=1)) as other:
            assert other.placement.threads == 1
    with compile_model(model, "opencv", CompileOptions(threads=2)) as session:
        assert session.placement.threads == 2


@needs_opencv
def test_opencv_threads_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another part of the process may change the global count between two frames."""
    import cv2
    import numpy as np

    with compile_model(read_model(tiny_yolov8()), "opencv", CompileOptions(threads=1)) as session:
        cv2.setNumThreads(2)
        seen: list[int] = []
        execute = session._net

        class WatchedNet:
            def __getattr__(self, name: str) -> Any:
                seen.append(cv2.getNumThreads())
                return getattr(execute, name)

        monkeypatch.setattr(session, "_net", WatchedNet())
        session.run({"images": np.zeros((1, 3, 64, 64), np.float32)})
        monkeypatch.undo()
    assert seen
    assert set(seen) == {1}


def test_a_missing_and_a_broken_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library_of_this_test.py").write_text("raise ImportError('a part is missing')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert why_not_importable("json", "x") is None
    missing = why_not_importable("no_such_library_anywhere", "fast")
    assert missing == (
        "no_such_library_anywhere is not installed; install it with: pip install 'edgecv[fast]'"
    )
    broken = why_not_importable("broken_library_of_this_test", "fast")
    assert broken is not None
    assert broken == (
        "broken_library_of_this_test is installed but cannot be imported: a part is missing; "
        "install it with: pip install 'edgecv[fast]'"
    )


@needs_onnxruntime
def test_onnxruntime_has_one_cpu() -> None:
    with pytest.raises(PlacementError, match="one cpu alone"):
        compile_model(read_model(tiny_yolov8()), "onnxruntime", CompileOptions(device="cpu:1"))


def _blocked(level: int) -> bytes:
    """x (1, 32) by weights of 4 bits in one block each: ONNX Runtime's MatMulNBits."""
    weights = {"packed": np.full((8, 1, 16), 0x9A, np.uint8), "scales": np.full(8, 0.1, np.float32)}
    node = helper.make_node(
        "MatMulNBits",
        ["x", "packed", "scales"],
        ["y"],
        domain="com.microsoft",
        K=32,
        N=8,
        bits=4,
        block_size=32,
        accuracy_level=level,
    )
    graph = helper.make_graph(
        [node],
        "blocked",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 32])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 8])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


@needs_onnxruntime
@pytest.mark.parametrize(("level", "precision"), [(4, "int8"), (1, "fp32")])
def test_onnxruntime_tells_what_it_makes_of_blocks(level: int, precision: str) -> None:
    model = read_model(_blocked(level))
    with compile_model(model, "onnxruntime", CompileOptions()) as session:
        assert (session.placement.stored, session.placement.precision) == ("int8", precision)
