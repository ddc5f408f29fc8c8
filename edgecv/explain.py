"""What the simd engine makes of a model that a user names, to look at and to keep as a plan in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgecv import _isa, api, backends, container, importers, machine
from edgecv import card as cards
from edgecv.backends.base import CompileOptions, Shapes, check_input_bytes
from edgecv.card import ModelCard
from edgecv.engine import saved
from edgecv.engine.compile import Compiled
from edgecv.engine.explain import Explanation, explain
from edgecv.engine.program import lanes_of
from edgecv.errors import HeadError, InputError, UnavailableError, UnsupportedOperatorError
from edgecv.graph.model import OnnxModel
from edgecv.heads import two_stages
from edgecv.inputs import fixed_wh, image_of
from edgecv.media import atomic
from edgecv.options import LoadOptions
from edgecv.pipelines.eye import Fed
from edgecv.planfile import Told
from edgecv.types import TensorSpec


def explain_model(
    model: str,
    options: LoadOptions | None = None,
    *,
    isa: str | None = None,
    repeats: int = 0,
    out: Path | None = None,
) -> dict[str, Explanation]:
    """Compile each network of a model for the simd engine and tell what it became; by stage.

    model: as for `edgecv.load`, and any network that can be read, whatever its outputs mean. options: of them
    weights, labels, mean, imgsz, by default the card's size, and threads, that runs would use. isa: label of
    the instruction set, which may be that of another machine; None: the one that runs here. repeats: runs of
    which each step's least time is told; 0 runs nothing. out: write the plan there, which `edgecv.load`
    takes, and `edgecv.compile` where the model is one network. Raises UnsupportedOperatorError, which names
    the backends that can, where the engine cannot run it; InputError for inputs without a size; OutputError.
    """
    from edgecv import _simd

    target = _isa.active() if isa is None else isa
    lanes_of(target)
    if repeats and target not in _isa.usable():
        raise UnavailableError(
            f"isa: a plan for {target} cannot be timed here; usable here: {', '.join(_isa.usable())}"
        )
    options = options or LoadOptions()
    found = _find(model, options)
    if out is not None:
        _check_out(out, found)
    count = machine.cpu_budget() if options.threads is None else options.threads
    asked = CompileOptions(threads=count)
    # Refuses a count that runs would refuse.
    _simd.Pool(count).close()
    wanted = options.imgsz
    explanations, stages = {}, {}
    for i, (stage, network) in enumerate(found.networks.items()):
        # A frame goes into the first stage.
        shapes = _shapes(network, wanted, found.card) if i == 0 else _shapes(network, None, None, found.batch)
        compiled = _compile(network, shapes, asked, target)
        told = explain(network, compiled, shapes, count, repeats)
        explanations[stage] = replace(told, remarks=found.told.remarks)
        if out is not None:
            stages[stage] = _to_save(network, compiled, shapes, count)
    if out is not None:
        atomic.write_whole(out, _to_bytes(model, found, stages))
    return explanations


@dataclass(frozen=True)
class _Found:
    """The networks, their card where there is one or the files make one, and the files that were read.

    told: of the files.
    """

    networks: Mapping[str, OnnxModel]
    card: ModelCard | None
    paths: Iterable[Path]
    told: Told

    @property
    def batch(self) -> int:
        """What a stage after the first takes at once where its network takes any number: all proposals."""
        params = self.card.head.params if self.card is not None and self.card.head is not None else None
        return params.post_nms if isinstance(params, two_stages.Params) else 1


def _find(model: str, options: LoadOptions) -> _Found:
    try:
        loaded = api.resolve(model, options)
    except HeadError:
        # What its outputs mean does not matter here.
        files = importers.locate(Path(model), None if options.weights is None else Path(options.weights))
        return _Found(importers.read_networks(files), None, files.paths, Told())
    is_unread = loaded.is_drafted and loaded.card.task == "features"
    card = None if is_unread else loaded.card
    # Where nothing was assumed the plan has nothing to tell when it is loaded.
    is_assumed = loaded.is_drafted and bool(loaded.assumptions)
    told = Told(loaded.remarks, loaded.assumptions, is_assumed)
    return _Found(loaded.networks, card, loaded.paths, told)


def _check_out(out: Path, found: _Found) -> None:
    if out.suffix != container.SUFFIX:
        raise InputError(f"out: expected a name that ends with {container.SUFFIX}, got {out}")
    saved.check_stages(found.networks)
    atomic.check_not_input(out, found.paths)
    atomic.check_writable(out)


def _to_save(network: OnnxModel, compiled: Compiled, shapes: Shapes, threads: int) -> saved.StageToSave:
    return saved.StageToSave(
        encoded=compiled.encoded,
        inputs=[TensorSpec(spec.name, spec.dtype, shapes[spec.name]) for spec in network.facts.inputs],
        outputs=compiled.outputs,
        results=len(network.facts.outputs),
        source=Path(network.origin).name,
        threads=threads,
        stored=network.precision,
    )


def _to_bytes(model: str, found: _Found, stages: Mapping[str, saved.StageToSave]) -> bytes:
    """The container of a plan, its card stating the size that it is for."""
    card = found.card
    if card is not None:
        first = card.image_input
        shapes = {spec.name: spec.shape for spec in next(iter(stages.values())).inputs}
        size_wh = fixed_wh(first.layout, shapes[first.name]) if first.name in shapes else None
        first = msgspec.structs.replace(first, size_wh=size_wh or first.size_wh)
        # The golden tensors lie in a file beside the model's own card.
        card = msgspec.structs.replace(card.with_input(first), golden=None)
    return saved.to_bytes(
        stages,
        card=None if card is None else cards.dumps(card),
        told=found.told,
        origin=model,
    )


def _compile(network: OnnxModel, shapes: Shapes, options: CompileOptions, isa: str) -> Compiled:
    from edgecv.engine import claims
    from edgecv.engine.compile import compile_model
    from edgecv.engine.planned import shape_operands

    try:
        claims.check_model(network)
        operands = shape_operands(network)
        if operands:
            raise InputError(
                f"{network.origin}: a plan is made for the value of its input {operands[0]!r}, which says a "
                "shape: in Python run(…, replan=True) takes one, or export the model with it fixed"
            )
        return compile_model(network, shapes, isa=isa, threads=options.threads)
    except UnsupportedOperatorError:
        # The backend's own error also names those that can run it.
        backends.compile_model(network, "simd", options, shapes).close()
        raise


def _shapes(
    network: OnnxModel, wanted: tuple[int, int] | None, card: ModelCard | None, batch: int = 1
) -> Shapes:
    """The shapes of the inputs: as the file has them, else so many at once, and images of the size wanted."""
    if wanted is not None and min(wanted) < 1:
        raise InputError(f"imgsz: expected at least 1, got {wanted[0]}x{wanted[1]}")
    fixed = network.facts.image_wh
    if wanted is not None and fixed is not None and fixed != tuple(wanted):
        raise InputError(
            f"{network.origin}: imgsz asks for {wanted[0]}x{wanted[1]}, and the network's input is fixed "
            f"at {fixed[0]}x{fixed[1]}; export it with a dynamic input"
        )
    size_wh = wanted or (card.image_input.size_wh if card is not None else None)
    if card is not None and size_wh is not None:
        shapes = Fed.of(network.facts.inputs, card).shapes(size_wh)
    else:
        shapes = {spec.name: _shape(network, spec, size_wh, batch) for spec in network.facts.inputs}
    for spec in network.facts.inputs:
        check_input_bytes(spec, shapes[spec.name])
    return shapes


def _shape(
    network: OnnxModel, spec: TensorSpec, size_wh: tuple[int, int] | None, batch: int
) -> tuple[int, ...]:
    if not spec.is_ranked:
        raise InputError(f"{network.origin}: input {spec}: export the model with its shape fixed")
    found = image_of(network.facts.inputs)
    layout = found[1] if found is not None and found[0] is spec else "n"
    sizes: list[int] = []
    for axis, n in enumerate(spec.shape):
        letter = layout[axis : axis + 1]
        if isinstance(n, int):
            sizes.append(n)
        elif letter == "n":
            sizes.append(batch)
        elif letter in ("w", "h"):
            if size_wh is None:
                raise InputError(f"{network.origin}: input {spec} takes any size: name one with --imgsz")
            sizes.append(size_wh["wh".index(letter)])
        else:
            raise InputError(
                f"{network.origin}: input {spec}: the size of axis {axis} is not known; export the model "
                "with it fixed"
            )
    return tuple(sizes)
