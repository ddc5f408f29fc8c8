#include "plan.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <atomic>
#include <deque>
#include <memory>
#include <new>
#include <vector>

#include "band.h"
#include "denormals.h"
#include "kernels.h"
#include "memory.h"
#include "refs.h"
#include "steps.h"

namespace ecv {
namespace {

struct Op {
    int64_t fields;
    Examined (*examine)(const void* step, const Memory& memory, int lanes);
    RowAccess (*row_access)(const void* step, const Memory& memory, int lanes);
    Kernel SimdKernels::* kernel;
};

const Op kOps[] = {
#define X(op, Step, FIELDS) {sizeof(Step) / sizeof(int64_t), examine_##op, row_access_##op, &SimdKernels::op},
    ECV_SIMD_STEPS(X)
#undef X
};
constexpr int64_t kOpCount = sizeof kOps / sizeof kOps[0];
constexpr int64_t kBandCode = kOpCount;
constexpr int64_t kBandFields = sizeof(BandStep) / sizeof(int64_t);

constexpr int64_t kMostSlots = 1 << 14;
constexpr int64_t kMostSlotBytes = int64_t{1} << kAddressBits;

struct Step {
    Kernel run;
    const void* fields;
    int64_t chunks;
};

struct Free {
    void operator()(void* data) const { free(data); }
};
using Buffer = std::unique_ptr<char, Free>;

int64_t now_ns() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * int64_t{1000000000} + t.tv_nsec;
}

}  // namespace

struct NativePlan {
    std::vector<Step> steps;
    std::vector<char*> bases;  // of the constants and the weights; the others are a context's
    std::vector<int64_t> sizes;
    std::deque<Band> bands;
    Memory memory = {};
    Buffer program;
    int64_t state_bytes = 0, arena_bytes = 0, scratch_bytes = 0;
};

struct NativeContext {
    const NativePlan* plan;
    std::vector<char*> bases;
    Memory memory = {};
    Buffer state, arena;
    std::atomic<bool> busy{false}, cancelled{false};
    uint32_t forks_seen = 0;
};

namespace {

// Lays out the slots; false where a size is one that no Ref can name.
bool lay_out(const PlanSpec& spec, NativePlan* plan) {
    const int64_t io = plus(spec.n_inputs, spec.n_outputs);
    if (io < 0 || io > kMostSlots) return false;
    plan->bases.assign(static_cast<size_t>(kFirstInput + io), nullptr);
    plan->sizes = {0, spec.constant_bytes, spec.state_bytes, spec.arena_bytes, spec.weight_bytes};
    plan->sizes.insert(plan->sizes.end(), spec.io_bytes, spec.io_bytes + io);
    for (const int64_t size : plan->sizes)
        if (!is_count(size, 0, kMostSlotBytes)) return false;
    // Of bands, whose steps are examined by themselves first: nothing is too large for a strip.
    plan->sizes.insert(plan->sizes.end(), kMostStrips, kMostSlotBytes - 1);
    plan->bases.insert(plan->bases.end(), kMostStrips, nullptr);
    plan->bases[kConstants] = spec.constants;
    plan->bases[kWeights] = spec.weights;
    plan->memory = {plan->bases.data(), plan->sizes.data(), kFirstInput + io, kFirstInput + spec.n_inputs};
    return true;
}

// Takes a program apart, step by step.
class Reader {
  public:
    Reader(const PlanSpec& spec, const SimdKernels& kernels, NativePlan* plan)
        : kernels_(kernels), plan_(plan), lanes_(simd_lanes(spec.isa)), left_(spec.program_size) {
        const size_t bytes = static_cast<size_t>(spec.program_size) * sizeof(int64_t);
        plan->program.reset(static_cast<char*>(malloc(bytes ? bytes : 1)));
        if (!plan->program) throw std::bad_alloc();
        if (bytes) memcpy(plan->program.get(), spec.program, bytes);
        next_ = reinterpret_cast<const int64_t*>(plan->program.get());
    }

    // Examines each step; nullptr, or what is wrong with the last one looked at.
    const char* take_steps() {
        while (left_ > 0) {
            plan_->steps.push_back({});
            if (const char* problem = *next_ == kBandCode ? take_band() : take_step()) return problem;
        }
        return nullptr;
    }

  private:
    const void* take(int64_t fields) {
        if (fields > left_) return nullptr;
        const int64_t* const first = next_;
        next_ += fields;
        left_ -= fields;
        return first;
    }

    // A step of its own, or one of a band's, in whose memory there are strips: of that one rows are asked
    // for.
    const char* take_member(const Memory& memory, bool is_in_band, BandMember* member) {
        if (left_ == 0) return "the program ends within a band";
        const int64_t code = *static_cast<const int64_t*>(take(1));
        if (code < 0 || code >= kOpCount) return "its op is unknown";
        const Op& op = kOps[code];
        member->fields = take(op.fields);
        if (!member->fields) return "the program ends within its fields";
        member->run = kernels_.*op.kernel;
        member->examined = op.examine(member->fields, memory, lanes_);
        if (!member->examined.problem && is_in_band)
            member->rows = op.row_access(member->fields, memory, lanes_);
        return member->examined.problem;
    }

    const char* take_step() {
        BandMember member;
        if (const char* problem = take_member(plan_->memory, false, &member)) return problem;
        return add({member.run, member.fields, 0}, member.examined);
    }

