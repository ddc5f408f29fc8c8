#include <string.h>

#include <algorithm>

#include "data.h"

namespace ecv {
namespace {

constexpr int64_t kPiece = 256;

template <typename T>
uint64_t key_of(T value) {
    if constexpr (static_cast<T>(-1) < T{0})
        return static_cast<uint64_t>(int64_t{value}) ^ uint64_t { 1 } << 63;
    else
        return value;
}
uint64_t key_of(double value) {
    if (value != value) return UINT64_MAX;
    value += 0.0;  // of -0 and 0 one key
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 63 ? ~bits : bits | uint64_t{1} << 63;
}
uint64_t key_of(float value) { return key_of(static_cast<double>(value)); }

template <typename T>
void keys_of(const void* x, size_t n, uint64_t* keys) {
    for (size_t i = 0; i < n; ++i) keys[i] = key_of(static_cast<const T*>(x)[i]);
}

struct Ranked {
    uint64_t key;
    int64_t index;
    // Ahead of another: by the larger key, of equals the first.
    bool operator<(const Ranked& other) const {
        return key != other.key ? key > other.key : index < other.index;
    }
};

}  // namespace

void rising_keys(Dtype dtype, const void* x, size_t n, uint64_t* keys) {
    switch (dtype) {
        case Dtype::f32:
            return keys_of<float>(x, n, keys);
        case Dtype::f64:
            return keys_of<double>(x, n, keys);
        case Dtype::f16:
            for (size_t i = 0; i < n; ++i) {
                double value;
                converter(Dtype::f16, Dtype::f64)(static_cast<const uint16_t*>(x) + i, &value, 1);
                keys[i] = key_of(value);
            }
            return;
        case Dtype::i8:
            return keys_of<int8_t>(x, n, keys);
        case Dtype::i16:
            return keys_of<int16_t>(x, n, keys);
        case Dtype::i32:
            return keys_of<int32_t>(x, n, keys);
        case Dtype::i64:
            return keys_of<int64_t>(x, n, keys);
        case Dtype::u8:
        case Dtype::boolean:
            return keys_of<uint8_t>(x, n, keys);
        case Dtype::u16:
            return keys_of<uint16_t>(x, n, keys);
        case Dtype::u32:
            return keys_of<uint32_t>(x, n, keys);
        case Dtype::u64:
            return keys_of<uint64_t>(x, n, keys);
    }
}

int64_t topk_scratch(int64_t k) { return plus(times(k, sizeof(Ranked)), kPiece * 8); }

StepStatus run_topk(const void* fields, const Memory& memory, int64_t chunk, char* scratch) {
    const TopkStep& step = *static_cast<const TopkStep*>(fields);
    const Dtype dtype = static_cast<Dtype>(step.dtype);
    const int64_t size = size_of(dtype), n = step.n, k = step.k;
    const char* const x = at<const char>(memory, step.x) + chunk * n * size;
    char* const values = at<char>(memory, step.values) + chunk * k * size;
    int64_t* const indices = at<int64_t>(memory, step.indices) + chunk * k;
    uint64_t* const keys = reinterpret_cast<uint64_t*>(scratch);
    // A heap with the last of the k on top.
    Ranked* const heap = reinterpret_cast<Ranked*>(keys + kPiece);
    int64_t held = 0;
    for (int64_t i = 0; i < n; i += kPiece) {
        const int64_t some = n - i < kPiece ? n - i : kPiece;
        rising_keys(dtype, x + i * size, static_cast<size_t>(some), keys);
        for (int64_t j = 0; j < some; ++j) {
            const Ranked next = {step.largest ? keys[j] : ~keys[j], i + j};
            if (held < k) {
                heap[held++] = next;
                if (held == k) std::make_heap(heap, heap + k);
            } else if (k && next < heap[0]) {
                std::pop_heap(heap, heap + k);
                heap[k - 1] = next;
                std::push_heap(heap, heap + k);
            }
        }
    }
    std::sort(heap, heap + held);
    for (int64_t i = 0; i < k; ++i) {
        indices[i] = heap[i].index;
        memcpy(values + i * size, x + heap[i].index * size, static_cast<size_t>(size));
    }
    return StepStatus::ok;
}

}  // namespace ecv
