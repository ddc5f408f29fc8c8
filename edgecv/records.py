"""Frozen dataclasses that cost little to define.

`dataclass(frozen=True)` writes six methods for each class as text and compiles them whenever the module is
imported, which was a third of the time that importing edgecv took. `frozen` gives a class the same fields and
methods without: `dataclasses.replace`, `fields`, `asdict` and msgspec take it for the dataclass that it is.
"""

from __future__ import annotations

from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Any:
        return lambda function: function


T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """The class as a frozen dataclass: compared and hashed by its fields. It has to have a docstring."""
    made: Any = dataclass(init=False, repr=False, eq=False)(cls)
    made.__init__ = _initializer(made)
    made.__repr__ = _repr
    made.__eq__ = _eq
    made.__hash__ = _hash
    made.__setattr__ = _refuse
    made.__delattr__ = _refuse
    return cls


def _initializer(cls: Any) -> Any:
    of_class = fields(cls)
    names = tuple(f.name for f in of_class)
    defaults = {f.name: f.default for f in of_class if f.default is not MISSING}
    factories = {f.name: f.default_factory for f in of_class if f.default_factory is not MISSING}
    required = frozenset(names) - defaults.keys() - factories.keys()
    finish = getattr(cls, "__post_init__", None)

    def __init__(self: Any, *args: Any, **given: Any) -> None:  # noqa: N807
        values = dict(zip(names, args, strict=False))
        if len(args) > len(names) or values.keys() & given.keys() or not given.keys() <= set(names):
            raise TypeError(f"{cls.__name__}: expected {', '.join(names)}, got {len(args)} and {list(given)}")
        values.update(given)
        if not required <= values.keys():
            missing = ", ".join(name for name in names if name in required - values.keys())
            raise TypeError(f"{cls.__name__}: {missing} missing")
        own = self.__dict__
        own.update(defaults)
        for name, make in factories.items():
            if name not in values:
                own[name] = make()
        own.update(values)
        if finish is not None:
            finish(self)

    return __init__


def _values(record: Any) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in record.__dataclass_fields__)


def _repr(self: Any) -> str:
    parts = (f"{name}={getattr(self, name)!r}" for name in self.__dataclass_fields__)
    return f"{type(self).__qualname__}({', '.join(parts)})"


def _eq(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _refuse(self: Any, name: str, *_: Any) -> None:
    raise FrozenInstanceError(f"cannot change {name!r} of a {type(self).__name__}")
