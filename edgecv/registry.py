"""Things by name, of which those that nobody asks for are never imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import TypeVar

T = TypeVar("T")


class Registry(MutableMapping[str, T]):
    """Names in their order, each with what `make` makes of it when it is first asked for, or what was set."""

    def __init__(self, names: Iterable[str], make: Callable[[str], T]) -> None:
        self._things: dict[str, T | None] = dict.fromkeys(names)
        self._make = make

    def __getitem__(self, name: str) -> T:
        thing = self._things[name]
        if thing is None:
            thing = self._things[name] = self._make(name)
        return thing

    def __setitem__(self, name: str, thing: T) -> None:
        self._things[name] = thing

    def __delitem__(self, name: str) -> None:
        del self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)
