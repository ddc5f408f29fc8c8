// A program, examined once, which any number of contexts run; and a context: the memory of one run at a time.
#pragma once

#include "ops.h"
#include "threads.h"

namespace ecv {

// Everything is copied but the constants and the weights, which the caller keeps alive and unchanged, 64-byte
// aligned. Plans of one model for other shapes share the weights; tables are among the constants.
struct PlanSpec {
    int isa;
    const int64_t* program;  // op, its fields, op, its fields…; after a band's fields its steps
    int64_t program_size;    // in int64
    char* constants;
    char* weights;
    int64_t constant_bytes, weight_bytes, state_bytes, arena_bytes;
    const int64_t* io_bytes;  // of the inputs, then of the outputs
    int64_t n_inputs, n_outputs;
};

enum class PlanStatus : int { ok, unsound, out_of_memory };

// What is wrong with a program: one line, and the step it is in, -1 for the program as a whole.
struct PlanProblem {
    int64_t step;
    const char* what;
};

struct NativePlan;

// Sound programs are never changed: any thread may make contexts of one, and run them.
PlanStatus plan_create(const PlanSpec& spec, NativePlan** plan, PlanProblem* problem);
void plan_free(NativePlan* plan);

int64_t plan_steps(const NativePlan* plan);
// Scratch of one thread; each has as much of its own.
int64_t plan_scratch_bytes(const NativePlan* plan);

enum class RunStatus : int { ok, failed, cancelled, late };

struct RunResult {
    RunStatus status;
    int64_t step;       // that failed, or that did not start
    StepStatus answer;  // of the step that failed
};

struct NativeContext;

// State and arena of one run at a time. The plan has to outlive it. nullptr where there is no memory.
NativeContext* context_create(const NativePlan* plan);
void context_free(NativeContext* context);

// Forgets a cancel that no run has met.
void context_reset(NativeContext* context);

// A run holds the context from begin to end. False where another one does.
bool context_begin(NativeContext* context);
void context_end(NativeContext* context);

// io: where the inputs, then the outputs lie. deadline_ns: of CLOCK_MONOTONIC, 0 for none. times: nullptr, or
// for each step the least time seen so far in ns, of which this run makes the least. The caller holds the
// context and the threads.
RunResult context_run(NativeContext* context, NativeThreads* threads, char* const* io, int64_t deadline_ns,
                      double* times);

// The run in progress ends before its next step, and else the next one before its first, until a reset. From
// any thread.
void context_cancel(NativeContext* context);

}  // namespace ecv
