"""The boundary to native preprocessing: checks arguments, calls, raises; the GIL is given up for
long calls.

`edgecv.image` describes what is computed, `edgecv.image_reference` every rounding of it.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_STRIDED_RO,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint8_t, uintptr_t
from libc.string cimport strcmp

from isa cimport isa_label
from plan cimport (
    ImageKernels,
    Interpolation,
    NativePlan,
    PlanSpec,
    image_kernel_name,
    image_kernels,
    kMaxChannels,
    kMaxSide,
    plan_bytes,
    plan_create,
    plan_free,
    plan_kernels,
    plan_run,
)

from edgecv import _isa
from edgecv.errors import InputError, SessionBusyError

include "gil.pxi"

cdef int active_isa = -1
cdef const ImageKernels* active_kernels = NULL


def use_isa(label=None):
    """Choose the ISA of the kernels by its label; None takes the one of `edgecv._isa`. For tests."""
    global active_isa, active_kernels
    cdef int index = _isa.index(label)
    active_isa = index
    active_kernels = image_kernels(index)


def isa():
    """Label of the ISA whose kernels run."""
    _choose_isa()
    return isa_label(active_isa).decode()


def kernels():
    """Names of all kernels, in the order of their list."""
    names = []
    while image_kernel_name(len(names)) != NULL:
        names.append(image_kernel_name(len(names)).decode())
    return tuple(names)


def memory_floor(frame, out):
    """Read every byte of one contiguous array and write every byte of another, and nothing else.

    The least that any preprocessing does, as a measure for it. `out` holds no image afterwards.
    """
    cdef Py_buffer source, target
    cdef PyThreadState* gil
    _choose_isa()
    _get_buffer(frame, &source, PyBUF_C_CONTIGUOUS, "frame", "a contiguous array")
    try:
        _get_buffer(out, &target, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE, "out", "a writable contiguous array")
        try:
            if source.len == 0 or target.len == 0:
                raise InputError("memory_floor: expected arrays with elements, got an empty one")
            gil = release_gil(source.len + target.len)
            active_kernels.memory_floor(
                <const uint8_t*>source.buf, source.len, <uint8_t*>target.buf, target.len
            )
            take_gil(gil)
        finally:
            PyBuffer_Release(&target)
    finally:
        PyBuffer_Release(&source)


cdef class Plan:
    """Tables and scratch for frames of one geometry and one blob, allocated once.

    frame_shape: (H, W, channels). frame_strides: bytes; the channel's is absent for (H, W) frames.
    resized_wh, blob_wh, offset_xy: as in FrameTransform; along each axis the resized frame lies inside
    the blob or covers it. interpolation: index in nearest, linear, area. sources: the frame's channel of each
    channel of the blob, or with to_gray where its b, g and r are. pad, mean, scale: one for each channel.
    channels_last: the blob is (H, W, C), else (C, H, W).
    """

    cdef NativePlan* plan
    cdef PlanSpec spec
    cdef int ndim
    cdef bint channels_last
    cdef bint busy

    def __cinit__(
        self, *, frame_shape, frame_strides, resized_wh, blob_wh, offset_xy, interpolation, sources, to_gray,
        pad, mean, scale, as_float, channels_last=False
    ):
        cdef PlanSpec* s = &self.spec
        cdef int i
        s.frame_h, s.frame_w, s.channels = frame_shape
        s.row_stride, s.pixel_stride = frame_strides[:2]
        self.ndim = len(frame_strides)
        s.channel_stride = frame_strides[2] if self.ndim == 3 else 1
        s.resized_w, s.resized_h = resized_wh
        s.blob_w, s.blob_h = blob_wh
        s.offset_x, s.offset_y = offset_xy
        if not 0 <= interpolation <= 2:
            raise InputError(f"interpolation: expected 0, 1 or 2, got {interpolation}")
        s.interpolation = <Interpolation><int>interpolation
        s.to_gray = to_gray
        s.as_float = as_float
        s.blob_channels = len(pad)
        self.channels_last = channels_last
        # One channel lies the same either way.
        s.channels_last = channels_last and s.blob_channels > 1
        _check_size("frame_shape", s.frame_w, s.frame_h)
        _check_size("blob_wh", s.blob_w, s.blob_h)
        _check_place("x", s.resized_w, s.blob_w, s.offset_x)
        _check_place("y", s.resized_h, s.blob_h, s.offset_y)
        expected = 3 if to_gray else s.blob_channels
        if (
            s.channels not in (1, 3, 4)
            or not 1 <= s.blob_channels <= kMaxChannels
            or not s.blob_channels == len(mean) == len(scale)
            or len(sources) != expected
            or min(sources) < 0
            or max(sources) >= s.channels
        ):
            raise InputError(
                f"sources: expected {expected} of the frame's {s.channels} channels, got {sources}"
            )
        for i in range(len(sources)):
            s.source[i] = sources[i]
        for i in range(s.blob_channels):
            s.pad[i] = pad[i]
            s.mean[i] = mean[i]
            s.scale[i] = scale[i]
        self.plan = plan_create(self.spec)
        if self.plan == NULL:
            raise MemoryError("no memory for the tables of this frame and blob")

    def __dealloc__(self):
        plan_free(self.plan)

    @property
    def nbytes(self):
        """Bytes of tables and scratch."""
        return plan_bytes(self.plan)

    @property
    def kernels(self):
        """Names of the kernels that a run calls."""
        cdef unsigned used = plan_kernels(self.plan)
        return tuple(name for i, name in enumerate(kernels()) if used >> i & 1)

    def run(self, frame, out):
        """Write the blob of `frame`, uint8 of the plan's shape and strides, to `out`."""
        cdef Py_buffer source, target
        cdef PyThreadState* gil
        _choose_isa()
        if self.busy:
            raise SessionBusyError(
                "preprocessor: another thread is running this one; make one for each thread"
            )
        _get_buffer(frame, &source, PyBUF_STRIDED_RO, "frame", "a uint8 array")
        try:
            self._check_frame(&source)
            _get_buffer(out, &target, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE, "out", self)
            try:
                self._check_out(&target)
                self._check_apart(<uintptr_t>source.buf, <uintptr_t>target.buf, target.len)
                self.busy = True
                gil = release_gil(source.len + target.len)
                plan_run(self.plan, active_kernels[0], <const uint8_t*>source.buf, target.buf)
                take_gil(gil)
                self.busy = False
            finally:
                PyBuffer_Release(&target)
        finally:
            PyBuffer_Release(&source)

    def __str__(self):
        """The array that a run writes."""
        cdef const PlanSpec* s = &self.spec
        dtype = "float32" if s.as_float else "uint8"
        planes = s.blob_channels, s.blob_h, s.blob_w
        shape = (*planes[1:], planes[0]) if self.channels_last else planes
        return f"a writable C-contiguous {dtype} array {shape}"

    cdef int _check_frame(self, const Py_buffer* view) except -1:
        cdef const PlanSpec* s = &self.spec
        if strcmp(view.format, b"B") != 0:
            raise InputError(
                f"frame: expected uint8, got the format {view.format.decode()!r}; "
                "scale other dtypes to 0..255 and convert them with .astype(numpy.uint8)"
            )
        cdef bint same = (
            view.ndim == self.ndim
            and _is_axis(view, 0, s.frame_h, s.row_stride)
            and _is_axis(view, 1, s.frame_w, s.pixel_stride)
            and (view.ndim == 2 or _is_axis(view, 2, s.channels, s.channel_stride))
        )
        if not same:
            raise InputError("frame: expected the shape and strides that the plan was made for")
        return 0

    cdef int _check_out(self, const Py_buffer* view) except -1:
        cdef const PlanSpec* s = &self.spec
        cdef int channel = 2 if self.channels_last else 0
        cdef int row = 0 if self.channels_last else 1
        if (
            strcmp(view.format, b"f" if s.as_float else b"B") != 0
            or view.ndim != 3
            or view.shape[channel] != s.blob_channels
            or view.shape[row] != s.blob_h
            or view.shape[row + 1] != s.blob_w
        ):
            shape = tuple(view.shape[i] for i in range(view.ndim))
            raise InputError(
                f"out: expected {self}, got the format {view.format.decode()!r} and {shape}"
            )
        if <uintptr_t>view.buf % view.itemsize != 0:
            raise InputError("out: expected an aligned array, got a misaligned one; pass another array")
        return 0

    cdef int _check_apart(self, uintptr_t frame, uintptr_t out, size_t out_bytes) except -1:
        cdef const PlanSpec* s = &self.spec
        cdef uintptr_t low = frame, high = frame + 1
        cdef ptrdiff_t[3] reach
        cdef int i
        reach[0] = (s.frame_h - 1) * s.row_stride
        reach[1] = (s.frame_w - 1) * s.pixel_stride
        reach[2] = (s.channels - 1) * s.channel_stride
        for i in range(3):
            if reach[i] < 0:
                low += reach[i]
            else:
                high += reach[i]
        if low < out + out_bytes and out < high:
            raise InputError("out: expected memory of its own, got the frame's; pass another array")
        return 0


