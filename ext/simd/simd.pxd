from libc.stdint cimport int64_t

cdef extern from "catalog.h" namespace "ecv" nogil:
    cdef struct Names:
        const char* name
        const char* const* items
        int count
    Names op_names(int op)
    Names choice_names(int choice)
    const int kMostTileBlocks
    cdef struct IsaFacts:
        const char* name
        int lanes  # floats
        int registers
        bint pairs
        int tile_blocks
        int tile_pixels[4]
    const IsaFacts* isa_facts(int position)

cdef extern from "kernels.h" namespace "ecv" nogil:
    cdef enum class StepStatus(int):
        ok
        index_outside
        division_by_zero
        capacity
    int simd_lanes(int isa)

cdef extern from "steps.h" namespace "ecv" nogil:
    bint map_nd_supported(int64_t op, int64_t dtype, int64_t y_dtype)
    bint reduce_nd_supported(int64_t kind, int64_t dtype)

cdef extern from "memory.h" namespace "ecv" nogil:
    const int64_t kAlignment

cdef extern from "threads.h" namespace "ecv" nogil:
    const int kMostThreads
    const int kMostCpus
    cdef enum class ThreadsStatus(int):
        ok
        busy
        closed
        out_of_memory
        no_threads
        no_cpu
    cdef struct NativeThreads:
        pass
    ThreadsStatus threads_create(int count, int budget, const int* cpus, int n_cpus, NativeThreads** threads)
    ThreadsStatus threads_close(NativeThreads* threads)
    void threads_free(NativeThreads* threads)
    ThreadsStatus threads_begin(NativeThreads* threads, int64_t scratch_bytes)
    void threads_end(NativeThreads* threads)
    int usable_cpus()

cdef extern from "plan.h" namespace "ecv" nogil:
    cdef struct PlanSpec:
        int isa
        const int64_t* program
        int64_t program_size
        char* constants
        char* weights
        int64_t constant_bytes  # sizes in bytes
        int64_t weight_bytes
        int64_t state_bytes
        int64_t arena_bytes
        const int64_t* io_bytes
        int64_t n_inputs
        int64_t n_outputs
    cdef enum class PlanStatus(int):
        ok
        unsound
        out_of_memory
    cdef struct PlanProblem:
        int64_t step
        const char* what
    cdef struct NativePlan:
        pass
    PlanStatus plan_create(const PlanSpec& spec, NativePlan** plan, PlanProblem* problem)
    void plan_free(NativePlan* plan)
    int64_t plan_steps(const NativePlan* plan)
    int64_t plan_scratch_bytes(const NativePlan* plan)
    cdef enum class RunStatus(int):
        ok
        failed
        cancelled
        late
    cdef struct RunResult:
        RunStatus status
        int64_t step
        StepStatus answer
    cdef struct NativeContext:
        pass
    NativeContext* context_create(const NativePlan* plan)
    void context_free(NativeContext* context)
    void context_reset(NativeContext* context)
    bint context_begin(NativeContext* context)
    void context_end(NativeContext* context)
    RunResult context_run(
        NativeContext* context,
        NativeThreads* threads,
        char* const* io,
        int64_t deadline_ns,
        double* times,  # in ns
    )
    void context_cancel(NativeContext* context)
