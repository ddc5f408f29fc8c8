"""What the pages mention exists, and what exists is mentioned."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from edgecv import backends, errors, heads, options, pipelines, settings
from edgecv import card as cards
from edgecv.backends import onnxruntime, opencv
from edgecv.cli import VERBS, cli
from edgecv.heads.priors import PriorMap
from tests.docs.markdown import Page, parse, read
from tests.docs.places import BOOK, PAGES, ROOT, name_of

BY_NAME = {name_of(path): read(path) for path in PAGES}
TEXT = "\n".join(path.read_text("utf-8") for path in PAGES)
# The table under each of these headings of the chapter on cards lists the fields of one struct.
STRUCTS: dict[str, type[msgspec.Struct]] = {
    "The card": cards.Schema2,
    "Stages": cards.Stage,
    "Files": cards.FileEntry,
    "Inputs": cards.InputEntry,
    "Thresholds": cards.Thresholds,
    "Golden": cards.Golden,
    **{kind: head.Params for kind, head in heads.HEADS.items()},
    **{
        kind: brand.Params
        for kind, brand in heads.BRANDS.items()
        # Another name of a head has its fields.
        if hasattr(brand, "Params") and brand.Params not in [head.Params for head in heads.HEADS.values()]
    },
    "priors": PriorMap,
}
# Read by the build and by the tests, which have no settings.
OTHER_VARIABLES = {"EDGECV_DEBUG", "EDGECV_TARGET_MACHINE", "EDGECV_SHARED"}

each_page = pytest.mark.parametrize("page", BY_NAME.values(), ids=BY_NAME)


def problems_of_links(page: Page, known: dict[Path, list[str]]) -> Iterator[str]:
    """Links that lead nowhere. known: anchors of the pages that have been read."""
    for line, target in page.links():
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.path.parent / name).resolve() if name else page.path.resolve()
        if not path.exists():
            yield f"{page.path.name}:{line}: {target}: no such file"
        elif anchor and anchor not in known.get(path, []):
            yield f"{page.path.name}:{line}: {target}: no such heading"


def commands() -> dict[str, click.Command]:
    """Every verb, and the verbs of those that are groups, by what is typed."""
    found: dict[str, click.Command] = {}
    context = click.Context(cli)
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        found[verb] = command
        if isinstance(command, click.Group):
            found.update({f"{verb} {name}": each for name, each in command.commands.items()})
    return found


COMMANDS = commands()


def options_of(command: click.Command) -> set[str]:
    return {"-h", "--help", *(name for p in command.params for name in (*p.opts, *p.secondary_opts))}


def problem_of_command(code: str) -> str | None:
    """What is wrong with an `edgecv …` in the text, None where nothing is."""
    words = shlex.split(code.replace("…", "x"))[1:]
    own = options_of(cli)
    while words and words[0] in own:
        words.pop(0)
    if not words:
        return None
    verb = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    if verb not in COMMANDS:
        return f"there is no verb {verb!r}"
    known = options_of(COMMANDS[verb])
    unknown = [w for w in words if w.startswith("--") and w.partition("=")[0] not in known]
    return f"edgecv {verb} has no {', '.join(unknown)}" if unknown else None


def problem_of_name(code: str) -> str | None:
    """What is wrong with a dotted name of the package, None where nothing is."""
    parts = code.removesuffix("()").split(".")
    for count in range(len(parts), 0, -1):
        try:
            value: Any = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(value, part):
                return f"{'.'.join(parts[:count])} has no {part}"
            value = getattr(value, part)
        return None
    return "no such module"


def extras() -> set[str]:
    """The extras of pyproject.toml. (Python 3.10 cannot read TOML.)"""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    section = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    return set(re.findall(r"^([a-z-]+) *=", section, re.MULTILINE))


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


@each_page
def test_links_lead_somewhere(page: Page) -> None:
    known = {each.path.resolve(): each.anchors for each in BY_NAME.values()}
    assert list(problems_of_links(page, known)) == []


@each_page
def test_commands_exist(page: Page) -> None:
    mentioned = [(line, code) for line, code in page.code_spans() if re.match(r"edgecv (?!\.)", code)]
    problems = [f"{page.path.name}:{line}: {code}: {problem_of_command(code)}" for line, code in mentioned]
    assert [text for text in problems if not text.endswith(": None")] == []


@each_page
def test_options_exist(page: Page) -> None:
    known = set().union(*map(options_of, COMMANDS.values()))
    mentioned = [(line, code.split()[0]) for line, code in page.code_spans() if re.match(r"--[a-z]", code)]
    # An option of YOLOX's exporter.
    known.add("--decode_in_inference")
    assert [(line, option) for line, option in mentioned if option not in known] == []


@each_page
def test_python_names_exist(page: Page) -> None:
    names = [(line, code) for line, code in page.code_spans() if re.fullmatch(r"edgecv(\.\w+)+(\(\))?", code)]
    problems = [f"{page.path.name}:{line}: {code}: {problem_of_name(code)}" for line, code in names]
    assert [text for text in problems if not text.endswith(": None")] == []


@each_page
def test_files_exist(page: Page) -> None:
    folders = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != ".")
    pattern = rf"(?:{folders})/[\w./-]+"
    mentioned = [(line, code) for line, code in page.code_spans() if re.fullmatch(pattern, code)]
    made = ("demo/", "build/", "dist/")
    wrong = [(n, c) for n, c in mentioned if not c.startswith(made) and not (ROOT / c).exists()]
    assert wrong == []


@each_page
def test_make_targets_exist(page: Page) -> None:
    named = [code.split() for _, code in page.code_spans() if code.startswith("make ")]
    assert [words for words in named if words[1] not in make_targets()] == []


@each_page
def test_extras_exist(page: Page) -> None:
    lists = re.findall(r"(?:edgecv|\.)\[([a-z,-]+)\]", page.path.read_text("utf-8"))
    assert {name for one in lists for name in one.split(",")} <= extras()


def test_every_chapter_is_in_the_table_of_contents() -> None:
    contents = BY_NAME["docs/README.md"]
    listed = [target for _, target in contents.links() if "/" not in target]
    assert sorted(listed) == sorted(path.name for path in BOOK.glob("*.md") if path.name != "README.md")


EVERYTHING = {
    "verb": [f"edgecv {verb}" for verb in VERBS],
    "head": [f"`{kind}`" for kind in heads.HEADS],
    "backend": [f"`{name}`" for name in backends.BACKENDS],
    "device": [f"`{kind}`" for kind in (*onnxruntime.PROVIDERS, *opencv.DEVICES)],
    "setting": [setting.name for setting in settings.ALL],
    "extra": [f"| `{name}` |" for name in extras()],
    "task": [f"`{kind.TASK}`" for kind in pipelines.PIPELINES.values()],
}


@pytest.mark.parametrize("names", EVERYTHING.values(), ids=EVERYTHING)
def test_everything_is_mentioned(names: list[str]) -> None:
    assert [name for name in names if name not in TEXT] == []


def test_variables_exist() -> None:
    known = {setting.name for setting in settings.ALL} | OTHER_VARIABLES
    assert set(re.findall(r"\bEDGECV_[A-Z_]+", TEXT)) <= known


def test_exit_codes_are_mentioned() -> None:
    codes = {error.exit_code for error in vars(errors).values() if hasattr(error, "exit_code")}
    assert [code for code in codes if not re.search(rf"\b{code} [a-z]+ ", TEXT)] == []


def documented_fields() -> dict[str, dict[str, str]]:
    """Heading of docs/cards.md -> field -> what its default is said to be."""
    tables: dict[str, dict[str, str]] = {}
    for heading, rows in BY_NAME["docs/cards.md"].tables():
        if heading in STRUCTS:
            tables.setdefault(heading, {}).update({row[0].strip("`"): row[1].strip("`") for row in rows})
    return tables


def fields_of(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Field -> its default as JSON, or "required"."""

    def default(field: msgspec.structs.FieldInfo) -> str:
        if field.default_factory is not msgspec.NODEFAULT:
            value = field.default_factory()
        elif field.default is not msgspec.NODEFAULT:
            value = field.default
        else:
            return "required"
        return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()

    # What tells one schema from another stands in the JSON alone.
    tag = struct.__struct_config__.tag_field
    fields = {field.encode_name: default(field) for field in msgspec.structs.fields(struct)}
    return {**({} if tag is None else {tag: "required"}), **fields}


