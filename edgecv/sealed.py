"""Objects that take no attribute that they were not made with."""

from __future__ import annotations

from abc import ABCMeta
from typing import Any, ClassVar


class _SealedMeta(ABCMeta):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__call__(*args, **kwargs)
        made.__dict__["_is_sealed"] = True
        return made


class Sealed(metaclass=_SealedMeta):
    """Refuses to be given attributes once it is made, but for those that it has.

    One that is misspelled, or was never there, would be set and looked at by nobody: with a deadline that is
    a safety switched off in silence. A subclass states PER_CALL: beginnings of names that are arguments of
    one call, each with that call.
    """

    PER_CALL: ClassVar[dict[str, str]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        if "_is_sealed" in own and name not in own and not hasattr(type(self), name):
            raise AttributeError(self._refusal(name))
        super().__setattr__(name, value)

    def _place_of(self, name: str) -> str:
        """Where else a name goes, in words; "" for no place that is known."""
        return ""

    def _refusal(self, name: str) -> str:
        name_of_kind = type(self).__name__
        kind = f"{'an' if name_of_kind[0] in 'AEIO' else 'a'} {name_of_kind}"
        for start, call in self.PER_CALL.items():
            if name.startswith(start):
                return f"{name}: no attribute of {kind}, where nobody looks at it: it is of one call: {call}"
        from difflib import get_close_matches

        known = [each for each in dir(self) if not each.startswith("_")]
        close = get_close_matches(name, known, n=1)
        hint = self._place_of(name) or (
            f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"
        )
        return f"{name}: no attribute of {kind}, where nobody looks at it: {hint}"
