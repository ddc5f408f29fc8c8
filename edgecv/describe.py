"""describe(): what any file of a model is, whether or not its outputs are understood."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgecv import card as cards
from edgecv import container, heads, lookup, planfile
from edgecv.arguments import check_model
from edgecv.errors import (
    HeadError,
    InputError,
    ModelFileError,
    UnavailableError,
)
from edgecv.lookup import CARD_SUFFIX
from edgecv.options import LoadOptions
from edgecv.types import TensorSpec

if TYPE_CHECKING:
    from edgecv.graph.model import OnnxModel


class _Struct(msgspec.Struct, frozen=True, kw_only=True):
    pass


class Tensor(_Struct, frozen=True, kw_only=True):
    """An input or an output. shape: a number, the symbol of an open axis, or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


class Network(_Struct, frozen=True, kw_only=True):
    """A network as the file has it, nothing cut or folded; of a plan what it states.

    stage: of a model of several networks. opsets: domain -> version, "" the standard one. operators: type ->
    how many, most first, those of subgraphs too; of other domains with the domain in front. weights: numbers
    in all initializers; stored: what most of them are.
    """

    stage: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    stored: str
    opsets: dict[str, int] = {}
    operators: dict[str, int] = {}
    weights: int | None = None


class File(_Struct, frozen=True, kw_only=True):
    """A file that was read, and its size."""

    path: str
    bytes: int


class Description(_Struct, frozen=True, kw_only=True):
    """format: "onnx", "caffe", "darknet", "digits" or "plan". made_by: of ONNX the exporter, of a plan the
    edgecv. metadata: an ONNX file's own. backend, about: of a plan, and what it says beforehand. card: how it
    is fed and read, from `card_from`; None where nothing says it, which `problem` explains. assumptions,
    remarks: of a card that was drafted.
    """

    path: str
    format: str
    files: tuple[File, ...]
    networks: tuple[Network, ...]
    made_by: str = ""
    metadata: dict[str, str] = {}
    backend: str = ""
    about: dict[str, str] = {}
    card: dict[str, Any] | None = None
    card_from: str = ""
    problem: str = ""
    assumptions: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def describe(path: str | Path, options: LoadOptions | None = None) -> Description:
    """What a file is: ONNX, one of the two of a Caffe or Darknet network, a job of DIGITS, or a plan.

    options: of them weights and imgsz count. Raises ModelNotFoundError, and what reading the file raises; a
    network whose outputs nothing explains is no error.
    """
    check_model(path)
    source, options = Path(path), options or LoadOptions()
    if lookup.is_plan(source):
        return _of_plan(source)
    # A device that runs plans need not have what reads networks.
    from edgecv import importers
    from edgecv.importers.draft import CARD_KEY

    files = importers.locate(source, None if options.weights is None else Path(options.weights))
    networks = importers.read_networks(files)
    first = next(iter(networks.values()))
    made_by = f"{first.proto.producer_name} {first.proto.producer_version}".strip()
    found = {
        "path": str(source),
        "format": files.format,
        "files": _files(files.paths),
        "networks": tuple(_network(stage, network) for stage, network in networks.items()),
        "made_by": made_by if files.format == "onnx" else "",
        "metadata": {key: text for key, text in first.facts.metadata.items() if key != CARD_KEY},
    }
    return Description(**(found | _reading(source, first, options)))


def _reading(source: Path, network: OnnxModel, options: LoadOptions) -> dict[str, Any]:
    """How it is fed and read, or why that is not known."""
    from edgecv.importers.draft import CARD_KEY

    try:
        loaded = lookup.resolve(source, options)
        lookup.check_read(loaded)
    except (HeadError, InputError) as error:
        return {"problem": str(error)}
    beside = source.with_name(source.stem + CARD_SUFFIX)
    if loaded.is_drafted:
        origin = "drafted from the file"
    else:
        origin = str(beside) if beside.is_file() else f"its metadata, {CARD_KEY}"
    return {
        "card": _plain(cards.dumps(loaded.card)),
        "card_from": origin,
        "assumptions": loaded.assumptions,
        "remarks": loaded.remarks,
    }


def _of_plan(source: Path) -> Description:
    from edgecv.engine import saved

    found = container.read(source)
    found.expect(planfile.KIND)
    text, told, problem = planfile.card_of(found), planfile.told_by(found), ""
    networks: tuple[Network, ...] = ()
    try:
        stages = saved.of(found).stages
        networks = tuple(_planned(name, stage) for name, stage in stages.items())
    except (ModelFileError, UnavailableError) as error:
        problem = str(error)
    if text is None and not problem:
        problem = f"{source}: a plan without a card: it is not known what its outputs mean"
    return Description(
        path=str(source),
        format="plan",
        files=_files((source,)),
        networks=networks,
        made_by=found.written_by,
        backend=found.backend,
        about=dict(found.about),
        card=None if text is None else msgspec.json.decode(text),
        card_from="" if text is None else "the plan",
        problem=problem,
        assumptions=told.assumptions,
        remarks=told.remarks,
    )


