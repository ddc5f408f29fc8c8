"""The zoo: a name to a card, and a card to verified files on this machine.

A file counts only when its size and sha256 are those of the card. Nothing is downloaded unless
`pull` is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import msgspec

from edgecv import card as cards
from edgecv import extras
from edgecv.card import FileEntry, ModelCard
from edgecv.cardnames import card_paths, models_folder
from edgecv.errors import ChecksumError, ModelNotFoundError, OutputError, UnavailableError
from edgecv.formats import CARD
from edgecv.hashes import digest_of
from edgecv.settings import MODELS, cache_folder

# A search path that leads into a whole disk must not hang the caller.
MAX_SEARCHED_FILES = 200_000
DOWNLOAD_TIMEOUT_S = 30

Progress = Callable[[int, int], None]


class ZooEntry(msgspec.Struct, frozen=True):
    """A card and the folder that it lies in."""

    card: ModelCard
    folder: Path


@cache
def entries() -> dict[str, ZooEntry]:
    """Every card that comes with edgecv, by name, sorted."""
    found = {}
    for path in sorted(models_folder().glob(f"*/{CARD}")):
        card = cards.read(path)
        found[card.name] = ZooEntry(card, path.parent)
    return found


def card_path(name: str) -> Path | None:
    """Where the card of a name or alias lies, of those that come with edgecv. No card is read for it but for
    its names."""
    return card_paths().get(name)


def find(name: str) -> ZooEntry:
    """The entry of a name or alias. Raises ModelNotFoundError that lists what comes close."""
    path = card_path(name)
    if path is not None:
        return ZooEntry(cards.read(path), path.parent)
    from difflib import get_close_matches

    close = get_close_matches(name.lower(), card_paths(), n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(entries())}"
    raise ModelNotFoundError(f"{name!r}: no such file, and no model of that name; {hint}")


def locate(file: FileEntry, folder: Path) -> Path | None:
    """Where a file of a card lies, verified, or None.

    Looks in the card's folder, then in the folders of EDGECV_MODELS (any name that has its size and
    sha256), then in the cache. Raises ChecksumError for a file of that path in the card's own folder
    that is not the one that the card states.
    """
    path = place_of(file, folder)
    if path is not None:
        verify_file(path, file)
    return path


def place_of(file: FileEntry, folder: Path) -> Path | None:
    """As `locate`; what lies in the card's own folder or in the cache goes by its name, unverified.

    A link in the folder is followed wherever it leads: what is read has to be what the card states.
    """
    own = folder / file.path
    if own.is_file():
        return own
    for path in _candidates(file):
        if digest_of(path) == file.sha256:
            return path
    cached = _cached_path(file)
    return cached if cached is not None and cached.is_file() else None


def files_of(entry: ZooEntry) -> list[Path]:
    """The verified files of a card, in its order. Raises ModelNotFoundError with the remedy."""
    if not entry.card.files:
        raise ModelNotFoundError(f"{entry.card.name}: its card names no files: give its network with weights")
    return [path_of(entry, file) for file in entry.card.files]


def path_of(entry: ZooEntry, file: FileEntry) -> Path:
    """Where one of a card's files lies, verified. Raises ModelNotFoundError with the remedy."""
    path = locate(file, entry.folder)
    if path is not None:
        return path
    searched = os.pathsep.join(str(p) for p in MODELS.get()) or "not set"
    remedy = (
        f"run `edgecv models pull {entry.card.name}`, or let EDGECV_MODELS name a folder that has it"
        if file.url
        else "let EDGECV_MODELS name a folder that has it"
    )
    raise ModelNotFoundError(
        f"{entry.card.name}: its file {file.path} ({file.bytes} bytes) is not on this machine "
        f"(EDGECV_MODELS: {searched}): {remedy}"
    )


def pull(entry: ZooEntry, *, progress: Progress | None = None) -> list[Path]:
    """Bring the card's files to this machine; those that are here already stay where they are.

    progress: called with the bytes that have come of one file, and its size. A download is checked and
    only then gets its name. Raises UnavailableError when the network fails, ChecksumError when
    something else was served.
    """
    return [locate(file, entry.folder) or _download(file, progress) for file in entry.card.files]


def verify_file(path: Path, file: FileEntry) -> None:
    """Raise ChecksumError unless the file at `path` is the one that the card states."""
    size = path.stat().st_size
    if size != file.bytes:
        raise ChecksumError(
            f"{path}: expected {file.bytes} bytes, got {size}: a damaged or different file; get it again"
        )
    digest = digest_of(path)
    if digest != file.sha256:
        raise ChecksumError(
            f"{path}: expected sha256 {file.sha256}, got {digest}: a damaged or different file; get it again"
        )


def _candidates(file: FileEntry) -> Iterator[Path]:
    """Files of the right size under EDGECV_MODELS, those of the right name first."""
    matches: list[Path] = []
    searched = 0
    for folder in MODELS.get():
        for root, _, names in os.walk(folder):
            for name in names:
                searched += 1
                if searched > MAX_SEARCHED_FILES:
                    raise ModelNotFoundError(
                        f"EDGECV_MODELS holds over {MAX_SEARCHED_FILES} files: name the models' folder itself"
                    )
                path = Path(root, name)
                try:
                    if path.stat().st_size == file.bytes:
                        matches.append(path)
                except OSError:
                    continue
    wanted = Path(file.path).name
    yield from sorted(matches, key=lambda path: (path.name != wanted, str(path)))


def _cached_path(file: FileEntry) -> Path | None:
    place = cache_folder("files", file.sha256[:16], Path(file.path).name)
    return None if place is None else Path(place)


def _download(file: FileEntry, progress: Progress | None) -> Path:
    with extras.required("models"):
        import pooch
        import requests

    if file.url is None:
        raise ModelNotFoundError(f"{file.path}: the card names no url to get it from")
    target = _cached_path(file)
    if target is None:
        raise OutputError(f"{file.path}: no folder to keep it in, and no home: let EDGECV_CACHE name one")
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(
            file.url,
            known_hash=f"sha256:{file.sha256}",
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(
                timeout=DOWNLOAD_TIMEOUT_S,
                progressbar=_PoochProgress(progress, file.bytes) if progress else False,
            ),
        )
    except ValueError as error:
        raise ChecksumError(f"{file.url}: what was served is not the file of the card: {error}") from error
    except requests.ConnectionError as error:
        raise UnavailableError(f"{file.url}: cannot be downloaded: no connection to its server") from error
    except (requests.RequestException, TimeoutError) as error:
        raise UnavailableError(f"{file.url}: cannot be downloaded: {error}") from error
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


class _PoochProgress:
    """What pooch expects of a progress bar, telling a callback."""

    def __init__(self, progress: Progress, size: int) -> None:
        self._progress = progress
        self._done = 0
        self.total = size

    def update(self, count: int) -> None:
        self._done = min(self._done + count, self.total)
        self._progress(self._done, self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass
