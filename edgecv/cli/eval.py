"""edgecv eval: accuracy on an annotated dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgecv.cli import completion, options, output

if TYPE_CHECKING:
    from edgecv.options import LoadOptions


@click.command(name="eval")
@options.model_argument
@click.argument("dataset", shell_complete=completion.files)
@options.settings_options("conf", "iou", "max_det", defaults={"conf": 0.01, "iou": 0.6, "max_det": 100})
@click.option("--per-class", is_flag=True, help="Show a table of all classes too.")
@options.load_options()
@options.json_option
@options.html_option
def command(
    model: str,
    dataset: str,
    per_class: bool,
    settings: dict[str, Any],
    options: LoadOptions,
    json_path: str | None,
    html_path: str | None,
) -> int:
    """Measure the accuracy of MODEL on DATASET, as COCO counts it.

    DATASET: a COCO instances file or a folder that holds one, or a YOLO folder with images/ and
    labels/. Every class of a cell over --conf is a candidate; the card's thresholds do not count here.
    Masks and keypoints are measured too where MODEL finds them and a COCO file has them.
    """
    from edgecv import evaluate
    from edgecv.api import load_with

    output.check_outputs(json_path, html_path, inputs=(model, dataset))
    opened = evaluate.open_dataset(dataset)
    asked = {**evaluate.SETTINGS, **settings}
    with (
        load_with(model, options, task="detect", settings=asked) as detector,
        output.progress_bar("evaluating") as bar,
    ):
        report = evaluate.evaluate(detector, opened, progress=bar.update)
    if json_path:
        output.write_json(json_path, {"model": model, **report.as_dict()})
    if html_path:
        from edgecv.evaluate.page import to_page

        output.write_page(html_path, to_page(report, model=model, command=output.command_line()))
    if json_path != "-":
        output.print_table(evaluate.to_table(report))
        for table in evaluate.to_other_tables(report):
            output.print_table(table)
        if per_class:
            output.print_table(evaluate.to_class_table(report))
        click.echo(str(detector.placement), err=True)
    for failure in report.failures:
        click.echo(f"edgecv: {failure.error}", err=True)
    return report.exit_code