    const char* take_band() {
        take(1);
        const void* fields = take(kBandFields);
        if (!fields) return "the program ends within its fields";
        plan_->bands.push_back({});
        Band& band = plan_->bands.back();
        band.step = *static_cast<const BandStep*>(fields);
        if (!is_count(band.step.n_steps, 2, kMostStrips + 1)) return "it has too few or too many steps";
        Memory memory = plan_->memory;
        memory.n_slots += band.step.n_steps - 1;
        for (int64_t i = 0; i < band.step.n_steps; ++i)
            if (const char* problem = take_member(memory, true, &band.members[i])) return problem;
        const Examined examined = examine_band(plan_->memory, lanes_, &band);
        return examined.problem ? examined.problem : add({run_band, &band, 0}, examined);
    }

    const char* add(const Step& step, const Examined& examined) {
        if (!is_count(examined.chunks, 0, kMostChunks)) return "it has too many chunks";
        if (!is_count(examined.scratch, 0, kMostSlotBytes)) return "it needs too much scratch";
        if (examined.scratch > plan_->scratch_bytes) plan_->scratch_bytes = examined.scratch;
        plan_->steps.back() = {step.run, step.fields, examined.chunks};
        return nullptr;
    }

    const SimdKernels& kernels_;
    NativePlan* const plan_;
    const int lanes_;
    const int64_t* next_;
    int64_t left_;
};

bool allocate(int64_t bytes, Buffer* buffer) {
    buffer->reset(allocate_zeroed(bytes));
    return bytes == 0 || *buffer != nullptr;
}

PlanStatus build(const PlanSpec& spec, NativePlan* plan, PlanProblem* problem) {
    *problem = {-1, nullptr};
    if (!lay_out(spec, plan)) {
        problem->what = "a size of its memory is out of range";
        return PlanStatus::unsound;
    }
    const SimdKernels kernels = simd_kernels(spec.isa);
    problem->what = Reader(spec, kernels, plan).take_steps();
    if (problem->what) {
        problem->step = static_cast<int64_t>(plan->steps.size()) - 1;
        return PlanStatus::unsound;
    }
    // Pages are touched at once: a size that a damaged file states must not bring the machine down.
    if (spec.state_bytes + spec.arena_bytes + plan->scratch_bytes > physical_memory())
        return PlanStatus::out_of_memory;
    plan->state_bytes = spec.state_bytes;
    plan->arena_bytes = spec.arena_bytes;
    return PlanStatus::ok;
}

}  // namespace

PlanStatus plan_create(const PlanSpec& spec, NativePlan** result, PlanProblem* problem) {
    try {
        auto plan = std::make_unique<NativePlan>();
        const PlanStatus status = build(spec, plan.get(), problem);
        if (status == PlanStatus::ok) *result = plan.release();
        return status;
    } catch (const std::bad_alloc&) {
        return PlanStatus::out_of_memory;
    }
}

void plan_free(NativePlan* plan) { delete plan; }

int64_t plan_steps(const NativePlan* plan) { return static_cast<int64_t>(plan->steps.size()); }

int64_t plan_scratch_bytes(const NativePlan* plan) { return plan->scratch_bytes; }

NativeContext* context_create(const NativePlan* plan) {
    try {
        auto context = std::make_unique<NativeContext>();
        context->plan = plan;
        context->bases = plan->bases;
        context->memory = plan->memory;
        context->memory.bases = context->bases.data();
        if (!allocate(plan->state_bytes, &context->state) || !allocate(plan->arena_bytes, &context->arena))
            return nullptr;
        context->bases[kState] = context->state.get();
        context->bases[kArena] = context->arena.get();
        context->forks_seen = fork_count();
        return context.release();
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

void context_free(NativeContext* context) { delete context; }

void context_reset(NativeContext* context) { context->cancelled.store(false, std::memory_order_relaxed); }

bool context_begin(NativeContext* context) {
    // A run that was in progress when the process was forked did not come along.
    if (context->forks_seen != fork_count()) {
        context->forks_seen = fork_count();
        context->busy.store(false, std::memory_order_relaxed);
    }
    return !context->busy.exchange(true, std::memory_order_acquire);
}

void context_end(NativeContext* context) {
    context_reset(context);
    context->busy.store(false, std::memory_order_release);
}

void context_cancel(NativeContext* context) { context->cancelled.store(true, std::memory_order_relaxed); }

RunResult context_run(NativeContext* context, NativeThreads* threads, char* const* io, int64_t deadline_ns,
                      double* times) {
    const FlushDenormals mode;
    for (int64_t i = kFirstInput; i < context->memory.n_slots; ++i)
        context->bases[static_cast<size_t>(i)] = io[i - kFirstInput];
    const NativePlan& plan = *context->plan;
    const int64_t n = plan_steps(&plan);
    for (int64_t i = 0; i < n; ++i) {
        if (context->cancelled.load(std::memory_order_relaxed))
            return {RunStatus::cancelled, i, StepStatus::ok};
        const int64_t start = deadline_ns || times ? now_ns() : 0;
        if (deadline_ns && start >= deadline_ns) return {RunStatus::late, i, StepStatus::ok};
        const Step& step = plan.steps[static_cast<size_t>(i)];
        const StepStatus answer =
            threads_run(threads, {step.run, step.fields, &context->memory, step.chunks});
        if (answer != StepStatus::ok) return {RunStatus::failed, i, answer};
        if (times) {
            const double spent = static_cast<double>(now_ns() - start);
            if (spent < times[i]) times[i] = spent;
        }
    }
    return {RunStatus::ok, n, StepStatus::ok};
}

}  // namespace ecv
