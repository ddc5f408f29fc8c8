"""LSTM, GRU and RNN, written out step by step: the products with the inputs of all steps are one Gemm.

Equations, order of gates and activations: ONNX, Operators.md. Where it leaves open what is meant, this is
what ONNX Runtime does: the numbers of `activation_alpha` and `activation_beta` go to activations that take
one, in order; `clip` holds the gates, not the cell; a sequence without steps has a last state of zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import onnx_ir as ir

from edgecv.graph.normal.reindex import reshaped
from edgecv.graph.normal.unrolled import take
from edgecv.graph.rewrite import Array, Rewrite, attribute, constant, given, is_float32, shape

# Gates of each operator, in the order of the rows of its weights, and default activations.
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS = {"LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",)}
# Nodes of a step, or somewhat more: peepholes, clips and masks included.
_NODES = {"LSTM": 24, "GRU": 18, "RNN": 8}

# ONNX's activations in lower case -> operator, its parameters with their defaults, None where it has none.
_ACTIVATIONS: dict[str, tuple[str, dict[str, float | None]]] = {
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "softsign": ("Softsign", {}),
    "softplus": ("Softplus", {}),
    "leakyrelu": ("LeakyRelu", {"alpha": 0.01}),
    "thresholdedrelu": ("ThresholdedRelu", {"alpha": 1.0}),
    "elu": ("Elu", {"alpha": 1.0}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
    "affine": ("Affine", {"alpha": None, "beta": None}),
    "scaledtanh": ("ScaledTanh", {"alpha": None, "beta": None}),
}

_Activation = tuple[str, dict[str, float]]


class _Cell(msgspec.Struct, frozen=True):
    """One direction of an operator.

    weights: (inputs, gates). recurrent: (hidden, gates), of a GRU without `linear_before_reset` in two: z and
    r, and the rest. bias: (gates,), added to the products with the inputs; inner: (hidden,), that of a GRU
    before its reset gate. peepholes: (hidden,) of the gates i, o, f.
    """

    rewrite: Rewrite
    node: ir.Node
    hidden: int
    weights: ir.Value
    recurrent: Sequence[ir.Value]
    bias: ir.Value | None
    inner: ir.Value | None
    peepholes: Sequence[ir.Value]
    activations: Sequence[_Activation]
    clip: float | None


class _Step(msgspec.Struct):
    """Makes nodes of one step, which bear its number."""

    cell: _Cell
    name: str

    def __call__(self, op: str, *inputs: ir.Value | None, **attributes: object) -> ir.Value:
        cell = self.cell
        return cell.rewrite.value(cell.node, op, inputs, attributes, name=self.name)

    def split(self, x: ir.Value, sizes: Sequence[int], axis: int = 1) -> Sequence[ir.Value]:
        if len(sizes) == 1:
            return [x]
        cell = self.cell
        operand = cell.rewrite.operand(sizes, f"{self.name}/sizes")
        made = cell.rewrite.node(
            cell.node, "Split", [x, operand], {"axis": axis}, outputs=len(sizes), name=self.name
        )
        return made.outputs

    def number(self, number: float) -> ir.Value:
        return self.cell.rewrite.constant(np.array(number, np.float32), f"{self.name}/number")

    def activated(self, index: int, x: ir.Value, *, is_gate: bool = True) -> ir.Value:
        """The index-th activation of a direction; gates are held to the clip before it."""
        clip = self.cell.clip if is_gate else None
        if clip is not None:
            x = self("Clip", x, self.number(-clip), self.number(clip))
        op, numbers = self.cell.activations[index]
        if op == "ScaledTanh":
            inner = self("Mul", x, self.number(numbers["beta"]))
            return self("Mul", self("Tanh", inner), self.number(numbers["alpha"]))
        if op == "Affine":
            return self("Add", self("Mul", x, self.number(numbers["alpha"])), self.number(numbers["beta"]))
        return self(op, x, **numbers)


# What a step makes of its products with the inputs, (batch, gates), and the state: None where that is zero.
_State = tuple["ir.Value | None", ...]
_Steps = Callable[[_Step, ir.Value, _State], "tuple[ir.Value, ...]"]


def _rnn(step: _Step, x: ir.Value, state: _State) -> tuple[ir.Value, ...]:
    """H = f(x + H R)."""
    return (step.activated(0, _with_product(step, x, state[0], step.cell.recurrent[0])),)


def _with_product(step: _Step, x: ir.Value, h: ir.Value | None, weights: ir.Value) -> ir.Value:
    return x if h is None else step("Add", step("Gemm", h, weights), x)


def _gru(step: _Step, x: ir.Value, state: _State) -> tuple[ir.Value, ...]:
    """z, r = f(x + H R); n = g(x + (r H) R), with `linear_before_reset` g(x + r (H R)); H = n + z (H - n)."""
    cell, (h,) = step.cell, state
    size = cell.hidden
    of_gates, of_new = step.split(x, (2 * size, size))
    if cell.inner is None:
        gates = step.activated(0, _with_product(step, of_gates, h, cell.recurrent[0]))
        z, r = step.split(gates, (size, size))
        reset = None if h is None else step("Mul", r, h)
        new = step.activated(1, _with_product(step, of_new, reset, cell.recurrent[1]))
    else:
        product = None if h is None else step("Gemm", h, cell.recurrent[0])
        linear: ir.Value = cell.inner
        if product is not None:
            of_state, last = step.split(product, (2 * size, size))
            of_gates, linear = step("Add", of_state, of_gates), step("Add", last, cell.inner)
        z, r = step.split(step.activated(0, of_gates), (size, size))
        new = step.activated(1, step("Add", step("Mul", r, linear), of_new))
    if h is None:
        return (step("Sub", new, step("Mul", z, new)),)
    return (step("Add", new, step("Mul", z, step("Sub", h, new))),)


def _lstm(step: _Step, x: ir.Value, state: _State) -> tuple[ir.Value, ...]:
    """i, o, f = f(x + H R + P C), c = g(x + H R); C = f C + i c; H = o h(C). o looks at the new C."""
    cell, (h, c) = step.cell, state
    size = cell.hidden
    gates = _with_product(step, x, h, cell.recurrent[0])
    is_coupled = bool(attribute(cell.node, "input_forget", 0))
    if cell.peepholes:
        of_i, of_o, of_f, of_c = step.split(gates, (size,) * 4)
        if c is not None:
            of_i = step("Add", of_i, step("Mul", c, cell.peepholes[0]))
            of_f = step("Add", of_f, step("Mul", c, cell.peepholes[2]))
        i, f = step.activated(0, of_i), None if is_coupled else step.activated(0, of_f)
    else:
        together, of_c = step.split(gates, (3 * size, size))
        i, of_o, f = step.split(step.activated(0, together), (size,) * 3)
    candidate = step.activated(1, of_c)
    if is_coupled:
        f = step("Sub", step.number(1), i)
    new = step("Mul", i, candidate)
    if c is not None:
        new = step("Add", step("Mul", f, c), new)
    o = of_o
    if cell.peepholes:
        o = step.activated(0, step("Add", of_o, step("Mul", new, cell.peepholes[1])))
    return step("Mul", o, step.activated(2, new, is_gate=False)), new


_STEPS: dict[str, _Steps] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}


def unroll(rewrite: Rewrite) -> None:
    """LSTM, GRU and RNN of a known number of steps are written out."""
    for node in rewrite.nodes(*_GATES):
        _unroll(rewrite, node)


def _unroll(rewrite: Rewrite, node: ir.Node) -> None:
    x, w, r = node.inputs[:3]
    is_batch_first = bool(attribute(node, "layout", 0))
    sizes, of_r = shape(x), shape(r)
    if x is None or sizes is None or of_r is None or w is None:
        rewrite.miss(
            node, "the length of its sequence, or the shape of its weights, is not known before the run"
        )
        return
    if not is_float32(x):
        rewrite.miss(node, f"of {x.dtype}: expected float32")
        return
    batch, steps = sizes[:2] if is_batch_first else sizes[1::-1]
    directions = of_r[0]
    activations = _activations(rewrite, node, directions)
    if activations is None or not take(rewrite, node, directions * steps, _NODES[node.op_type]):
        return
    if is_batch_first:
        x = rewrite.value(node, "Transpose", [x], {"perm": [1, 0, 2]})
    rows = reshaped(rewrite, node, x, (steps * batch, sizes[2]))
    masks = _masks(rewrite, node, steps, batch)
    outputs, finals = [], []
    for d in range(directions):
        cell = _cell(rewrite, node, d, activations[d])
        is_reverse = d == 1 or attribute(node, "direction", "forward") == "reverse"
        initial = [_initial(rewrite, node, d, index, is_batch_first) for index in _states_of(node)]
        hs, state = _run(cell, rows, (steps, batch), masks, initial, is_reverse)
        line = hs[0] if len(hs) == 1 else rewrite.value(node, "Concat", hs, {"axis": 0})
        outputs.append(reshaped(rewrite, node, line, (steps, 1, batch, of_r[2])))
        finals.append([reshaped(rewrite, node, value, (1, batch, of_r[2])) for value in state])
    results = [_joined(rewrite, node, outputs, 1, [2, 0, 1, 3] if is_batch_first else None)]
    for parts in zip(*finals, strict=True):
        results.append(_joined(rewrite, node, parts, 0, [1, 0, 2] if is_batch_first else None))
    rewrite.note(f"{node.op_type} of {steps} steps, {directions} directions, written out", [node])
    for output, result in zip(list(node.outputs), results, strict=False):
        if output.uses() or output.is_graph_output():
            rewrite.replace(output, result)
    rewrite.drop(node)


def _states_of(node: ir.Node) -> tuple[int, ...]:
    """Numbers of the inputs that are initial states."""
    return (5, 6) if node.op_type == "LSTM" else (5,)


def _joined(
    rewrite: Rewrite, node: ir.Node, parts: Sequence[ir.Value], axis: int, order: list[int] | None
) -> ir.Value:
    whole = parts[0] if len(parts) == 1 else rewrite.value(node, "Concat", list(parts), {"axis": axis})
    return whole if order is None else rewrite.value(node, "Transpose", [whole], {"perm": order})


def _run(
    cell: _Cell,
    rows: ir.Value,
    counts: tuple[int, int],
    masks: Sequence[ir.Value | bool],
    initial: Sequence[ir.Value | None],
    is_reverse: bool,
) -> tuple[list[ir.Value], list[ir.Value]]:
    """The hidden states of all steps, (batch, hidden) each, and the last states."""
    rewrite, node = cell.rewrite, cell.node
    steps, batch = counts
    operands = [rows, cell.weights] if cell.bias is None else [rows, cell.weights, cell.bias]
    first = _Step(cell, f"{node.name}/inputs")
    products = first.split(first("Gemm", *operands), (batch,) * steps, 0)
    zeros: list[ir.Value] = []

    def zero() -> ir.Value:
        if not zeros:
            zeros.append(rewrite.constant(np.zeros((batch, cell.hidden), np.float32), f"{node.name}/zeros"))
        return zeros[0]

    state: list[ir.Value | None] = list(initial)
    made: dict[int, ir.Value] = {}
    for t in reversed(range(steps)) if is_reverse else range(steps):
        mask = masks[t]
        if mask is False:
            made[t] = zero()
            continue
        step = _Step(cell, f"{node.name}/{'reverse' if is_reverse else 'step'}{t}")
        new = _STEPS[node.op_type](step, products[t], tuple(state))
        made[t] = new[0]
        if isinstance(mask, ir.Value):
            made[t] = step("Where", mask, new[0], zero())
            new = tuple(
                step("Where", mask, one, zero() if old is None else old)
                for one, old in zip(new, state, strict=True)
            )
        state = list(new)
    last = [zero() if value is None else value for value in state]
    if masks and masks[0] is not True:
        end = _Step(cell, f"{node.name}/end")
        last = [zero() if masks[0] is False else end("Where", masks[0], value, zero()) for value in last]
    return [made[t] for t in range(steps)], last


def _masks(rewrite: Rewrite, node: ir.Node, steps: int, batch: int) -> list[ir.Value | bool]:
    """Which sequences of the batch reach a step: True for all, False for none, else bool (batch, 1)."""
    lengths = given(node, 4)
    if lengths is None:
        return [True] * steps
    known = constant(lengths)
    if known is not None:
        return [_mask(rewrite, node, t < known.reshape(-1, 1)) for t in range(steps)]
    numbers = rewrite.value(node, "Cast", [lengths], {"to": int(ir.DataType.INT32)})
    times = rewrite.constant(np.arange(steps, dtype=np.int32)[:, None], f"{node.name}/times")
    reached = rewrite.value(node, "Less", [times, reshaped(rewrite, node, numbers, (1, batch))])
    if steps == 1:
        return [reshaped(rewrite, node, reached, (batch, 1))]
    column = reshaped(rewrite, node, reached, (steps * batch, 1))
    sizes = rewrite.operand((batch,) * steps, f"{node.name}/sizes")
    return list(rewrite.node(node, "Split", [column, sizes], {"axis": 0}, outputs=steps).outputs)


def _mask(rewrite: Rewrite, node: ir.Node, reached: Array) -> ir.Value | bool:
    if reached.all() or not reached.any():
        return bool(reached.all())
    return rewrite.constant(reached, f"{node.name}/mask")


def _cell(rewrite: Rewrite, node: ir.Node, direction: int, activations: Sequence[_Activation]) -> _Cell:
    hidden = (shape(node.inputs[2]) or (0, 0, 0))[2]
    gates = _GATES[node.op_type] * hidden
    is_linear = bool(attribute(node, "linear_before_reset", 0))
    sizes = (2 * hidden, hidden) if node.op_type == "GRU" and not is_linear else (gates,)
    (weights,) = _matrices(rewrite, node, 1, direction, (gates,))
    recurrent = _matrices(rewrite, node, 2, direction, sizes)
    bias = inner = None
    if given(node, 3) is not None:
        both = _part(rewrite, node, 3, direction)
        of_inputs, of_state = _divided(rewrite, node, both, (gates, gates))
        if node.op_type == "GRU" and is_linear:
            of_gates, inner = _divided(rewrite, node, of_state, (2 * hidden, hidden))
            nothing = rewrite.constant(np.zeros(hidden, np.float32), f"{node.name}/zeros")
            of_state = rewrite.value(node, "Concat", [of_gates, nothing], {"axis": 0})
        bias = rewrite.value(node, "Add", [of_inputs, of_state])
    elif node.op_type == "GRU" and is_linear:
        inner = rewrite.constant(np.zeros(hidden, np.float32), f"{node.name}/zeros")
    peepholes: Sequence[ir.Value] = ()
    if node.op_type == "LSTM" and given(node, 7) is not None:
        peepholes = _divided(rewrite, node, _part(rewrite, node, 7, direction), (hidden,) * 3)
    clip = attribute(node, "clip")
    return _Cell(
        rewrite, node, hidden, weights, recurrent, bias, inner, peepholes, activations, clip if clip else None
    )


def _divided(rewrite: Rewrite, node: ir.Node, value: ir.Value, sizes: Sequence[int]) -> Sequence[ir.Value]:
    array = constant(value)
    if array is not None:
        ends = np.cumsum(sizes)[:-1]
        return [rewrite.constant(part, f"{node.name}/part") for part in np.split(array, ends)]
    operand = rewrite.operand(sizes, f"{node.name}/sizes")
    return rewrite.node(node, "Split", [value, operand], {"axis": 0}, outputs=len(sizes)).outputs


def _part(rewrite: Rewrite, node: ir.Node, index: int, direction: int) -> ir.Value:
    """One direction of an operand."""
    value = node.inputs[index]
    array = constant(value)
    if array is not None:
        return rewrite.constant(np.ascontiguousarray(array[direction]), f"{node.name}/part")
    at = rewrite.constant(np.array(direction, np.int64), f"{node.name}/direction")
    return rewrite.value(node, "Gather", [value, at], {"axis": 0})


def _matrices(
    rewrite: Rewrite, node: ir.Node, index: int, direction: int, sizes: Sequence[int]
) -> Sequence[ir.Value]:
    """Weights of one direction, turned: (columns of the file's, gates), for parts of the gates each."""
    whole = _part(rewrite, node, index, direction)
    parts = [whole] if len(sizes) == 1 else _divided(rewrite, node, whole, sizes)
    made = []
    for part in parts:
        array = constant(part)
        if array is not None:
            made.append(rewrite.constant(np.ascontiguousarray(array.T), f"{node.name}/weights"))
        else:
            made.append(rewrite.value(node, "Transpose", [part], {"perm": [1, 0]}))
    return made


def _initial(
    rewrite: Rewrite, node: ir.Node, direction: int, index: int, is_batch_first: bool
) -> ir.Value | None:
    """An initial state, (batch, hidden); None for zeros."""
    value = given(node, index)
    if value is None:
        return None
    array = constant(value)
    if array is not None and not array.any():
        return None
    at = rewrite.constant(np.array(direction, np.int64), f"{node.name}/direction")
    return rewrite.value(node, "Gather", [value, at], {"axis": 1 if is_batch_first else 0})


def _activations(rewrite: Rewrite, node: ir.Node, directions: int) -> list[list[_Activation]] | None:
    """Those of each direction with their parameters; None, and a miss, where one is not known."""
    defaults = _DEFAULTS[node.op_type]
    names = attribute(node, "activations") or list(defaults) * directions
    numbers = {key: list(attribute(node, f"activation_{key}", [])) for key in ("alpha", "beta")}
    found: list[_Activation] = []
    for name in names:
        text = name.decode() if isinstance(name, bytes) else name
        if text.lower() not in _ACTIVATIONS:
            rewrite.miss(node, f"activation {text!r}: expected one of ONNX's")
            return None
        op, parameters = _ACTIVATIONS[text.lower()]
        values = {key: numbers[key].pop(0) if numbers[key] else value for key, value in parameters.items()}
        missing = ", ".join(f"activation_{key}" for key, value in values.items() if value is None)
        if missing:
            rewrite.miss(node, f"activation {text!r} without its {missing}")
            return None
        found.append((op, {key: value for key, value in values.items() if value is not None}))
    size = len(defaults)
    if len(found) != size * directions:
        rewrite.miss(node, f"{len(found)} activations: expected {size} for each of {directions} directions")
        return None
    return [found[d * size : (d + 1) * size] for d in range(directions)]