def _planned(name: str, stage: Any) -> Network:
    facts = stage.facts
    return Network(
        stage=name, inputs=_tensors(facts.inputs), outputs=_tensors(facts.outputs), stored=stage.stored
    )


def _network(stage: str, model: OnnxModel) -> Network:
    counted = Counter(_operators(model.proto.graph))
    return Network(
        stage=stage,
        inputs=_tensors(model.facts.inputs),
        outputs=_tensors(model.facts.outputs),
        stored=model.precision,
        opsets={each.domain: each.version for each in model.proto.opset_import},
        operators=dict(sorted(counted.items(), key=lambda item: (-item[1], item[0]))),
        weights=sum(_size(tensor.dims) for tensor in model.proto.graph.initializer),
    )


def _operators(graph: Any) -> list[str]:
    names = []
    for node in graph.node:
        names.append(node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}")
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                names += _operators(inner)
    return names


def _size(dims: Any) -> int:
    count = 1
    for n in dims:
        count *= n
    return count


def _tensors(specs: tuple[TensorSpec, ...]) -> tuple[Tensor, ...]:
    return tuple(Tensor(name=spec.name, dtype=str(spec.dtype), shape=tuple(spec.shape)) for spec in specs)


def _files(paths: tuple[Path, ...]) -> tuple[File, ...]:
    return tuple(File(path=str(path), bytes=path.stat().st_size) for path in paths if path.is_file())


def _plain(text: str | bytes) -> Any:
    return msgspec.json.decode(text)


def to_lines(found: Description) -> list[str]:
    """As text, a line a fact."""
    size = ", ".join(f"{Path(each.path).name} {_bytes(each.bytes)}" for each in found.files)
    rows = [("file", found.path), ("format", found.format), ("size", size), ("made by", found.made_by)]
    rows += [("backend", found.backend), *((key, text) for key, text in found.about.items())]
    for network in found.networks:
        if len(found.networks) > 1:
            rows.append(("stage", network.stage))
        rows += [("input", _tensor(each)) for each in network.inputs]
        rows += [("output", _tensor(each)) for each in network.outputs]
        opsets = (f"{domain} {version}".strip() for domain, version in network.opsets.items())
        rows.append(("opset", ", ".join(opsets)))
        rows.append(("operators", ", ".join(f"{name} {n}" for name, n in network.operators.items())))
        if network.weights is not None:
            rows.append(("weights", f"{network.weights:,}, {network.stored}"))
        else:
            rows.append(("stored", network.stored))
    rows += [("metadata", f"{key}: {_cut(text)}") for key, text in found.metadata.items()]
    if found.card is not None:
        rows += _card_rows(found.card, found.card_from)
    if found.problem:
        rows.append(("head", f"none: {found.problem}") if found.card is None else ("problem", found.problem))
    rows += [("assumed", line) for line in found.assumptions]
    rows += [("remark", line) for line in found.remarks]
    width = max(9, *(len(name) for name, _ in rows))
    lines, before = [], ""
    for name, text in rows:
        if text:
            lines.append(f"{'' if name == before else name:{width}}  {text}")
            before = name
    return lines


def _card_rows(card: dict[str, Any], origin: str) -> list[tuple[str, str]]:
    head = card.get("head") or {}
    params = ", ".join(
        f"{name} {msgspec.json.encode(value).decode()}" for name, value in _stated(head).items()
    )
    labels = card.get("labels") or []
    several = (
        f"{len(labels)}: {_cut(', '.join(map(str, labels)))}" if isinstance(labels, list) else str(labels)
    )
    return [
        ("task", str(card.get("task", ""))),
        ("head", f"{head.get('type', 'none')}{f': {params}' if params else ''}"),
        ("labels", several if labels else ""),
        ("card", origin),
    ]


def _stated(head: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a card's head that are not the head's defaults."""
    if head.get("type") not in heads.HEADS:
        return {name: value for name, value in head.items() if name != "type"}
    fields = msgspec.structs.fields(heads.get(head["type"]).Params)
    plain = {
        field.encode_name: _plain(msgspec.json.encode(field.default))
        for field in fields
        if not field.required
    }
    return {name: value for name, value in head.items() if name != "type" and plain.get(name) != value}


def _tensor(tensor: Tensor) -> str:
    axes = ", ".join("?" if n is None else str(n) for n in tensor.shape)
    return f"{tensor.name}: {tensor.dtype} ({axes})"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _cut(text: str, most: int = 100) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
