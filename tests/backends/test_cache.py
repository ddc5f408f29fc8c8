"""What was compiled, kept for the next start: found, bounded, believed only where no one else writes."""

from __future__ import annotations

import errno
import hashlib
import logging
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv import container
from edgecv.backends import cache as caches
from edgecv.backends.cache import Cache, contents_of, key_of
from edgecv.errors import InputError

A, B, C, D = (letter * 64 for letter in "abcd")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "compiled"


@pytest.fixture
def cache(folder: Path) -> Cache:
    return Cache(str(folder), 100)


def keys(cache: Cache) -> list[str]:
    return [entry.key for entry in cache.entries()]


def data_of(key: str, size: int = 30) -> bytes:
    return (key * size)[:size].encode()


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_what_is_put_is_got(cache: Cache, folder: Path) -> None:
    assert cache.get(A) is None
    path = cache.put(A, b"compiled")
    assert path == cache.get(A) == str(folder / f"{A}.ecv")
    assert Path(path).read_bytes() == b"compiled"
    assert cache.get(B) is None


def test_modes(cache: Cache, folder: Path) -> None:
    old = os.umask(0)
    try:
        path = cache.put(A, b"compiled")
    finally:
        os.umask(old)
    assert path is not None
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_put_replaces(cache: Cache) -> None:
    for data in (b"one", b"another"):
        path = cache.put(A, data)
        assert path is not None
        assert Path(path).read_bytes() == data
    assert [entry.bytes for entry in cache.entries()] == [7]


def test_used_longest_ago_goes_first(cache: Cache) -> None:
    for key in (A, B, C):
        cache.put(key, data_of(key))
    assert keys(cache) == [C, B, A]
    assert cache.get(A) is not None
    assert keys(cache) == [A, C, B]
    cache.put(D, data_of(D))
    assert keys(cache) == [D, A, C]
    cache.put(B, data_of(B, 90))
    assert keys(cache) == [B]


def test_use_is_noted_whatever_the_mount_does(cache: Cache, folder: Path) -> None:
    """relatime and noatime leave the time of reading as it is."""
    cache.put(A, b"compiled")
    os.utime(folder / f"{A}.ecv", (1000, 1000))
    assert cache.entries()[0].used_ns == 1000 * 10**9
    before = time.time_ns()
    cache.get(A)
    # A file system may keep coarser times.
    assert cache.entries()[0].used_ns >= before - 2 * 10**9


def test_one_that_alone_is_over_the_limit(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="edgecv")
    cache.put(A, data_of(A))
    assert cache.put(B, bytes(101)) is None
    assert keys(cache) == [A]
    (said,) = messages(caplog, logging.INFO)
    assert "101 bytes, over the 100 of EDGECV_CACHE_BYTES: not kept" in said
    assert cache.put(C, bytes(100)) is not None
    assert keys(cache) == [C]


def test_the_one_just_put_stays_whatever_the_clock_says(cache: Cache, folder: Path) -> None:
    for key in (A, B):
        cache.put(key, data_of(key))
    future = time.time() + 10**6
    for key in (A, B):
        os.utime(folder / f"{key}.ecv", (future, future))
    cache.put(C, data_of(C, 90))
    assert keys(cache) == [C]


def test_discard(cache: Cache) -> None:
    cache.put(A, b"damaged")
    cache.put(B, b"sound")
    cache.discard(A)
    cache.discard(A)
    assert (cache.get(A), keys(cache)) == (None, [B])


def test_clear(cache: Cache, folder: Path) -> None:
    assert cache.clear() == (0, 0)
    for key in (A, B):
        cache.put(key, data_of(key))
    (folder / "README").write_text("not an entry")
    assert cache.clear() == (2, 60)
    assert [path.name for path in folder.iterdir()] == ["README"]


def test_what_is_no_entry_is_left_alone(cache: Cache, folder: Path, tmp_path: Path) -> None:
    cache.put(A, data_of(A))
    others = [folder / "notes.ecv", folder / f"{B}.txt", folder / f"{C}.ecv"]
    for path in others[:2]:
        path.write_bytes(bytes(1000))
    others[2].mkdir()
    cache.put(D, data_of(D))
    assert keys(cache) == [D, A]
    assert all(path.exists() for path in others)
    assert cache.get(C) is None
    assert cache.put(C, b"compiled") is None


def test_leftovers_of_killed_writers_are_swept(cache: Cache, folder: Path) -> None:
    cache.put(A, b"compiled")
    old, young = folder / ".pending-old", folder / ".pending-young"
    for path in (old, young):
        path.write_bytes(bytes(1000))
    hours_ago = time.time() - 2 * 3600
    os.utime(old, (hours_ago, hours_ago))
    cache.put(B, b"compiled")
    assert (old.exists(), young.exists()) == (False, True)
    os.utime(young, (hours_ago, hours_ago))
    cache.clear()
    assert not young.exists()


