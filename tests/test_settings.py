"""Environment variables as the package reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecv import settings
from edgecv.errors import InputError


def test_search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_MODELS", "/a::~/b")
    assert settings.MODELS.get() == (Path("/a"), Path("~/b").expanduser())
    monkeypatch.delenv("EDGECV_MODELS")
    assert settings.MODELS.get() == ()


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGECV_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert settings.CACHE.get() == Path("/cache/edgecv")
    monkeypatch.setenv("EDGECV_CACHE", "/elsewhere")
    assert settings.CACHE.get() == Path("/elsewhere")


def test_a_place_in_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_CACHE", "/elsewhere")
    assert settings.cache_folder("compiled") == "/elsewhere/compiled"

    def fail(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", fail)
    assert settings.cache_folder("compiled") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 1 << 30),
        ("0", 0),
        ("1048576", 1 << 20),
        ("64k", 64 << 10),
        ("512M", 512 << 20),
        (" 2g ", 2 << 30),
    ],
)
def test_cache_size(monkeypatch: pytest.MonkeyPatch, text: str, value: int) -> None:
    monkeypatch.setenv("EDGECV_CACHE_BYTES", text)
    assert settings.CACHE_BYTES.get() == value


@pytest.mark.parametrize("text", ["-1", "1.5G", "1T", "G", "one", "1e9", "\u0661", "9" * 5000, "1 G"])
def test_cache_size_that_is_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EDGECV_CACHE_BYTES", text)
    with pytest.raises(InputError, match=r"EDGECV_CACHE_BYTES: expected bytes such as .*, got '") as caught:
        settings.CACHE_BYTES.get()
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize(("text", "value"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_flag(monkeypatch: pytest.MonkeyPatch, text: str, value: bool) -> None:
    monkeypatch.setenv("EDGECV_TRACEBACK", text)
    assert settings.TRACEBACK.get() is value


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        (settings.STREAM_TIMEOUT, "", 5.0),
        (settings.STREAM_TIMEOUT, "0.5", 0.5),
        (settings.STREAM_PATIENCE, "", 60.0),
        (settings.STREAM_PATIENCE, "0", 0.0),
        (settings.STREAM_PATIENCE, "inf", float("inf")),
    ],
)
def test_seconds(
    monkeypatch: pytest.MonkeyPatch, setting: settings.Setting[float], text: str, value: float
) -> None:
    monkeypatch.setenv(setting.name, text)
    assert setting.get() == value


@pytest.mark.parametrize("setting", [settings.STREAM_TIMEOUT, settings.STREAM_PATIENCE])
@pytest.mark.parametrize("text", ["-1", "nan", "5 s", "-inf"])
def test_seconds_that_are_none(
    monkeypatch: pytest.MonkeyPatch, setting: settings.Setting[float], text: str
) -> None:
    monkeypatch.setenv(setting.name, text)
    with pytest.raises(InputError, match=f"{setting.name}: expected seconds, .*, got '{text}'"):
        setting.get()


@pytest.mark.parametrize("text", ["0", "inf"])
def test_a_timeout_has_limits(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EDGECV_STREAM_TIMEOUT", text)
    with pytest.raises(InputError, match=r"expected seconds, 0\.1 to 3600"):
        settings.STREAM_TIMEOUT.get()


def test_every_variable_is_listed_once() -> None:
    names = [setting.name for setting in settings.ALL]
    assert len(names) == len(set(names))
    declared = [s for s in vars(settings).values() if isinstance(s, settings.Setting)]
    assert set(declared) == set(settings.ALL)
