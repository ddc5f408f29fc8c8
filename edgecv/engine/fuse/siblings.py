"""Convolutions of one input become one where that fills lanes that would hold padding; others come apart.

Blocked storage holds channels by the lanes of a vector: four outputs of 1, 4, 1 and 10 channels take four
blocks apart and one together. A part that begins inside a block costs its readers a copy, but for those that
read channel by channel (convolutions) or copy anyway (Reshape, Transpose, Concat, outputs).

Exporters merge too: 80 scores and 32 distances of a box as one convolution with a Split after it. Where that
saves no block and an activation follows a part, it is taken apart, so that the activation can end its part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from edgecv.engine.fuse.fused import DOMAIN, ENDING, activation, has_activation, is_depthwise
from edgecv.graph.rewrite import (
    Array,
    Pass,
    Rewrite,
    attribute,
    attributes,
    constant,
    given,
    integers,
    is_float32,
    made_by,
    shape,
    single_use,
)

# The most lanes of any ISA: a part that begins at a multiple of them begins at a block on every one.
_LANES = 16
# Tiles of one block are slow: they read a value of the input for each vector of sums. So whole blocks are
# joined where they are no more than that, and no such part is taken off.
_SLOW = _LANES
_READERS = frozenset(("Reshape", "Transpose", "Concat", "Split", "Slice", "Gather", "Gemm", "MatMul"))


def merge_siblings(rewrite: Rewrite) -> None:
    """Convolutions of the same input and kernel become one, with a Split after it.

    They end with the same activation, or fit into one block: there it costs little to follow them.
    """
    families: dict[tuple[Any, ...], list[ir.Node]] = {}
    for node in rewrite.nodes():
        if node.op_type == "Conv" and node.domain in ("", DOMAIN) and _is_plain(node):
            key = (id(node.inputs[0]), *_window(node), len(shape(node.outputs[0]) or ()))
            families.setdefault(key, []).append(node)
    merged: list[ir.Node] = []
    for siblings in (group for family in families.values() for group in _alike(family)):
        if len(siblings) < 2:
            continue
        why = _why_not(siblings)
        if why:
            rewrite.miss(siblings[0], why)
            continue
        merged.append(_merge(rewrite, _ending_alike(rewrite, siblings)))
    for node in merged:
        _merge_depthwise(rewrite, node)


def _is_plain(node: ir.Node) -> bool:
    operands = node.inputs[1:]
    return (
        attribute(node, "group", 1) == 1
        and not attribute(node, "has_residual", 0)
        and is_float32(node.inputs[0])
        and all(value is not None and constant(value) is not None for value in operands)
        and shape(node.outputs[0]) is not None
    )


def _window(node: ir.Node) -> tuple[Any, ...]:
    names = ("kernel_shape", "strides", "pads", "dilations")
    return tuple(tuple(attribute(node, name) or ()) for name in names)


def _ending(node: ir.Node) -> tuple[Any, ...]:
    return attribute(node, "activation", "none"), attribute(node, "alpha", 0.0), attribute(node, "beta", 0.0)


def _alike(family: list[ir.Node]) -> list[list[ir.Node]]:
    """All of a family where they fit into one block, else those that end alike."""
    if sum(_channels(node.outputs[0]) for node in family) <= _LANES:
        return [family]
    groups: dict[tuple[Any, ...], list[ir.Node]] = {}
    for node in family:
        groups.setdefault(_ending(node), []).append(node)
    return list(groups.values())


def _channels(value: ir.Value) -> int:
    return (shape(value) or (0, 0))[1]


def _blocks(channels: int) -> int:
    return -(-channels // _LANES)


def _why_not(siblings: list[ir.Node]) -> str:
    """Blocks are what a convolution costs: as many of them together would only change the tiles."""
    counts = [_channels(node.outputs[0]) for node in siblings]
    what = f"{len(siblings)} convolutions of one input have {counts} channels"
    ragged = [node for node, count in zip(siblings, counts, strict=True) if count % _LANES]
    if len(ragged) < 2 and max(counts) <= _SLOW:
        return ""
    if sum(map(_blocks, counts)) <= _blocks(sum(counts)):
        return f"{what}: no block would be saved"
    for node in ragged:
        reader = _unaligned_reader(node)
        if reader is not None:
            return f"{what}: {reader.op_type} {reader.name} would need a copy"
    return ""


def _unaligned_reader(node: ir.Node) -> ir.Node | None:
    """What reads a convolution's output and could not take it from the middle of a block."""
    for use in node.outputs[0].uses():
        reader = use.node
        if reader.op_type in _READERS:
            continue
        if reader.op_type == "Conv" and (attribute(reader, "group", 1) == 1 or is_depthwise(reader)):
            continue
        return reader
    return None


