# When a native call gives the GIL up; included by the boundaries of preprocessing and postprocessing.
#
# Where another thread runs Python, who gives the GIL up waits a switch interval, 5 ms unless
# sys.setswitchinterval says otherwise, to have it back. A call that is done sooner keeps it.

cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        pass
    PyThreadState* PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState* state)

# 5 ms of a small board's memory, which moves some 3 GB a second.
cdef size_t KEPT_BYTES = 16 << 20
# What a pair of boxes takes, in bytes that are read in the same time: an upright one is read and compared,
# an oriented one meets the Gaussian or the polygon of the other.
cdef size_t PAIR_BYTES = 4 * sizeof(float)
cdef size_t GAUSSIAN_PAIR_BYTES = 1 << 8
cdef size_t POLYGON_PAIR_BYTES = 1 << 11


cdef inline PyThreadState* release_gil(size_t work_bytes) noexcept:
    """Give the GIL up for a call over so many bytes, or that takes as long; what `take_gil` wants."""
    return PyEval_SaveThread() if work_bytes > KEPT_BYTES else NULL


cdef inline void take_gil(PyThreadState* state) noexcept:
    if state != NULL:
        PyEval_RestoreThread(state)


cdef inline size_t times(size_t a, size_t b) noexcept:
    """a * b, or the largest size there is."""
    cdef size_t most = <size_t>-1
    return most if b and a > most // b else a * b
