// Threads that share the chunks of a step: the caller and workers, which claim chunks one by one, so that a
// thread that a busy neighbor slows down does less.
#pragma once

#include "ops.h"

namespace ecv {

constexpr int kMostThreads = 256;
constexpr int64_t kMostChunks = INT32_MAX;

struct NativeThreads;

enum class ThreadsStatus : int { ok, busy, closed, out_of_memory, no_threads, no_cpu };

// What a step is to the threads that run it.
struct Task {
    Kernel run;
    const void* step;
    const Memory* memory;
    int64_t chunks;
};

constexpr int kMostCpus = 1024;

// count: 1 to kMostThreads, the caller included. budget: how many of them can run at a time; where they are
// fewer, waiting threads do not spin. cpus: n_cpus processors, each below kMostCpus, that the workers stay
// on; of none they inherit the affinity of the calling thread. no_cpu where they may not run on these.
ThreadsStatus threads_create(int count, int budget, const int* cpus, int n_cpus, NativeThreads** threads);

// Ends the workers; busy where a run holds the threads. What they have stays, closed, until it is freed.
ThreadsStatus threads_close(NativeThreads* threads);
void threads_free(NativeThreads* threads);

// A run holds the threads from begin to end. begin allocates only where a run needs more scratch than all
// before it, and starts workers anew only in a process that was forked.
ThreadsStatus threads_begin(NativeThreads* threads, int64_t scratch_bytes);
void threads_end(NativeThreads* threads);

// Runs all chunks of a step; the caller holds the threads. What the last chunk that failed answered, or ok.
StepStatus threads_run(NativeThreads* threads, const Task& task);

// CPUs that the calling thread may run on.
int usable_cpus();

// How many times this process is a fork of one that used this module: threads and locks did not come along.
uint32_t fork_count();

}  // namespace ecv