def _merge(rewrite: Rewrite, siblings: list[ir.Node]) -> ir.Node:
    # Those of whole blocks first, so that they begin at blocks.
    ordered = sorted(siblings, key=lambda node: _channels(node.outputs[0]) % _LANES != 0)
    name = "+".join(node.name or "" for node in ordered)
    first = siblings[0]
    weights = np.concatenate([np.asarray(constant(node.inputs[1])) for node in ordered])
    inputs = [first.inputs[0], rewrite.constant(weights, f"{name}/weights")]
    if any(given(node, 2) is not None for node in ordered):
        inputs.append(rewrite.constant(_biases(ordered), f"{name}/bias"))
    merged = _split_after(rewrite, first, inputs, ordered, name)
    counts = [_channels(node.outputs[0]) for node in ordered]
    blocks = sum(map(_blocks, counts)), _blocks(sum(counts))
    rewrite.note(
        f"one convolution of {counts} channels: {blocks[1]} blocks of {_LANES} for {blocks[0]}", ordered
    )
    for node in ordered:
        rewrite.drop(node)
    return merged


def _biases(convs: list[ir.Node]) -> Array:
    """Those of several convolutions after one another; zeros where one has none."""
    arrays = [constant(given(node, 2)) for node in convs]
    return np.concatenate(
        [
            np.zeros(_channels(node.outputs[0]), np.float32) if array is None else array
            for node, array in zip(convs, arrays, strict=True)
        ]
    )


def _split_after(
    rewrite: Rewrite, at: ir.Node, inputs: list[ir.Value | None], parts: list[ir.Node], name: str, **more: Any
) -> ir.Node:
    """A convolution in front of `at`, and a Split that takes the place of the parts' outputs."""
    batch, _, *pixels = shape(parts[0].outputs[0]) or ()
    counts = [_channels(node.outputs[0]) for node in parts]
    whole = ir.Value(shape=ir.Shape((batch, sum(counts), *pixels)), type=parts[0].outputs[0].type, name=name)
    settings = {**attributes(parts[0]), **more}
    domain = DOMAIN if has_activation(parts[0]) else ""
    if not domain:
        settings = {k: v for k, v in settings.items() if k not in (*ENDING, "has_residual")}
    conv = rewrite.node(at, "Conv", inputs, settings, domain=domain, like=whole, name=name)
    sizes = rewrite.operand(counts, f"{name}/split")
    split = rewrite.node(
        at, "Split", [conv.outputs[0], sizes], {"axis": 1}, outputs=len(parts), name=f"{name}/split"
    )
    for node, part in zip(parts, split.outputs, strict=True):
        rewrite.replace(node.outputs[0], part)
    return conv


def _merge_depthwise(rewrite: Rewrite, conv: ir.Node) -> None:
    """Depthwise convolutions of all parts become one of the whole."""
    uses = tuple(conv.outputs[0].uses())
    if len(uses) != 1 or uses[0].node.op_type != "Split":
        return
    split = uses[0].node
    readers: list[ir.Node] = []
    for part in split.outputs:
        of_part = tuple(part.uses())
        if len(of_part) != 1 or part.is_graph_output():
            return
        readers.append(of_part[0].node)
    counts = integers(split.inputs[1]) or ()
    if not all(_is_part_of_depthwise(reader, count) for reader, count in zip(readers, counts, strict=True)):
        rewrite.miss(split, "its parts are not all read by depthwise convolutions, or only by them")
        return
    if len({_window(reader) for reader in readers}) > 1:
        rewrite.miss(split, "the depthwise convolutions of its parts differ")
        return
    readers = _ending_alike(rewrite, readers)
    name = "+".join(reader.name or "" for reader in readers)
    weights = np.concatenate([np.asarray(constant(reader.inputs[1])) for reader in readers])
    inputs: list[ir.Value | None] = [
        conv.outputs[0],
        rewrite.constant(weights, f"{name}/weights"),
        rewrite.constant(_biases(readers), f"{name}/bias"),
    ]
    rewrite.note(f"one depthwise convolution of {list(counts)} channels", readers)
    _split_after(rewrite, split, inputs, readers, name, group=sum(counts))
    for reader in readers:
        rewrite.drop(reader)


