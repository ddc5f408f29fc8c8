#include "catalog.h"

#include "ops.h"

namespace ecv {
namespace {

#define ECV_NAME(name) #name,
#define ECV_LIST(name, LIST) const char* const name[] = {LIST(ECV_NAME)};
#define X(op, Step, FIELDS) ECV_LIST(k_##op, FIELDS)
ECV_SIMD_STEPS(X)
ECV_SIMD_JOINTS(X)
#undef X

// X(name in Python, its list)
#define ECV_CHOICES(X)                           \
    X(activation, ECV_ACTIVATIONS)               \
    X(map_op, ECV_MAP_OPS)                       \
    X(dtype, ECV_DTYPES)                         \
    X(pool_kind, ECV_POOL_KINDS)                 \
    X(reduce_kind, ECV_REDUCE_KINDS)             \
    X(softmax_kind, ECV_SOFTMAX_KINDS)           \
    X(gather_kind, ECV_GATHER_KINDS)             \
    X(scatter_reduction, ECV_SCATTER_REDUCTIONS) \
    X(sample_frame, ECV_SAMPLE_FRAMES)           \
    X(sample_mode, ECV_SAMPLE_MODES)             \
    X(sample_padding, ECV_SAMPLE_PADDINGS)       \
    X(roi_kind, ECV_ROI_KINDS)
#define X(name, LIST) ECV_LIST(k_choice_##name, LIST)
ECV_CHOICES(X)
#undef X

template <int n>
constexpr Names names(const char* name, const char* const (&items)[n]) {
    return {name, items, n};
}

const Names kOps[] = {
#define X(op, Step, FIELDS) names(#op, k_##op),
    ECV_SIMD_STEPS(X) ECV_SIMD_JOINTS(X)
#undef X
};

const Names kChoices[] = {
#define X(name, LIST) names(#name, k_choice_##name),
    ECV_CHOICES(X)
#undef X
};

const IsaFacts kFacts[] = {
#define X(name, ...) facts_##name,
    ECV_ISA_FACTS(X)
#undef X
};
constexpr int kFactsCount = sizeof kFacts / sizeof kFacts[0];

template <int n>
Names pick(const Names (&list)[n], int position) {
    return position >= 0 && position < n ? list[position] : Names{nullptr, nullptr, 0};
}

}  // namespace

Names op_names(int op) { return pick(kOps, op); }
Names choice_names(int choice) { return pick(kChoices, choice); }

const IsaFacts* isa_facts(int position) {
    return position >= 0 && position < kFactsCount ? &kFacts[position] : nullptr;
}

}  // namespace ecv
