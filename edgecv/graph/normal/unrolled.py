"""How much of loops and recurrences is written out: nodes of one graph, all together."""

from __future__ import annotations

import onnx_ir as ir

from edgecv.graph.rewrite import Rewrite

# Nodes that unrolling may make in one graph; each takes about a millisecond of compilation.
MOST_NODES = 20_000

_TAKEN = "unrolled"


def take(rewrite: Rewrite, node: ir.Node, steps: int, nodes: int) -> bool:
    """Whether so many steps of so many nodes may still be written out; a miss where they may not."""
    taken = rewrite.model.meta.get(_TAKEN, 0) + steps * max(nodes, 1)
    if taken > MOST_NODES:
        rewrite.miss(
            node,
            f"{steps} steps of some {nodes} nodes are too many to be written out: expected at most "
            f"{MOST_NODES} nodes of all that the network repeats; give it shorter sequences",
        )
        return False
    rewrite.model.meta[_TAKEN] = taken
    return True
