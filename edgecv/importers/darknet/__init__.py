"""Darknet networks, a cfg and its weights, into ONNX and a draft card.

The graph ends where the network's own layers do: [yolo], [region] and [detection] become the card's head,
and what they read becomes the graph's outputs, named after them: `yolo_121` is layer 121, counted from 0
after [net] as Darknet prints it. Of a network without them the last layer's value is the output, named
alike. The input is `data`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecv.card import HeadSpec, InputEntry, ModelCard, Stage, Task
from edgecv.graph.model import OnnxModel
from edgecv.heads import classify
from edgecv.heads.base import Reading
from edgecv.heads.brands import BRANDS, yolo
from edgecv.importers.base import NETWORK, Imported, card_name, scores_assumed
from edgecv.importers.darknet.cfg import read_cfg
from edgecv.importers.darknet.layers import Layer
from edgecv.importers.darknet.network import COLORS, INPUT, Plan, assign, emit, plan
from edgecv.importers.darknet.weights import read_weights
from edgecv.importers.labels import relabel

__all__ = ["read"]


def read(cfg: Path, weights: Path, *, names: Path | None = None) -> Imported:
    """A network of Darknet's, whichever version wrote it.

    names: its class names, one a line. Raises ModelNotFoundError; ModelFileError that names the file, the
    layer and the line for a cfg or weights that are damaged, do not fit each other, or hold what is not
    supported; InputError for names that do not fit the network. Memory: the file once, the network's
    weights once, and its largest layer.
    """
    planned = plan(read_cfg(cfg))
    stored = read_weights(weights)
    arrays, remarks, doubts = assign(planned, stored, str(weights))
    model = emit(planned, arrays, transposed=stored.is_transposed, name=cfg.stem, origin=str(cfg))
    networks = {NETWORK: model}
    card = _card(planned, cfg.stem)
    doubts += _assumed(planned, card, model)
    if names is not None:
        card = relabel(card, networks, names)
    return Imported(card, networks, (*planned.remarks, *remarks), tuple(doubts))


def _assumed(planned: Plan, card: ModelCard, model: OnnxModel) -> list[str]:
    """What the cfg does not say of its picture and of its outputs."""
    assumed = []
    if card.image_input.channels == 4:
        assumed.append("input: 4 channels: taken as red, green, blue and depth")
    if card.head is None:
        outputs = ", ".join(map(str, model.facts.outputs))
        assumed.append(f"head: its files do not say what the outputs mean ({outputs}): the card has none")
    elif isinstance(card.head.params, classify.Params) and not card.head.params.is_probability:
        last = planned.layers[planned.outputs[-1]]
        assumed.append(scores_assumed(last.section.name, last.out.c))
    return assumed


def _card(planned: Plan, stem: str) -> ModelCard:
    task, head = _head([planned.layers[index] for index in planned.outputs])
    channels, height, width = planned.picture
    keeps_shape = task == "detect" and planned.net.flag("letter_box")
    # `predict_classifier` and `letterbox_image` of AlexeyAB/darknet.
    how: dict[str, Any] = {"resize": "crop" if task == "classify" else "stretch"}
    if keeps_shape:
        how = {"resize": "letterbox", "pad_value": 127.5, "rounding": "floor"}
    entry = InputEntry(
        name=INPUT,
        size_wh=(width, height),
        channels=channels,
        color=COLORS[channels],
        std=(255.0,) * channels,
        **how,
    )
    stages = {NETWORK: Stage(inputs=(entry,), head=head)}
    return ModelCard(name=card_name(stem), task=task, format="darknet", stages=stages)


def _head(outputs: Sequence[Layer]) -> tuple[Task, HeadSpec | None]:
    last = outputs[-1]
    if last.head is None:
        if last.out[1:] != (1, 1):
            return "features", None
        params = classify.Params(output=last.section.name, is_probability=last.is_probability)
        return "classify", HeadSpec(classify.TYPE, params)
    brand: Any = BRANDS[last.section.kind]
    reading: Reading = brand.reading(last.head if len(outputs) == 1 else _joined(outputs))
    return "detect", HeadSpec(reading.type, reading.params)


def _joined(outputs: Sequence[Layer]) -> yolo.Params:
    """One head of several [yolo] layers. Raises ModelFileError for layers that no head can join."""
    parts: list[yolo.Params] = []
    for layer in outputs:
        if not isinstance(layer.head, yolo.Params):
            raise layer.section.error(
                f"one of {len(outputs)} detection layers: only several [yolo] make one detector"
            )
        parts.append(layer.head)
        if layer.head.classes != parts[0].classes:
            raise layer.section.error(
                f"{layer.head.classes}, and {outputs[0].section.label} has {parts[0].classes}: one detector "
                "has the same in all",
                "classes",
            )
        if layer.head.layers[0].new_coords != parts[0].layers[0].new_coords:
            raise layer.section.error(
                f"of {outputs[0].section.label} another: one detector has the same in all", "new_coords"
            )
    return yolo.Params(
        layers=tuple(layer for part in parts for layer in part.layers), classes=parts[0].classes
    )