cdef inline bint _is_axis(const Py_buffer* view, int axis, ptrdiff_t size, ptrdiff_t stride) noexcept:
    # The stride of an axis of one entry is arbitrary, and NumPy may export another one.
    return view.shape[axis] == size and (size == 1 or view.strides[axis] == stride)


cdef inline int _choose_isa() except -1:
    if active_kernels == NULL:
        use_isa()
    return 0


cdef int _check_size(str name, int width, int height) except -1:
    if not (1 <= width <= kMaxSide and 1 <= height <= kMaxSide):
        raise InputError(f"{name}: expected sides of 1 to {kMaxSide}, got {width} x {height}")
    return 0


cdef int _check_place(str axis, int resized, int blob, int offset) except -1:
    cdef bint inside = resized >= 1 and offset >= 0 and resized <= blob - offset
    cdef bint covers = offset <= 0 and resized >= blob - offset
    if not (inside or covers):
        raise InputError(
            f"offset {axis}: expected {resized} resized pixels inside the blob's {blob}, or over all of them, "
            f"got offset {offset}"
        )
    return 0


cdef int _get_buffer(object value, Py_buffer* view, int flags, str name, object expected) except -1:
    try:
        PyObject_GetBuffer(value, view, flags | PyBUF_FORMAT)
    except (TypeError, BufferError, ValueError) as error:
        raise InputError(f"{name}: expected {expected}, got {_describe(value)} ({error})") from None
    return 0


cdef str _describe(object value):
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{getattr(value, 'dtype', '')} {shape}"
