"""edgecv convert: a network of any format that is read, as ONNX with its card."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgecv.cli import completion, options, output

if TYPE_CHECKING:
    from rich.table import Table

    from edgecv.convert import Conversion
    from edgecv.options import LoadOptions


@click.command(name="convert")
@click.argument("model", metavar="NET", shell_complete=completion.files)
@click.option(
    "--to", required=True, metavar="FILE", help="The file to write; its name ends in .onnx. It is replaced."
)
@options.load_options(only=("weights", "labels", "mean"))
@options.json_option
def command(
    model: str,
    to: str,
    options: LoadOptions,
    json_path: str | None,
) -> int:
    """Write NET as ONNX, and beside it a card that says how to feed and read it.

    NET: net.prototxt of Caffe or net.cfg of Darknet, with net.caffemodel or net.weights beside it or
    given; the folder of a DIGITS job; an ONNX file; or a card.

    The card, net.model.json beside net.onnx, is a draft of what the files say. What was dropped stands
    under "remark", what they do not say under "assumed": correct the card where that is wrong.

    A network of several stages, such as a Faster R-CNN, becomes a file of each, net.trunk.onnx and
    net.roi.onnx, and is run by its card.
    """
    from edgecv.convert import convert

    converted = convert(model, to, options)
    if json_path:
        output.write_json(json_path, converted.as_dict())
    if json_path != "-":
        output.print_table(_table(converted))
        click.echo("\n".join(_lines(converted)))
    return 0


def _table(converted: Conversion) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("network", "layers", "parameters", "opset", "MB"):
        table.add_column(column, no_wrap=True, justify="left" if column == "network" else "right")
    for network in converted.networks:
        table.add_row(
            escape(network.stage),
            str(network.layers),
            f"{network.parameters:,}",
            str(network.opset),
            f"{network.bytes / 1e6:.2f}",
        )
    return table


def _lines(converted: Conversion) -> list[str]:
    card = converted.card
    lines = []
    for network in converted.networks:
        which = "" if len(converted.networks) == 1 else f" of {network.stage}"
        lines += [f"input{which}: {spec}" for spec in network.inputs]
        lines += [f"output{which}: {spec}" for spec in network.outputs]
    if card is not None:
        lines.append(f"head: {card.head.type if card.head else 'none'}, to {card.task}")
        lines.append(f"labels: {len(card.labels)}" if card.labels else "labels: none")
    lines += [f"remark: {line}" for line in converted.remarks]
    lines += [f"assumed: {line}" for line in converted.assumptions]
    written = [*(network.path for network in converted.networks), converted.card_path]
    return [*lines, f"wrote {', '.join(path for path in written if path)}"]
