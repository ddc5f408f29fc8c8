"""The arena: what is alive at the same time never lies on the same bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgecv.engine.arena import ALIGNMENT, Span, pack

spans = st.lists(
    st.tuples(st.integers(1, 1000), st.integers(0, 12), st.integers(0, 5)), min_size=1, max_size=20
).map(lambda items: {i: Span(size, first, first + length) for i, (size, first, length) in enumerate(items)})


@given(spans)
def test_live_spans_do_not_overlap(of: dict[int, Span]) -> None:
    offsets, total = pack(of)
    assert set(offsets) == set(of)
    for a, one in of.items():
        assert offsets[a] % ALIGNMENT == 0
        assert offsets[a] + one.bytes <= total
        for b, other in of.items():
            if a < b and one.first <= other.last and other.first <= one.last:
                assert offsets[a] + one.bytes <= offsets[b] or offsets[b] + other.bytes <= offsets[a]


@given(spans)
def test_never_more_than_everything_at_once_and_never_less_than_the_fullest_moment(
    of: dict[int, Span],
) -> None:
    _, total = pack(of)
    padded = {k: -(-s.bytes // ALIGNMENT) * ALIGNMENT for k, s in of.items()}
    fullest = max(
        sum(padded[k] for k, s in of.items() if s.first <= step <= s.last)
        for step in range(max(s.last for s in of.values()) + 1)
    )
    assert fullest <= total <= sum(padded.values())


def test_a_result_takes_the_place_of_what_it_is_made_of() -> None:
    of = {1: Span(640, 0, 1), 2: Span(640, 1, 2), 3: Span(640, 2, 3)}
    offsets, total = pack(of, [(2, 1), (3, 2)])
    assert total == 640
    assert len(set(offsets.values())) == 1


def test_a_source_that_is_still_needed_keeps_its_place() -> None:
    of = {1: Span(640, 0, 3), 2: Span(640, 1, 2)}
    offsets, total = pack(of, [(2, 1)])
    assert total == 1280
    assert offsets[1] != offsets[2]
