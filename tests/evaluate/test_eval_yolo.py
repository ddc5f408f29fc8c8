"""Opening YOLO folders, and reading class names from the YAML that comes with them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import DatasetError, MissingExtraError
from edgecv.evaluate import open_dataset
from edgecv.evaluate.names import read_names


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


FLAT = {
    "images/b.jpg": "",
    "images/a.v1.PNG": "",
    "images/notes.md": "",
    "images/deep/c.bmp": "",
    "labels/b.txt": "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.2 0.1 0.2\n",
    "labels/deep/c.txt": "0 1 1 0.004 0\n",
    "classes.txt": "cat\nbig dog\n\n",
}


def test_columns(tmp_path: Path) -> None:
    dataset = open_dataset(tree(tmp_path, FLAT))
    assert dataset.format == "yolo"
    assert dataset.units == "fractions"
    names = [image.path.relative_to(tmp_path / "images").as_posix() for image in dataset.images]
    assert names == ["a.v1.PNG", "b.jpg", "deep/c.bmp"]
    assert [image.id for image in dataset.images] == [1, 2, 3]
    assert [(category.id, category.name) for category in dataset.categories] == [
        (0, "cat"),
        (1, "big dog"),
    ]
    objects = dataset.annotations
    assert objects.image_id.tolist() == [2, 2, 3]
    assert objects.category_id.tolist() == [1, 0, 0]
    expected = [[0.4, 0.3, 0.2, 0.4], [0.05, 0.1, 0.1, 0.2], [0.998, 1, 0.004, 0]]
    np.testing.assert_allclose(objects.xywh, expected, rtol=0, atol=1e-12)
    assert objects.area is None
    assert not objects.is_crowd.any()


YAML = "train: images/train\nnames: [cat, dog]\n"


@pytest.mark.parametrize(
    ("files", "opened"),
    [
        pytest.param({"images/a.jpg": "", "labels/a.txt": "", "data.yaml": YAML}, ".", id="flat"),
        pytest.param({"images/a.jpg": "", "labels/a.txt": "", "data.yaml": YAML}, "data.yaml", id="yaml"),
        pytest.param({"images/a.jpg": "", "labels/a.txt": "", "my.yml": YAML}, "my.yml", id="any yaml"),
        pytest.param(
            {"images/a.jpg": "", "labels/classes.txt": "cat\ndog"}, ".", id="classes beside the labels"
        ),
        pytest.param(
            {"images/val/a.jpg": "", "labels/val/a.txt": "", "data.yaml": YAML}, ".", id="one split"
        ),
        pytest.param(
            {
                "images/val/a.jpg": "",
                "labels/val/a.txt": "",
                "images/train/b.jpg": "",
                "labels/train/b.txt": "",
                "dataset.yaml": YAML,
            },
            "images/val",
            id="one of two splits",
        ),
        pytest.param(
            {"valid/images/a.jpg": "", "valid/labels/a.txt": "", "data.yaml": YAML},
            "valid",
            id="split first",
        ),
    ],
)
def test_layouts(tmp_path: Path, files: dict[str, str], opened: str) -> None:
    dataset = open_dataset(tree(tmp_path, files) / opened)
    assert [image.path.name for image in dataset.images] == ["a.jpg"]
    assert [category.name for category in dataset.categories] == ["cat", "dog"]


def test_a_split_opened_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, {"images/val/a.jpg": "", "labels/val/a.txt": "0 .5 .5 .1 .1", "data.yaml": YAML})
    monkeypatch.chdir(tmp_path / "images/val")
    assert len(open_dataset(".").annotations) == 1


SMALL = {"images/a.jpg": "", "classes.txt": "cat\ndog"}
HOSTILE = [
    pytest.param({"labels/a.txt": "0 .5 .5 .1"}, r"a.txt:1: .*got 4 values", id="too few"),
    pytest.param({"labels/a.txt": "0 .5 .5 .1 .1 .9"}, r"a.txt:1: .*got 6 values", id="too many"),
    pytest.param({"labels/a.txt": "\n2 .5 .5 .1 .1"}, r"a.txt:2: .*class from 0 to 1", id="class"),
    pytest.param({"labels/a.txt": "-1 .5 .5 .1 .1"}, r"a.txt:1: .*got '-1'", id="negative class"),
    pytest.param({"labels/a.txt": "cat .5 .5 .1 .1"}, r"a.txt:1: .*got 'cat'", id="class name"),
    pytest.param({"labels/a.txt": "9" * 9999 + " 0 0 0 0"}, r"a.txt:1: .*class", id="endless class"),
    pytest.param({"labels/a.txt": "² .5 .5 .1 .1"}, r"a.txt:1: .*class", id="a digit that is none"),
    pytest.param({"labels/a.txt": "0 .5 .5 x .1"}, r"a.txt:1: expected four numbers", id="text"),
    pytest.param({"labels/a.txt": "0 .5 .5 nan .1"}, r"a.txt:1: expected fractions", id="nan"),
    pytest.param({"labels/a.txt": "0 .5 .5 1e999 .1"}, r"a.txt:1: expected fractions", id="infinite"),
    pytest.param({"labels/a.txt": "0 320 240 10 10"}, r"a.txt:1: .*divide pixels", id="pixels"),
    pytest.param({"labels/a.txt": "0 .5 .5 -.001 .1"}, r"a.txt:1: expected fractions", id="negative width"),
    pytest.param({"labels/other.txt": ""}, "none of its text files is named as", id="labels of others"),
    pytest.param({"labels/a.txt": "", "images/a.png": ""}, "shares its text file", id="one label for two"),
    pytest.param({"labels/a.txt": "", "classes.txt": "a\n\nb"}, r"classes.txt:2: .*empty line", id="gap"),
    pytest.param({"labels/a.txt": "", "classes.txt": ""}, "at least one class name", id="no class"),
]


@pytest.mark.parametrize(("files", "text"), HOSTILE)
def test_hostile_folders_are_refused_in_one_line(tmp_path: Path, files: dict[str, str], text: str) -> None:
    with pytest.raises(DatasetError, match=text) as caught:
        open_dataset(tree(tmp_path, SMALL | files))
    assert "\n" not in str(caught.value)


def test_labels_that_are_no_text(tmp_path: Path) -> None:
    tree(tmp_path, SMALL | {"labels/a.txt": ""})
    (tmp_path / "labels/a.txt").write_bytes(b"\xff\xfe0 .5")
    with pytest.raises(DatasetError, match=r"a.txt: expected text"):
        open_dataset(tmp_path)


def test_labels_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecv.evaluate.yolo.MAX_LABEL_BYTES", 10)
    with pytest.raises(DatasetError, match=r"a.txt: expected a file of at most 10 bytes"):
        open_dataset(tree(tmp_path, SMALL | {"labels/a.txt": "0 .5 .5 .1 .1"}))


def test_several_splits_have_to_be_chosen_from(tmp_path: Path) -> None:
    files = {f"{kind}/{split}/a.x": "" for kind in ("images", "labels") for split in ("train", "val")}
    with pytest.raises(DatasetError, match=r"several splits; give one: .*images/train, .*images/val"):
        open_dataset(tree(tmp_path, files))


def test_no_names(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no class names; looked for classes.txt, data.yaml"):
        open_dataset(tree(tmp_path, {"images/a.jpg": "", "labels/a.txt": ""}))


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="at least one image"):
        open_dataset(tree(tmp_path, {"images/a.txt": "", "labels/a.txt": "", "classes.txt": "a"}))


GOOD_YAML = [
    pytest.param("names: [cat, big dog]", id="flow"),
    pytest.param("names: ['cat', \"big dog\",]  # two", id="flow, quoted, comment"),
    pytest.param("names: [\n  cat,   # first\n  big dog\n]\nnc: 2", id="flow over lines"),
    pytest.param("names: {0: cat, 1: big dog}", id="flow mapping"),
    pytest.param("names: {1: 'big dog', 0: \"cat\"}", id="flow mapping, other order"),
    pytest.param("nc: 2\nnames:\n- cat\n- big dog\nval: x", id="block"),
    pytest.param("names:   # classes\n\n  - cat\n  # between\n  - 'big dog'\n", id="block, indented"),
    pytest.param("names:\n  0: cat\n  1: big dog\n\ndownload: |\n  names: x", id="block mapping"),
    pytest.param("names:\n  1: big dog\n  0: cat  # first", id="block mapping, other order"),
    pytest.param("\ufeffnames: [cat, big dog]", id="byte order mark"),
]


@pytest.mark.parametrize("text", GOOD_YAML)
def test_names_in_yaml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    assert read_names(path) == ("cat", "big dog")


def test_quotes_in_names(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(
        "names:\n- 'men''s'\n- \"a \\\"b\\\"\"\n- rock'n'roll\n- C#\n- a, b\n- men's # it's\n- 'x # y' # z\n"
    )
    assert read_names(path) == ("men's", 'a "b"', "rock'n'roll", "C#", "a, b", "men's", "x # y")


BAD_YAML = [
    pytest.param("path: x\n", "expected a `names` key", id="no names"),
    pytest.param("x:\n  names: [a]\n", "expected a `names` key", id="not at the top"),
    pytest.param("names: [a]\nnames: [b]\n", "expected a `names` key, got 2", id="twice"),
    pytest.param("- names\n", "expected a `names` key", id="a list"),
    pytest.param("names: coco.names\n", "neither a list of texts nor a mapping", id="a file"),
    pytest.param("names: [a, [b]]\n", "neither a list", id="nested"),
    pytest.param("names: [a, b\nnc: 2\n", r"yaml:2: cannot be read as YAML: expected ','", id="not closed"),
    pytest.param("names: ['a, b]\n", "YAML: found unexpected end of stream", id="quote not closed"),
    pytest.param("names: [a\x07]\n", "YAML: unacceptable character", id="a control character"),
    pytest.param("names: [a]\n---\nnames: [a]\n", "YAML: but found another document", id="two documents"),
    pytest.param("names: [a, '']\n", "got an empty name", id="an empty name"),
    pytest.param("names: {a: 0, b: 1}\n", "neither a list", id="the wrong way round"),
    pytest.param("names: [0: a, 1: b]\n", "neither a list", id="a mapping in a list's brackets"),
    pytest.param("names:\n  - a\n  1: b\n", "yaml:3: cannot be read as YAML", id="mixed"),
    pytest.param("names:\n- &x a\n", "yaml:2: .*anchors and aliases are not read", id="anchor"),
    pytest.param("a: &x [b]\nnames: *x\n", "yaml:1: .*anchors and aliases are not read", id="alias"),
    pytest.param("names:\n- {a: b}\n", "neither a list", id="a mapping as a name"),
    pytest.param("names:\n  0: a\n  2: b\n", "the numbers 0 to 1, each once", id="a number left out"),
    pytest.param("names:\n  0: a\n  0: b\n", "the numbers 0 to 1, each once", id="a number twice"),
    pytest.param("names:\n  99999999999999999999: a\n", "neither a list", id="endless number"),
    pytest.param("names: []\n", "at least one class name", id="empty list"),
    pytest.param("names:\n", "at least one class name", id="nothing"),
]


@pytest.mark.parametrize(("text", "message"), BAD_YAML)
def test_other_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        read_names(path)
    assert "\n" not in str(caught.value)


def test_names_are_text_whatever_else_yaml_would_make_of_them(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text("names: [no, 1, 1.50, ~, 2026-01-01, !!python/name:os.system x]")
    assert read_names(path) == ("no", "1", "1.50", "~", "2026-01-01", "x")


def test_yaml_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    tree(tmp_path, {"images/a.jpg": "", "labels/a.txt": "", "data.yaml": YAML})
    with pytest.raises(MissingExtraError, match=r"PyYAML is not installed; .*'edgecv\[eval\]'$"):
        open_dataset(tmp_path)


def test_yaml_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecv.evaluate.names.MAX_YAML_BYTES", 10)
    path = tmp_path / "data.yaml"
    path.write_text(YAML)
    with pytest.raises(DatasetError, match=r"data.yaml: expected a file of at most 10 bytes"):
        read_names(path)


@pytest.mark.parametrize(
    "text",
    [
        "names: [" + "a " * 200_000,
        "names: [" + " " * 400_000 + "]",
        "names:\n- a" + " " * 400_000 + "\x00\n- [",
        "names: ['" + "'" * 400_001,
        "names: [" + "1:" * 200_000 + "]",
        "names: " + "[" * 400_000,
        "names: " + "- " * 200_000,
        "names: [" + "a," * 200_000 + "]",
    ],
    ids=["words", "spaces", "trailing spaces", "quotes", "numbers", "nested", "nested in lines", "values"],
)
def test_long_hostile_yaml_ends(tmp_path: Path, text: str) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    with pytest.raises(DatasetError):
        read_names(path)


@given(st.lists(st.text("abc '\"#,:-[]{}\\é", min_size=1, max_size=8).filter(str.strip), min_size=1))
def test_every_quoted_name_comes_back(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    quoted = [name.replace("'", "''") for name in names]
    path = tmp_path_factory.mktemp("names") / "data.yaml"
    for text in (
        "names: [" + ", ".join(f"'{name}'" for name in quoted) + "]",
        "names:\n" + "\n".join(f"  {i}: '{name}'" for i, name in enumerate(quoted)),
    ):
        path.write_text(text)
        assert read_names(path) == tuple(names)
