"""Model files of others into ONNX: one reader a format, chosen by what the file is."""

from __future__ import annotations

from pathlib import Path

from edgecv.errors import InputError, ModelFileError, ModelNotFoundError
from edgecv.graph.model import MAX_MODEL_BYTES, OnnxModel

SUFFIXES = {".onnx": "onnx"}

_ADVICE = {
    ".pt": "a PyTorch checkpoint runs code when it is read: export it to ONNX",
    ".pth": "a PyTorch checkpoint runs code when it is read: export it to ONNX",
    ".pkl": "a pickle runs code when it is read: export the model to ONNX",
    ".tflite": "convert it to ONNX",
    ".pb": "convert it to ONNX",
    ".h5": "export it to ONNX",
    ".engine": "a TensorRT engine belongs to one machine: give the ONNX file that it was built from",
    ".cfg": "Darknet networks cannot be read by this version: convert it to ONNX",
    ".weights": "Darknet networks cannot be read by this version: convert it to ONNX",
    ".prototxt": "Caffe networks cannot be read by this version: convert it to ONNX",
    ".caffemodel": "Caffe networks cannot be read by this version: convert it to ONNX",
}


def read_model(source: Path | bytes) -> OnnxModel:
    """The network in a model file, or in the bytes of one.

    Raises ModelNotFoundError, ModelFileError for a damaged or foreign file, InputError for a format
    that is not read.
    """
    if isinstance(source, bytes):
        return OnnxModel.from_bytes(source, origin=f"model of {len(source)} bytes")
    if not source.exists():
        raise ModelNotFoundError(f"{source}: no such file")
    if not source.is_file():
        raise InputError(f"{source}: expected a model file, got a folder")
    suffix = source.suffix.lower()
    if suffix not in SUFFIXES:
        advice = _ADVICE.get(suffix, f"expected one of {', '.join(SUFFIXES)}")
        raise InputError(f"{source}: not a model format that edgecv reads: {advice}")
    try:
        size = source.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelFileError(f"{source}: {size} bytes, over the 2 GB that one ONNX file can hold")
        data = source.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{source}: cannot be read: {error.strerror or error}") from error
    return OnnxModel.from_bytes(data, origin=str(source), folder=source.parent)
