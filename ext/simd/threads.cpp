#include "threads.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "denormals.h"
#include "memory.h"

namespace ecv {
namespace {

// A thread that waits spins first: the next step is mostly nearer than the sleep and the waking.
constexpr int64_t kSpinNs = 20000;
// Then it lets others run, and only then sleeps.
constexpr int64_t kYieldNs = 100000;
// Apart by two lines, which the CPU fetches as a pair.
constexpr int64_t kScratchStep = 128;

std::atomic<uint32_t> forks{0};

using Word = std::atomic<uint32_t>;
static_assert(CPU_SETSIZE == kMostCpus, "threads.h says how many");
static_assert(sizeof(Word) == 4, "a futex is 32 bits");

void sleep_while(Word& word, uint32_t value) {
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void wake(Word& word, int n) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, n, nullptr, nullptr, 0); }

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

int64_t now_ns() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * int64_t{1000000000} + t.tv_nsec;
}

// Spins, then yields; whether ready() came true before it is time to sleep.
template <typename Ready>
bool await(int64_t spin_ns, Ready ready) {
    const int64_t start = now_ns();
    for (;;) {
        for (int i = 0; i < 32; ++i) {
            if (ready()) return true;
            if (spin_ns) relax();
        }
        const int64_t waited = now_ns() - start;
        if (waited > kYieldNs) return false;
        if (waited > spin_ns) sched_yield();
    }
}

struct Worker {
    NativeThreads* threads;
    int index;  // of its scratch; the caller's is 0
    pthread_t thread;
};

}  // namespace

struct NativeThreads {
    // What a thread needs to join in, in one cache line.
    alignas(64) std::atomic<uint64_t> ticket{0};  // turn << 32 | chunks that nobody has claimed
    Word turn{0};                                 // counts tasks; sleepers sleep on it
    std::atomic<int> sleepers{0};
    // Written only while no chunk is claimed or to be claimed.
    Task task = {};
    char* scratch = nullptr;

    alignas(64) Word done{0};  // chunks of the task; the caller sleeps on it
    Word caller_sleeps{0};
    std::atomic<int> status{0};

    alignas(64) std::atomic<bool> busy{false};
    std::atomic<bool> stop{false};
    std::atomic<bool> closed{false};
    int count = 1;
    int started = 0;
    int64_t spin_ns = 0;
    int64_t scratch_step = 0;
    uint32_t forks_seen = 0;
    bool is_pinned = false;
    cpu_set_t cpus;
    Worker workers[kMostThreads];
};

namespace {

// Claims and runs chunks until none is left. A claim succeeds only while the task has chunks to claim, and
// the task stands until those claimed are counted as done: what a claimant reads cannot change under it.
void take_chunks(NativeThreads& threads, int index) {
    uint32_t finished = 0;
    uint64_t ticket = threads.ticket.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(ticket) != 0) {
        if (!threads.ticket.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel,
                                                  std::memory_order_acquire))
            continue;
        const Task& task = threads.task;
        const int64_t chunk = task.chunks - static_cast<uint32_t>(ticket);
        const StepStatus status =
            task.run(task.step, *task.memory, chunk, threads.scratch + index * threads.scratch_step);
        if (status != StepStatus::ok)
            threads.status.store(static_cast<int>(status), std::memory_order_relaxed);
        ++finished;
        ticket = threads.ticket.load(std::memory_order_acquire);
    }
    if (finished == 0) return;
    threads.done.fetch_add(finished, std::memory_order_seq_cst);
    if (index != 0 && threads.caller_sleeps.load(std::memory_order_seq_cst)) wake(threads.done, 1);
}

