"""A backend that stands for a library of others, and does what its network's metadata says, as `FAULT`.

It computes y = 2 x, or y = 2 x as the fault has it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import helper

from edgecv.backends import BACKENDS, Compiled, CompileOptions, Session
from edgecv.backends import witness as real
from edgecv.backends.base import Array, Backend
from edgecv.errors import BackendError
from edgecv.graph.model import OnnxModel
from edgecv.types import Memory, Placement
from tests.networks import model_bytes

NAME, FAULT = "mock-guest", "fault"


class MockGuest(Backend):
    """Registered by the tests alone."""

    name = NAME
    is_guest = True

    def unavailable(self) -> str | None:
        return None

    def version(self) -> str:
        return "1.0"

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def compile(self, model: OnnxModel, device: str, options: CompileOptions) -> Compiled:
        return MockCompiled(model, options)


class MockCompiled(Compiled):
    """A network with its fault."""

    def __init__(self, model: OnnxModel, options: CompileOptions) -> None:
        placement = Placement(NAME, "1.0", "cpu", model.precision, model.precision, options.threads, "mock")
        super().__init__(model.facts, placement)
        self.fault = model.facts.metadata.get(FAULT, "")
        if self.fault == "does not compile":
            raise BackendError(f"{NAME}: it does not compile")

    def open(self, pool: Any = None) -> Session[Any]:
        session = MockSession(self)
        session._prepare_static()
        return session


class MockSession(Session[dict[str, tuple[int, ...]]]):
    """Runs that go wrong."""

    compiled: MockCompiled

    @property
    def memory(self) -> Memory:
        return Memory(None, None)

    def _make_plan(self, key: Any, shapes: Any, operands: Any) -> dict[str, tuple[int, ...]]:
        return {"y": next(iter(shapes.values()))}

    def _output_shapes(self, plan: Any) -> Any:
        return plan

    def _execute(
        self, plan: Any, inputs: Mapping[str, Array], out: Any, deadline_ns: int
    ) -> dict[str, Array]:
        y = next(iter(inputs.values())) * np.float32(2)
        match self.compiled.fault:
            case "wrong values":
                y.reshape(-1)[7] += np.float32(0.01) * np.abs(y).max()
            case "other rounding":
                y *= np.float32(1 + 1e-5)
            case "not a number":
                y.reshape(-1)[7] = np.nan
            case "fails":
                raise BackendError(f"{NAME}: it broke")
            case "crashes":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exits":
                os._exit(3)
            case "hangs":
                time.sleep(600)
            case "takes memory":
                # Twice what the test allows.
                np.ones(1 << 30, np.uint8)
        return {"y": y}


def network(fault: str = "", op: str = "Add", **more: Any) -> OnnxModel:
    """y = x + x, or what another operator makes of x and x; x of 1, 3, 16, 16."""
    shape = more.pop("shape", [1, 3, 16, 16])
    node = helper.make_node(op, ["x", "x"][: more.pop("operands", 2)], ["y"], **more)
    data = model_bytes([node], inputs=[("x", shape)], outputs=[("y", shape)])
    proto = OnnxModel.from_bytes(data, origin="net.onnx").proto
    proto.metadata_props.add(key=FAULT, value=fault)
    return OnnxModel(proto, "net.onnx")


def testify(
    path: str, origin: str, name: str, options: CompileOptions, runs: Sequence[Any], **named: Any
) -> Any:
    """The witness, in a process that knows the mock."""
    BACKENDS[NAME] = MockGuest()
    return real.testify(path, origin, name, options, runs, **named)


def testify_unexamined(
    path: str, origin: str, name: str, options: CompileOptions, runs: Sequence[Any], **named: Any
) -> Any:
    """The witness, on backends that look at no network beforehand."""
    type(BACKENDS[name]).examine = Backend.examine  # type: ignore[method-assign]
    return real.testify(path, origin, name, options, runs, **named)
