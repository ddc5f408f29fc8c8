"""Which kind of dataset a path is, from what lies there."""

from __future__ import annotations

from pathlib import Path

from edgecv.errors import DatasetError
from edgecv.evaluate.coco import open_coco
from edgecv.evaluate.dataset import Dataset
from edgecv.evaluate.yolo import open_yolo
from edgecv.media import IMAGE_SUFFIXES

EXPECTED = (
    "a COCO instances file, a folder with instances.json or annotations/*.json and images, "
    "or a YOLO folder with images/ and labels/"
)


def open_dataset(path: str | Path) -> Dataset:
    """Open a dataset; the images are not read yet.

    path: one of
    - a COCO instances file: images are looked for in the folder of the file, or the one above when
      that is named annotations: in images/, images/SPLIT/, SPLIT/, and directly, where the file is
      instances_SPLIT.json;
    - a folder with instances.json, or with one file in annotations/;
    - a YOLO folder with images/ and labels/; or one of several splits, root/images/SPLIT; or its
      data.yaml.

    Raises DatasetError, which names the file and the entry.
    """
    path = Path(path)
    try:
        is_file, is_dir = path.is_file(), path.is_dir()
    except (OSError, ValueError) as error:
        raise DatasetError(f"{str(path)!r}: not a usable file name: {error}") from error
    if is_file and path.suffix.lower() == ".json":
        return open_coco(path, _root_of(path))
    if is_file and path.suffix.lower() in (".yaml", ".yml"):
        return _open_folder(path.parent, path)
    if is_dir:
        return _open_folder(path, None)
    wrong = "not a dataset" if is_file else "no such file or folder"
    raise DatasetError(f"{path}: {wrong}; expected {EXPECTED}")


def _root_of(json_path: Path) -> Path:
    folder = json_path.parent
    return folder.parent if folder.absolute().name == "annotations" else folder


def _open_folder(root: Path, names: Path | None) -> Dataset:
    if names is None and (root / "instances.json").is_file():
        return open_coco(root / "instances.json", root)
    files = sorted((root / "annotations").glob("*.json"))
    if names is None and files:
        if len(files) > 1:
            raise DatasetError(
                f"{root}: annotations/ holds {', '.join(path.name for path in files)}; "
                "give the one that counts instead of the folder"
            )
        return open_coco(files[0], root)
    folders = _yolo_folders(root)
    if folders is None:
        raise DatasetError(f"{root}: not a dataset; expected {EXPECTED}")
    return open_yolo(names or root, *folders, names)


def _yolo_folders(root: Path) -> tuple[Path, Path] | None:
    """(images, labels) of a root, or of one split root/images/SPLIT."""
    images, labels = root / "images", root / "labels"
    if images.is_dir() and labels.is_dir():
        splits = [path.name for path in sorted(images.iterdir()) if (labels / path.name).is_dir()]
        direct = any(path.suffix.lower() in IMAGE_SUFFIXES for path in images.iterdir())
        if len(splits) > 1 and not direct:
            raise DatasetError(
                f"{root}: it has several splits; give one: {', '.join(str(images / s) for s in splits)}"
            )
        return images, labels
    absolute = root.absolute()
    if absolute.parent.name == "images":
        labels = absolute.parent.parent / "labels" / absolute.name
        if labels.is_dir():
            return root, labels
    return None
