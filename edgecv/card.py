"""ModelCard: what a model is, how to feed it and how to read it, as `model.json` states it.

Unknown fields and wrong types are errors that name the field. A card is data from others: the files
that it names must lie in its own folder, and nothing in it is executed.
"""

# Without annotations from __future__: msgspec would have to compile them one by one when a model is loaded.

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from edgecv import heads
from edgecv.errors import CardError
from edgecv.heads.base import HeadParams
from edgecv.image import BlobSpec

if TYPE_CHECKING:
    # Long to import, and a card out of a plan names no file that is read.
    from pathlib import Path

FILE_NAME = "model.json"
# The one network of a model without stages.
NETWORK = "network"
# A card is text that a person writes; the largest label lists in use are a few hundred KB.
MAX_CARD_BYTES = 4 << 20
MAX_LABELS_BYTES = 4 << 20

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
Task = Literal["detect", "classify", "segment", "features", "anomaly"]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    pass


class FileEntry(_Struct, frozen=True):
    """One file of a model. path: relative to the card's folder. bytes: its size."""

    path: str
    sha256: Sha256
    bytes: PositiveInt
    url: str | None = None

    def __post_init__(self) -> None:
        check_relative(self.path)


class InputEntry(_Struct, frozen=True):
    """One input of the network, and how a frame becomes it; see `image.BlobSpec` for the terms."""

    name: str
    size_wh: tuple[PositiveInt, PositiveInt]
    channels: PositiveInt = 3
    color: Literal["bgr", "rgb", "gray", "bgrd", "rgbd"] = "bgr"
    resize: Literal["letterbox", "stretch", "crop"] = "letterbox"
    anchor: Literal["center", "top-left"] = "center"
    rounding: Literal["nearest", "floor"] = "nearest"
    pad_value: float | tuple[float, ...] = 114.0
    interpolation: Literal["linear", "area", "nearest"] = "linear"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtype: Literal["float32", "uint8"] = "float32"

    def __post_init__(self) -> None:
        for field in ("mean", "std"):
            given = len(getattr(self, field))
            if given not in (0, self.channels):
                raise ValueError(f"`{field}` has {given} values for {self.channels} channels")
        if isinstance(self.pad_value, tuple) and len(self.pad_value) != self.channels:
            raise ValueError(f"`pad_value` has {len(self.pad_value)} values for {self.channels} channels")
        colors = 1 if self.color == "gray" else len(self.color)
        if colors != self.channels:
            raise ValueError(f"`color` {self.color} has {colors} channels, `channels` says {self.channels}")
        if any(not value for value in self.std):
            raise ValueError("`std` has a zero")

    def blob_spec(self, size_wh: tuple[int, int] | None = None) -> BlobSpec:
        """The preprocessing of this input, at another size where one is given."""
        return BlobSpec(
            size_wh=size_wh or self.size_wh,
            color=self.color,
            resize=self.resize,
            anchor=self.anchor,
            rounding=self.rounding,
            pad_value=self.pad_value,
            interpolation=self.interpolation,
            mean=self.mean or (0.0,) * self.channels,
            std=self.std or (1.0,) * self.channels,
            dtype=self.dtype,
        )


class Thresholds(_Struct, frozen=True):
    """Defaults of a model. conf: one number, or one per class."""

    conf: Fraction | tuple[Fraction, ...] = 0.25
    iou: Fraction = 0.45
    max_det: PositiveInt = 300


class Golden(_Struct, frozen=True):
    """Tensors that `edgecv verify` holds a machine against.

    file: an .npz beside the card with `frame`, uint8 (H, W, 3) BGR, and for each output `<name>` the
    values at flat indices 0, `<name>.step`, 2 * step, … and `<name>.largest`, the largest magnitude of
    the whole output. blob_sha256: of the bytes of the blob that
    preprocessing makes of the frame; the same on every machine.
    """

    file: FileEntry
    blob_sha256: Sha256


class HeadSpec:
    """A head's type, its module and its parameters."""

    def __init__(self, type: str, params: HeadParams) -> None:
        self.type = type
        self.params = params
        self.module = heads.get(type)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeadSpec) and (self.type, self.params) == (other.type, other.params)

    def __hash__(self) -> int:
        return hash((self.type, self.params))

    def __repr__(self) -> str:
        return f"HeadSpec({self.type!r}, {self.params!r})"


