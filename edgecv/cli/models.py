"""edgecv models: list, show and pull."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from edgecv.cli import options, output


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
@options.json_option
def show_model(model: str, json_path: str | None) -> int:
    """Show a model's card, whole; labels at most 10."""
    from edgecv import card as cards
    from edgecv import zoo

    entry = zoo.find(model)
    if json_path:
        output.write_json(json_path, msgspec.json.decode(cards.dumps(entry.card)))
        return 0
    labels = entry.card.labels
    shown = msgspec.json.decode(cards.dumps(entry.card))
    if len(labels) > 10:
        shown["labels"] = [*labels[:10], f"… {len(labels)} in all"]
    click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
    return 0


@command.command("pull")
@click.argument("models", nargs=-1, required=True)
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
