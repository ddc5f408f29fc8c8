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
static_assert(CPU_SETSIZE == kMostCpus, "pool.h says how many");
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
    NativePool* pool;
    int index;  // of its scratch; the caller's is 0
    pthread_t thread;
};

}  // namespace

struct NativePool {
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
    int threads = 1;
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
void take_chunks(NativePool& pool, int index) {
    uint32_t finished = 0;
    uint64_t ticket = pool.ticket.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(ticket) != 0) {
        if (!pool.ticket.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel,
                                               std::memory_order_acquire))
            continue;
        const Task& task = pool.task;
        const int64_t chunk = task.chunks - static_cast<uint32_t>(ticket);
        const StepStatus status =
            task.run(task.step, *task.memory, chunk, pool.scratch + index * pool.scratch_step);
        if (status != StepStatus::ok) pool.status.store(static_cast<int>(status), std::memory_order_relaxed);
        ++finished;
        ticket = pool.ticket.load(std::memory_order_acquire);
    }
    if (finished == 0) return;
    pool.done.fetch_add(finished, std::memory_order_seq_cst);
    if (index != 0 && pool.caller_sleeps.load(std::memory_order_seq_cst)) wake(pool.done, 1);
}

void* work(void* argument) {
    const Worker& worker = *static_cast<const Worker*>(argument);
    NativePool& pool = *worker.pool;
    const FlushDenormals mode;
    for (;;) {
        const uint32_t turn = pool.turn.load(std::memory_order_acquire);
        if (pool.stop.load(std::memory_order_acquire)) return nullptr;
        take_chunks(pool, worker.index);
        const auto is_next = [&] { return pool.turn.load(std::memory_order_acquire) != turn; };
        if (await(pool.spin_ns, is_next)) continue;
        // Counted before the futex looks at the turn: the caller changes the turn, then looks at the count.
        pool.sleepers.fetch_add(1, std::memory_order_seq_cst);
        while (!is_next()) sleep_while(pool.turn, turn);
        pool.sleepers.fetch_sub(1, std::memory_order_relaxed);
    }
}

void end_workers(NativePool& pool) {
    pool.stop.store(true, std::memory_order_release);
    pool.turn.fetch_add(1, std::memory_order_seq_cst);
    wake(pool.turn, INT_MAX);
    if (pool.forks_seen == fork_count())
        for (int i = 0; i < pool.started; ++i) pthread_join(pool.workers[i].thread, nullptr);
    pool.started = 0;
}

