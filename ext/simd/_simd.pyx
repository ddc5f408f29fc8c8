"""The boundary to the native CPU engine: checks arguments, releases the GIL, calls, raises.

A program is a flat int64 array: an op's position in `OPS`, its fields, the next op… `ext/simd/ops.h`
describes what every field means.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport calloc, free

from isa cimport isa_from_label, isa_is_supported
from simd cimport (
    IsaFacts as NativeFacts,
    Names,
    NativeContext,
    NativePlan,
    NativeThreads,
    PlanProblem,
    PlanSpec,
    PlanStatus,
    RunResult,
    RunStatus,
    StepStatus,
    ThreadsStatus,
    choice_names,
    context_begin,
    context_cancel,
    context_create,
    context_end,
    context_free,
    context_reset,
    context_run,
    isa_facts,
    kAlignment,
    kMostCpus,
    kMostThreads,
    kMostTileBlocks,
    map_nd_supported,
    op_names,
    plan_create,
    plan_free,
    plan_scratch_bytes,
    plan_steps,
    reduce_nd_supported,
    simd_lanes,
    threads_begin,
    threads_close,
    threads_create,
    threads_end,
    threads_free,
    usable_cpus,
)

from collections import namedtuple

import numpy as np

from edgecv import _isa
from edgecv.errors import (
    BackendError,
    CancelledError,
    DeadlineError,
    InputError,
    ModelFileError,
    SessionBusyError,
    UnavailableError,
)


cdef dict _catalog(Names (*names_at)(int) noexcept nogil):
    cdef Names names
    cdef int i, position = 0
    found = {}
    while True:
        names = names_at(position)
        if names.name == NULL:
            return found
        found[names.name.decode()] = tuple([names.items[i].decode() for i in range(names.count)])
        position += 1


OPS = _catalog(&op_names)
CHOICES = _catalog(&choice_names)

IsaFacts = namedtuple("IsaFacts", ("lanes", "registers", "pairs", "tile_blocks", "tile_pixels"))


cdef dict _facts():
    cdef const NativeFacts* facts = isa_facts(0)
    cdef int i
    found = {}
    while facts != NULL:
        pixels = tuple([facts.tile_pixels[i] for i in range(kMostTileBlocks)])
        found[facts.name.decode()] = IsaFacts(
            facts.lanes, facts.registers, bool(facts.pairs), facts.tile_blocks, pixels
        )
        facts = isa_facts(len(found))
    return found


ISA_FACTS = _facts()


cdef int _isa_index(object label) except -1:
    cdef int index = isa_from_label(label.encode()) if isinstance(label, str) else -1
    if index < 0:
        raise InputError(f"isa: expected one of {', '.join(_isa.built())}, got {label!r}")
    return index


def lanes(isa):
    """Lanes of float32 of an ISA, by its label: those of the blocked storage of its programs."""
    return simd_lanes(_isa_index(isa))


cdef int64_t _choice(str name, object item) except -1:
    if item not in CHOICES[name]:
        raise InputError(f"{name}: expected one of {', '.join(CHOICES[name])}, got {item!r}")
    return CHOICES[name].index(item)


def map_supported(op, dtype, y_dtype):
    """Whether a `map_nd` step has the operation for these dtypes, all by their names in `CHOICES`."""
    return bool(map_nd_supported(_choice("map_op", op), _choice("dtype", dtype), _choice("dtype", y_dtype)))


def reduce_supported(kind, dtype):
    """Whether a `reduce_nd` step has the kind for this dtype, both by their names in `CHOICES`."""
    return bool(reduce_nd_supported(_choice("reduce_kind", kind), _choice("dtype", dtype)))


cdef class Pool:
    """Threads that share the steps of a run: the caller and workers that sleep between runs.

    threads: 1 to 256, the caller included. budget: how many of them may run at a time (affinity, a
    container's quota), by default the processors that the calling thread may use; with fewer than threads,
    waiting threads do not spin. cpus: processors that the workers stay on, None for those of the calling
    thread, which stays where it is. A pool serves one run at a time, of any context.
    """

    cdef NativeThreads* native
    cdef readonly int threads
    cdef readonly tuple cpus

    def __cinit__(self, threads, *, budget=None, cpus=None):
        cdef ThreadsStatus status
        cdef int most = usable_cpus()
        cdef int[::1] places
        cdef int n_places = 0
        cdef const int* first = NULL
        self.threads = _whole("threads", threads, 1, kMostThreads)
        if budget is not None:
            most = _whole("budget", budget, 1, 1 << 30)
        if cpus is not None:
            self.cpus = tuple([_whole("cpus", cpu, 0, kMostCpus - 1) for cpu in cpus])
            places = np.array(self.cpus, np.intc)
            n_places = len(self.cpus)
            if n_places == 0:
                raise InputError("cpus: expected at least one processor, got none; None lets workers run anywhere")
            first = &places[0]
        with nogil:
            status = threads_create(self.threads, most, first, n_places, &self.native)
        self._check(status)

    def __dealloc__(self):
        threads_free(self.native)

    def close(self):
        """End the workers. A closed pool runs nothing any more; closing it again does nothing."""
        cdef ThreadsStatus status
        with nogil:
            status = threads_close(self.native)
        self._check(status)

    cdef int _check(self, ThreadsStatus status) except -1:
        if status == ThreadsStatus.busy:
            raise SessionBusyError("pool: another thread is running on this one; make one for each thread")
        if status == ThreadsStatus.closed:
            raise BackendError("pool: it is closed; make a new one")
        if status == ThreadsStatus.out_of_memory:
            raise MemoryError("pool: no memory for the threads' scratch")
        if status == ThreadsStatus.no_threads:
            raise BackendError(f"pool: the system does not start {self.threads - 1} threads; ask for fewer")
        if status == ThreadsStatus.no_cpu:
            raise InputError(
                f"cpus: expected processors that this process may run on, got {', '.join(map(str, self.cpus))}"
            )
        return 0


NO_BYTES = np.empty(0, np.uint8)


cdef class Plan:
    """A sound program, never changed: any thread may make contexts of it, and they run it.

    isa: label of the ISA that the program is packed for. steps: int64 (n,), ops and their fields. labels: a
    name for each step, for errors. constants, weights: uint8 (n,), kept by reference where they are 64-byte
    aligned; they must not change. Tables are read from the constants alone. input_bytes, output_bytes: sizes of the arrays that a run brings.
    Raises ModelFileError for a program that is not sound, InputError for arguments that are not of these
    types, UnavailableError for an ISA that this CPU lacks, MemoryError.
    """

    cdef NativePlan* plan
    cdef int64_t[::1] io_bytes
    cdef Py_ssize_t n_inputs, n_io
    cdef object constants
    cdef object weights
    cdef tuple labels
    cdef readonly str isa
    cdef readonly int64_t arena_bytes, state_bytes, constant_bytes, weight_bytes

    def __cinit__(
        self,
        *,
        isa,
        steps,
        labels,
        constants,
        state_bytes,
        arena_bytes,
        input_bytes,
        output_bytes,
        weights=NO_BYTES,
    ):
        cdef PlanSpec spec
        cdef PlanProblem problem
        cdef PlanStatus status
        cdef const int64_t[::1] program
        cdef const unsigned char[::1] constant_view
        cdef const unsigned char[::1] weight_view
        spec.isa = _isa_index(isa)
        if not isa_is_supported(spec.isa):
            raise UnavailableError(
                f"isa: {isa} is not supported by this CPU; usable here: {', '.join(_isa.usable())}"
            )
        self.isa = isa
        program = _vector("steps", steps, np.int64)
        self.constants = _aligned(_vector("constants", constants, np.uint8))
        self.weights = _aligned(_vector("weights", weights, np.uint8))
        constant_view, weight_view = self.constants, self.weights
        if not isinstance(labels, tuple):
            raise InputError(f"labels: expected a tuple, got {type(labels).__name__}")
        self.labels = labels
        self.io_bytes = np.concatenate(
            [_sizes("input_bytes", input_bytes), _sizes("output_bytes", output_bytes)]
        )
        self.n_inputs, self.n_io = len(input_bytes), len(input_bytes) + len(output_bytes)
        self.constant_bytes = constant_view.shape[0]
        self.weight_bytes = weight_view.shape[0]
        self.state_bytes = _whole("state_bytes", state_bytes, 0, 1 << 48)
        self.arena_bytes = _whole("arena_bytes", arena_bytes, 0, 1 << 48)
        spec.program_size = program.shape[0]
        spec.program = &program[0] if spec.program_size else NULL
        spec.constant_bytes = self.constant_bytes
        spec.constants = <char*>&constant_view[0] if self.constant_bytes else NULL
        spec.weight_bytes = self.weight_bytes
        spec.weights = <char*>&weight_view[0] if self.weight_bytes else NULL
        spec.state_bytes = self.state_bytes
        spec.arena_bytes = self.arena_bytes
        spec.n_inputs, spec.n_outputs = self.n_inputs, self.n_io - self.n_inputs
        spec.io_bytes = &self.io_bytes[0] if self.n_io else NULL
        with nogil:
            status = plan_create(spec, &self.plan, &problem)
        if status == PlanStatus.unsound:
            where = "program" if problem.step < 0 else self._step(problem.step)
            raise ModelFileError(f"{where}: {problem.what.decode()}")
        if status == PlanStatus.out_of_memory:
            raise MemoryError(f"no memory for a plan of {self.arena_bytes + self.state_bytes} bytes")
        if plan_steps(self.plan) != len(labels):
            raise InputError(f"labels: expected one a step, {plan_steps(self.plan)}, got {len(labels)}")

    def __dealloc__(self):
        plan_free(self.plan)

    @property
    def scratch_bytes(self):
        """Scratch that each thread of the pool needs."""
        return plan_scratch_bytes(self.plan)

    cdef str _step(self, int64_t step):
        label = f" ({self.labels[step]})" if step < len(self.labels) else ""
        return f"step {step}{label}"


cdef class Context:
    """The memory of one run at a time of a plan: its state and its arena. MemoryError where there is none."""

    cdef readonly Plan plan
    cdef NativeContext* context
    cdef Py_buffer* views  # of the inputs and outputs of the run in progress
    cdef char** io
    cdef Py_ssize_t taken

    def __cinit__(self, Plan plan not None):
        self.plan = plan
        self.views = <Py_buffer*>calloc(plan.n_io + 1, sizeof(Py_buffer))
        self.io = <char**>calloc(plan.n_io + 1, sizeof(char*))
        if self.views != NULL and self.io != NULL:
            with nogil:
                self.context = context_create(plan.plan)
        if self.context == NULL:
            raise MemoryError(f"no memory for a run of {plan.arena_bytes + plan.state_bytes} bytes")

    def __dealloc__(self):
        context_free(self.context)
        free(self.views)
        free(self.io)

    def run(self, Pool pool not None, tuple inputs not None, tuple outputs not None, deadline_ns=0):
        """Run the program: C-contiguous arrays of the plan's sizes in, others of them written.

        deadline_ns: of time.monotonic_ns(), 0 for none; checked before each step.
        Raises DeadlineError, CancelledError, SessionBusyError, InputError for arrays that do not fit or
        values that the program cannot work on. The context remains usable after any of them; the outputs are
        then unspecified.
        """
        cdef RunResult result
        cdef int64_t deadline = _whole("deadline_ns", deadline_ns, 0, (1 << 63) - 1)
        self._begin(pool)
        try:
            self._take(inputs, outputs)
            with nogil:
                result = context_run(self.context, pool.native, self.io, deadline, NULL)
        finally:
            self._end(pool)
        self._check(result)

    def step_times(self, Pool pool not None, tuple inputs not None, tuple outputs not None, repeats):
        """Least time of each step in ns over `repeats` runs, float64 (steps,)."""
        cdef RunResult result
        cdef int64_t runs = _whole("repeats", repeats, 1, 1 << 30)
        cdef int64_t i
        cdef Py_ssize_t steps = len(self.plan.labels)
        times = np.full(steps + 1, INFINITY)
        cdef double[::1] view = times
        self._begin(pool)
        try:
            self._take(inputs, outputs)
            with nogil:
                for i in range(runs):
                    result = context_run(self.context, pool.native, self.io, 0, &view[0])
                    if result.status != RunStatus.ok:
                        break
        finally:
            self._end(pool)
        self._check(result)
        return times[:steps]

    def reset(self):
        """Forget a cancel that no run has met."""
        context_reset(self.context)

    def cancel(self):
        """End the run in progress before its next step, else the next run before its first; it raises
        CancelledError. From any thread.
        """
        context_cancel(self.context)

    cdef int _begin(self, Pool pool) except -1:
        cdef ThreadsStatus status
        if not context_begin(self.context):
            raise SessionBusyError("context: another thread is running this one; make one for each thread")
        status = threads_begin(pool.native, plan_scratch_bytes(self.plan.plan))
        if status != ThreadsStatus.ok:
            context_end(self.context)
            pool._check(status)
        return 0

    cdef int _end(self, Pool pool) except -1:
        cdef Py_ssize_t i
        for i in range(self.taken):
            PyBuffer_Release(&self.views[i])
        self.taken = 0
        threads_end(pool.native)
        context_end(self.context)
        return 0

    cdef int _take(self, tuple inputs, tuple outputs) except -1:
        cdef Py_ssize_t i, k
        cdef Py_buffer* view
        cdef Py_ssize_t n_inputs = self.plan.n_inputs
        cdef Py_ssize_t n_io = self.plan.n_io
        if len(inputs) != n_inputs or len(outputs) != n_io - n_inputs:
            raise InputError(
                f"arrays: expected {n_inputs} inputs and {n_io - n_inputs} outputs, "
                f"got {len(inputs)} and {len(outputs)}"
            )
        for i in range(n_io):
            if i < n_inputs:
                self._take_one(i, inputs[i], PyBUF_SIMPLE)
            else:
                self._take_one(i, outputs[i - n_inputs], PyBUF_WRITABLE)
                view = &self.views[i]
                for k in range(i):
                    if (
                        <uintptr_t>view.buf < <uintptr_t>self.views[k].buf + self.views[k].len
                        and <uintptr_t>self.views[k].buf < <uintptr_t>view.buf + view.len
                    ):
                        raise InputError(
                            f"{self._array(i)}: expected memory of its own, got that of {self._array(k)}"
                        )
        return 0

    cdef str _array(self, Py_ssize_t i):
        return f"input {i}" if i < self.plan.n_inputs else f"output {i - self.plan.n_inputs}"

    cdef int _take_one(self, Py_ssize_t i, object array, int access) except -1:
        cdef Py_buffer* view = &self.views[i]
        try:
            PyObject_GetBuffer(array, view, PyBUF_C_CONTIGUOUS | access)
        except (TypeError, BufferError, ValueError) as error:
            kind = "a C-contiguous array" if access == PyBUF_SIMPLE else "a writable C-contiguous array"
            raise InputError(
                f"{self._array(i)}: expected {kind}, got {type(array).__name__} ({error})"
            ) from None
        self.taken = i + 1
        if view.len != self.plan.io_bytes[i]:
            raise InputError(f"{self._array(i)}: expected {self.plan.io_bytes[i]} bytes, got {view.len}")
        if view.itemsize > 0 and <uintptr_t>view.buf % view.itemsize != 0:
            raise InputError(f"{self._array(i)}: expected an aligned array, got a misaligned one; pass a copy()")
        self.io[i] = <char*>view.buf
        return 0

    cdef int _check(self, RunResult result) except -1:
        if result.status == RunStatus.ok:
            return 0
        where = self.plan._step(result.step)
        if result.status == RunStatus.cancelled:
            raise CancelledError(f"{where}: the run was cancelled before it")
        if result.status == RunStatus.late:
            raise DeadlineError(f"{where}: the deadline passed before it, of {len(self.plan.labels)} steps")
        if result.answer == StepStatus.index_outside:
            raise InputError(f"{where}: an index lies outside of what it points into")
        if result.answer == StepStatus.division_by_zero:
            raise InputError(f"{where}: a whole number is divided by zero")
        raise BackendError(f"{where}: more results than there is room for")


cdef int64_t _whole(str name, object value, int64_t least, int64_t most) except? -1:
    if isinstance(value, bool) or not hasattr(value, "__index__") or not least <= value <= most:
        raise InputError(f"{name}: expected a whole number from {least} to {most}, got {value!r}")
    return value


cdef object _vector(str name, object value, object dtype):
    if not isinstance(value, np.ndarray) or value.dtype != dtype or value.ndim != 1:
        got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise InputError(f"{name}: expected {np.dtype(dtype)} (n,), got {got}")
    return np.ascontiguousarray(value)


cdef object _aligned(object constants):
    if constants.ctypes.data % kAlignment == 0:
        return constants
    room = np.empty(constants.size + kAlignment, np.uint8)
    start = -room.ctypes.data % kAlignment
    room[start : start + constants.size] = constants
    return room[start : start + constants.size]


cdef object _sizes(str name, object sizes):
    if not isinstance(sizes, tuple):
        raise InputError(f"{name}: expected a tuple, got {type(sizes).__name__}")
    return np.array([_whole(name, size, 0, 1 << 48) for size in sizes], np.int64)