void* work(void* argument) {
    const Worker& worker = *static_cast<const Worker*>(argument);
    NativeThreads& threads = *worker.threads;
    const FlushDenormals mode;
    for (;;) {
        const uint32_t turn = threads.turn.load(std::memory_order_acquire);
        if (threads.stop.load(std::memory_order_acquire)) return nullptr;
        take_chunks(threads, worker.index);
        const auto is_next = [&] { return threads.turn.load(std::memory_order_acquire) != turn; };
        if (await(threads.spin_ns, is_next)) continue;
        // Counted before the futex looks at the turn: the caller changes the turn, then looks at the count.
        threads.sleepers.fetch_add(1, std::memory_order_seq_cst);
        while (!is_next()) sleep_while(threads.turn, turn);
        threads.sleepers.fetch_sub(1, std::memory_order_relaxed);
    }
}

void end_workers(NativeThreads& threads) {
    threads.stop.store(true, std::memory_order_release);
    threads.turn.fetch_add(1, std::memory_order_seq_cst);
    wake(threads.turn, INT_MAX);
    if (threads.forks_seen == fork_count())
        for (int i = 0; i < threads.started; ++i) pthread_join(threads.workers[i].thread, nullptr);
    threads.started = 0;
}

// Whether a thread is now on these processors: the system leaves out those that it may not use.
bool place(pthread_t thread, const cpu_set_t& cpus) {
    cpu_set_t got;
    return !pthread_setaffinity_np(thread, sizeof cpus, &cpus) &&
           !pthread_getaffinity_np(thread, sizeof got, &got) && CPU_EQUAL(&got, &cpus);
}

void* try_place(void* cpus) { return place(pthread_self(), *static_cast<cpu_set_t*>(cpus)) ? cpus : nullptr; }

ThreadsStatus start_workers(NativeThreads& threads) {
    threads.forks_seen = fork_count();
    threads.stop.store(false, std::memory_order_relaxed);
    threads.ticket.store(0, std::memory_order_relaxed);
    threads.sleepers.store(0, std::memory_order_relaxed);
    // Signals are for the threads of the caller.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_placed = true;
    for (threads.started = 0; threads.started < threads.count - 1; ++threads.started) {
        Worker& worker = threads.workers[threads.started];
        worker.threads = &threads;
        worker.index = threads.started + 1;
        if (pthread_create(&worker.thread, nullptr, work, &worker)) break;
        pthread_setname_np(worker.thread, "edgecv");
        if (threads.is_pinned) is_placed &= place(worker.thread, threads.cpus);
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    const bool is_whole = threads.started == threads.count - 1;
    if (is_whole && is_placed) return ThreadsStatus::ok;
    end_workers(threads);
    return is_whole ? ThreadsStatus::no_cpu : ThreadsStatus::no_threads;
}

// After a fork the child has none of the workers, nor the caller that may have held them.
ThreadsStatus renew_after_fork(NativeThreads& threads) {
    if (threads.forks_seen == fork_count()) return ThreadsStatus::ok;
    threads.busy.store(false, std::memory_order_relaxed);
    threads.done.store(0, std::memory_order_relaxed);
    threads.caller_sleeps.store(0, std::memory_order_relaxed);
    return start_workers(threads);
}

bool reserve_scratch(NativeThreads& threads, int64_t bytes) {
    const int64_t step = (bytes + kScratchStep - 1) / kScratchStep * kScratchStep;
    if (step <= threads.scratch_step) return true;
    // Pages are touched at once: what a damaged file asks for must not bring the machine down.
    if (step > physical_memory() / threads.count) return false;
    char* scratch = allocate_zeroed(step * threads.count);
    if (!scratch) return false;
    free(threads.scratch);
    threads.scratch = scratch;
    threads.scratch_step = step;
    return true;
}

}  // namespace

uint32_t fork_count() {
    static const int registered =
        pthread_atfork(nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
    (void)registered;
    return forks.load(std::memory_order_relaxed);
}

int usable_cpus() {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set)) return kMostThreads;  // more CPUs than fit the set
    return CPU_COUNT(&set);
}

