"""Options that several verbs share, spelled once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgecv.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])


def model_argument(function: F) -> F:
    """MODEL: what `edgecv.load` takes."""
    return click.argument("model")(function)


def source_argument(function: F) -> F:
    """SOURCE: what `media.open_source` takes."""
    return click.argument("source")(function)


def output_options(function: F) -> F:
    """--out, --json, --show, --limit: of the verbs that go over the frames of a source."""
    for option in reversed(
        (
            click.option("--out", metavar="PATH", help="Annotated output: an image, a video, or a folder."),
            json_option,
            click.option(
                "--show", is_flag=True, help="Show the frames in a window; q or Esc ends, any key goes on."
            ),
            click.option("--limit", type=click.IntRange(min=1), help="Stop after this many frames."),
        )
    ):
        function = option(function)
    return function


def json_option(function: F) -> F:
    """--json: where the data goes."""
    return click.option(
        "--json", "json_path", metavar="FILE|-", help="Write JSON to a file, or to stdout with -."
    )(function)


def html_option(function: F) -> F:
    """--html: a page to look at."""
    return click.option("--html", "html_path", metavar="FILE", help="Write a page with charts to a file.")(
        function
    )


def backend_option(function: F) -> F:
    """--backend, one choice for the run."""
    return click.option(
        "--backend",
        metavar="NAME[,NAME]",
        help="Backend to run on; with commas, an ordered fallback. Default: simd,onnxruntime,opencv, "
        "as far as they are usable.",
    )(function)


def placement_options(function: F) -> F:
    """--device, --precision, --weights, --imgsz."""
    for option in reversed(
        (
            click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, …"),
            click.option("--precision", default="fp32", show_default=True, help="fp32, fp16 or int8."),
            weights_option,
            imgsz_option,
        )
    ):
        function = option(function)
    return function


def imgsz_option(function: F) -> F:
    """--imgsz."""
    return click.option(
        "--imgsz",
        metavar="SIZE|WxH",
        callback=_parse_imgsz,
        help="Blob size, for a model with a dynamic input.",
    )(function)


def weights_option(function: F) -> F:
    """--weights."""
    return click.option(
        "--weights",
        metavar="FILE",
        help="The other file of a Caffe or Darknet network, where it is not beside it; of a card, the "
        "network in place of its own.",
    )(function)


def import_options(function: F) -> F:
    """--labels, --mean: what the files of a network may not say."""
    for option in reversed(
        (
            click.option(
                "--labels",
                metavar="FILE",
                help="Class names, one a line, as many as there are classes. Default: those beside the "
                "network, where their number fits.",
            ),
            click.option(
                "--mean",
                metavar="B,G,R|FILE",
                callback=_parse_mean,
                help=(
                    "Mean to subtract: a number for each channel of a frame, or one for all; or a mean file "
                    "of Caffe, binaryproto or npy. Default: as the files say."
                ),
            ),
        )
    ):
        function = option(function)
    return function


def threads_option(function: F) -> F:
    """--threads, one count."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="Threads of one run. Default: the smaller of affinity and cgroup quota.",
    )(function)


def _parse_imgsz(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _x, height = text.lower().partition("x")
    try:
        return int(width), int(height or width)
    except ValueError:
        raise InputError(f"--imgsz: expected a size such as 416 or 640x480, got {text!r}") from None


def _parse_mean(_: click.Context, __: click.Parameter, text: str | None) -> Path | tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return Path(text)


def split_classes(text: str | None) -> list[int | str] | None:
    """The ids or names in "0,2" or "person,car"."""
    if text is None:
        return None
    return [int(part) if part.strip().isdigit() else part.strip() for part in text.split(",")]


def split_counts(option: str, text: str) -> list[int]:
    """The numbers in "1,2". Raises InputError."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"{option}: expected numbers such as 1,2, got {text!r}") from None
