"""The arena: memory shared by values that are never alive at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

# A cache line, and the widest vector.
ALIGNMENT = 64


class Span(msgspec.Struct, frozen=True):
    """bytes: size. first, last: the first and the last step that touch it."""

    bytes: int
    first: int
    last: int


def pack(spans: Mapping[int, Span], aliases: Iterable[tuple[int, int]] = ()) -> tuple[dict[int, int], int]:
    """Addresses for spans of memory, and the size of the whole.

    Largest first, each at the lowest one that nothing alive at the same time covers. aliases: (result,
    source): the result may lie where the source does, if the source is not needed after the step that makes
    the result.
    """
    merged, members = _merge(spans, aliases)
    addresses: dict[int, int] = {}
    total = 0
    for key in sorted(merged, key=lambda k: (-merged[k].bytes, merged[k].first, k)):
        span = merged[key]
        busy = sorted(
            (addresses[other], addresses[other] + _padded(merged[other].bytes))
            for other in addresses
            if merged[other].first <= span.last and span.first <= merged[other].last
        )
        address = 0
        for start, end in busy:
            if address + _padded(span.bytes) <= start:
                break
            address = max(address, end)
        addresses[key] = address
        total = max(total, address + _padded(span.bytes))
    return {number: addresses[key] for key, numbers in members.items() for number in numbers}, total


def _merge(
    spans: Mapping[int, Span], aliases: Iterable[tuple[int, int]]
) -> tuple[dict[int, Span], dict[int, list[int]]]:
    owner = {number: number for number in spans}
    merged = dict(spans)
    members = {number: [number] for number in spans}
    for result, source in aliases:
        if result not in spans or source not in spans:
            continue
        key = owner[source]
        # Its own lifetime begins where everything that lies there ends.
        if owner[result] != result or key == result or merged[key].last > spans[result].first:
            continue
        if len(members[result]) > 1 or merged[key].bytes < spans[result].bytes:
            continue
        owner[result] = key
        merged[key] = Span(merged[key].bytes, merged[key].first, spans[result].last)
        members[key].append(result)
        del merged[result], members[result]
    return merged, members


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