def make_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "group": (lambda p: p.chmod(p.stat().st_mode | 0o020), "only its owner can write"),
    "others": (lambda p: p.chmod(p.stat().st_mode | 0o002), "only its owner can write"),
    "link": (make_link, "got a link"),
}


@pytest.mark.parametrize(("change", "problem"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("of_folder", [True, False], ids=["folder", "entry"])
def test_what_others_can_write_is_not_used(
    cache: Cache,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Path], object],
    problem: str,
    of_folder: bool,
) -> None:
    cache.put(A, b"compiled")
    wrong = folder if of_folder else folder / f"{A}.ecv"
    change(wrong)
    assert [cache.get(A), cache.get(A)] == [None, None]
    (said,) = messages(caplog, logging.WARNING)
    assert said.startswith(f"not used: {wrong}: ")
    assert problem in said
    if of_folder:
        assert problem in str(cache.problem())
        assert (cache.put(B, b"compiled"), cache.entries(), cache.clear()) == (None, [], (0, 0))
        cache.discard(A)
        assert [path.name for path in folder.iterdir()] == [f"{A}.ecv"]
    else:
        assert cache.problem() is None
        # Compiled anew, it takes the place of what was there.
        assert cache.put(A, b"compiled") == cache.get(A)


@pytest.mark.parametrize("of_folder", [True, False], ids=["folder", "entry"])
def test_what_belongs_to_another_user_is_not_used(
    cache: Cache,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    of_folder: bool,
) -> None:
    cache.put(A, b"compiled")
    wrong = str(folder if of_folder else folder / f"{A}.ecv")
    original = os.lstat

    def lstat(path: str) -> os.stat_result:
        status = original(path)
        values = list(status)
        values[4] += 1
        return os.stat_result(values) if str(path) == wrong else status

    monkeypatch.setattr(os, "lstat", lstat)
    assert cache.get(A) is None
    assert f"got one of user {os.getuid() + 1}: remove it" in caplog.text


