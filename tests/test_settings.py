"""Environment variables as the package reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecv import settings


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


@pytest.mark.parametrize(("text", "value"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_flag(monkeypatch: pytest.MonkeyPatch, text: str, value: bool) -> None:
    monkeypatch.setenv("EDGECV_TRACEBACK", text)
    assert settings.TRACEBACK.get() is value


def test_every_variable_is_listed_once() -> None:
    names = [setting.name for setting in settings.ALL]
    assert len(names) == len(set(names))
    declared = [s for s in vars(settings).values() if isinstance(s, settings.Setting)]
    assert set(declared) == set(settings.ALL)
