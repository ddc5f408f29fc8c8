"""The CPU SIMD engine: a graph compiled to steps of native kernels, with its memory known beforehand.

views: how tensors lie. lower/: operators to steps. program, arena: steps, and the memory under them. compile:
all of it for one model and one set of shapes.
"""
