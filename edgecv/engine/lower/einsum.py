"""Einsum: axes summed, picked on diagonals and reordered as views; two operands by products of matrices."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

from msgspec.structs import replace

from edgecv.engine.lower.base import Lowering, Node, Tensor, lowers
from edgecv.engine.lower.compose import shaped
from edgecv.engine.lower.matrix import product
from edgecv.engine.lower.movement import set_view
from edgecv.engine.lower.reduction import reduce
from edgecv.engine.views import Strided


@lowers("Einsum")
def einsum(lowering: Lowering, node: Node) -> None:
    """Sums of products over the letters that the result does not have."""
    operands = [t for t in node.inputs if t is not None]
    terms, output = parse(node, [t.shape for t in operands])
    letters, result = terms[0], operands[0]
    for i, (other_letters, other) in enumerate(zip(terms[1:], operands[1:], strict=True), 2):
        later = set(output).union(*terms[i:])
        letters, result = _pair(lowering, node, (letters, result), (other_letters, other), later)
    letters, result = _reduced(lowering, node, letters, result, set(output))
    view = lowering.as_strided(result).transpose([letters.index(c) for c in output])
    set_view(lowering, node, view, result.dtype)


def parse(node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[list[str], str]:
    """The letters of each operand and of the result; "..." stands for capital ones that are not in use."""
    equation = str(node.attribute("equation")).replace(" ", "")
    left, arrow, output = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise node.unsupported(f"equation {equation!r} of {len(shapes)} operands")
    free = [c for c in string.ascii_uppercase if c not in equation]
    most = max(len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True))
    dots = "".join(free[:most])
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        missing = len(shape) - len(term.replace("...", ""))
        terms[i] = term.replace("...", dots[len(dots) - missing :] if missing else "")
        if len(terms[i]) != len(shape):
            raise node.unsupported(f"equation {equation!r}: {term!r} of an operand of {len(shape)} axes")
    if not arrow:
        every = "".join(terms)
        output = "..." + "".join(sorted(c for c in set(every) - set(dots) if every.count(c) == 1))
    output = output.replace("...", dots)
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise node.unsupported(f"equation {equation!r}: {letter!r} is {size} and {sizes[letter]}")
    return terms, output


def _reduced(
    lowering: Lowering, node: Node, letters: str, tensor: Tensor, kept: set[str]
) -> tuple[str, Tensor]:
    """Repeated letters as the diagonal, letters that nothing needs summed away."""
    if len(set(letters)) < len(letters):
        letters, tensor = _diagonal(lowering, letters, tensor)
    axes = [i for i, c in enumerate(letters) if c not in kept]
    if not axes:
        return letters, tensor
    total = reduce(lowering, node, "sum", tensor, axes)
    left = "".join(c for c in letters if c in kept)
    return left, shaped(lowering, total, tuple(n for i, n in enumerate(tensor.shape) if i not in axes))


def _diagonal(lowering: Lowering, letters: str, tensor: Tensor) -> tuple[str, Tensor]:
    view = lowering.as_strided(tensor)
    unique = "".join(dict.fromkeys(letters))
    shape = tuple(view.shape[letters.index(c)] for c in unique)
    strides = tuple(sum(s for s, c in zip(view.strides, letters, strict=True) if c == u) for u in unique)
    picked = replace(view, shape=shape, strides=strides)
    return unique, Tensor(tensor.name, shape, tensor.dtype, view=picked)


def _pair(
    lowering: Lowering,
    node: Node,
    left: tuple[str, Tensor],
    right: tuple[str, Tensor],
    later: set[str],
) -> tuple[str, Tensor]:
    """The product of two operands, with what neither the result nor later operands have summed away."""
    a_letters, a = _reduced(lowering, node, *left, later | set(right[0]))
    b_letters, b = _reduced(lowering, node, *right, later | set(a_letters))
    both = [c for c in a_letters if c in b_letters]
    stack = [c for c in both if c in later]
    summed = [c for c in both if c not in later]
    rows = [c for c in a_letters if c not in both]
    columns = [c for c in b_letters if c not in both]
    sizes = dict(zip(a_letters, a.shape, strict=True)) | dict(zip(b_letters, b.shape, strict=True))

    def count(group: list[str]) -> int:
        return math.prod(sizes[c] for c in group)

    def arranged(letters: str, tensor: Tensor, first: list[str], last: list[str]) -> Tensor:
        order = [letters.index(c) for c in (*stack, *first, *last)]
        view: Strided = lowering.as_strided(tensor).transpose(order)
        moved = Tensor(tensor.name, view.shape, tensor.dtype, view=view)
        return shaped(lowering, moved, (count(stack), count(first), count(last)))

    made = product(
        lowering, node, arranged(a_letters, a, rows, summed), arranged(b_letters, b, summed, columns)
    )
    whole = "".join((*stack, *rows, *columns))
    return whole, shaped(lowering, made, tuple(sizes[c] for c in whole))
