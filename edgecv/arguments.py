"""Arguments of a wrong type: one line that says what was expected, what came, and what to do about it."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from typing import Any

from edgecv.errors import InputError

# Of frames; longer than this nobody reads a value.
MOST_CHARS = 60


def check_model(model: object, *, takes_bytes: bool = False) -> None:
    """Raise InputError unless a model is named by text or by a path, or is given as bytes where those go."""
    is_named = isinstance(model, (str, os.PathLike)) and model != ""
    if is_named or (takes_bytes and isinstance(model, bytes)):
        return
    remedy = "name the file" if model is not None and model != "" else "was the variable ever set?"
    if isinstance(model, (bytes, bytearray, memoryview)):
        remedy = "edgecv.compile takes the bytes of an ONNX file; write them to a file"
    elif hasattr(model, "SerializeToString"):
        remedy = "onnx.save writes it to a file, and edgecv.compile takes model.SerializeToString()"
    elif hasattr(model, "state_dict"):
        remedy = "torch.onnx.export makes an ONNX file of it"
    wanted = "the path of a file, or its bytes" if takes_bytes else "a card's name or the path of a file"
    raise InputError(f"model: expected {wanted}, got {told(model)}; {remedy}")


def check_pool(pool: object) -> None:
    """Raise InputError unless it is a pool, or None."""
    if pool is not None and not isinstance(getattr(pool, "threads", None), int):
        raise InputError(
            f"pool: expected an edgecv.Pool, got {told(pool)}; edgecv.Pool(2) is one of two threads"
        )


def path_text(name: str, path: object) -> str | None:
    """A path as text, or None. Raises InputError that names the argument."""
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"{name}: expected the path of a file, got {told(path)}")
    text = os.fspath(path)
    if not isinstance(text, str):
        raise InputError(f"{name}: expected the path of a file as text, got {told(text)}")
    return text


def check_flag(name: str, value: object) -> None:
    """Raise InputError unless it is True or False, of Python or of numpy."""
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise InputError(f"{name}: expected True or False, got {told(value)}")


def check_frames(frames: object) -> None:
    """Raise InputError unless it is a list of frames, or an array with one axis more than theirs."""
    if isinstance(frames, (list, tuple)):
        return
    shape = getattr(frames, "shape", None)
    is_several = len(shape) == 4 if shape is not None else hasattr(frames, "__len__")
    if is_several and not isinstance(frames, (str, bytes, dict)):
        return
    raise InputError(
        f"frames: expected a list of frames, got {told(frames)}; one alone goes in brackets: [frame]"
    )


def frame_remedy(frame: object) -> str:
    """What makes a frame of what was given in place of one: a few words, for a message."""
    kind = type(frame)
    root = kind.__module__.partition(".")[0]
    if frame is None:
        return (
            "cv2.imread gives None for a file that it cannot read, and a camera's read() where no frame came"
        )
    if isinstance(frame, (str, os.PathLike)):
        return "read it first, as cv2.imread does"
    if isinstance(frame, (bytes, bytearray)):
        return "decode it first, as cv2.imdecode does"
    if isinstance(frame, (list, tuple)):
        return "several frames go to batch(); numbers become an array with numpy.asarray(…, numpy.uint8)"
    if root == "PIL":
        return 'numpy.asarray(image.convert("RGB"))[..., ::-1] is that frame'
    if root == "torch":
        return "tensor.permute(1, 2, 0).cpu().numpy() puts the channels last; then uint8 from 0 to 255, BGR"
    shape, dtype = getattr(frame, "shape", ()), getattr(frame, "dtype", None)
    if len(shape) == 4:
        return "one frame a call, and several to batch()"
    if getattr(dtype, "kind", "") == "f":
        return (
            "(frame * 255).astype(numpy.uint8) where values are from 0 to 1, else frame.astype(numpy.uint8)"
        )
    return "scale other dtypes to 0..255 and convert them with .astype(numpy.uint8)"


def told(value: Any) -> str:
    """A value for a message: its type, and what it is where that is short."""
    if value is None or isinstance(value, (bool, int, float, str)):
        text = repr(value)
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        text = f"{value.dtype} {tuple(value.shape)}"
    elif isinstance(value, (bytes, bytearray, memoryview, list, tuple, dict)):
        text = f"{type(value).__name__} of {len(value)}"
    else:
        text = type(value).__name__
    return text if len(text) <= MOST_CHARS else f"{text[: MOST_CHARS - 1]}…"


def check_named(argument: str, value: object, what: str) -> None:
    """Raise InputError unless it is a dict by the names of inputs. what: its values."""
    if type(value) is not dict and not isinstance(value, Mapping):
        raise InputError(
            f'{argument}: expected {what} by the names of inputs, as {{"images": …}}, got {told(value)}'
        )


def shape_of(name: str, shape: object) -> tuple[int, ...]:
    """A shape as a tuple. Raises InputError that names its input."""
    try:
        if isinstance(shape, (str, bytes)):
            raise TypeError
        return tuple(map(operator.index, shape))  # type: ignore[call-overload]
    except TypeError:
        raise InputError(
            f"shapes: {name}: expected whole numbers, as (1, 3, 640, 640), got {told(shape)}"
        ) from None
