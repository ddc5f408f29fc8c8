"""edgecv models: list, show and pull."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from edgecv.cli import completion, options, output

if TYPE_CHECKING:
    from edgecv.options import LoadOptions


@click.group(name="models")
def command() -> None:
    """List, show and pull models."""


@command.command("list")
@options.json_option
def list_models(json_path: str | None) -> int:
    """List the models, and which of them are here.

    Of all that edgecv has cards for, tells whether their files are here.
    """
    from edgecv import zoo

    rows = [_row(entry) for entry in zoo.entries().values()]
    if json_path:
        output.write_json(json_path, rows)
        return 0

    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("model", "alias", "task", "input", "MB", "license", "here"):
        table.add_column(column, no_wrap=True, justify="right" if column == "MB" else "left")
    for row in rows:
        table.add_row(
            row["name"],
            ", ".join(row["aliases"]),
            row["task"],
            row["input"],
            f"{row['bytes'] / 1e6:.1f}",
            row["license"],
            "yes" if row["path"] else "no",
        )
    output.print_table(table)
    for row in rows:
        click.echo(f"{row['name']}: {row['path'] or row['problem']}")
    return 0


@command.command("show")
@options.model_argument
@options.load_options(only=("weights", "imgsz"))
@options.json_option
def show_model(model: str, options: LoadOptions, json_path: str | None) -> int:
    """Show what MODEL is, a card by its name or any file.

    Of a card, or a folder that holds one, all of it, labels at most 10. Of a file (ONNX, Caffe, Darknet, a
    plan) its inputs, outputs, opset, operators, size and metadata, and which head reads it, or why none does.
    """
    from edgecv import card as cards
    from edgecv import formats, zoo
    from edgecv.arguments import check_model

    check_model(model)
    path = Path(model)
    if (path / formats.CARD).is_file():
        path /= formats.CARD
    if (path.exists() or path.is_symlink()) and not _is_card(path):
        return _show_file(path, options, json_path)
    entry = zoo.ZooEntry(cards.read(path), path.parent) if path.is_file() else zoo.find(model)
    if json_path:
        output.write_json(json_path, msgspec.json.decode(cards.dumps(entry.card)))
        return 0
    labels = entry.card.labels
    shown = msgspec.json.decode(cards.dumps(entry.card))
    if len(labels) > 10:
        shown["labels"] = [*labels[:10], f"… {len(labels)} in all"]
    click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
    return 0


def _is_card(path: Path) -> bool:
    return path.is_file() and path.suffix == ".json"


def _show_file(path: Path, asked: LoadOptions, json_path: str | None) -> int:
    from edgecv import describe

    found = describe.describe(path, asked)
    if json_path:
        output.write_json(json_path, found.as_dict())
    if json_path != "-":
        click.echo("\n".join(describe.to_lines(found)))
    return 0


@command.command("pull")
@click.argument("models", nargs=-1, required=True, shell_complete=completion.cards)
@options.json_option
def pull_models(models: tuple[str, ...], json_path: str | None) -> int:
    """Bring the files of MODELS here, and check them.

    They are checked against their cards; those that are here already stay.
    """
    from edgecv import zoo

    entries = [zoo.find(name) for name in models]
    pulled = {}
    for entry in entries:
        with output.progress_bar(f"pulling {entry.card.name}") as bar:
            pulled[entry.card.name] = zoo.pull(entry, progress=bar.update)
    if json_path:
        output.write_json(json_path, {name: [str(p) for p in paths] for name, paths in pulled.items()})
        return 0
    for name, paths in pulled.items():
        click.echo(f"{name}: {', '.join(str(path) for path in paths)}")
    return 0


@command.command("draft")
@click.argument("model", metavar="FILE", shell_complete=completion.files)
@click.option("--head", "type", metavar="TYPE", help="The head that reads its outputs; see the list below.")
@click.option("--out", metavar="CARD", help="The card to write; by default <stem>.model.json beside FILE.")
@click.option("--force", is_flag=True, help="Replace a card that is there.")
@options.load_options(only=("imgsz",))
@options.json_option
def draft_model(
    model: str,
    type: str | None,
    out: str | None,
    force: bool,
    options: LoadOptions,
    json_path: str | None,
) -> int:
    """Write a card for FILE, a network without one, to be corrected.

    Its parameters are the likeliest for the names and shapes of the network's outputs; what was assumed is
    told. Without --head the head must be beyond doubt.

    \b
    boxes      decoded boxes and scores, for NMS: YOLOv5 to v12, YOLO-NAS, PP-YOLOE
    rows       final boxes, a row each: end-to-end YOLOs, TensorFlow's and torchvision's detectors
    grid       maps with anchors, one a stride: YOLOv2 to v7 before their last layer
    distances  maps without anchors: NanoDet, PicoDet, SCRFD, YuNet, YOLOX, FCOS
    anchors    offsets from anchors or priors: SSD, RetinaFace, RetinaNet, EfficientDet
    heatmap    peaks of a map: CenterNet, CenterFace
    queries    sets: DETR, RT-DETR
    vector     one row of numbers: YOLOv1
    classify   a score a class
    """
    from edgecv.drafts import draft

    drafted = draft(model, type, out=out, force=force, imgsz=options.imgsz)
    if json_path:
        output.write_json(json_path, drafted.as_dict())
    if json_path != "-":
        click.echo(f"{drafted.path}: head {drafted.head}; correct it, and it is read in place of any guess")
        for line in drafted.assumptions:
            click.echo(f"assumed: {line}")
    return 0


def _row(entry: Any) -> dict[str, Any]:
    from edgecv import zoo
    from edgecv.errors import EdgeCVError, ModelNotFoundError

    card = entry.card
    path, problem = None, None
    try:
        path = str(zoo.files_of(entry)[0])
    except ModelNotFoundError as error:
        problem = f"not here: edgecv models pull {card.name}" if card.files else str(error)
    except EdgeCVError as error:
        problem = str(error)
    return {
        "name": card.name,
        "aliases": list(card.aliases),
        "task": card.task,
        "head": card.head.type if card.head else "",
        "input": "x".join(str(n) for n in card.image_input.size_wh),
        "bytes": sum(file.bytes for file in card.files),
        "license": card.license,
        "path": path,
        "problem": problem,
    }
