"""What the simd engine makes of a model that a user names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgecv import api, backends, importers, machine
from edgecv.backends.base import CompileOptions, Shapes, check_input_bytes
from edgecv.card import ModelCard
from edgecv.engine.explain import Explanation, explain
from edgecv.errors import HeadError, InputError, UnsupportedOperatorError
from edgecv.graph.model import OnnxModel
from edgecv.types import TensorSpec


def explain_model(
    model: str,
    *,
    weights: str | None = None,
    imgsz: int | tuple[int, int] | None = None,
    threads: int | None = None,
    repeats: int = 0,
) -> dict[str, Explanation]:
    """Compile each network of a model for the simd engine and tell what it became; by stage.

    model, weights: as for `edgecv.load`, and any network that can be read, whatever its outputs mean. imgsz:
    size or (width, height) for a network with a dynamic input, by default the card's. threads: that runs
    would use. repeats: runs of which each step's least time is told; 0 runs nothing. Raises
    UnsupportedOperatorError, which names the backends that can, where the engine cannot run it; InputError
    for inputs without a size.
    """
    from edgecv import _simd

    networks, card = _find(model, weights)
    count = machine.cpu_budget() if threads is None else threads
    options = CompileOptions(threads=count)
    # Refuses a count that runs would refuse.
    _simd.Pool(count).close()
    wanted = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    explanations = {}
    for i, (stage, network) in enumerate(networks.items()):
        # A frame goes into the first stage.
        shapes = _shapes(network, wanted if i == 0 else None, card if i == 0 else None)
        explanations[stage] = _explain(network, shapes, options, repeats)
    return explanations


def _find(model: str, weights: str | None) -> tuple[Mapping[str, OnnxModel], ModelCard | None]:
    """The networks, and their card where there is one or the files make one."""
    try:
        loaded = api.resolve(model, weights)
    except HeadError:
        # What its outputs mean does not matter here.
        files = importers.locate(Path(model), None if weights is None else Path(weights))
        return importers.read_networks(files), None
    return loaded.networks, loaded.card


def _explain(network: OnnxModel, shapes: Shapes, options: CompileOptions, repeats: int) -> Explanation:
    from edgecv import _isa
    from edgecv.engine import claims
    from edgecv.engine.compile import compile_model
    from edgecv.graph.passes import shape_operands

    try:
        claims.check_model(network)
        operands = shape_operands(network)
        if operands:
            raise InputError(
                f"{network.origin}: a plan is made for the value of its input {operands[0]!r}, which says a "
                "shape: in Python run(…, replan=True) takes one, or export the model with it fixed"
            )
        compiled = compile_model(network, shapes, isa=_isa.active(), threads=options.threads)
    except UnsupportedOperatorError:
        # The backend's own error also names those that can run it.
        precise = CompileOptions(threads=options.threads, precision=network.precision)
        backends.compile_model(network, "simd", precise, shapes).close()
        raise
    return explain(network, compiled, shapes, options.threads, repeats)


def _shapes(network: OnnxModel, wanted: tuple[int, int] | None, card: ModelCard | None) -> Shapes:
    """The shapes of the inputs: as the file has them, else batches of one, and images of the size wanted."""
    if wanted is not None and min(wanted) < 1:
        raise InputError(f"imgsz: expected at least 1, got {wanted[0]}x{wanted[1]}")
    fixed = network.facts.image_wh
    if wanted is not None and fixed is not None and fixed != tuple(wanted):
        raise InputError(
            f"{network.origin}: imgsz asks for {wanted[0]}x{wanted[1]}, and the network's input is fixed "
            f"at {fixed[0]}x{fixed[1]}; export it with a dynamic input"
        )
    size_wh = wanted or (card.image_input.size_wh if card is not None else None)
    shapes = {spec.name: _shape(network, spec, size_wh) for spec in network.facts.inputs}
    for spec in network.facts.inputs:
        check_input_bytes(spec, shapes[spec.name])
    return shapes


def _shape(network: OnnxModel, spec: TensorSpec, size_wh: tuple[int, int] | None) -> tuple[int, ...]:
    sizes: list[int] = []
    for axis, n in enumerate(spec.shape):
        if isinstance(n, int):
            sizes.append(n)
        elif axis == 0:
            sizes.append(1)
        elif len(spec.shape) == 4 and axis >= 2:
            if size_wh is None:
                raise InputError(f"{network.origin}: input {spec} takes any size: name one with --imgsz")
            sizes.append(size_wh[3 - axis])
        else:
            raise InputError(
                f"{network.origin}: input {spec}: the size of axis {axis} is not known; export the model "
                "with it fixed"
            )
    return tuple(sizes)
