"""Every verb that loads a model takes every option of loading, and passes it on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from edgecv import api, bench, verify
from edgecv import errors as edgecv_errors
from edgecv.cli import options
from edgecv.demo import cell
from edgecv.options import LoadOptions
from edgecv.pipelines import PIPELINES
from tests.cli.conftest import Result

Run = Callable[..., Result]

FIELDS = LoadOptions.__struct_fields__
# What is typed after the model, and the verb.
VERBS = {
    "detect": ["source.png"],
    "classify": ["source.png"],
    "eval": ["dataset"],
    "bench": [],
    "verify": [],
}
TYPED: dict[str, tuple[list[str], Any]] = {
    "backend": (["--backend", "simd"], "simd"),
    "device": (["--device", "cpu"], "cpu"),
    "threads": (["--threads", "1"], 1),
    "precision": (["--precision", "fp32"], "fp32"),
    "weights": (["--weights", "other.onnx"], "other.onnx"),
    "labels": (["--labels", "names.txt"], "names.txt"),
    "mean": (["--mean", "1,2,3"], (1.0, 2.0, 3.0)),
    "imgsz": (["--imgsz", "96x32"], (96, 32)),
    "cache": (["--no-cache"], False),
    "check": (["--no-check"], False),
    "warmup": (["--no-warmup"], False),
}
# Of `bench` these are lists, and a number of frames; its workers never warm up in `load`.
OF_BENCH = {"backend": ("backends", ("simd",)), "threads": ("threads", (1,)), "warmup": ("warmup", 7)}
# What would change nothing: `verify` compiles anew, and does not warm up.
ABSENT = {("verify", "cache"), ("verify", "check"), ("verify", "warmup")}


class Seen(Exception):
    """Ends a verb where it would load a model."""

    def __init__(self, what: Any) -> None:
        super().__init__("seen")
        self.what = what


def parameters(verb: str) -> Iterator[click.Parameter]:
    command = import_module(f"edgecv.cli.{verb}").command
    yield from command.params


@pytest.mark.parametrize("verb", VERBS)
def test_every_field_is_an_option(verb: str) -> None:
    names = {parameter.name for parameter in parameters(verb)}
    absent = {field for field in FIELDS if (verb, field) in ABSENT}
    assert set(FIELDS) - names == absent
    assert set(TYPED) == set(FIELDS), "a field without a row in this table"


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("verb", VERBS)
def test_an_option_arrives(
    edgecv: Run, verb: str, field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any, **options: Any) -> Any:
        raise Seen(
            next(
                arg for arg in (*args, *options.values()) if isinstance(arg, (LoadOptions, bench.BenchConfig))
            )
        )

    monkeypatch.chdir(tmp_path)
    (tmp_path / "source.png").write_bytes(b"")
    (tmp_path / "dataset").mkdir()
    monkeypatch.setattr(api, "load_with", stop)
    monkeypatch.setattr(verify, "verify", stop)
    monkeypatch.setattr(bench, "measure", stop)
    monkeypatch.setattr(bench, "prepared", lambda config: config)
    monkeypatch.setattr("edgecv.evaluate.open_dataset", lambda _: None)
    typed, value = TYPED[field]
    if (verb, field) in ABSENT:
        assert edgecv(verb, "model", *VERBS[verb], *typed).code == 2
        return
    if verb == "bench" and field in OF_BENCH:
        name, value = OF_BENCH[field]
        typed = ["--warmup", "7"] if field == "warmup" else typed
        with pytest.raises(Seen) as seen:
            edgecv(verb, "model", *VERBS[verb], *typed)
        assert getattr(seen.value.what, name) == value
        return
    with pytest.raises(Seen) as seen:
        edgecv(verb, "model", *VERBS[verb], *typed)
    found = seen.value.what
    asked = found.options if isinstance(found, bench.BenchConfig) else found
    assert getattr(asked, field) == value
    plain = msgspec.structs.asdict(LoadOptions())
    own = {"threads": 1} if verb == "verify" else {}
    others = {name: each for name, each in msgspec.structs.asdict(asked).items() if name != field}
    assert others == {name: each for name, each in {**plain, **own}.items() if name != field}


def test_every_setting_of_a_task_is_an_option_of_its_verb_and_of_bench() -> None:
    of_bench = {parameter.name for parameter in parameters("bench")}
    for kind in PIPELINES.values():
        names = set(kind.Settings.__struct_fields__)
        assert names <= of_bench
        assert names <= {parameter.name for parameter in parameters(kind.TASK)}


def test_the_demo_loads_its_own_model_with_what_can_be_chosen() -> None:
    names = {parameter.name for parameter in parameters("demo")}
    assert {"backend", "device", "threads", "precision", "cache"} <= names
    assert isinstance(cell.DemoConfig(out=Path("x")).options, LoadOptions)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"imgsz": 64}, {"imgsz": (64, 64)}),
        ({"imgsz": [96, 32]}, {"imgsz": (96, 32)}),
        (
            {"weights": Path("a"), "labels": Path("b"), "mean": Path("c")},
            {"weights": "a", "labels": "b", "mean": "c"},
        ),
        ({"mean": [1, 2, 3]}, {"mean": (1.0, 2.0, 3.0)}),
        ({"mean": 3}, {"mean": (3.0, 3.0, 3.0)}),
    ],
)
def test_the_record_is_plain(given: dict[str, Any], expected: dict[str, Any]) -> None:
    options = LoadOptions.of(**given)
    assert {name: getattr(options, name) for name in expected} == expected
    assert msgspec.json.decode(msgspec.json.encode(options), type=LoadOptions) == options


@pytest.mark.parametrize(
    "given", [{"imgsz": 0}, {"imgsz": (1, 2, 3)}, {"imgsz": (1.5, 2)}, {"mean": b"x"}, {"mean": ["a"]}]
)
def test_nonsense_is_one_line(given: dict[str, Any]) -> None:
    with pytest.raises(edgecv_errors.InputError, match=next(iter(given))):
        LoadOptions.of(**given)


def test_zero_is_a_value_of_a_setting() -> None:
    given = {"conf": 0.0, "max_det": 0, "multi_label": False, "classes": None}
    assert options._given(given) == {"conf": 0.0, "max_det": 0}
