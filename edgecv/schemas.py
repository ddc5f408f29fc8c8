"""JSON Schemas of what the command line writes, which `tools/write_schemas.py` keeps in `docs/schemas/`.

Results make plain dicts of themselves (`as_dict`); the types here say what those look like, and a test holds
one against the other. Reports of `bench` and `eval` are such types already.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from edgecv import bench, evaluate
from edgecv.bench.layers import LayersReport

# In pixels of the frame: left, top, right, bottom.
Box = tuple[float, float, float, float]
OrientedBox = tuple[float, float, float, float, float]
# x, y in pixels of the frame, and confidence; null where the model tells no number.
Keypoint = tuple[float | None, float | None, float | None]
Corner = tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(ge=0)]]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0)]
Index = Annotated[int, msgspec.Meta(ge=0)]


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Fallback(_Record):
    """A backend that was asked for first, and why it does not run."""

    backend: str
    reason: str


class PlacementRecord(_Record, omit_defaults=True):
    """What ran where; see `edgecv.Placement`. tail: of networks with an NMS of their own that edgecv does.
    check: of libraries of others.
    """

    backend: str
    version: str
    device: str
    stored: str
    precision: str
    threads: Index
    engine: str
    fallbacks: tuple[Fallback, ...]
    tail: str | msgspec.UnsetType = msgspec.UNSET
    check: str | msgspec.UnsetType = msgspec.UNSET


class _Line(_Record):
    """Of a frame: where it came from, its size in pixels, the time of each stage in order, its age."""

    source: str
    frame: Index
    width: Index
    height: Index
    timing_ms: dict[str, Milliseconds]
    age_ms: Milliseconds | None
    placement: PlacementRecord


class Detection(_Record, omit_defaults=True):
    """An object. xyxy: pixels of the frame.

    Of models that tell them: keypoints, [x, y, confidence] each; mask, rings of corners in whole pixels,
    filled by the even-odd rule, at most 500 corners; xywhr, an oriented box as center, width, height and
    angle from the x axis to the width, radians, growing from x to y; tracker_id.
    """

    xyxy: Box
    confidence: Fraction
    class_id: Index
    class_name: str
    keypoints: tuple[Keypoint, ...] | msgspec.UnsetType = msgspec.UNSET
    mask: tuple[tuple[Corner, ...], ...] | msgspec.UnsetType = msgspec.UNSET
    xywhr: OrientedBox | msgspec.UnsetType = msgspec.UNSET
    tracker_id: int | msgspec.UnsetType = msgspec.UNSET


class Detected(_Line):
    """A line of `edgecv detect --json`; detections: best first."""

    detections: tuple[Detection, ...]


class Class(_Record):
    """A class that a frame may show."""

    confidence: Fraction
    class_id: Index
    class_name: str


class Classified(_Line):
    """A line of `edgecv classify --json`; classes: best first."""

    classes: tuple[Class, ...]


class Failed(_Record):
    """A line of a frame that could not be read."""

    source: str
    frame: Index
    error: str


class Event(_Record):
    """A line of a time in which a camera or stream gave no frames.

    event: stall as it begins, gap as it is over; a damaged frame is a gap alone. frame: the number of the
    frame after it. seconds: since the last frame, up to now or to the frame after it.
    """

    event: Literal["stall", "gap"]
    source: str
    frame: Index
    seconds: Annotated[float, msgspec.Meta(ge=0)]
    reason: str


class Evaluated(evaluate.EvalReport, frozen=True, kw_only=True):
    """The output of `edgecv eval --json`: the report, and the model as it was named."""

    model: str


# Verb -> what stands in a line, or in the whole output.
OUTPUTS: dict[str, tuple[Any, ...]] = {
    "detect": (Detected, Failed, Event),
    "classify": (Classified, Failed, Event),
    "bench": (bench.BenchReport,),
    "bench_layers": (LayersReport,),
    "eval": (Evaluated,),
}


def schema(verb: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a verb's output, or of each of its lines."""
    kinds = OUTPUTS[verb]
    references, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"edgecv {verb.replace('_', ' --')} --json",
        **(references[0] if len(references) == 1 else {"anyOf": list(references)}),
        "$defs": definitions,
    }


def text(verb: str) -> str:
    """The schema as the text of its file."""
    return msgspec.json.format(msgspec.json.encode(schema(verb), order="sorted"), indent=2).decode() + "\n"
