"""What the tests of steps on blocked storage share."""

from __future__ import annotations

import numpy as np

from tests.kernels.simd_program import Array, Program, from_blocked, to_blocked

F32 = np.float32
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1e-30, 3e4, np.inf, -np.inf, np.nan], F32)


def refs(program: Program, first: int, n: int, floats: int) -> list[int]:
    """Refs of n blocks of so many floats, one after another."""
    assert program.lanes > 0
    return [first + 4 * floats * i for i in range(n)]


class BlockStep:
    """One step from a blocked input (channels, H, W) to a blocked output."""

    def __init__(self, isa: str, x: Array, out_hw: tuple[int, int]) -> None:
        self.program = Program(isa)
        self.channels = x.shape[0]
        lanes = self.program.lanes
        blocked = to_blocked(x, lanes)
        self.n = blocked.shape[0]
        source = self.program.input(blocked)
        target = self.program.output((self.n, *out_hw, lanes))
        inputs = refs(self.program, source, self.n, x.shape[1] * x.shape[2] * lanes)
        outputs = refs(self.program, target, self.n, out_hw[0] * out_hw[1] * lanes)
        self.table = np.stack([inputs, outputs], axis=1).astype(np.int64)

    def run(self, op: str, threads: int = 1, **fields: int | str | Array) -> Array:
        """The output as (channels, H, W)."""
        self.program.step(op, blocks=self.table, n_blocks=self.n, **fields)
        (y,) = self.program.run(threads)
        return from_blocked(y, self.channels)
