"""The shape of every source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from edgecv.errors import InputError
from edgecv.media.items import Gap, Item, Kind


class Source(ABC):
    """Frames, one after the other: a context manager, and an iterator that can be run through once.

    Iterating gives a `Frame`, a `Failure` for a frame that could not be read, or, of a live source, a `Gap`
    for a time without frames. A source that gives no frame at all raises MediaError instead.

    limit: the most frames and failures.

    name: as it was asked for, without a password.
    kind: "image", "images", "video" or "stream".
    length: how many items will come, or None when nobody knows. For a video it is what the container
    states, which may be a little off.
    fps: frames a second, or None.
    is_live: frames arrive at their own pace, and those that nobody waited for are skipped.
    paths: the files that are read, so that no output overwrites them.
    """

    kind: Kind
    is_live = False

    def __init__(
        self,
        name: str,
        *,
        limit: int | None = None,
        length: int | None = None,
        fps: float | None = None,
        paths: tuple[Path, ...] = (),
    ) -> None:
        if limit is not None and (not hasattr(limit, "__index__") or limit < 1):
            raise InputError(f"limit: expected a number of frames of at least 1, got {limit!r}")
        self.name = name
        self.limit = limit
        self.length = length if limit is None or length is None else min(length, limit)
        self.fps = fps
        self.paths = paths
        self._stopped = False
        self._iterator: Iterator[Item] | None = None

    @abstractmethod
    def _items(self) -> Iterator[Item]:
        """The items, without regard to the limit."""

    def close(self) -> None:
        """Releases files and devices; iteration ends. May be called again."""
        self._stopped = True

    def stop(self) -> None:
        """Ends the iteration before its next item; a wait for a live frame or for stdin ends within 0.2 s.

        Only sets a flag: safe in a signal handler, and from another thread.
        """
        self._stopped = True

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        if self._iterator is None:
            self._iterator = self._limited()
        if self._stopped:
            raise StopIteration
        return next(self._iterator)

    def _limited(self) -> Iterator[Item]:
        left = self.limit
        for item in self._items():
            yield item
            if left is not None and not isinstance(item, Gap):
                left -= 1
                if not left:
                    return

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
