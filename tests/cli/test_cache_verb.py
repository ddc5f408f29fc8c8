"""edgecv cache: what was compiled and kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from edgecv import container
from edgecv.backends.cache import Cache
from tests.cli.conftest import Result

Run = Callable[..., Result]
A, B = "a" * 64, "b" * 64


@pytest.fixture
def cache() -> Cache:
    found = Cache.default()
    assert found is not None
    return found


@pytest.fixture
def filled(cache: Cache) -> Cache:
    """One entry, and one that is damaged and was used later."""
    about = {"source": "parts-nano.onnx"}
    cache.put(A, container.to_bytes("plan", {"program": bytes(8)}, about, "simd"))
    cache.put(B, b"no container")
    return cache


def test_nothing_kept(edgecv: Run, cache: Cache) -> None:
    result = edgecv("cache", "list", "--json", "-")
    assert result.code == 0
    assert result.json == {"folder": cache.folder, "limit_bytes": 1 << 30, "bytes": 0, "entries": []}
    assert "0 entries, 0 bytes of at most 1,073,741,824" in edgecv("cache", "list").out
    assert edgecv("cache", "clear", "--json", "-").json == {"folder": cache.folder, "entries": 0, "bytes": 0}
    assert not Path(cache.folder).exists()


def test_list(edgecv: Run, filled: Cache) -> None:
    result = edgecv("cache", "list", "--json", "-")
    assert result.code == 0
    damaged, sound = result.json["entries"]
    assert (damaged["key"], damaged["source"], damaged["bytes"]) == (B, "", 12)
    assert "expected a container of edgecv" in damaged["error"]
    assert (sound["key"], sound["source"], sound["backend"], sound["kind"], sound["error"]) == (
        A,
        "parts-nano.onnx",
        "simd",
        "plan",
        None,
    )
    assert sound["path"] == str(Path(filled.folder) / f"{A}.ecv")
    assert sound["bytes"] == Path(sound["path"]).stat().st_size
    assert result.json["bytes"] == sound["bytes"] + 12
    assert abs(datetime.fromisoformat(sound["used"]).timestamp() - datetime.now().timestamp()) < 3600
    table = edgecv("cache", "list").out
    assert "damaged" in table
    assert "parts-nano.onnx" in table
    assert f"{filled.folder}: 2 entries" in table


def test_clear(edgecv: Run, filled: Cache) -> None:
    size = sum(entry.bytes for entry in filled.entries())
    download = Path(os.environ["EDGECV_CACHE"]) / "files" / "parts.onnx"
    download.parent.mkdir()
    download.touch()
    result = edgecv("cache", "clear")
    assert (result.code, result.out) == (0, f"{filled.folder}: removed 2 entries, {size:,} bytes\n")
    assert filled.entries() == []
    assert download.exists()


def test_what_was_kept_before_it_was_switched_off(
    edgecv: Run, filled: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECV_CACHE_BYTES", "0")
    assert len(edgecv("cache", "list", "--json", "-").json["entries"]) == 2
    assert edgecv("cache", "clear", "--json", "-").json["entries"] == 2


@pytest.mark.parametrize("verb", ["list", "clear"])
def test_a_folder_that_others_can_write(edgecv: Run, filled: Cache, verb: str) -> None:
    Path(filled.folder).chmod(0o770)
    result = edgecv("cache", verb)
    assert (result.code, result.out) == (3, "")
    assert "only its owner can write, got mode 0770: remove it" in result.err
    assert len(list(Path(filled.folder).iterdir())) == 2


def test_a_size_that_is_none(edgecv: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_CACHE_BYTES", "much")
    result = edgecv("cache", "list")
    assert result.code == 2
    assert "EDGECV_CACHE_BYTES: expected bytes" in result.err


def test_without_a_home(edgecv: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecv.settings.cache_folder", lambda *_: None)
    result = edgecv("cache", "list")
    assert result.code == 3
    assert "let EDGECV_CACHE name one" in result.err
