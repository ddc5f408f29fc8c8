"""Values of which data decide the length: each gets room for the most there can be, and a count beside it.

NonZero, Compress and NonMaxSuppression find as many rows as there are. Here a graph with them becomes one of
known sizes: they write at most so many rows, then zeros, and say as int64 (1,) how many they have found. The
pass (`walk`) goes on from there, and tells of each size what number of the run it is (`size`), and so of what
Shape gives of such a value and networks compute of it (`arithmetic`). Where such a number says a size, the
room for it goes in its place; where two sizes have to be one, they must be the same number. `rules` and
`movement` have what operators do: what is beyond a count is computed as all else is, and cleared where an
operator would look at it (`counting`). Outputs end with an edgecv::Counted, after whose count they are cut.

| operator of domain "edgecv" | inputs | outputs | attributes |
|---|---|---|---|
| NonZero | x, bool | coordinates, int64 (rank, room); count, int64 (1,) | |
| NonMaxSuppression | those of ONNX | rows, int64 (room, 3); count | those of ONNX |
| Counted | x; count, int64 (1,) | x, of which so many of `axis` are results | axis; output, its name |
"""

from edgecv import extras

with extras.required("models"):
    from edgecv.graph.rewrite import Pass, Stage

SOURCES = ("NonZero", "Compress", "NonMaxSuppression")

COUNT = Pass("counted", "edgecv.engine.counted.walk:count_rows", SOURCES)

COUNTED: Stage = (COUNT,)
