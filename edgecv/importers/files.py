"""Which files make up one model: ONNX is one file, Caffe and Darknet are two, a DIGITS job is a folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgecv import formats
from edgecv.errors import CardError, InputError, ModelNotFoundError
from edgecv.formats import DIGITS_STRUCTURE, PAIRS, SUFFIXES

_TORCH = "a PyTorch checkpoint runs code when it is read: export it to ONNX"
_EXPORT = "export it to ONNX"
_BUILT = "belongs to one machine: give the ONNX file that it was built from"
_MADE_FROM = "give the ONNX file that it was made from, or export that anew"

_ADVICE = {
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".ckpt": _TORCH,
    ".pkl": "a pickle runs code when it is read: export the model to ONNX",
    ".torchscript": _EXPORT,
    ".safetensors": "weights without their network: export the model to ONNX",
    ".tflite": "convert it to ONNX",
    ".pb": "convert it to ONNX",
    ".pdmodel": "paddle2onnx converts it to ONNX",
    ".h5": _EXPORT,
    ".keras": _EXPORT,
    ".mlmodel": _EXPORT,
    ".engine": f"a TensorRT engine {_BUILT}",
    ".trt": f"a TensorRT engine {_BUILT}",
    ".plan": f"a TensorRT engine {_BUILT}",
    ".rknn": f"a network for one NPU {_BUILT}",
    ".hef": f"a network for one NPU {_BUILT}",
    ".xml": f"of OpenVINO: {_MADE_FROM}",
    ".param": f"of ncnn: {_MADE_FROM}",
    ".mnn": f"of MNN: {_MADE_FROM}",
}


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model.

    format: "onnx", "caffe", "darknet", or "digits", a job of NVIDIA DIGITS. paths: of ONNX the one
    file; of Caffe and Darknet the structure, then the weights; of DIGITS the folder.
    """

    format: str
    paths: tuple[Path, ...]

    @property
    def source(self) -> Path:
        """The file that stands for all of them: its stem names the model."""
        return self.paths[0]


def locate(source: Path, weights: Path | None = None) -> ModelFiles:
    """The files of a model of which one is named.

    weights: the other file of a pair; None: the one beside it under the same stem, or, where it is a link,
    beside the file that it leads to. Nothing is guessed.
    Raises ModelNotFoundError for a file that is not there, InputError for a format that is not read.
    """
    _check_exists(source)
    if source.is_dir():
        return _digits(source, weights)
    if not source.is_file():
        # A pipe would block before it could be looked at.
        raise InputError(f"{source}: neither a file nor a folder: write the model to a file and name that")
    format = _format_of(source)
    if format not in PAIRS:
        if weights is not None:
            raise InputError(
                f"weights: {source} is a whole network already; name a card to give it other weights"
            )
        return ModelFiles(format, (source,))
    structure_suffix, weights_suffix = PAIRS[format]
    is_structure = source.suffix.lower() == structure_suffix
    wanted = weights_suffix if is_structure else structure_suffix
    other = _beside(source, wanted) if weights is None else _given(source, weights, wanted)
    return ModelFiles(format, (source, other) if is_structure else (other, source))


def of_card(name: str, format: str, paths: Sequence[Path]) -> ModelFiles:
    """The files of a model as its card lists them, whatever they are called.

    name: the card's. Caffe and Darknet list the structure, then the weights; what follows is not read.
    Raises CardError.
    """
    count = 2 if format in PAIRS else 1
    if len(paths) < count:
        what = "a structure file and a weights file" if count == 2 else "a network file"
        raise CardError(f"{name}: a network of format {format} needs {what}, and the card names {len(paths)}")
    return ModelFiles(format, tuple(paths[:count]))


def can_be_weights(path: Path, format: str) -> bool:
    """Whether a file can hold nothing but the weights for a structure of that format, by its name."""
    return formats.can_be_weights(path.suffix, format)


def with_target(path: Path) -> list[Path]:
    """A path, and that of the file itself where the path is a link: what belongs to it lies beside either."""
    return [Path(each) for each in formats.with_target(str(path))]


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise missing(path)


def missing(path: Path) -> ModelNotFoundError:
    """The error of a file that is not there; of a link it says where that leads."""
    if path.is_symlink():
        return ModelNotFoundError(f"{path}: a link to {path.readlink()}, which is not there")
    return ModelNotFoundError(f"{path}: no such file")


def _format_of(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        advice = _ADVICE.get(suffix, f"expected one of {', '.join(SUFFIXES)}")
        raise InputError(f"{path}: not a model format that edgecv reads: {advice}")
    return SUFFIXES[suffix]


def _digits(folder: Path, weights: Path | None) -> ModelFiles:
    structure = folder / DIGITS_STRUCTURE
    if not structure.is_file():
        raise InputError(
            f"{folder}: expected a model file, or a folder that holds a card (model.json) or a DIGITS job "
            f"({DIGITS_STRUCTURE}){_networks_in(folder)}"
        )
    if weights is not None:
        raise InputError(
            f"weights: {folder} is a DIGITS job with weights of its own; name {structure} to give it others"
        )
    return ModelFiles("digits", (folder,))


def _networks_in(folder: Path) -> str:
    with suppress(OSError):
        there = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if there:
            return f"; there: {', '.join(there[:5])}"
    return ""


def _beside(source: Path, suffix: str) -> Path:
    for path in (each.with_suffix(suffix) for each in with_target(source)):
        if path.is_file():
            return path
    # Which of several is meant, or whether the only one is, cannot be known: they are only listed.
    found = sorted(p.name for p in source.parent.iterdir() if p.suffix.lower() == suffix)[:5]
    there = f" (there: {', '.join(found)})" if found else ""
    raise ModelNotFoundError(
        f"{source}: its other file is not beside it as {source.stem}{suffix}{there}: name it with --weights"
    )


def _given(source: Path, path: Path, suffix: str) -> Path:
    _check_exists(path)
    if not path.is_file() or path.suffix.lower() in SUFFIXES.keys() - {suffix}:
        raise InputError(f"weights: expected the {suffix} file that belongs to {source}, got {path}")
    return path
