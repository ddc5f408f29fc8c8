"""Whether a library can compile a model, found out where it does no harm if it crashes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from edgecv.backends.base import CompileOptions
from edgecv.errors import ModelFileError
from edgecv.graph.model import OnnxModel

# A library may take seconds to be imported on a small board, and seconds more to compile.
TIMEOUT_S = 60.0

# The parent's own search path: with -c alone Python would put the working folder in front.
_CHILD = """
import sys
name, options, *sys.path[:] = sys.argv[1:]
import msgspec
from edgecv import backends
from edgecv.graph.model import OnnxModel
model = OnnxModel.from_bytes(sys.stdin.buffer.read(), origin="the model")
options = msgspec.json.decode(options, type=backends.CompileOptions)
backends.compile_on(name, model, options).close()
"""


def that_compile(model: OnnxModel, names: Iterable[str], options: CompileOptions) -> list[str]:
    """Those of the backends that compile the model, each in a process of its own.

    A library may end its process over a graph that it does not know, or write to stderr.
    """
    try:
        data = model.data
    except ModelFileError:
        return []
    asked = list(names)
    with ThreadPoolExecutor(max(len(asked), 1)) as pool:
        answers = pool.map(lambda name: _compiles(data, name, options), asked)
        return [name for name, is_able in zip(asked, answers, strict=True) if is_able]


def _compiles(data: bytes, name: str, options: CompileOptions) -> bool:
    command = [sys.executable, "-c", _CHILD, name, msgspec.json.encode(options).decode(), *sys.path]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
