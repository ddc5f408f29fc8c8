"""Libraries that come with an extra: imported when needed, or one line that says what brings them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from edgecv.errors import MissingExtraError

# Import name -> what users know the library as, where the two differ.
_KNOWN_AS = {
    "cv2": "OpenCV",
    "google": "protobuf",
    "google.protobuf": "protobuf",
    "onnx_ir": "onnx-ir",
    "yaml": "PyYAML",
}


def require(module: str, extra: str) -> ModuleType:
    """The module of a library that comes with an extra; imported now, where it has not been.

    Raises MissingExtraError, one line with the pip command, where it cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(_reason(module, extra, error)) from error


@contextmanager
def required(extra: str) -> Iterator[None]:
    """Around import statements of libraries that come with an extra.

    Raises MissingExtraError where one of them cannot be imported. For a module that needs them at its top.
    """
    try:
        yield
    except ImportError as error:
        name = error.name or "a library"
        if isinstance(error, MissingExtraError) or name.partition(".")[0] == "edgecv":
            raise
        raise MissingExtraError(_reason(name, extra, error)) from error


def why_not_importable(module: str, extra: str) -> str | None:
    """Why a library cannot be used, in one line with the extra that brings it; None where it imports."""
    try:
        require(module, extra)
    except MissingExtraError as error:
        return str(error)
    return None


def _reason(module: str, extra: str, error: ImportError) -> str:
    name = _KNOWN_AS.get(module, module)
    remedy = f"install it with: pip install 'edgecv[{extra}]'"
    if isinstance(error, ModuleNotFoundError) and error.name:
        if module == error.name or module.startswith(f"{error.name}."):
            return f"{name} is not installed; {remedy}"
        return f"{name} needs {error.name}, which is not installed; {remedy}"
    reason = str(error).splitlines()[0] if str(error) else "no reason given"
    return f"{name} is installed but cannot be imported: {reason}; {remedy}"
