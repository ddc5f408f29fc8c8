"""ModelCard: what a model is, stage by stage: how to feed it and how to read it, as `model.json` states it.

JSON of schema 2 and of schema 1 is read into the same values; schema 2 is written. Unknown fields and wrong
types are errors that name the field. A card is data from others: the files that it names must lie in its own
folder, and nothing in it is executed.
"""

# Without annotations from __future__: msgspec would have to compile them one by one when a model is loaded.

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from edgecv import heads
from edgecv.card_inputs import CardStruct, PositiveInt
from edgecv.card_inputs import InputEntry as InputEntry
from edgecv.errors import CardError
from edgecv.heads.base import HeadParams
from edgecv.planfile import MAX_STAGES, STAGE_NAME

if TYPE_CHECKING:
    # Long to import, and a card out of a plan names no file that is read.
    from pathlib import Path

# The one stage of a model of one network.
NETWORK = "network"
# A card is text that a person writes; the largest label lists in use are a few hundred KB.
MAX_CARD_BYTES = 4 << 20
MAX_LABELS_BYTES = 4 << 20
MAX_MESSAGE = 500

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Task = Literal["detect", "classify", "segment", "features", "anomaly"]
# Tasks whose outputs mean nothing without a head.
_HEADED = ("detect", "classify")


class FileEntry(CardStruct, frozen=True):
    """One file of a model. path: relative to the card's folder. bytes: its size."""

    path: str
    sha256: Sha256
    bytes: PositiveInt
    url: str | None = None

    def __post_init__(self) -> None:
        check_relative(self.path)


class Thresholds(CardStruct, frozen=True):
    """Defaults of a model; see `pipelines.detector.DetectorSettings`. conf: one number, or one per class.

    max_per_class: the most detections of one class, None for any number.
    """

    conf: Fraction | tuple[Fraction, ...] = 0.25
    iou: Fraction = 0.45
    max_det: PositiveInt = 300
    agnostic: bool = False
    multi_label: bool = False
    max_per_class: PositiveInt | None = None


class Golden(CardStruct, frozen=True):
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


class Stage(CardStruct, frozen=True):
    """One network of a model.

    files: what holds it, as `format` wants them; none where the card lies beside its network. inputs: in the
    first stage one takes the frame; others take facts. head: None where a later stage reads its outputs.
    """

    files: tuple[FileEntry, ...] = ()
    inputs: tuple[InputEntry, ...] = ()
    head: HeadSpec | None = None


class _Card(CardStruct, frozen=True, kw_only=True):
    """What a card states of the whole model, in every schema."""

    name: str
    task: Task
    format: Literal["onnx", "caffe", "darknet"]
    aliases: tuple[str, ...] = ()
    license: str = ""
    source: str = ""
    labels: tuple[str, ...] | str = ()
    thresholds: Thresholds = Thresholds()
    golden: Golden | None = None


class ModelCard(_Card, frozen=True, kw_only=True):
    """What a model is, how to feed it, how to read it.

    stages: its networks by name, in the order in which they run, 1 to 16; a network alone is `NETWORK`.
    """

    schema: Literal[2] = 2
    stages: dict[str, Stage]

    def __post_init__(self) -> None:
        for name in (self.name, *self.aliases):
            if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
                raise ValueError(f"`name` {name!r}: expected lower case letters, digits, '.', '_' and '-'")
        _check_stages(self.stages)
        if self.task in _HEADED:
            self._check_head()
        if isinstance(self.labels, str):
            check_relative(self.labels)
        conf = self.thresholds.conf
        if isinstance(conf, tuple) and isinstance(self.labels, tuple) and len(conf) != len(self.labels):
            raise ValueError(f"`thresholds.conf` has {len(conf)} values for {len(self.labels)} labels")

    def _check_head(self) -> None:
        """Raise ValueError unless there is a head, and it does what the card's task says."""
        if self.head is None:
            raise ValueError(f"`head` is missing: a model to {self.task} needs one")
        if self.task != self.head.module.TASK:
            raise ValueError(
                f"`head` {self.head.type} does not {self.task}, which `task` says; "
                f"heads that do: {', '.join(heads.that_do(self.task))}"
            )

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Every file of every stage, in order."""
        return tuple(file for stage in self.stages.values() for file in stage.files)

    @property
    def inputs(self) -> tuple[InputEntry, ...]:
        """Those of the first stage; there is at least one."""
        return next(iter(self.stages.values())).inputs

    @property
    def image_input(self) -> InputEntry:
        """The input that frames are made into."""
        return next(entry for entry in self.inputs if not entry.facts)

    @property
    def facts_inputs(self) -> tuple[InputEntry, ...]:
        """The inputs that take facts in place of a picture."""
        return tuple(entry for entry in self.inputs if entry.facts)

    @property
    def head(self) -> HeadSpec | None:
        """That of the last stage that has one."""
        return next((stage.head for stage in reversed(self.stages.values()) if stage.head is not None), None)

    def with_labels(self, labels: tuple[str, ...]) -> "ModelCard":
        """The same card with other class names."""
        return msgspec.structs.replace(self, labels=labels)

    def with_input(self, entry: InputEntry) -> "ModelCard":
        """The same card with another image input."""
        old = self.image_input
        inputs = tuple(entry if each is old else each for each in self.inputs)
        return self._with(next(iter(self.stages)), inputs=inputs)

    def with_head(self, head: HeadSpec) -> "ModelCard":
        """The same card with another head in place of `head`, or in the last stage where there was none."""
        names = list(self.stages)
        bearers = [name for name in names if self.stages[name].head is not None]
        return self._with((bearers or names)[-1], head=head)

    def with_files(self, files: Mapping[str, tuple[FileEntry, ...]]) -> "ModelCard":
        """The same card with other files. files: by stage; a stage that is not among them keeps its own.

        Raises CardError for a stage that the card does not have.
        """
        card = self
        for name, own in files.items():
            card = card._with(name, files=own)
        return card

    def for_networks(self, names: Iterable[str]) -> "ModelCard":
        """The card of a model whose networks go by these names.

        A file of Caffe's can hold several networks, whose card is then that of a network alone: its files and
        inputs go to the first stage, its head to the last. Raises CardError for stages that are not those of
        the card.
        """
        wanted = list(names)
        if set(wanted) == set(self.stages):
            return self
        if set(self.stages) != {NETWORK}:
            raise CardError(
                f"{self.name}: its card states the stages {', '.join(self.stages)}, and its files hold "
                f"{', '.join(wanted) or 'none'}: name the files of each stage in the card"
            )
        alone = self.stages[NETWORK]
        files = {name: alone.files if i == 0 else () for i, name in enumerate(wanted)}
        return msgspec.structs.replace(self, stages=_staged(files, alone.inputs, alone.head))

    def _with(self, name: str, **changes: Any) -> "ModelCard":
        if name not in self.stages:
            raise CardError(f"{self.name}: no stage {name!r}; it has {', '.join(self.stages)}")
        changed = msgspec.structs.replace(self.stages[name], **changes)
        return msgspec.structs.replace(self, stages={**self.stages, name: changed})


class Schema2(_Card, frozen=True, kw_only=True, tag_field="schema", tag=2):
    """A card as JSON has it. files, inputs, head: of a network alone; stages: of a model of several."""

    files: tuple[FileEntry, ...] = ()
    inputs: tuple[InputEntry, ...] = ()
    head: HeadSpec | None = None
    stages: dict[str, Stage] = {}  # noqa: RUF012 - msgspec copies it

    def staged(self) -> dict[str, Stage]:
        """The stages, a network alone among them. Raises ValueError for both at once."""
        if not self.stages:
            if not self.inputs:
                raise ValueError("`inputs` is empty: a network needs one that takes the frame")
            return _staged({NETWORK: self.files}, self.inputs, self.head)
        for field in ("files", "inputs", "head"):
            if getattr(self, field):
                raise ValueError(
                    f"`{field}` and `stages` are both given: a network alone has it at the top of the card, "
                    "each of several stages has its own"
                )
        return self.stages


class Schema1(_Card, frozen=True, kw_only=True, tag_field="schema", tag=1):
    """A card as earlier versions wrote it: of several networks only the files are apart."""

    inputs: Annotated[tuple[InputEntry, ...], msgspec.Meta(min_length=1)]
    files: tuple[FileEntry, ...] = ()
    head: HeadSpec | None = None
    stages: dict[str, tuple[FileEntry, ...]] = {}  # noqa: RUF012 - msgspec copies it

    def staged(self) -> dict[str, Stage]:
        """The stages: the first takes the inputs, the last bears the head, which may read outputs of all."""
        if self.files and self.stages:
            raise ValueError("`files` and `stages` are both given: a model has one or the other")
        return _staged(self.stages or {NETWORK: self.files}, self.inputs, self.head)


class _Outline(msgspec.Struct):
    """As much of a card as it takes to look for the stage that does not decode."""

    schema: int
    stages: dict[str, msgspec.Raw]


def _staged(
    files: Mapping[str, tuple[FileEntry, ...]], inputs: tuple[InputEntry, ...], head: HeadSpec | None
) -> dict[str, Stage]:
    """Stages of these files, the first with the inputs, the last with the head."""
    names = list(files)
    return {
        name: Stage(
            files=files[name],
            inputs=inputs if name == names[0] else (),
            head=head if name == names[-1] else None,
        )
        for name in names
    }


def _check_stages(stages: Mapping[str, Stage]) -> None:
    """Raise ValueError for a number or names of stages that cannot be, and for a first one without inputs."""
    if not 1 <= len(stages) <= MAX_STAGES:
        raise ValueError(f"`stages`: expected 1 to {MAX_STAGES}, got {len(stages)}")
    for name in stages:
        if not STAGE_NAME.fullmatch(name):
            raise ValueError(
                f"`stages`: name {name[:40]!r}: expected 1 to 32 lower case letters, digits, '_' and '-', "
                "a "
                "letter or a digit first"
            )
    if NETWORK in stages and len(stages) > 1:
        raise ValueError(f"`stages`: {NETWORK!r} is the name of a network alone, and there are {len(stages)}")
    first = next(iter(stages))
    inputs = stages[first].inputs
    if not inputs:
        raise ValueError(f"`stages.{first}.inputs` is empty: the first stage takes the frame")
    if all(entry.facts for entry in inputs):
        raise ValueError(f"`stages.{first}.inputs` are facts alone: one of them takes the frame")


def check_relative(path: str) -> None:
    """Raise ValueError unless `path` stays inside the folder that it is relative to."""
    if not path or path.startswith("/") or ".." in path.split("/") or "\\" in path or "\0" in path:
        raise ValueError(f"path {path!r} leaves the model's folder: only files inside it may be named")


def parse(text: bytes | str, *, origin: str) -> ModelCard:
    """A card from JSON of schema 2 or 1.

    origin: where the text comes from, for messages. Raises CardError that names the field, in one line.
    """
    try:
        written = msgspec.json.decode(text, type=Schema2 | Schema1, dec_hook=_decode_head)
        common = {field: getattr(written, field) for field in _Card.__struct_fields__}
        return ModelCard(**common, stages=written.staged())
    except msgspec.ValidationError as error:
        raise CardError(f"{origin}: {_in_its_words(text, str(error))}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CardError(f"{origin}: no model card: {_one_line(str(error))}") from error


def read(path: "Path") -> ModelCard:
    """The card in a file, its labels resolved where they are a file of their own.

    Raises CardError for one that does not follow the schema, or cannot be read.
    """
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise CardError(f"{path}: a card is at most {MAX_CARD_BYTES >> 20} MB; this is not one")
        card = parse(path.read_bytes(), origin=str(path))
    except OSError as error:
        raise CardError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not isinstance(card.labels, str):
        return card
    labels = inside(path.parent, card.labels)
    try:
        return card.with_labels(read_labels(labels))
    except OSError as error:
        raise CardError(f"{labels}: labels cannot be read: {error.strerror or error}") from error


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
    """A text that a card names, refused where a link leads it out of the card's folder: what it holds comes
    out with the results."""
    path = folder / relative
    if not path.resolve().is_relative_to(folder.resolve()):
        raise CardError(f"{folder}: {relative!r} leads out of the model's folder")
    return path


def dumps(card: ModelCard) -> str:
    """The card as JSON text of schema 2, as `model.json` holds it."""
    plain = msgspec.to_builtins(card, enc_hook=_encode_head)
    stages = plain.pop("stages")
    networks = stages.get(NETWORK, {"stages": stages})
    # Hundreds of labels would hide the rest.
    last = {field: plain.pop(field) for field in ("labels", "thresholds", "golden") if field in plain}
    raw = msgspec.json.encode({"schema": card.schema, **plain, **networks, **last})
    return msgspec.json.format(raw, indent=2).decode() + "\n"


def _in_its_words(text: bytes | str, message: str) -> str:
    """What msgspec says, with the name of the stage in place of its dots, and what to do about a schema."""
    if message == "Object missing required field `schema`":
        message = "no model card: it states no `schema`"
    if message.endswith(" - at `$.schema`"):
        message += ": schemas 1 and 2 are read; a later schema needs a later edgecv"
    at = "`$.stages[...]"
    if at in message:
        message = message.replace(at, f"`$.stages.{_faulty_stage(text)}", 1)
    return _one_line(message)


def _faulty_stage(text: bytes | str) -> str:
    """The name of the first stage that does not decode; dots where that cannot be told."""
    try:
        outline = msgspec.json.decode(text, type=_Outline)
    except (msgspec.DecodeError, RecursionError):
        return "…"
    kind: Any = Stage if outline.schema == 2 else tuple[FileEntry, ...]
    for name, raw in outline.stages.items():
        try:
            msgspec.json.decode(raw, type=kind, dec_hook=_decode_head)
        except msgspec.DecodeError:
            return name[:40]
    return "…"


def _one_line(message: str) -> str:
    """A message that may quote what others wrote, as one line of a length that can be read."""
    line = " ".join(message.split())
    return line if len(line) <= MAX_MESSAGE else f"{line[:MAX_MESSAGE]}…"


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
