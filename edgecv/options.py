"""LoadOptions: how a model is to be found, compiled and run; declared once, for Python and for every verb.

What counts as a result is no part of it: each task has settings of its own, beside its pipeline.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from typing import Any

import msgspec

from edgecv.arguments import check_flag, path_text
from edgecv.errors import InputError

MAX_THREADS = 256


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `edgecv.load` is asked for, whatever the task.

    backend: one name, strict; "a,b", an ordered fallback that the placement records; None, all that are
    usable, in their order. device: "cpu", "cuda:1"…; None: where the chosen backend runs. threads: those of
    one run, the caller included; None: the smaller of affinity and cgroup quota, and of a plan at most those
    that it is cut for. precision: "fp32", "fp16", "bf16" or "int8", and no other; None: at least as precise
    as the file stores. weights: the other file of a Caffe or Darknet network, where it is not beside it; for
    a card, the network's file in place of its own. labels: a file of class names, one a line. mean: of each
    channel of a frame: blue, green, red; one number for all; or a mean file of Caffe. imgsz: width and height
    of the blob (one number: both), for a model whose input is dynamic. cache: take what was compiled before
    from the cache, and keep there what is compiled now. check: compare a network on a library of
    others with another backend, once. warmup: run the whole path before the model is handed over.

    Paths become text, one size two. Raises InputError for sizes and numbers that are none.
    """

    backend: str | None = None
    device: str | None = None
    threads: int | None = None
    precision: str | None = None
    weights: str | None = None
    labels: str | None = None
    mean: str | tuple[float, ...] | None = None
    imgsz: tuple[int, int] | None = None
    cache: bool = True
    check: bool = True
    warmup: bool = True

    def __post_init__(self) -> None:
        _check_plain(self)
        for name, value in (
            ("weights", path_text("weights", self.weights)),
            ("labels", path_text("labels", self.labels)),
            ("mean", _mean(self.mean)),
            ("imgsz", None if self.imgsz is None else size_wh(self.imgsz)),
        ):
            msgspec.structs.force_setattr(self, name, value)

    @classmethod
    def of(cls, **given: Any) -> LoadOptions:
        """The record of what a caller gives: paths of any kind, any sequences, one number for a size."""
        return cls(**given)

    @property
    def files(self) -> tuple[str, ...]:
        """Those that are named."""
        named = (self.weights, self.labels, self.mean)
        return tuple(path for path in named if isinstance(path, str))


def _mean(mean: Any) -> str | tuple[float, ...] | None:
    if mean is None or isinstance(mean, (str, os.PathLike)):
        return path_text("mean", mean)
    try:
        if isinstance(mean, (bytes, bool)):
            raise TypeError
        # One number goes for each of the three channels of a frame.
        return (float(mean),) * 3 if hasattr(mean, "__float__") else tuple(float(value) for value in mean)
    except (TypeError, ValueError):
        raise InputError(f"mean: expected a number for each channel, or a file, got {mean!r}") from None


def size_wh(imgsz: Any) -> tuple[int, int]:
    """A size as width and height. imgsz: one number for both, or the two. Raises InputError."""
    try:
        sizes = tuple(map(operator.index, imgsz if isinstance(imgsz, Sequence) else (imgsz, imgsz)))
    except TypeError:
        sizes = ()
    if len(sizes) != 2 or min(sizes) < 1 or isinstance(imgsz, bool):
        raise InputError(f"imgsz: expected a size or (width, height) of at least 1, got {imgsz!r}")
    return sizes[0], sizes[1]


_WORDS = {
    "backend": 'several are one word, as "simd,opencv"',
    "device": 'as "cpu" or "cuda:0"',
    "precision": 'as "fp16"',
}


def _check_plain(options: LoadOptions) -> None:
    """Raise InputError for a word or a number of threads that is none."""
    for name in _WORDS:
        value = getattr(options, name)
        if value is not None and not isinstance(value, str):
            raise InputError(f"{name}: expected a word or None, got {value!r}; {_WORDS[name]}")
    for name in ("cache", "check", "warmup"):
        check_flag(name, getattr(options, name))
    if options.threads is None:
        return
    try:
        threads = 0 if isinstance(options.threads, bool) else operator.index(options.threads)
    except TypeError:
        threads = 0
    if not 1 <= threads <= MAX_THREADS:
        raise InputError(f"threads: expected a whole number from 1 to {MAX_THREADS}, got {options.threads!r}")
    msgspec.structs.force_setattr(options, "threads", threads)