@pytest.mark.parametrize("heading", STRUCTS)
def test_fields_of_cards_are_documented(heading: str) -> None:
    assert documented_fields()[heading] == fields_of(STRUCTS[heading])


def documented_options() -> list[list[str]]:
    """The rows of the tables of options in the quick start, without the marks of code."""
    tables = [rows for heading, rows in BY_NAME["docs/quickstart.md"].tables() if heading == "Options"]
    return [[cell.strip("`") for cell in row] for rows in tables for row in rows]


def defaults_of(struct: type[msgspec.Struct]) -> dict[str, str]:
    return {field.name: repr(field.default) for field in msgspec.structs.fields(struct)}


def test_options_of_loading_are_documented() -> None:
    found = {row[0]: row[1] for row in documented_options() if len(row) == 4}
    assert found == defaults_of(options.LoadOptions)


def test_settings_of_tasks_are_documented() -> None:
    found = {(row[3], row[0]): row[1] for row in documented_options() if len(row) == 5}
    kinds = pipelines.PIPELINES.values()
    assert found == {(k.TASK, name): d for k in kinds for name, d in defaults_of(k.Settings).items()}


def test_verbs_have_the_options_that_are_documented() -> None:
    for name, _, option, *task, _ in documented_options():
        for verb in task or [kind.TASK for kind in pipelines.PIPELINES.values()]:
            parameters = [p for p in COMMANDS[verb].params if option in (*p.opts, *p.secondary_opts)]
            assert [p.name for p in parameters] == [name], f"{option} of edgecv {verb}"


