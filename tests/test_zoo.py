"""Names to cards, and cards to verified files."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecv import card as cards
from edgecv import zoo
from edgecv.errors import ChecksumError, ModelNotFoundError, OutputError, UnavailableError

CONTENT = b"these are weights"
CARD = {
    "schema": 2,
    "name": "parts",
    "task": "detect",
    "format": "onnx",
    "files": [{"path": "parts.onnx", "sha256": hashlib.sha256(CONTENT).hexdigest(), "bytes": len(CONTENT)}],
    "inputs": [{"name": "images", "size_wh": [64, 64]}],
    "head": {"type": "yolov8"},
}


def entry(folder: Path, url: str | None = None) -> zoo.ZooEntry:
    card = json.loads(json.dumps(CARD))
    if url:
        card["files"][0]["url"] = url
    return zoo.ZooEntry(cards.parse(json.dumps(card), origin="test"), folder)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A file server on this machine's loopback: (its url, its folder)."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}", folder
        serving.shutdown()
        thread.join()


def test_names_and_aliases() -> None:
    assert zoo.find("yolox-nano").card.name == "yolox-nano-416"
    assert zoo.find("ultraface-rfb-640").card.image_input.size_wh == (640, 480)
    names = [n for e in zoo.entries().values() for n in (e.card.name, *e.card.aliases)]
    assert len(names) == len(set(names))


def test_every_name_leads_to_the_card_that_bears_it() -> None:
    for found in zoo.entries().values():
        for name in (found.card.name, *found.card.aliases):
            assert zoo.card_path(name) == found.folder / "model.json"
            assert zoo.find(name) == found
    assert zoo.card_path("nothing-like-it") is None


def test_without_a_home_there_is_no_folder_for_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", fail)
    one = entry(tmp_path, "http://127.0.0.1:9/parts.onnx")
    assert zoo.locate(one.card.files[0], tmp_path) is None
    with pytest.raises(OutputError, match=r"parts\.onnx: no folder to keep it in, .* EDGECV_CACHE"):
        zoo.pull(one)


def test_unknown_name_suggests() -> None:
    with pytest.raises(ModelNotFoundError, match="yolox-nano"):
        zoo.find("yolox-nan")


def test_any_name_under_the_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "models" / "deep" / "inside"
    models.mkdir(parents=True)
    (models / "decoy.bin").write_bytes(b"x" * len(CONTENT))
    (models / "renamed.bin").write_bytes(CONTENT)
    monkeypatch.setenv("EDGECV_MODELS", f"{tmp_path / 'nothing'}:{tmp_path / 'models'}")
    assert zoo.files_of(entry(tmp_path)) == [models / "renamed.bin"]


def test_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="EDGECV_MODELS") as caught:
        zoo.files_of(entry(tmp_path, "https://example.org/parts.onnx"))
    assert "edgecv models pull parts" in str(caught.value)


@pytest.mark.parametrize(("content", "named"), [(b"short", "bytes"), (b"x" * len(CONTENT), "sha256")])
def test_wrong_file_in_the_cards_folder(tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "parts.onnx").write_bytes(content)
    with pytest.raises(ChecksumError, match=f"expected .*{named}"):
        zoo.files_of(entry(tmp_path))


def test_pull_downloads_checks_and_keeps(tmp_path: Path, server: tuple[str, Path], own_cache: Path) -> None:
    url, folder = server
    (folder / "parts.onnx").write_bytes(CONTENT)
    told: list[tuple[int, int]] = []
    paths = zoo.pull(entry(tmp_path, f"{url}/parts.onnx"), progress=lambda *of: told.append(of))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert paths[0].read_bytes() == CONTENT
    assert paths[0].is_relative_to(own_cache)
    (folder / "parts.onnx").unlink()
    assert zoo.pull(entry(tmp_path, f"{url}/parts.onnx")) == paths


def test_pull_refuses_another_file_and_leaves_nothing(
    tmp_path: Path, server: tuple[str, Path], own_cache: Path
) -> None:
    url, folder = server
    (folder / "parts.onnx").write_bytes(b"not the weights!!")
    with pytest.raises(ChecksumError, match="not the file of the card"):
        zoo.pull(entry(tmp_path, f"{url}/parts.onnx"))
    assert not [path for path in own_cache.rglob("*") if path.is_file()]


def test_pull_without_network(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be downloaded"):
        zoo.pull(entry(tmp_path, "http://127.0.0.1:9/parts.onnx"))


def test_pull_of_a_missing_page(tmp_path: Path, server: tuple[str, Path]) -> None:
    with pytest.raises(UnavailableError, match="404"):
        zoo.pull(entry(tmp_path, f"{server[0]}/nothing.onnx"))


def test_pull_without_url(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no url"):
        zoo.pull(entry(tmp_path))