def _ending_alike(rewrite: Rewrite, parts: list[ir.Node]) -> list[ir.Node]:
    if len({_ending(node) for node in parts}) == 1:
        return parts
    return [_without_activation(rewrite, node) for node in parts]


def _without_activation(rewrite: Rewrite, conv: ir.Node) -> ir.Node:
    """The convolution with its activation as a node of its own: the parts end with different ones."""
    if not has_activation(conv):
        return conv
    ending = [attribute(conv, name) for name in ("activation", "alpha", "beta")]
    settings = {k: v for k, v in attributes(conv).items() if k not in (*ENDING, "has_residual")}
    plain = rewrite.node(
        conv, "Conv", list(conv.inputs), settings, like=conv.outputs[0], name=conv.name or ""
    )
    rewrite.replace(conv.outputs[0], activation(rewrite, conv, ending[0], plain.outputs[0], *ending[1:]))
    return plain


def _is_part_of_depthwise(conv: ir.Node, channels: int) -> bool:
    """Whether a node is a depthwise convolution of so many channels to as many; one to one is that too."""
    weights = shape(conv.inputs[1]) if conv.op_type == "Conv" else None
    return (
        weights is not None
        and weights[:2] == (channels, 1)
        and attribute(conv, "group", 1) == channels
        and not attribute(conv, "has_residual", 0)
        and all(constant(value) is not None for value in conv.inputs[1:])
    )


def part_for_activations(rewrite: Rewrite) -> None:
    """A Conv whose Split is followed by activations becomes one for each part, which can end with them."""
    for split in rewrite.nodes("Split"):
        value = split.inputs[0]
        conv = made_by(value, "Conv") or made_by(value, "Conv", domain=DOMAIN)
        if conv is None or value is None or single_use(value) is not split or conv.graph is not split.graph:
            continue
        if attribute(split, "axis", 0) != 1 or not _is_plain(conv) or has_activation(conv):
            continue
        readers = [single_use(part) for part in split.outputs]
        if not any(reader is not None and _is_activation(reader) for reader in readers):
            continue
        counts = [_channels(part) for part in split.outputs]
        why = _why_not_apart(conv, counts)
        if why:
            rewrite.miss(split, why)
            continue
        _part(rewrite, conv, split, counts)


def _is_activation(node: ir.Node) -> bool:
    return (node.domain, node.op_type) == (DOMAIN, "Activation")


def _why_not_apart(conv: ir.Node, counts: list[int]) -> str:
    what = f"{conv.name}: its parts have {counts} channels"
    if sum(map(_blocks, counts)) > _blocks(sum(counts)):
        return f"{what}: apart they take more blocks"
    if min(counts) <= _SLOW:
        return f"{what}: so few are too little work for an input that is read again"
    if set((shape(conv.inputs[1]) or ())[2:]) != {1}:
        return f"{what}: the windows of its input would be gathered again"
    return ""


def _part(rewrite: Rewrite, conv: ir.Node, split: ir.Node, counts: list[int]) -> None:
    rewrite.note(f"{len(counts)} convolutions of {counts} channels", [conv, split])
    weights, *biases = (np.asarray(constant(value)) for value in conv.inputs[1:])
    start = 0
    for old, count in zip(tuple(split.outputs), counts, strict=True):
        taken = slice(start, start + count)
        inputs = [conv.inputs[0], rewrite.constant(weights[taken], f"{old.name}/weights")]
        inputs += [rewrite.constant(bias[taken], f"{old.name}/bias") for bias in biases]
        new = rewrite.value(
            split, "Conv", inputs, attributes(conv), domain=conv.domain, like=old, name=conv.name or ""
        )
        rewrite.replace(old, new)
        start += count


APART = Pass("parts apart", part_for_activations)
SIBLINGS = Pass("siblings", merge_siblings)