ThreadsStatus threads_create(int count, int budget, const int* cpus, int n_cpus, NativeThreads** result) {
    void* data = nullptr;
    if (posix_memalign(&data, alignof(NativeThreads), sizeof(NativeThreads)))
        return ThreadsStatus::out_of_memory;
    NativeThreads* threads = new (data) NativeThreads;
    threads->count = count;
    threads->spin_ns = count <= budget ? kSpinNs : 0;
    threads->is_pinned = n_cpus > 0;
    CPU_ZERO(&threads->cpus);
    for (int i = 0; i < n_cpus; ++i) CPU_SET(cpus[i], &threads->cpus);
    // Of a caller alone too, no worker of which could tell.
    pthread_t probe;
    void* is_placed = &threads->cpus;
    ThreadsStatus status = ThreadsStatus::ok;
    if (threads->is_pinned && pthread_create(&probe, nullptr, try_place, &threads->cpus))
        status = ThreadsStatus::no_threads;
    else if (threads->is_pinned)
        pthread_join(probe, &is_placed);
    if (!is_placed) status = ThreadsStatus::no_cpu;
    if (status == ThreadsStatus::ok) status = start_workers(*threads);
    if (status == ThreadsStatus::ok)
        *result = threads;
    else
        free(data);
    return status;
}

ThreadsStatus threads_close(NativeThreads* threads) {
    if (threads->forks_seen == fork_count() && threads->busy.exchange(true, std::memory_order_acquire))
        return ThreadsStatus::busy;
    if (!threads->closed) end_workers(*threads);
    threads->closed = true;
    threads->busy.store(false, std::memory_order_release);
    return ThreadsStatus::ok;
}

void threads_free(NativeThreads* threads) {
    if (!threads) return;
    threads_close(threads);
    free(threads->scratch);
    free(threads);
}

ThreadsStatus threads_begin(NativeThreads* threads, int64_t scratch_bytes) {
    if (threads->closed) return ThreadsStatus::closed;
    const ThreadsStatus renewed = renew_after_fork(*threads);
    if (renewed != ThreadsStatus::ok) return renewed;
    if (threads->busy.exchange(true, std::memory_order_acquire)) return ThreadsStatus::busy;
    const ThreadsStatus status = threads->closed                            ? ThreadsStatus::closed
                                 : reserve_scratch(*threads, scratch_bytes) ? ThreadsStatus::ok
                                                                            : ThreadsStatus::out_of_memory;
    if (status != ThreadsStatus::ok) threads_end(threads);
    return status;
}

void threads_end(NativeThreads* threads) { threads->busy.store(false, std::memory_order_release); }

StepStatus threads_run(NativeThreads* threads, const Task& task) {
    if (threads->count == 1 || task.chunks <= 1) {
        StepStatus status = StepStatus::ok;
        for (int64_t chunk = 0; chunk < task.chunks; ++chunk) {
            const StepStatus answer = task.run(task.step, *task.memory, chunk, threads->scratch);
            if (answer != StepStatus::ok) status = answer;
        }
        return status;
    }
    const uint32_t chunks = static_cast<uint32_t>(task.chunks);
    threads->task = task;
    threads->status.store(0, std::memory_order_relaxed);
    threads->done.store(0, std::memory_order_relaxed);
    const uint32_t turn = threads->turn.load(std::memory_order_relaxed) + 1;
    threads->ticket.store(uint64_t{turn} << 32 | chunks, std::memory_order_release);
    threads->turn.store(turn, std::memory_order_seq_cst);
    if (threads->sleepers.load(std::memory_order_seq_cst)) wake(threads->turn, static_cast<int>(chunks - 1));
    take_chunks(*threads, 0);
    const auto is_done = [&] { return threads->done.load(std::memory_order_acquire) == chunks; };
    if (!is_done() && !await(threads->spin_ns, is_done)) {
        // As with the sleepers: first the flag, then the futex looks at the count.
        threads->caller_sleeps.store(1, std::memory_order_seq_cst);
        for (uint32_t done; (done = threads->done.load(std::memory_order_seq_cst)) != chunks;)
            sleep_while(threads->done, done);
        threads->caller_sleeps.store(0, std::memory_order_relaxed);
    }
    return static_cast<StepStatus>(threads->status.load(std::memory_order_relaxed));
}

}  // namespace ecv
