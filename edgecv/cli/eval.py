"""edgecv eval: accuracy on an annotated dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgecv.cli import options, output

if TYPE_CHECKING:
    from pathlib import Path


@click.command(name="eval")
@options.model_argument
@click.argument("dataset")
@click.option("--conf", type=float, help="Least confidence of a candidate. Default: 0.01.")
@click.option("--iou", type=float, help="Overlap beyond which boxes are duplicates. Default: 0.6.")
@click.option("--max-det", type=int, help="Most detections an image. Default: 100.")
@click.option("--per-class", is_flag=True, help="Show a table of all classes too.")
@options.backend_option
@options.threads_option
@options.placement_options
@options.import_options
@options.json_option
@options.html_option
def command(
    model: str,
    dataset: str,
    conf: float | None,
    iou: float | None,
    max_det: int | None,
    per_class: bool,
    backend: str | None,
    threads: int | None,
    device: str,
    precision: str,
    weights: str | None,
    imgsz: tuple[int, int] | None,
    labels: str | None,
    mean: Path | tuple[float, ...] | None,
    json_path: str | None,
    html_path: str | None,
) -> int:
    """Measure the accuracy of MODEL on DATASET, as COCO counts it.

    DATASET: a COCO instances file or a folder that holds one, or a YOLO folder with images/ and
    labels/. Every class of a cell over --conf is a candidate; the card's thresholds do not count here.
    """
    from edgecv import evaluate
    from edgecv.api import load

    output.check_html(html_path, inputs=(model, dataset))
    given = {"conf": conf, "iou": iou, "max_det": max_det}
    opened = evaluate.open_dataset(dataset)
    with (
        load(
            model,
            task="detect",
            backend=backend,
            device=device,
            threads=threads,
            precision=precision,
            weights=weights,
            labels=labels,
            mean=mean,
            imgsz=imgsz,
            **{
                **evaluate.LOAD_OPTIONS,
                **{name: value for name, value in given.items() if value is not None},
            },
        ) as detector,
        output.progress_bar("evaluating") as bar,
    ):
        report = evaluate.evaluate(detector, opened, progress=bar.update)
    if json_path:
        output.write_json(json_path, {"model": model, **report.as_dict()})
    if html_path:
        from edgecv.evaluate.page import to_page
        from edgecv.report import write_html

        write_html(html_path, to_page(report, model=model, command=output.command_line()))
    if json_path != "-":
        output.print_table(evaluate.to_table(report))
        if per_class:
            output.print_table(evaluate.to_class_table(report))
    for failure in report.failures:
        click.echo(f"edgecv: {failure.error}", err=True)
    return report.exit_code
