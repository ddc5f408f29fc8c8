"""Frozen classes are what the standard library would make, for everything that is used of them."""

from __future__ import annotations

import dataclasses
from dataclasses import FrozenInstanceError, dataclass, field, replace

import msgspec
import pytest

from edgecv.records import frozen


@frozen
class Ours:
    """A record."""

    a: int
    b: str = "x"
    c: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.a < 0:
            raise ValueError("a")

    @property
    def double(self) -> int:
        return 2 * self.a


@dataclass(frozen=True)
class Theirs:
    """A record."""

    a: int
    b: str = "x"
    c: list[int] = field(default_factory=list)


@pytest.mark.parametrize(("args", "given"), [((1,), {}), ((1, "y"), {"c": [2]}), ((), {"a": 1, "b": "z"})])
def test_made_as_a_dataclass(args: tuple[object, ...], given: dict[str, object]) -> None:
    ours, theirs = Ours(*args, **given), Theirs(*args, **given)  # type: ignore[arg-type]
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert [f.name for f in dataclasses.fields(ours)] == ["a", "b", "c"]
    assert msgspec.json.encode(ours) == msgspec.json.encode(theirs)
    assert msgspec.convert(dataclasses.asdict(ours), Ours) == ours
    assert replace(ours, b="w") == Ours(ours.a, "w", ours.c)
    assert ours.double == 2 * ours.a


@pytest.mark.parametrize(
    ("args", "given"),
    [((), {}), ((1, "y", [], 4), {}), ((1,), {"a": 2}), ((1,), {"d": 2})],
    ids=["missing", "too many", "twice", "unknown"],
)
def test_wrong_arguments(args: tuple[object, ...], given: dict[str, object]) -> None:
    for cls in (Ours, Theirs):
        with pytest.raises(TypeError):
            cls(*args, **given)  # type: ignore[arg-type]


def test_frozen_compared_and_hashed() -> None:
    one = Ours(1, c=[])
    with pytest.raises(FrozenInstanceError):
        one.a = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del one.a
    assert one == Ours(1)
    assert one != Ours(2)
    assert one != Theirs(1)
    assert hash(replace(one, c=())) == hash(Theirs(1, c=()))  # type: ignore[arg-type]
    assert Ours(1).c is not Ours(1).c
    with pytest.raises(ValueError, match="a"):
        Ours(-1)
    with pytest.raises(ValueError, match="a"):
        replace(one, a=-1)
