"""OpenCV 4 in a process of its own: the last one whose importers say what Caffe and Darknet files mean."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
# The largest of the networks takes seconds.
TIMEOUT_S = 120.0


class OracleError(Exception):
    """What OpenCV says of a network that it does not run; or that it died of it."""


def interpreter() -> Path | None:
    """The Python of EDGECV_ORACLE, else of what `make oracle` makes; None where there is neither."""
    path = Path(os.environ.get("EDGECV_ORACLE", ROOT / ".venv-oracle/bin/python"))
    return path if path.exists() else None


class Oracle:
    """One process for many networks, started again after one that it died of.

    folder: for the arrays that go in and come out.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self._python = python
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self.version = ""

    def run(
        self,
        structure: Path,
        weights: Path | None,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Mapping[str, tuple[str, int]],
    ) -> dict[str, NDArray[Any]]:
        """The outputs by name. outputs: name -> (layer, number of its top).

        layer "": what the importer calls by that name in a cfg, such as `yolo_16`, the input of a detection
        layer.

        Raises OracleError.
        """
        paths = self._folder / "inputs.npz", self._folder / "results.npz"
        np.savez(paths[0], **dict(inputs))
        request = {
            "structure": str(structure),
            "weights": str(weights or ""),
            "inputs": str(paths[0]),
            "outputs": dict(outputs),
            "results": str(paths[1]),
        }
        answer = self._ask(request)
        if "error" in answer:
            raise OracleError(f"OpenCV {self.version} does not run {structure}: {answer['error']}")
        with np.load(paths[1]) as results:
            return {name: results[name] for name in outputs}

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()

    def _ask(self, request: dict[str, Any]) -> dict[str, str]:
        if self._process is None:
            self._start()
        assert self._process
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return self._line()
        except (OSError, EOFError, TimeoutError) as error:
            status = self._process.poll()
            self.close()
            how = f"exit status {status}" if status is not None else repr(error)
            raise OracleError(f"OpenCV {self.version} died of {request['structure']}: {how}") from error

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [str(self._python), str(Path(__file__).with_name("server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        try:
            self.version = self._line()["version"]
        except (EOFError, TimeoutError) as error:
            self.close()
            raise OracleError(f"{self._python} does not start OpenCV: run `make oracle` again") from error

    def _line(self) -> dict[str, str]:
        """The next answer: one line for one request, so that nothing of another is buffered."""
        assert self._process
        assert self._process.stdout
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._process.stdout, selectors.EVENT_READ)
            if not waiting.select(TIMEOUT_S):
                raise TimeoutError(f"no answer in {TIMEOUT_S:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise EOFError
        found: dict[str, str] = json.loads(line)
        return found
