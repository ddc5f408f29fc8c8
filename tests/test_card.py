"""Cards: every field, and every way to get one wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv import card as cards
from edgecv import heads, zoo
from edgecv.errors import CardError

VALID: dict[str, Any] = {
    "schema": 2,
    "name": "parts",
    "aliases": ["parts-small"],
    "task": "detect",
    "format": "onnx",
    "files": [{"path": "parts.onnx", "url": "https://example.org/p", "sha256": "0" * 64, "bytes": 10}],
    "license": "MIT",
    "source": "somebody/parts",
    "inputs": [
        {
            "name": "images",
            "size_wh": [320, 240],
            "channels": 3,
            "color": "rgb",
            "resize": "stretch",
            "anchor": "top-left",
            "rounding": "floor",
            "pad_value": [1, 2, 3],
            "interpolation": "area",
            "mean": [1, 2, 3],
            "std": [4, 5, 6],
        }
    ],
    "head": {"type": "yolov8"},
    "labels": ["nut", "bolt"],
    "thresholds": {"conf": [0.3, 0.4], "iou": 0.5, "max_det": 20},
    "golden": {
        "file": {"path": "golden.npz", "sha256": "1" * 64, "bytes": 5},
        "blob_sha256": "2" * 64,
    },
}


ROI = {
    "files": [{"path": "roi.onnx", "sha256": "3" * 64, "bytes": 20}],
    "head": {"type": "faster_rcnn", "features": "conv5", "anchors": [[0, 0, 15, 15]]},
}
APART = ("files", "inputs", "head")
STAGED: dict[str, Any] = {
    **{field: value for field, value in VALID.items() if field not in APART},
    "stages": {"trunk": {"files": VALID["files"], "inputs": VALID["inputs"]}, "roi": ROI},
}


def changed(path: str, value: Any, whole: dict[str, Any] = VALID) -> str:
    """A card as JSON with one field set, named as in `inputs.0.color`."""
    card = json.loads(json.dumps(whole))
    *parents, last = path.split(".")
    place = card
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    place[int(last) if last.isdigit() else last] = value
    return json.dumps(card)


def test_every_field_is_read() -> None:
    card = cards.parse(json.dumps(VALID), origin="here")
    spec = card.image_input.blob_spec()
    assert (spec.size_wh, spec.color, spec.resize, spec.anchor) == (
        (320, 240),
        "rgb",
        "stretch",
        "top-left",
    )
    assert (spec.rounding, spec.interpolation) == ("floor", "area")
    assert (spec.mean, spec.std) == ((1, 2, 3), (4, 5, 6))
    assert spec.pad_values == (1, 2, 3)
    assert card.head is not None
    assert card.head.type == "boxes"
    assert card.thresholds.conf == (0.3, 0.4)
    assert card.golden is not None
    assert card.golden.file.path == "golden.npz"


def test_a_network_alone_is_one_stage() -> None:
    card = cards.parse(json.dumps(VALID), origin="here")
    assert (card.schema, list(card.stages)) == (2, [cards.NETWORK])
    stage = card.stages[cards.NETWORK]
    assert (stage.files, stage.inputs, stage.head) == (card.files, card.inputs, card.head)
    assert [file.path for file in card.files] == ["parts.onnx"]


def test_stages_have_files_inputs_and_heads_of_their_own() -> None:
    card = cards.parse(json.dumps(STAGED), origin="here")
    assert list(card.stages) == ["trunk", "roi"]
    assert [file.path for file in card.files] == ["parts.onnx", "roi.onnx"]
    assert card.inputs == card.stages["trunk"].inputs
    assert card.image_input is card.inputs[0]
    assert card.stages["trunk"].head is None
    assert card.head is card.stages["roi"].head
    assert card.head is not None
    assert card.head.type == "two_stages"


def test_the_head_is_that_of_the_last_stage_that_has_one() -> None:
    finder = {**STAGED["stages"]["trunk"], "head": VALID["head"]}
    stages = {"finder": finder, "reader": {"head": ROI["head"]}, "shrinker": {}}
    card = cards.parse(changed("stages", stages, STAGED), origin="here")
    assert card.head is card.stages["reader"].head


OF_SCHEMA_1: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "one network": ({**VALID, "schema": 1}, VALID),
    "without files": ({**VALID, "schema": 1, "files": []}, {**VALID, "files": []}),
    "without a head": (
        {**VALID, "schema": 1, "task": "features", "head": None},
        {**VALID, "task": "features", "head": None},
    ),
    "two networks": (
        {
            **{field: value for field, value in VALID.items() if field != "files"},
            "schema": 1,
            "stages": {"trunk": VALID["files"], "roi": ROI["files"]},
            "head": ROI["head"],
        },
        STAGED,
    ),
    "stages of one": (
        {**VALID, "schema": 1, "files": [], "stages": {"trunk": VALID["files"]}},
        {
            **{field: value for field, value in VALID.items() if field not in APART},
            "stages": {"trunk": {field: VALID[field] for field in APART}},
        },
    ),
}


@pytest.mark.parametrize(("old", "new"), OF_SCHEMA_1.values(), ids=OF_SCHEMA_1)
def test_schema_1_is_read_as_schema_2(old: dict[str, Any], new: dict[str, Any]) -> None:
    card = cards.parse(json.dumps(old), origin="here")
    assert card == cards.parse(json.dumps(new), origin="here")
    assert list(card.stages) == list(new.get("stages", {cards.NETWORK: None}))
    assert json.loads(cards.dumps(card))["schema"] == 2


def test_a_network_alone_is_written_without_the_word() -> None:
    written = json.loads(cards.dumps(cards.parse(json.dumps(VALID), origin="here")))
    assert "stages" not in written
    assert [field for field in written if field in APART] == list(APART)
    staged = json.loads(cards.dumps(cards.parse(json.dumps(STAGED), origin="here")))
    assert list(staged["stages"]) == ["trunk", "roi"]
    assert not staged.keys() & set(APART)


NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True).filter(lambda name: name != cards.NETWORK)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
TEXTS = st.text(max_size=20)
FILES = st.lists(
    st.builds(
        cards.FileEntry,
        path=st.from_regex(r"[a-z]{1,8}\.onnx", fullmatch=True),
        sha256=DIGESTS,
        bytes=st.integers(1, 1 << 50),
        url=st.none() | TEXTS,
    ),
    max_size=2,
).map(tuple)
INPUTS = st.builds(
    cards.InputEntry,
    name=TEXTS,
    size_wh=st.tuples(st.integers(1, 1 << 20), st.integers(1, 1 << 20)),
    color=st.sampled_from(["bgr", "rgb"]),
    pad_value=st.floats(0, 255) | st.tuples(*[st.floats(0, 255)] * 3),
    std=st.just(()) | st.tuples(*[st.floats(0.1, 1e6)] * 3),
)
HEADS = st.sampled_from([VALID["head"], ROI["head"]]).map(
    lambda head: (lambda module, params: cards.HeadSpec(module.TYPE, params))(*heads.params_from(head))
)


def stage_of(inputs: st.SearchStrategy[Any], head: st.SearchStrategy[Any]) -> st.SearchStrategy[cards.Stage]:
    return st.builds(cards.Stage, files=FILES, inputs=inputs, head=head)


@st.composite
def models(draw: st.DrawFn) -> cards.ModelCard:
    """Cards of one to sixteen stages; the first has inputs, the last a head."""
    inputs = st.lists(INPUTS, min_size=1, max_size=2).map(tuple)
    names = draw(st.lists(NAMES, unique=True, max_size=cards.MAX_STAGES)) or [cards.NETWORK]
    stages = {
        name: draw(
            stage_of(inputs if i == 0 else inputs | st.just(()), HEADS if i == len(names) - 1 else st.none())
        )
        for i, name in enumerate(names)
    }
    return cards.ModelCard(
        name="parts",
        task="detect",
        format=draw(st.sampled_from(["onnx", "caffe", "darknet"])),
        stages=stages,
        license=draw(TEXTS),
        labels=tuple(draw(st.lists(TEXTS, max_size=3))),
        thresholds=cards.Thresholds(conf=draw(st.floats(0, 1)), max_det=draw(st.integers(1, 9))),
    )


@given(models())
def test_round_trip(card: cards.ModelCard) -> None:
    again = cards.parse(cards.dumps(card), origin="again")
    assert again == card
    assert list(again.stages) == list(card.stages)


def staged() -> cards.ModelCard:
    return cards.parse(json.dumps(STAGED), origin="here")


def test_what_others_change() -> None:
    card = staged()
    entry = msgspec.structs.replace(card.image_input, size_wh=(64, 32))
    assert card.with_input(entry).stages == {
        "trunk": msgspec.structs.replace(card.stages["trunk"], inputs=(entry,)),
        "roi": card.stages["roi"],
    }
    assert card.head is not None
    head = cards.HeadSpec("two_stages", msgspec.structs.replace(card.head.params, post_nms=7))
    assert card.with_head(head).stages["roi"].head is head
    assert card.with_head(head).stages["trunk"] == card.stages["trunk"]
    (file,) = card.stages["trunk"].files
    changed = card.with_files({"roi": (file, file)})
    assert changed.files == (file, file, file)
    assert changed.head == card.head
    with pytest.raises(CardError, match="parts: no stage 'neck'; it has trunk, roi"):
        card.with_files({"neck": (file,)})


def test_a_head_for_a_card_without() -> None:
    features = cards.parse(
        changed("task", "features", {**STAGED, "stages": {"a": STAGED["stages"]["trunk"], "b": {}}}),
        origin="here",
    )
    head = staged().head
    assert features.head is None
    assert head is not None
    assert features.with_head(head).stages["b"].head is head


def test_a_card_for_the_networks_that_its_files_hold() -> None:
    alone = cards.parse(json.dumps(VALID), origin="here")
    assert alone.for_networks([cards.NETWORK]) is alone
    two = alone.for_networks(["trunk", "roi"])
    assert list(two.stages) == ["trunk", "roi"]
    assert (two.stages["trunk"].inputs, two.stages["roi"].head) == (alone.inputs, alone.head)
    assert (two.files, two.head) == (alone.files, alone.head)
    assert two.for_networks(["trunk", "roi"]) is two
    with pytest.raises(
        CardError, match="parts: its card states the stages trunk, roi, and its files hold a, b"
    ):
        two.for_networks(["a", "b"])


WRONG = {
    "unknown field": ("flavor", 1, "flavor"),
    "unknown field inside": ("inputs.0.flavor", 1, "flavor"),
    "schema of the future": (
        "schema",
        3,
        r"Invalid value 3 - at `\$.schema`: schemas 1 and 2 are read; a later",
    ),
    "schema as text": ("schema", "2", r"Expected `int` - at `\$.schema`: schemas 1 and 2 are read"),
    "field of a name in two lines": ("two\nlines", 1, "unknown field `two lines`"),
    "field of a long name": ("x" * 100_000, 1, "unknown field `xxx"),
    "wrong type": ("inputs.0.size_wh", "320x240", r"`\$.inputs\[0\].size_wh`"),
    "negative size": ("inputs.0.size_wh", [0, 240], "size_wh"),
    "unknown color": ("inputs.0.color", "cmyk", "color"),
    "color and channels": ("inputs.0.channels", 1, "channels"),
    "mean length": ("inputs.0.mean", [1, 2], "mean"),
    "zero std": ("inputs.0.std", [1, 0, 1], "std"),
    "pad length": ("inputs.0.pad_value", [1, 2], "pad_value"),
    "unknown head": ("head.type", "crystal-ball", "crystal-ball"),
    "unknown head field": ("head.flavor", 1, "flavor"),
    "no head": ("head", None, "head"),
    "head of another task": ("task", "classify", "boxes does not classify, which `task` says"),
    "head is a list": ("head", [1], "head"),
    "bad sha": ("files.0.sha256", "xyz", "sha256"),
    "absolute path": ("files.0.path", "/etc/passwd", "/etc/passwd"),
    "path upward": ("files.0.path", "../secret", "secret"),
    "label path upward": ("labels", "../../labels.txt", "labels.txt"),
    "conf over one": ("thresholds.conf", 1.5, "conf"),
    "conf count": ("thresholds.conf", [0.5], "conf"),
    "stages at once": ("stages", STAGED["stages"], "`files` and `stages` are both given"),
    "bad name": ("name", "A B", "name"),
    "no inputs": ("inputs", [], "`inputs` is empty"),
}
TRUNK = STAGED["stages"]["trunk"]
WRONG_STAGES: dict[str, tuple[str, Any, str]] = {
    "inputs at once": ("inputs", VALID["inputs"], "`inputs` and `stages` are both given"),
    "head at once": ("head", VALID["head"], "`head` and `stages` are both given"),
    "bad sha": ("stages.roi.files.0.sha256", "xyz", r"at `\$.stages.roi.files\[0\].sha256`"),
    "path upward": ("stages.roi.files.0.path", "../x", r"leaves .* at `\$.stages.roi.files\[0\]`"),
    "wrong type": ("stages.trunk.inputs.0.size_wh", 3, r"at `\$.stages.trunk.inputs\[0\].size_wh`"),
    "unknown field": ("stages.roi.flavor", 1, r"unknown field `flavor` - at `\$.stages.roi`"),
    "unknown head": ("stages.roi.head.type", "x", r"unknown head 'x'.* - at `\$.stages.roi.head`"),
    "files alone, as in schema 1": ("stages.roi", ROI["files"], r"got `array` - at `\$.stages.roi`"),
    "no object": ("stages.roi", None, r"got `null` - at `\$.stages.roi`"),
    "stages in a list": ("stages", [TRUNK], r"got `array` - at `\$.stages`"),
    "first without inputs": ("stages.trunk.inputs", [], r"`stages.trunk.inputs` is empty: the first stage"),
    "no head": ("stages.roi.head", None, "`head` is missing: a model to detect needs one"),
    "a network alone in company": (
        "stages",
        {"network": TRUNK, "roi": ROI},
        "`stages`: 'network' is the name of a network alone, and there are 2",
    ),
    "too many": (
        "stages",
        {f"s{i}": {**TRUNK, **ROI} for i in range(17)},
        "`stages`: expected 1 to 16, got 17",
    ),
}
SCHEMA_1 = {**VALID, "schema": 1}
WRONG_OF_SCHEMA_1: dict[str, tuple[str, Any, str]] = {
    "files and stages": ("stages", {"trunk": VALID["files"]}, "`files` and `stages` are both given"),
    "no inputs": ("inputs", [], r"at `\$.inputs`"),
    "wrong type": ("inputs.0.size_wh", "320x240", r"`\$.inputs\[0\].size_wh`"),
    "stages of schema 2": ("stages", {"trunk": TRUNK}, r"got `object` - at `\$.stages.trunk`"),
    "bad sha": (
        "stages",
        {"trunk": VALID["files"], "roi": [{**ROI["files"][0], "sha256": "x"}]},
        r"at `\$.stages.roi\[0\].sha256`",
    ),
    "stage without a name": ("stages", {"": []}, "`files` and `stages`"),
    "name of a stage": ("stages", {"a/b": [{"path": 1}]}, r"at `\$.stages.a/b\[0\].path`"),
}
ALL_WRONG = {
    **{name: (VALID, *case) for name, case in WRONG.items()},
    **{f"stages: {name}": (STAGED, *case) for name, case in WRONG_STAGES.items()},
    **{f"schema 1: {name}": (SCHEMA_1, *case) for name, case in WRONG_OF_SCHEMA_1.items()},
}


@pytest.mark.parametrize(("whole", "path", "value", "named"), ALL_WRONG.values(), ids=ALL_WRONG)
def test_wrong_card_names_the_field(whole: dict[str, Any], path: str, value: Any, named: str) -> None:
    with pytest.raises(CardError, match=named) as caught:
        cards.parse(changed(path, value, whole), origin="cards/parts/model.json")
    assert str(caught.value).startswith("cards/parts/model.json: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


HOSTILE_NAMES = ["", "A", "a b", "a/b", "..", "a.b", "a\n", "\0", "é", "x" * 33, "x" * 1_000_000, "../../etc"]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: repr(name[:40]))
def test_hostile_names_of_stages(name: str) -> None:
    """They become parts of names of files and of members of containers."""
    for stages in ({name: {**TRUNK, **ROI}}, {"trunk": TRUNK, name: ROI}):
        card = {**STAGED, "stages": stages}
        with pytest.raises(CardError, match=r"`stages`: name .*: expected 1 to 32 lower case") as caught:
            cards.parse(json.dumps(card), origin="here")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200
    broken = {**STAGED, "stages": {name: {**TRUNK, "head": 3}}}
    with pytest.raises(CardError, match="expected an object with a type") as caught:
        cards.parse(json.dumps(broken), origin="here")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_the_faulty_stage_of_a_card_that_is_cut_off() -> None:
    text = changed("stages.roi.files", 3, STAGED)
    cut = text[: text.index('"files": 3') + len('"files": 3,')]
    with pytest.raises(CardError, match=r"here: Expected `array`, got `int` - at `\$.stages.….files`"):
        cards.parse(cut, origin="here")


NOT_CARDS = ["", "[]", "{", "null", '"x"', "[" * 100_000, b"\xff\xfe", '{"schema": 1}', '{"schema": 2}']


@pytest.mark.parametrize("text", NOT_CARDS)
def test_not_a_card(text: str | bytes) -> None:
    with pytest.raises(CardError, match="here"):
        cards.parse(text, origin="here")


LEAVES = st.none() | st.integers() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_hostile_json_is_a_card_error(value: Any) -> None:
    with pytest.raises(CardError):
        cards.parse(json.dumps(value), origin="here")


def test_labels_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("nut\nbolt\n\n")
    (tmp_path / "model.json").write_text(changed("labels", "labels.txt"))
    assert cards.read(tmp_path / "model.json").labels == ("nut", "bolt")


def test_label_file_behind_a_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "card"
    folder.mkdir()
    (folder / "labels.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "model.json").write_text(changed("labels", "labels.txt"))
    with pytest.raises(CardError, match="leads out"):
        cards.read(folder / "model.json")


def test_missing_label_file(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(changed("labels", "labels.txt"))
    with pytest.raises(CardError, match="cannot be read"):
        cards.read(tmp_path / "model.json")


def test_oversized_card(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    with path.open("wb") as file:
        file.truncate(cards.MAX_CARD_BYTES + 1)
    with pytest.raises(CardError, match="at most 4 MB"):
        cards.read(path)


OWN_CARDS = sorted(zoo.models_folder().glob("*/model.json"))


@pytest.mark.parametrize("path", OWN_CARDS, ids=lambda path: path.parent.name)
def test_cards_of_the_project(path: Path) -> None:
    card = cards.read(path)
    assert card.name == path.parent.name
    assert card.files
    assert all(file.url or (path.parent / file.path).is_file() for file in card.files)
    assert card.license
    assert card.labels
    assert card.golden is not None, "make one with tools/make_golden.py"