PoolStatus start_workers(NativePool& pool) {
    pool.forks_seen = fork_count();
    pool.stop.store(false, std::memory_order_relaxed);
    pool.ticket.store(0, std::memory_order_relaxed);
    pool.sleepers.store(0, std::memory_order_relaxed);
    // Signals are for the threads of the caller.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool is_placed = true;
    for (pool.started = 0; pool.started < pool.threads - 1; ++pool.started) {
        Worker& worker = pool.workers[pool.started];
        worker.pool = &pool;
        worker.index = pool.started + 1;
        if (pthread_create(&worker.thread, nullptr, work, &worker)) break;
        pthread_setname_np(worker.thread, "edgecv");
        is_placed &= !pool.is_pinned || !pthread_setaffinity_np(worker.thread, sizeof pool.cpus, &pool.cpus);
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    const bool is_whole = pool.started == pool.threads - 1;
    if (is_whole && is_placed) return PoolStatus::ok;
    end_workers(pool);
    return is_whole ? PoolStatus::no_cpu : PoolStatus::no_threads;
}

// After a fork the child has none of the workers, nor the thread that may have held the pool.
PoolStatus renew_after_fork(NativePool& pool) {
    if (pool.forks_seen == fork_count()) return PoolStatus::ok;
    pool.busy.store(false, std::memory_order_relaxed);
    pool.done.store(0, std::memory_order_relaxed);
    pool.caller_sleeps.store(0, std::memory_order_relaxed);
    return start_workers(pool);
}

bool reserve_scratch(NativePool& pool, int64_t bytes) {
    const int64_t step = (bytes + kScratchStep - 1) / kScratchStep * kScratchStep;
    if (step <= pool.scratch_step) return true;
    // Pages are touched at once: what a damaged file asks for must not bring the machine down.
    if (step > physical_memory() / pool.threads) return false;
    char* scratch = allocate_zeroed(step * pool.threads);
    if (!scratch) return false;
    free(pool.scratch);
    pool.scratch = scratch;
    pool.scratch_step = step;
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

PoolStatus pool_create(int threads, int budget, const int* cpus, int n_cpus, NativePool** result) {
    void* data = nullptr;
    if (posix_memalign(&data, alignof(NativePool), sizeof(NativePool))) return PoolStatus::out_of_memory;
    NativePool* pool = new (data) NativePool;
    pool->threads = threads;
    pool->spin_ns = threads <= budget ? kSpinNs : 0;
    pool->is_pinned = n_cpus > 0;
    CPU_ZERO(&pool->cpus);
    for (int i = 0; i < n_cpus; ++i) CPU_SET(cpus[i], &pool->cpus);
    const PoolStatus status = start_workers(*pool);
    if (status == PoolStatus::ok)
        *result = pool;
    else
        free(data);
    return status;
}

PoolStatus pool_close(NativePool* pool) {
    if (pool->forks_seen == fork_count() && pool->busy.exchange(true, std::memory_order_acquire))
        return PoolStatus::busy;
    if (!pool->closed) end_workers(*pool);
    pool->closed = true;
    pool->busy.store(false, std::memory_order_release);
    return PoolStatus::ok;
}

void pool_free(NativePool* pool) {
    if (!pool) return;
    pool_close(pool);
    free(pool->scratch);
    free(pool);
}

PoolStatus pool_begin(NativePool* pool, int64_t scratch_bytes) {
    if (pool->closed) return PoolStatus::closed;
    const PoolStatus renewed = renew_after_fork(*pool);
    if (renewed != PoolStatus::ok) return renewed;
    if (pool->busy.exchange(true, std::memory_order_acquire)) return PoolStatus::busy;
    const PoolStatus status = pool->closed                            ? PoolStatus::closed
                              : reserve_scratch(*pool, scratch_bytes) ? PoolStatus::ok
                                                                      : PoolStatus::out_of_memory;
    if (status != PoolStatus::ok) pool_end(pool);
    return status;
}

void pool_end(NativePool* pool) { pool->busy.store(false, std::memory_order_release); }

StepStatus pool_run(NativePool* pool, const Task& task) {
    if (pool->threads == 1 || task.chunks <= 1) {
        StepStatus status = StepStatus::ok;
        for (int64_t chunk = 0; chunk < task.chunks; ++chunk) {
            const StepStatus answer = task.run(task.step, *task.memory, chunk, pool->scratch);
            if (answer != StepStatus::ok) status = answer;
        }
        return status;
    }
    const uint32_t chunks = static_cast<uint32_t>(task.chunks);
    pool->task = task;
    pool->status.store(0, std::memory_order_relaxed);
    pool->done.store(0, std::memory_order_relaxed);
    const uint32_t turn = pool->turn.load(std::memory_order_relaxed) + 1;
    pool->ticket.store(uint64_t{turn} << 32 | chunks, std::memory_order_release);
    pool->turn.store(turn, std::memory_order_seq_cst);
    if (pool->sleepers.load(std::memory_order_seq_cst)) wake(pool->turn, static_cast<int>(chunks - 1));
    take_chunks(*pool, 0);
    const auto is_done = [&] { return pool->done.load(std::memory_order_acquire) == chunks; };
    if (!is_done() && !await(pool->spin_ns, is_done)) {
        // As with the sleepers: first the flag, then the futex looks at the count.
        pool->caller_sleeps.store(1, std::memory_order_seq_cst);
        for (uint32_t done; (done = pool->done.load(std::memory_order_seq_cst)) != chunks;)
            sleep_while(pool->done, done);
        pool->caller_sleeps.store(0, std::memory_order_relaxed);
    }
    return static_cast<StepStatus>(pool->status.load(std::memory_order_relaxed));
}

}  // namespace ecv
