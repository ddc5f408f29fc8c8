"""Message types for Caffe's files, made of the tables in `fields`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from edgecv.importers.caffe import fields

_PACKAGE = "caffe"
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "i": _Field.TYPE_INT32,
    "I": _Field.TYPE_INT64,
    "u": _Field.TYPE_UINT32,
    "f": _Field.TYPE_FLOAT,
    "d": _Field.TYPE_DOUBLE,
    "b": _Field.TYPE_BOOL,
    "s": _Field.TYPE_STRING,
    "B": _Field.TYPE_BYTES,
}
_FIELD = re.compile(r"(?P<name>\w+):(?P<type>\w+)(?P<many>\*?)(=(?P<default>[^@\s]+))?(@(?P<number>\d+))?")


@lru_cache(maxsize=1)
def network_type() -> Any:
    """The message type of a network's text file, NetParameter."""
    return _message_type(fields.LAYERS + fields.TRAINING, fields.ENUMS)


@lru_cache(maxsize=2)
def weights_types(packed: bool) -> tuple[Any, Any]:
    """NetParameter and BlobProto of a binary file, whose floats are runs of bytes, or fields."""
    table = fields.PACKED_WEIGHTS if packed else fields.UNPACKED_WEIGHTS
    return _message_type(table), _message_type(table, root="BlobProto")


def _message_type(messages: str, enums: str = "", root: str = "NetParameter") -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="caffe", package=_PACKAGE, syntax="proto2")
    enum_names = set()
    for name, values in _rows(enums):
        enum_names.add(name)
        # Values of an enumeration are named in the message around it, and several have a MAX.
        enum = file.message_type.add(name=name).enum_type.add(name="Value")
        number = -1
        for value in values:
            label, _, given = value.partition("=")
            number = int(given) if given else number + 1
            enum.value.add(name=label, number=number)
    for name, columns in _rows(messages):
        message = file.message_type.add(name=name)
        for number, column in enumerate(columns, 1):
            match = _FIELD.fullmatch(column)
            assert match, f"{name}: {column!r} is not a field"
            _add_field(message, match, number, enum_names)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{root}"))


def _rows(table: str) -> list[tuple[str, list[str]]]:
    """A row is a line and the indented ones after it."""
    rows = [row.split() for row in re.split(r"\n(?!\s)", table.strip()) if row]
    return [(words[0], words[1:]) for words in rows]


def _add_field(message: Any, match: re.Match[str], number: int, enums: set[str]) -> None:
    kind = match["type"]
    field = message.field.add(
        name=match["name"],
        number=int(match["number"] or number),
        label=_Field.LABEL_REPEATED if match["many"] else _Field.LABEL_OPTIONAL,
    )
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    elif kind in enums:
        field.type, field.type_name = _Field.TYPE_ENUM, f".{_PACKAGE}.{kind}.Value"
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    if match["default"]:
        field.default_value = match["default"]