def test_as_another_user(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put(A, b"compiled")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert (cache.get(A), cache.put(B, b"compiled")) == (None, None)


def fail_with(code: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("function", "code"),
    [("replace", errno.ENOSPC), ("open", errno.EROFS), ("open", errno.EACCES), ("makedirs", errno.EACCES)],
)
def test_a_folder_that_cannot_be_written(
    cache: Cache,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    function: str,
    code: int,
) -> None:
    caplog.set_level("INFO", logger="edgecv")
    cache.put(A, b"compiled")
    with monkeypatch.context() as broken:
        broken.setattr(os, function, fail_with(code))
        assert cache.put(B, b"compiled") is None
    assert messages(caplog, logging.INFO) == [f"not kept: {folder / B}.ecv: {os.strerror(code)}"]
    assert [path.name for path in folder.iterdir()] == [f"{A}.ecv"]
    assert cache.get(A) is not None


def test_a_full_disk(cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on the size of files stands in for it: a part of the file is there already."""
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
from edgecv.backends.cache import Cache
cache = Cache({str(folder)!r}, 1 << 30)
assert cache.put({A!r}, bytes(1 << 20)) is None
assert cache.put({B!r}, b"small") is not None
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert keys(cache) == [B]
    assert [path.name for path in folder.iterdir()] == [f"{B}.ecv"]


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not hold root back")
def test_a_read_only_folder_is_still_read(cache: Cache, folder: Path) -> None:
    cache.put(A, b"compiled")
    folder.chmod(0o500)
    assert cache.get(A) is not None
    assert cache.put(B, b"compiled") is None
    folder.chmod(0o700)


def test_a_disk_that_is_mounted_read_only_is_still_read(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.put(A, b"compiled")
    monkeypatch.setattr(os, "utime", fail_with(errno.EROFS))
    assert cache.get(A) is not None


def test_a_file_in_place_of_the_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "taken").touch()
    for place in ("taken", "taken/compiled"):
        cache = Cache(str(tmp_path / place), 100)
        assert (cache.put(A, b"compiled"), cache.get(A), cache.entries()) == (None, None, [])
    assert len(messages(caplog, logging.WARNING)) == 2


@pytest.mark.parametrize("key", ["", "a", "a" * 63, "A" * 64, "a" * 65, "../" + "a" * 61, "a" * 64 + "\n"])
def test_what_is_no_key(cache: Cache, key: str) -> None:
    for call in (cache.get, cache.discard, lambda key: cache.put(key, b"")):
        with pytest.raises(InputError, match="key: expected 64 hexadecimal digits"):
            call(key)


def test_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGECV_CACHE", str(tmp_path))
    cache = Cache.default()
    assert cache is not None
    assert (cache.folder, cache.limit) == (str(tmp_path / "compiled"), 1 << 30)
    monkeypatch.setenv("EDGECV_CACHE_BYTES", "3M")
    assert Cache.default().limit == 3 << 20  # type: ignore[union-attr]
    monkeypatch.setenv("EDGECV_CACHE_BYTES", "0")
    assert Cache.default() is None
    monkeypatch.setenv("EDGECV_CACHE_BYTES", "much")
    with pytest.raises(InputError, match="EDGECV_CACHE_BYTES"):
        Cache.default()


def test_default_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "cache_folder", lambda *_: None)
    assert Cache.default() is None


def test_contents(cache: Cache) -> None:
    about = {"source": "net.onnx"}
    cache = Cache(cache.folder, 1 << 20)
    cache.put(A, container.to_bytes("plan", {"program": b"12345678"}, about, "simd"))
    cache.put(B, b"no container")
    damaged, sound = map(contents_of, cache.entries())
    assert sound is not None
    assert (sound.source, sound.backend, sound.kind, sound.problem) == ("net.onnx", "simd", "plan", None)
    assert sound.written_by.startswith("edgecv ")
    assert damaged is not None
    assert "expected a container of edgecv" in str(damaged.problem)
    entry = cache.entries()[0]
    cache.discard(entry.key)
    assert contents_of(entry) is None


LIMIT = 20_000


def hammer(folder: str, seed: int, problems: Any) -> None:
    """Put and get at random; what is got is whole."""
    rng = random.Random(seed)
    cache = Cache(folder, LIMIT)
    names = [key_of({"name": n}) for n in range(12)]
    try:
        for _ in range(150):
            key = rng.choice(names)
            if rng.random() < 0.5:
                cache.put(key, data_of(key, rng.randrange(1, 4000)))
            elif rng.random() < 0.1:
                cache.discard(key)
            else:
                check_whole(cache.get(key), key)
            cache.entries()
    except BaseException as error:
        problems.put(repr(error))
        raise


def check_whole(path: str | None, key: str) -> None:
    if path is None:
        return
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return
    assert data == data_of(key, len(data)), key


def test_several_processes(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    problems = context.Queue()
    workers = [context.Process(target=hammer, args=(str(folder), seed, problems)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4, problems.get(timeout=1)
    cache = Cache(str(folder), LIMIT)
    found = cache.entries()
    assert found
    assert sum(entry.bytes for entry in found) <= LIMIT
    for entry in found:
        check_whole(entry.path, entry.key)
    assert {path.name for path in folder.iterdir()} == {f"{entry.key}.ecv" for entry in found}


def vanishing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process removes every entry once the folder has been listed."""
    original = os.scandir

    class Listing:
        def __init__(self, path: str) -> None:
            with original(path) as found:
                self.entries = list(found)
            for file in self.entries:
                os.unlink(file)  # noqa: PTH108

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Listing)


def test_entries_that_vanish_meanwhile(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put(A, b"compiled")
    vanishing(monkeypatch)
    assert cache.put(B, b"compiled") is not None
    assert cache.entries() == []
    assert cache.clear() == (0, 0)


def test_no_heavy_module_for_a_hit(cache: Cache) -> None:
    cache.put(A, b"compiled")
    code = f"""
import sys
import numpy
before = set(sys.modules)
from edgecv.backends.cache import Cache, key_of
key_of({{"a": 1}})
cache = Cache({cache.folder!r}, 100)
assert cache.get({A!r}), "a hit"
assert cache.put({B!r}, b"x")
heavy = {{"pathlib", "hashlib", "_hashlib", "threading", "onnx", "logging", "zipfile", "tempfile", "json"}}
sys.exit(", ".join(heavy & (set(sys.modules) - before)) or None)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
PARTS = st.dictionaries(
    TEXT,
    st.recursive(
        SCALARS | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def reordered(value: Any) -> Any:
    """The same with names in another order, and sequences of another kind."""
    if isinstance(value, Mapping):
        return {key: reordered(value[key]) for key in reversed(list(value))}
    return tuple(map(reordered, value)) if isinstance(value, list) else value


def typed(value: Any) -> Any:
    """The same, such that Python's equality tells 1, 1.0 and True apart, and 0.0 from -0.0."""
    if isinstance(value, Mapping):
        return {key: typed(item) for key, item in value.items()}
    return [typed(item) for item in value] if isinstance(value, list) else (type(value), repr(value))


@given(PARTS)
def test_a_key_does_not_depend_on_the_order_of_names(parts: dict[str, Any]) -> None:
    key = key_of(parts)
    assert len(bytes.fromhex(key)) == 32
    assert key == key_of(reordered(parts))


@given(PARTS, PARTS)
def test_different_parts_have_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (key_of(one) == key_of(other)) == (typed(one) == typed(other))


def test_a_key_is_sha256_of_json() -> None:
    parts = {"files": [("network", "ab")], "backend": "simd", "threads": 2}
    text = b'{"backend":"simd","files":[["network","ab"]],"threads":2}'
    assert key_of(parts) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        b"bytes",
        {1, 2},
        {1: "a"},
        object(),
        "\udc80",
        Path("a"),
    ],
    ids=lambda value: "object" if type(value) is object else str(value),
)
def test_parts_that_could_be_mistaken_for_others(value: Any) -> None:
    with pytest.raises(InputError, match="key"):
        key_of({"options": [value]})
