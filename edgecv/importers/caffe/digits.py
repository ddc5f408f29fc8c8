"""The folder of a job of NVIDIA DIGITS: a network, its last snapshot, its mean image and its labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgecv.errors import ModelFileError, ModelNotFoundError
from edgecv.formats import DIGITS_INFO, DIGITS_MEAN, DIGITS_SNAPSHOT, DIGITS_STRUCTURE, LABELS

MAX_INFO_BYTES = 1 << 20

# DIGITS's names of what it does with a picture of another shape; "fill" pads with noise, a card with black.
_RESIZES: dict[str, Literal["letterbox", "stretch", "crop"]] = {
    "squash": "stretch",
    "crop": "crop",
    "half_crop": "crop",
    "fill": "letterbox",
}


@dataclass(frozen=True)
class Job:
    """The files of a job, None for those that are not there. resize: as in a card."""

    structure: Path
    weights: Path
    mean: Path | None
    labels: Path | None
    name: str
    resize: Literal["letterbox", "stretch", "crop"]
    assumptions: tuple[str, ...]


def find_job(folder: Path) -> Job:
    """Raises ModelNotFoundError where the network or a snapshot is missing."""
    structure = folder / DIGITS_STRUCTURE
    if not structure.is_file():
        raise ModelNotFoundError(f"{folder}: no {DIGITS_STRUCTURE}: expected the folder of a DIGITS job")
    info = _info(folder / DIGITS_INFO)
    found = ((DIGITS_SNAPSHOT.fullmatch(path.name), path) for path in folder.iterdir())
    snapshots = {int(match[1]): path for match, path in found if match}
    if not snapshots:
        raise ModelNotFoundError(f"{folder}: no snapshot_iter_<number>.caffemodel beside {DIGITS_STRUCTURE}")
    last = max(snapshots)
    assumptions = []
    if len(snapshots) > 1:
        assumptions.append(f"weights: the last of {len(snapshots)} snapshots, {snapshots[last].name}")
    mean, labels = (path if path.is_file() else None for path in (folder / DIGITS_MEAN, folder / LABELS))
    mode = info.get("image resize mode", "squash")
    if mode not in _RESIZES:
        assumptions.append(f"resize: {DIGITS_INFO} says {mode!r}, which no card can; stretched")
    elif mode in ("fill", "half_crop"):
        assumptions.append(f"resize: {DIGITS_INFO} says {mode!r}; {_RESIZES[mode]} is nearest to it")
    name = info.get("name")
    return Job(
        structure,
        snapshots[last],
        mean,
        labels,
        name if isinstance(name, str) and name else folder.resolve().name,
        _RESIZES.get(mode, "stretch") if isinstance(mode, str) else "stretch",
        tuple(assumptions),
    )


def _info(path: Path) -> dict[str, Any]:
    """What DIGITS says of the job, where it was downloaded with it."""
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > MAX_INFO_BYTES:
            raise ModelFileError(f"{path}: over {MAX_INFO_BYTES >> 20} MB: not of a DIGITS job")
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelFileError(f"{path}: not the JSON of a DIGITS job: {error}") from error
