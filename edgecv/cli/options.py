"""Options that several verbs share, spelled once."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgecv.cli import completion
from edgecv.errors import InputError, OutputError
from edgecv.options import LoadOptions

if TYPE_CHECKING:
    from edgecv.media import RawFormat

F = TypeVar("F", bound=Callable[..., Any])


def model_argument(function: F) -> F:
    """MODEL: what `edgecv.load` takes."""
    return click.argument("model", shell_complete=completion.models)(function)


def source_argument(function: F) -> F:
    """SOURCE: what `media.open_source` takes."""
    return click.argument("source", shell_complete=completion.files)(function)


def output_options(function: F) -> F:
    """--out, --json, --show, --limit, --quiet: of the verbs that go over the frames of a source."""
    for option in reversed(
        (
            click.option(
                "--out",
                metavar="PATH",
                shell_complete=completion.files,
                help="Annotated output: an image, a video, or a folder.",
            ),
            json_option,
            click.option(
                "--show", is_flag=True, help="Show the frames in a window; q or Esc ends, any key goes on."
            ),
            click.option("--limit", type=click.IntRange(min=1), help="Stop after this many frames."),
            click.option(
                "-q", "--quiet", is_flag=True, help="Nothing on stderr but errors: no progress, no summary."
            ),
        )
    ):
        function = option(function)
    return function


def raw_option(function: F) -> F:
    """--raw: how raw frames on stdin are laid out, as `media.RawFormat`."""
    return click.option(
        "--raw",
        metavar="FORMAT:WxH",
        callback=_parse_raw,
        help="Raw frames on stdin, where SOURCE is -: nv12, i420, yuyv or uyvy (with :bt601 or :bt709, "
        ":limited or :full behind the size), bgr24, rgb24, gray8 or gray16le.",
    )(function)


def json_option(function: F) -> F:
    """--json: where the data goes."""
    return click.option(
        "--json",
        "json_path",
        metavar="FILE|-",
        shell_complete=completion.files,
        callback=lambda *given: _check_json(*given),
        help="Write JSON to a file, or to stdout with -.",
    )(function)


def html_option(function: F) -> F:
    """--html: a page to look at."""
    return click.option(
        "--html",
        "html_path",
        metavar="FILE",
        shell_complete=completion.files,
        help="Write a page with charts to a file.",
    )(function)


def _split_classes(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int | str, ...] | None:
    """The ids or names in "0,2" or "person,car"."""
    if text is None:
        return None
    for part in text.split(","):
        if part.strip().isdigit() and not part.strip().isdecimal():
            raise InputError(f"--classes: expected ids or names, got {part!r}")
    return tuple(int(part) if part.strip().isdecimal() else part.strip() for part in text.split(","))


def _parse_imgsz(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    return split_size("--imgsz", text)


def _parse_raw(_: click.Context, __: click.Parameter, text: str | None) -> RawFormat | None:
    if text is None:
        return None
    from edgecv.media import RawFormat

    return RawFormat.parse(text)


def _check_device(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    if text is not None and not text.isascii():
        raise InputError(f"--device: expected a name such as cpu, cuda or cuda:1, got {text!r}")
    return text


def _check_json(_: click.Context, __: click.Parameter, path: str | None) -> str | None:
    # Python has no stream where the shell closed it. (mypy holds that it always has.)
    if path == "-" and getattr(sys, "stdout", None) is None:
        raise OutputError("--json: stdout is closed")
    return path


def _parse_mean(_: click.Context, __: click.Parameter, text: str | None) -> str | tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return text


# Field of `LoadOptions` -> how it is spelled.
_LOAD: dict[str, Callable[[Any], Any]] = {
    "backend": click.option(
        "--backend",
        metavar="NAME[,NAME]",
        shell_complete=completion.backends,
        help="Backend to run on; with commas, an ordered fallback. Default: "
        f"{','.join(completion.BACKENDS)}, as far as they are usable.",
    ),
    "device": click.option(
        "--device",
        metavar="NAME",
        callback=_check_device,
        help="cpu, cuda, cuda:1, … Default: where the backend runs.",
    ),
    "threads": click.option(
        "--threads",
        type=int,
        help="Threads of one run, 1 to 256. Default: the smaller of affinity and cgroup quota.",
    ),
    "precision": click.option(
        "--precision",
        metavar="NAME",
        help="What is computed: fp32, fp16, bf16 or int8, and no other. Default: at least as precise as "
        "the file.",
    ),
    "weights": click.option(
        "--weights",
        metavar="FILE",
        shell_complete=completion.files,
        help="The other file of a Caffe or Darknet network, where it is not beside it; of a card, the "
        "network in place of its own.",
    ),
    "labels": click.option(
        "--labels",
        metavar="FILE",
        shell_complete=completion.files,
        help="Class names, one a line, as many as there are classes. Default: those beside the "
        "network, where their number fits.",
    ),
    "mean": click.option(
        "--mean",
        metavar="B,G,R|FILE",
        callback=_parse_mean,
        help="Mean to subtract: a number for each channel of a frame, or one for all; or a mean file "
        "of Caffe, binaryproto or npy. Default: as the files say.",
    ),
    "imgsz": click.option(
        "--imgsz",
        metavar="SIZE|WxH",
        callback=_parse_imgsz,
        help="Blob size, for a model with a dynamic input.",
    ),
    "cache": click.option(
        "--cache/--no-cache",
        default=True,
        help="Whether what was compiled before is taken from the cache, and what is compiled now kept there.",
    ),
    "check": click.option(
        "--check/--no-check",
        default=True,
        help="Whether a network on onnxruntime or opencv is compared with another backend, once.",
    ),
    "warmup": click.option(
        "--warmup/--no-warmup", default=True, help="Whether the whole path is run before the first frame."
    ),
}

# Setting of a task -> how it is spelled, with the default that the verb has.
_SETTINGS: dict[str, Callable[[str], Callable[[Any], Any]]] = {
    "conf": lambda default: click.option("--conf", type=float, help=f"Least confidence. Default: {default}."),
    "iou": lambda default: click.option(
        "--iou", type=float, help=f"Overlap beyond which boxes are duplicates. Default: {default}."
    ),
    "max_det": lambda default: click.option(
        "--max-det", type=int, help=f"Most detections a frame. Default: {default}."
    ),
    "classes": lambda _: click.option(
        "--classes", metavar="ID|NAME,…", callback=_split_classes, help="Classes to keep."
    ),
    "multi_label": lambda default: click.option(
        "--multi-label/--single-label",
        default=None,
        help=f"Whether every class of a cell counts, not only its best. Default: {default}.",
    ),
    "agnostic": lambda default: click.option(
        "--agnostic/--per-class",
        default=None,
        help=f"Whether boxes of other classes are duplicates too. Default: {default}.",
    ),
    "max_per_class": lambda default: click.option(
        "--max-per-class", type=int, help=f"Most detections of one class in a frame. Default: {default}."
    ),
    "top": lambda _: click.option(
        "--top", type=click.IntRange(min=1), help="Classes to list of a frame. Default: 5."
    ),
}


def load_options(*, without: Collection[str] = (), only: Collection[str] = ()) -> Callable[[F], F]:
    """The fields of `LoadOptions` as options; the verb gets the record as `options`.

    without: fields that the verb spells in its own way. only: of a verb that loads nothing, those that it
    reads.
    """
    wanted = {name: each for name, each in _LOAD.items() if name in (only or _LOAD) and name not in without}
    return _gathered("options", wanted, _record)


def settings_options(*names: str, defaults: Mapping[str, object] | None = None) -> Callable[[F], F]:
    """These settings as options; the verb gets those that are given as the dict `settings`.

    defaults: of the verb, where it does not take the card's.
    """
    stated = defaults or {}
    spellings = {name: _SETTINGS[name](str(stated.get(name, "the card's"))) for name in names}
    return _gathered("settings", spellings, _given)


def _gathered(
    name: str, spellings: Mapping[str, Callable[[Any], Any]], gather: Callable[[dict[str, Any]], Any]
) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        @functools.wraps(function)
        def verb(*args: Any, **parameters: Any) -> Any:
            own = {field: parameters.pop(field) for field in spellings}
            return function(*args, **parameters, **{name: gather(own)})

        wrapped: Any = verb
        for spelling in reversed(list(spellings.values())):
            wrapped = spelling(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return decorate


def _record(own: dict[str, Any]) -> LoadOptions:
    return LoadOptions(**own)


def _given(own: dict[str, Any]) -> dict[str, Any]:
    # 0 is a value, though it equals False.
    return {name: value for name, value in own.items() if value is not None and value is not False}


def split_counts(option: str, text: str, most: int | None = None) -> list[int]:
    """The numbers in "1,2". Raises InputError."""
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option}: expected numbers such as 1,2, got {text!r}") from None
    if most is not None and max(counts) > most:
        raise InputError(f"{option}: expected at most {most}, got {max(counts)}")
    return counts


def split_shapes(option: str, given: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Sizes by name of "images=1x3x640x640". Raises InputError."""
    shapes = {}
    for text in given:
        name, _, sizes = text.rpartition("=")
        parts = sizes.lower().split("x")
        if not name or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
            raise InputError(f"{option}: expected a shape such as images=1x3x640x640, got {text!r}")
        shapes[name] = tuple(map(int, parts))
    return shapes


def split_size(option: str, text: str) -> tuple[int, int]:
    """Width and height in "640x480"; "416" is both. Raises InputError."""
    width, x, height = text.lower().partition("x")
    try:
        return int(width), int(height if x else width)
    except ValueError:
        raise InputError(f"{option}: expected a size such as 416 or 640x480, got {text!r}") from None
