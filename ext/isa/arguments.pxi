# Checks and copies that the boundaries of several native modules share; included by them.

from libc.float cimport FLT_MAX
from libc.string cimport memcpy

import numpy as np

from edgecv.errors import InputError

cdef object FLOAT32 = np.dtype(np.float32)
cdef object NDARRAY = np.ndarray
cdef object empty = np.empty

cdef double LARGEST = FLT_MAX


cdef str _describe(object value):
    if isinstance(value, NDARRAY):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__


cdef int _check_array(str name, object value, object dtype, int ndim, str shape) except -1:
    is_array = isinstance(value, NDARRAY)
    if not is_array or value.dtype != dtype or value.ndim != ndim:
        remedy = "" if is_array and value.dtype == dtype else f"; convert it with numpy.asarray(..., '{dtype}')"
        raise InputError(f"{name}: expected {dtype} {shape}, got {_describe(value)}{remedy}")
    if not value.flags.aligned:
        raise InputError(f"{name}: expected an aligned array, got a misaligned one; pass a copy()")
    return 0


cdef size_t _count(str name, object value) except? 0:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
        raise InputError(f"{name}: expected a whole number of at least 1, got {value!r}")
    return min(value, 1 << 62)


cdef float _number(str name, object value, double low, double high) except? -1:
    cdef double number = float("nan")
    if hasattr(value, "__float__") and getattr(value, "ndim", 0) == 0:
        number = float(value)
    if not low <= number <= high:
        raise InputError(f"{name}: expected a number from {low:g} to {high:g}, got {value!r}")
    return <float>number


cdef object _copy_float32(const float* data, size_t n):
    result = empty(n, FLOAT32)
    cdef float[::1] view = result
    if n:
        memcpy(&view[0], data, n * sizeof(float))
    return result
