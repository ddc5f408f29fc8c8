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
from libc.stdlib cimport free, malloc
from libc.string cimport strcmp

from isa cimport isa_label
from plan cimport (
    FrameFormat,
    FramePlanes,
    ImageKernels,
    Interpolation,
    NativePlan,
    PlanSpec,
    image_kernel_name,
    image_kernels,
    kMaxChannels,
    kMaxSide,
    kYuvSlack,
    plan_bytes,
    plan_create,
    plan_free,
    plan_kernels,
    plan_run,
    yuv_to_bgr,
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


def to_bgr(planes, out, *, format, rule):
    """Write the pixels of a YUV frame to `out`, uint8 (H, W, 3), C-contiguous, side by side b, g, r.

    planes, format, rule: as for `Plan`; H and W are those of the first plane's pixels. Allocates a row.
    """
    cdef PlanSpec spec
    cdef Views views
    cdef Py_buffer target
    cdef uint8_t* scratch
    cdef PyThreadState* gil
    _choose_isa()
    _get_buffer(out, &target, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE, "out", "a writable contiguous array")
    try:
        if strcmp(target.format, b"B") != 0 or target.ndim != 3 or target.shape[2] != 3:
            raise InputError(f"out: expected uint8 (H, W, 3), got {_describe(out)}")
        spec.channels = 3
        spec.frame_h, spec.frame_w = target.shape[0], target.shape[1]
        _check_size("out", spec.frame_w, spec.frame_h)
        _set_yuv(&spec, format, rule, [array.strides[0] for array in planes])
        views = Views(planes)
        _check_planes(&spec, views)
        _check_apart(&spec, views, <uintptr_t>target.buf, target.len)
        scratch = <uint8_t*>malloc(3 * <size_t>spec.frame_w + kYuvSlack)
        if scratch == NULL:
            raise MemoryError("no memory for a row of the frame")
        gil = release_gil(_work_bytes(&spec) + target.len)
        yuv_to_bgr(spec, active_kernels[0], views.planes, scratch, <uint8_t*>target.buf)
        take_gil(gil)
        free(scratch)
    finally:
        PyBuffer_Release(&target)


cdef class Views:
    """The memory of a frame's planes, held while this lives. planes: one array, or a tuple of up to 3."""

    cdef Py_buffer[3] of
    cdef FramePlanes planes
    cdef int count

    def __cinit__(self, planes):
        self.count = 0
        if type(planes) is not tuple:
            self.take(planes)
            return
        if not 1 <= len(planes) <= 3:
            raise InputError(f"frame: expected 1 to 3 planes, got {len(planes)}")
        for plane in planes:
            self.take(plane)

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            PyBuffer_Release(&self.of[i])

    cdef int take(self, plane) except -1:
        _get_buffer(plane, &self.of[self.count], PyBUF_STRIDED_RO, "frame", "an array")
        self.planes.at[self.count] = <const uint8_t*>self.of[self.count].buf
        self.count += 1
        return 0


cdef class Plan:
    """Tables and scratch for frames of one geometry and one blob, allocated once.

    frame_shape: (H, W, channels). frame_strides: bytes; the channel's is absent for (H, W) frames. format:
    index in pixels, gray16, nv12, i420, yuyv, uyvy. Of YUV frame_shape has 3 channels, or 1 for the luma
    alone; frame_strides is each plane's from row to row; and rule is what makes the channels: weights and
    bias of `YuvRule`, in its order. `frame` is then a tuple of planes, uint8, bytes of a row side by side:
    (H, W) of y, with (H / 2, W) of pairs u and v, or (H / 2, W / 2) of u and of v; (H, 2 W) of all.
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
        pad, mean, scale, as_float, channels_last=False, format=0, rule=None
    ):
        cdef PlanSpec* s = &self.spec
        cdef int i
        s.frame_h, s.frame_w, s.channels = frame_shape
        if format > 1:
            _set_yuv(s, format, rule, frame_strides)
        else:
            s.format = <FrameFormat><int>format
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
        if s.format == FrameFormat.gray16 and not (s.channels == 1 == s.blob_channels and as_float):
            raise InputError("frame: 16 bits make a gray float32 blob alone")
        if (
            s.channels not in (1, 3, 4)
            or (format > 1 and s.channels == 4)
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
        """Write the blob of `frame`, of the plan's shape, strides and type, to `out`."""
        cdef Py_buffer target
        cdef Views views
        cdef PyThreadState* gil
        _choose_isa()
        if self.busy:
            raise SessionBusyError(
                "preprocessor: another thread is running this one; make one for each thread"
            )
        views = Views(frame)
        self._check_frame(views)
        _get_buffer(out, &target, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE, "out", self)
        try:
            self._check_out(&target)
            _check_apart(&self.spec, views, <uintptr_t>target.buf, target.len)
            self.busy = True
            gil = release_gil(_work_bytes(&self.spec) + target.len)
            plan_run(self.plan, active_kernels[0], views.planes, target.buf)
            take_gil(gil)
            self.busy = False
        finally:
            PyBuffer_Release(&target)

    def __str__(self):
        """The array that a run writes."""
        cdef const PlanSpec* s = &self.spec
        dtype = "float32" if s.as_float else "uint8"
        planes = s.blob_channels, s.blob_h, s.blob_w
        shape = (*planes[1:], planes[0]) if self.channels_last else planes
        return f"a writable C-contiguous {dtype} array {shape}"

    cdef int _check_frame(self, Views views) except -1:
        cdef const PlanSpec* s = &self.spec
        cdef const Py_buffer* view = &views.of[0]
        cdef bint is_wide = s.format == FrameFormat.gray16
        if s.format != FrameFormat.pixels and not is_wide:
            return _check_planes(s, views)
        # What is misaligned is exported as "=H", and read all the same.
        if is_wide and strcmp(view.format, b"H") != 0 and strcmp(view.format, b"=H") != 0:
            raise InputError(
                f"frame: expected uint16, got the format {view.format.decode()!r}; "
                "the model takes pixels of 16 bits"
            )
        if not is_wide and strcmp(view.format, b"B") != 0:
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
        if not same or views.count != 1:
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


cdef int _set_yuv(PlanSpec* s, int format, rule, row_strides) except -1:
    """What describes the planes of a YUV frame, and how they become pixels."""
    cdef int planes = 2 if format == 2 else 3 if format == 3 else 1
    if not 2 <= format <= 5:
        raise InputError(f"format: expected 2 to 5 for a YUV frame, got {format}")
    if len(row_strides) != planes:
        raise InputError(f"frame: expected {planes} planes, got {len(row_strides)}")
    s.format = <FrameFormat>format
    s.pixel_stride = s.channels
    s.channel_stride = 1
    s.row_stride = row_strides[0]
    for i in range(1, planes):
        s.chroma_stride[i - 1] = row_strides[i]
    s.rule.y, s.rule.bias, s.rule.b_of_u, s.rule.g_of_u, s.rule.g_of_v, s.rule.r_of_v = rule
    if s.frame_w % 2 or (planes > 1 and s.frame_h % 2):
        raise InputError(f"frame: expected whole pairs of pixels, got {s.frame_w} x {s.frame_h}")
    return 0


cdef size_t _work_bytes(const PlanSpec* s) noexcept:
    """The frame's bytes; of YUV those of the pixels that it becomes."""
    return <size_t>s.frame_w * s.frame_h * s.channels * (2 if s.format == FrameFormat.gray16 else 1)


cdef int _check_planes(const PlanSpec* s, Views views) except -1:
    cdef bint same = True
    cdef int i, rows, width
    cdef int expected = 2 if s.format == FrameFormat.nv12 else 3 if s.format == FrameFormat.i420 else 1
    cdef const Py_buffer* view
    if views.count != expected:
        raise InputError(f"frame: expected {expected} planes, got {views.count}")
    for i in range(expected):
        view = &views.of[i]
        rows = s.frame_h if i == 0 else s.frame_h // 2
        width = s.frame_w * 2 if expected == 1 else s.frame_w // 2 if i and expected == 3 else s.frame_w
        same = (
            same
            and strcmp(view.format, b"B") == 0
            and view.ndim == 2
            and _is_axis(view, 0, rows, s.chroma_stride[i - 1] if i else s.row_stride)
            and _is_axis(view, 1, width, 1)
        )
    if not same:
        raise InputError("frame: expected uint8 planes of the shapes and strides that the plan was made for")
    return 0


cdef int _check_apart(const PlanSpec* s, Views views, uintptr_t out, size_t out_bytes) except -1:
    cdef uintptr_t low, high
    cdef ptrdiff_t reach
    cdef int plane, axis
    for plane in range(views.count):
        low = <uintptr_t>views.of[plane].buf
        high = low + views.of[plane].itemsize
        for axis in range(views.of[plane].ndim):
            reach = (views.of[plane].shape[axis] - 1) * views.of[plane].strides[axis]
            if reach < 0:
                low += reach
            else:
                high += reach
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
