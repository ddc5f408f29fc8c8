"""An evaluation's report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgecv.evaluate.report import EvalReport, KeypointFigures, MaskFigures

if TYPE_CHECKING:
    from rich.table import Table

FIGURES = (
    ("AP", "AP", "IoU 0.50:0.95"),
    ("AP50", "AP50", "IoU 0.50"),
    ("AP75", "AP75", "IoU 0.75"),
    ("APs", "AP small", "area < 32²"),
    ("APm", "AP medium", "area 32² to 96²"),
    ("APl", "AP large", "area > 96²"),
    ("AR1", "AR 1", "1 detection a class"),
    ("AR10", "AR 10", "10 detections a class"),
    ("AR100", "AR 100", "100 detections a class"),
    ("ARs", "AR small", "area < 32²"),
    ("ARm", "AR medium", "area 32² to 96²"),
    ("ARl", "AR large", "area > 96²"),
)

KEYPOINT_FIGURES = (
    ("AP", "AP", "OKS 0.50:0.95"),
    ("AP50", "AP50", "OKS 0.50"),
    ("AP75", "AP75", "OKS 0.75"),
    ("APm", "AP medium", "area 32² to 96²"),
    ("APl", "AP large", "area > 96²"),
    ("AR", "AR", "20 detections a class"),
    ("AR50", "AR50", "OKS 0.50"),
    ("AR75", "AR75", "OKS 0.75"),
    ("ARm", "AR medium", "area 32² to 96²"),
    ("ARl", "AR large", "area > 96²"),
)


def other_figures(
    report: EvalReport,
) -> Iterator[tuple[str, MaskFigures | KeypointFigures, tuple[tuple[str, str, str], ...]]]:
    """What was scored beside boxes: what it is and of how many, its figures, and which these are."""
    if report.masks is not None:
        yield f"masks of {_objects(report.masks.objects)}", report.masks, FIGURES
    if report.keypoints is not None:
        found = report.keypoints
        sigmas = "COCO's sigmas" if len(set(found.sigmas)) > 1 else f"sigma {found.sigmas[0]:.3g} for each"
        title = f"{found.points} keypoints of {_objects(found.objects)}, {sigmas}"
        yield title, found, KEYPOINT_FIGURES


def to_other_tables(report: EvalReport) -> Iterator[Table]:
    """A table for masks and one for keypoints, where they were scored."""
    from rich.table import Table

    for title, found, figures in other_figures(report):
        table = Table(title=title)
        table.add_column("figure")
        table.add_column("value", justify="right")
        table.add_column("over")
        for name, label, meaning in figures:
            table.add_row(label, _figure(getattr(found, name)), meaning)
        yield table


def to_table(report: EvalReport) -> Table:
    """The twelve figures of boxes."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{escape(report.dataset)}: {report.images} images, {report.objects} objects",
        caption=escape(_caption(report)),
        caption_justify="left",
    )
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("over")
    for name, label, meaning in FIGURES:
        table.add_row(label, _figure(getattr(report, name)), meaning, end_section=name in ("APl", "ARl"))
    return table


def to_class_table(report: EvalReport) -> Table:
    """A line for each category, the best first; those without objects last."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="by class")
    table.add_column("class")
    for name in ("objects", "AP", "AP50", "AR 100"):
        table.add_column(name, justify="right")
    for entry in sorted(report.per_class, key=lambda entry: -1 if entry.AP is None else entry.AP)[::-1]:
        figures = (_figure(value) for value in (entry.AP, entry.AP50, entry.AR100))
        table.add_row(escape(entry.name), str(entry.objects), *figures)
    return table


def _objects(count: int) -> str:
    return f"{count} object{'' if count == 1 else 's'}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _caption(report: EvalReport) -> str:
    lines = [f"{report.seconds:.1f} s, {report.scorer}, classes paired by {report.class_mapping}"]
    if report.ignored_classes:
        lines.append(f"{len(report.ignored_classes)} classes of the model are not in the dataset")
    lines += [f"not scored: {reason}" for reason in report.not_scored]
    if report.failures:
        lines.append(f"{len(report.failures)} images could not be evaluated")
    return "\n".join(lines)
