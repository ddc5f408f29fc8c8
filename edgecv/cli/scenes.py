"""edgecv scenes: generated pictures with their truth."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import click

from edgecv.cli import INTERRUPTED, options, output
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.scenes import CocoReport, SceneSettings

# Field of the settings or of what a picture shows -> the option that sets it.
_OPTIONS = {
    "size_wh": "--size",
    "parts": "--parts",
    "part_px": "--part-px",
    "max_tilt_deg": "--tilt",
    "clutter": "--litter",
    "sensor": "--no-sensor",
    "defect_rate": "--defects",
    "step_mm": "--step",
    **{name: f"--{name}" for name in ("count", "seed", "light", "blur", "noise")},
}


def _parse_size(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, int] | None:
    return None if text is None else options.split_size("--size", text)


def _parse_range(_: click.Context, option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    numbers = options.split_counts(option.opts[0], text)
    if len(numbers) > 2:
        raise InputError(f"{option.opts[0]}: expected a number, or the least and the most, got {text!r}")
    return numbers[0], numbers[-1]


@click.command(name="scenes")
@click.option("--out", metavar="FOLDER", required=True, help="A new or empty folder, or earlier scenes.")
@click.option("--count", type=int, default=200, show_default=True, help="Pictures, at most 10,000.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Of the first picture; the next count on."
)
@click.option(
    "--size",
    "size_wh",
    metavar="WxH",
    callback=_parse_size,
    help="Pixels, each side 32 to 4096. Default: 320x320, of a belt 640x480.",
)
@click.option(
    "--parts",
    metavar="LEAST,MOST",
    callback=_parse_range,
    help="Nuts, bolts and washers in a picture, as far as they fit. Default: 0,12.",
)
@click.option(
    "--part-px",
    metavar="LEAST,MOST",
    callback=_parse_range,
    help="Their longest side, pixels. Default: 16,160.",
)
@click.option("--tilt", "max_tilt_deg", type=float, help="Of the camera, at most, degrees. Default: 35.")
@click.option("--litter", "clutter", type=float, help="Amount of foreign objects, 0 to 10. Default: 1.")
@click.option("--defects", "defect_rate", type=float, help="Share of the nuts with one, 0 to 1. Default: 0.")
@click.option(
    "--no-sensor",
    "sensor",
    flag_value=False,
    default=None,
    type=bool,
    help="Leave out the camera's own blur, noise, vignetting and compression.",
)
@click.option("--light", type=float, default=1.0, show_default=True, help="Factor on linear light, 0 to 16.")
@click.option("--blur", type=float, default=0.0, show_default=True, help="More blur: its sigma, pixels.")
@click.option(
    "--noise", type=float, default=0.0, show_default=True, help="More noise: its sigma, gray levels."
)
@click.option("--belt", is_flag=True, help="Consecutive frames of one moving belt.")
@click.option("--step", "step_mm", type=float, help="Travel of the belt between frames, mm. Default: 4.")
@options.json_option
def command(
    out: str,
    count: int,
    seed: int,
    light: float,
    blur: float,
    noise: float,
    belt: bool,
    json_path: str | None,
    **shown: Any,
) -> int:
    """Render pictures of nuts, bolts and washers, and write them with their truth.

    The folder becomes a COCO data set: pictures, and instances.json with boxes, masks and poses. edgecv eval
    opens it. The same options give the same pictures. Ctrl-C leaves a data set of the pictures that are
    finished.
    """
    from edgecv import scenes

    settings = _settings(belt, shown, count=count, seed=seed, light=light, blur=blur, noise=noise)
    target = scenes.CocoFolder(out)
    is_interrupted = False
    try:
        with target, output.progress_bar("rendering") as bar:
            for done, scene in enumerate(scenes.generate(settings), 1):
                target.write(scene)
                bar.update(done, count)
    except KeyboardInterrupt:
        is_interrupted = True
    report = target.report
    if json_path:
        output.write_json(json_path, {**report.as_dict(), "settings": asdict(settings)})
    if json_path != "-" and report.images:
        click.echo(_line(report))
    if is_interrupted:
        left = "the data set is complete with them" if report.images else "nothing was written"
        click.echo(f"edgecv: interrupted after {report.images} of {count} pictures; {left}", err=True)
    return INTERRUPTED if is_interrupted else 0


def _settings(belt: bool, shown: dict[str, Any], **others: Any) -> SceneSettings:
    """The record of what was typed; what is wrong with it is said of the option."""
    from edgecv.scenes import BeltSpec, SceneSettings, SceneSpec

    kind: Any = BeltSpec if belt else SceneSpec
    given = {name: value for name, value in shown.items() if value is not None}
    foreign = given.keys() - {field.name for field in fields(kind)}
    if foreign:
        why = "a belt has no such setting; leave it out" if belt else "only a belt moves; add --belt"
        raise InputError(f"{_OPTIONS[min(foreign)]}: {why}")
    try:
        return SceneSettings(spec=kind(**given), **others)
    except InputError as error:
        name, _, rest = str(error).partition(": ")
        raise InputError(f"{_OPTIONS[name]}: {rest}") from error


def _line(report: CocoReport) -> str:
    parts = ", ".join(f"{count} {name}s" for name, count in report.parts.items())
    return f"{report.images} pictures, {parts}; wrote {report.annotations}"
