from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

OPS: dict[str, tuple[str, ...]]
CHOICES: dict[str, tuple[str, ...]]

class IsaFacts(NamedTuple):
    lanes: int
    registers: int
    pairs: bool
    tile_blocks: int
    tile_pixels: tuple[int, ...]

ISA_FACTS: dict[str, IsaFacts]

def lanes(isa: str) -> int: ...
def map_supported(op: str, dtype: str, y_dtype: str) -> bool: ...
def reduce_supported(kind: str, dtype: str) -> bool: ...

class Pool:
    @property
    def threads(self) -> int: ...
    @property
    def cpus(self) -> tuple[int, ...] | None: ...
    def __init__(
        self, threads: int, *, budget: int | None = None, cpus: Sequence[int] | None = None
    ) -> None: ...
    def close(self) -> None: ...

class Plan:
    @property
    def isa(self) -> str: ...
    @property
    def arena_bytes(self) -> int: ...
    @property
    def state_bytes(self) -> int: ...
    @property
    def constant_bytes(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def scratch_bytes(self) -> int: ...
    def __init__(
        self,
        *,
        isa: str,
        steps: NDArray[np.int64],
        labels: tuple[str, ...],
        constants: NDArray[np.uint8],
        state_bytes: int,
        arena_bytes: int,
        input_bytes: tuple[int, ...],
        output_bytes: tuple[int, ...],
        weights: NDArray[np.uint8] = ...,
    ) -> None: ...

class Context:
    @property
    def plan(self) -> Plan: ...
    def __init__(self, plan: Plan) -> None: ...
    def run(
        self,
        pool: Pool,
        inputs: tuple[NDArray[Any], ...],
        outputs: tuple[NDArray[Any], ...],
        deadline_ns: int = 0,
    ) -> None: ...
    def step_times(
        self,
        pool: Pool,
        inputs: tuple[NDArray[Any], ...],
        outputs: tuple[NDArray[Any], ...],
        repeats: int,
    ) -> NDArray[np.float64]: ...
    def reset(self) -> None: ...
    def cancel(self) -> None: ...