def test_every_module_is_in_the_table_of_the_house() -> None:
    rows = next(rows for heading, rows in BY_NAME["CONTRIBUTING.md"].tables() if heading == "The house")
    cells = [row[0] for row in rows if "`edgecv/" in row[0]]
    named = {name.rstrip("/") for cell in cells for name in re.findall(r"`(.*?)`", cell)}
    package = ROOT / "edgecv"
    modules = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    assert {name.removeprefix("edgecv/") for name in named} == modules | packages


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        pytest.param("edgecv detect parts-nano 0 --json -", None, id="fine"),
        pytest.param("edgecv --verbose eval MODEL DATASET --conf 0.1", None, id="option of all verbs"),
        pytest.param("edgecv models pull NAME", None, id="verb of a group"),
        pytest.param("edgecv find x", "there is no verb 'find'", id="verb"),
        pytest.param("edgecv detect MODEL 0 --hue", "edgecv detect has no --hue", id="option"),
    ],
)
def test_wrong_commands_are_found(code: str, problem: str | None) -> None:
    assert problem_of_command(code) == problem


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        pytest.param("edgecv.load", None, id="fine"),
        pytest.param("edgecv.media.open_source()", None, id="of a module"),
        pytest.param("edgecv.types.Detections.to_supervision", None, id="of a class"),
        pytest.param("edgecv.open", "edgecv has no open", id="wrong"),
    ],
)
def test_wrong_names_are_found(code: str, problem: str | None) -> None:
    assert problem_of_name(code) == problem


def test_wrong_links_are_found() -> None:
    page = parse("# A b\n\n[x](#a-b) [y](#c)\n[z](missing.md) [w](https://example.org)\n", BOOK / "README.md")
    found = list(problems_of_links(page, {page.path.resolve(): page.anchors}))
    assert found == ["README.md:3: #c: no such heading", "README.md:4: missing.md: no such file"]