class ModelCard(_Struct, frozen=True):
    """What a model is, how to feed it, how to read it.

    files: of a model with one network; stages: name -> files, of one with several.
    """

    schema: Literal[1]
    name: str
    task: Task
    format: Literal["onnx", "caffe", "darknet"]
    inputs: tuple[InputEntry, ...]
    aliases: tuple[str, ...] = ()
    files: tuple[FileEntry, ...] = ()
    stages: dict[str, tuple[FileEntry, ...]] = {}
    license: str = ""
    source: str = ""
    head: HeadSpec | None = None
    labels: tuple[str, ...] | str = ()
    thresholds: Thresholds = Thresholds()
    golden: Golden | None = None

    def __post_init__(self) -> None:
        for name in (self.name, *self.aliases):
            if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
                raise ValueError(f"`name` {name!r}: expected lower case letters, digits, '.', '_' and '-'")
        if not self.inputs:
            raise ValueError("`inputs` is empty")
        if self.files and self.stages:
            raise ValueError("`files` and `stages` are both given: a model has one or the other")
        if self.task in heads.BY_TASK:
            fitting = heads.BY_TASK[self.task]
            if self.head is None:
                raise ValueError(f"`head` is missing: a model to {self.task} needs one")
            if self.head.type not in fitting:
                raise ValueError(
                    f"`head` {self.head.type} does not {self.task}, which `task` says; "
                    f"heads that do: {', '.join(fitting)}"
                )
        if isinstance(self.labels, str):
            check_relative(self.labels)
        conf = self.thresholds.conf
        if isinstance(conf, tuple) and isinstance(self.labels, tuple) and len(conf) != len(self.labels):
            raise ValueError(f"`thresholds.conf` has {len(conf)} values for {len(self.labels)} labels")

    @property
    def image_input(self) -> InputEntry:
        """The input that frames are made into."""
        return self.inputs[0]

    def with_labels(self, labels: tuple[str, ...]) -> "ModelCard":
        """The same card with other class names."""
        return msgspec.structs.replace(self, labels=labels)


def check_relative(path: str) -> None:
    """Raise ValueError unless `path` stays inside the folder that it is relative to."""
    if not path or path.startswith("/") or ".." in path.split("/") or "\\" in path or "\0" in path:
        raise ValueError(f"path {path!r} leaves the model's folder: only files inside it may be named")


def parse(text: bytes | str, *, origin: str) -> ModelCard:
    """A card from JSON.

    origin: where the text comes from, for messages. Raises CardError that names the field.
    """
    try:
        return msgspec.json.decode(text, type=ModelCard, dec_hook=_decode_head)
    except (msgspec.DecodeError, UnicodeDecodeError, CardError, RecursionError) as error:
        raise CardError(f"{origin}: {error}") from error


def read(path: "Path") -> ModelCard:
    """The card in a file, its labels resolved where they are a file of their own.

    Raises CardError for one that does not follow the schema, or cannot be read.
    """
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise CardError(f"{path}: a card is at most {MAX_CARD_BYTES >> 20} MB; this is not one")
        card = parse(path.read_bytes(), origin=str(path))
        if isinstance(card.labels, str):
            card = card.with_labels(read_labels(inside(path.parent, card.labels)))
    except OSError as error:
        raise CardError(f"{path}: cannot be read: {error.strerror or error}") from error
    return card


def read_labels(path: "Path") -> tuple[str, ...]:
    """Class names, one a line; blank lines at the end do not count."""
    if path.stat().st_size > MAX_LABELS_BYTES:
        raise CardError(f"{path}: a label file is at most {MAX_LABELS_BYTES >> 20} MB")
    try:
        lines = path.read_text("utf-8").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise CardError(f"{path}: labels are not UTF-8 text: {error.reason}") from error
    return tuple(line.strip() for line in lines)


def inside(folder: "Path", relative: str) -> "Path":
    """A path that a card names, refused where a link leads it out of the card's folder."""
    path = folder / relative
    if not path.resolve().is_relative_to(folder.resolve()):
        raise CardError(f"{folder}: {relative!r} leads out of the model's folder")
    return path


def dumps(card: ModelCard) -> str:
    """The card as JSON text, as `model.json` holds it."""
    raw = msgspec.json.encode(card, enc_hook=_encode_head)
    return msgspec.json.format(raw, indent=2).decode() + "\n"


def _decode_head(kind: type, value: Any) -> Any:
    if kind is not HeadSpec:
        raise TypeError(f"no decoder for {kind}")
    if not isinstance(value, dict):
        raise ValueError(f"`head`: expected an object with a type, got {type(value).__name__}")
    module, params = heads.params_from(value)
    return HeadSpec(module.TYPE, params)


def _encode_head(value: Any) -> Any:
    if not isinstance(value, HeadSpec):
        raise TypeError(f"no encoder for {type(value)}")
    return {"type": value.type, **msgspec.to_builtins(value.params)}
