// Reductions of all dtypes but float32: of integers in int64 or uint64, of float16 and float64 in float64,
// one element after the other.
#include "reduce.h"
#include "steps.h"

namespace ecv {
namespace {

constexpr int64_t kPiece = 512;

template <typename T>
constexpr bool kIsFloat = static_cast<T>(0.5) != T{0};

// Sums of int64 wrap, as those of uint64 do.
template <typename T>
struct Sums {
    using Type = T;
};
template <>
struct Sums<int64_t> {
    using Type = uint64_t;
};

// The least and the largest value of a dtype, infinities where it has them.
template <typename T>
T bound(Dtype dtype, bool largest) {
    if constexpr (kIsFloat<T>) {
        return largest ? __builtin_inf() : -__builtin_inf();
    } else {
        if (dtype == Dtype::boolean) return largest;
        const int bits = static_cast<int>(8 * size_of(dtype));
        const bool is_signed =
            dtype == Dtype::i8 || dtype == Dtype::i16 || dtype == Dtype::i32 || dtype == Dtype::i64;
        const uint64_t most = UINT64_MAX >> (64 - bits + is_signed);
        return static_cast<T>(largest ? most : is_signed ? ~most : 0);
    }
}

template <typename T>
struct Wide {
    const Reduction& r;
    char* gathered;
    char* converted;
    Convert load;

    // f(elements, n) over all that is reduced to one output.
    template <typename F>
    void each_piece(const char* x, F f) const {
        visit(x, [](void* context, const T* p, int64_t n) { (*static_cast<F*>(context))(p, n); }, &f);
    }
    __attribute__((noinline)) void visit(const char* x, void (*f)(void*, const T*, int64_t),
                                         void* context) const {
        if (r.count == 0) return;
        Walk walk = r.reduced;
        if (walk.rank == 0) {
            walk.rank = 1;
            walk.shape[0] = 1;
            walk.stride[0][0] = size_of(r.dtype);
        }
        each_patch(walk, kPiece, const_cast<char*>(x), [&](const char* from, const Patch& patch) {
            const int64_t n = patch.rows * patch.n;
            gather_patch(from, patch, size_of(r.dtype), gathered);
            if (load) load(gathered, converted, static_cast<size_t>(n));
            f(context, reinterpret_cast<const T*>(load ? converted : gathered), n);
        });
    }

    T largest(const char* x, bool is_min) const {
        T best = bound<T>(r.dtype, is_min);
        each_piece(x, [&](const T* p, int64_t n) {
            for (int64_t i = 0; i < n; ++i)
                if (best == best && (p[i] != p[i] || (is_min ? p[i] < best : p[i] > best))) best = p[i];
        });
        return best;
    }

    // f summed up.
    template <typename S, typename F>
    S sum(const char* x, F f) const {
        S total{};
        each_piece(x, [&](const T* p, int64_t n) {
            for (int64_t i = 0; i < n; ++i) total += f(static_cast<S>(p[i]));
        });
        return total;
    }

    double log_sum_exp(const char* x) const {
        const double most = static_cast<double>(largest(x, false));
        const double offset = r.count && most - most == 0.0 ? most : 0.0;
        return __builtin_log(sum<double>(x, [&](double v) { return __builtin_exp(v - offset); })) + offset;
    }

    void store(double value, char* y) const {
        if (r.dtype == Dtype::f64)
            *reinterpret_cast<double*>(y) = value;
        else
            converter(Dtype::f64, r.dtype)(&value, y, 1);
    }
    template <typename S>
    void store_whole(S value, char* y) const {
        const T whole = static_cast<T>(value);
        if (const Convert narrow = converter(wide_dtype(r.dtype), r.dtype))
            narrow(&whole, y, 1);
        else
            *reinterpret_cast<T*>(y) = whole;
    }

    void reduce(const char* x, char* y) const {
        using S = typename Sums<T>::Type;
        const auto itself = [](auto v) { return v; };
        const auto squared = [](auto v) { return v * v; };
        switch (r.kind) {
            case ReduceKind::sum:
                return store_whole(sum<S>(x, itself), y);
            case ReduceKind::mean: {
                const S total = sum<S>(x, itself);
                // Of integers, cut towards zero.
                if constexpr (!kIsFloat<T>)
                    return store_whole(r.count ? static_cast<T>(total) / static_cast<T>(r.count) : 0, y);
                return store(static_cast<double>(total) / static_cast<double>(r.count), y);
            }
            case ReduceKind::max:
                return store_whole(largest(x, false), y);
            case ReduceKind::min:
                return store_whole(largest(x, true), y);
            case ReduceKind::prod: {
                S total = 1;
                each_piece(x, [&](const T* p, int64_t n) {
                    for (int64_t i = 0; i < n; ++i) total *= static_cast<S>(p[i]);
                });
                return store_whole(total, y);
            }
            case ReduceKind::sum_square:
                return store_whole(sum<S>(x, squared), y);
            case ReduceKind::l1:
                return store_whole(sum<S>(x, [](S v) { return static_cast<T>(v) < T{0} ? S{0} - v : v; }), y);
            case ReduceKind::l2:
                return store(__builtin_sqrt(sum<double>(x, squared)), y);
            case ReduceKind::log_sum:
                return store(__builtin_log(sum<double>(x, itself)), y);
            case ReduceKind::log_sum_exp:
                return store(log_sum_exp(x), y);
            case ReduceKind::argmax:
            case ReduceKind::argmin:
                return find(x, y);
        }
    }

    void find(const char* x, char* y) const {
        const bool is_min = r.kind == ReduceKind::argmin;
        T best{};
        int64_t place = 0, i = 0;
        each_piece(x, [&](const T* p, int64_t n) {
            for (int64_t k = 0; k < n; ++k, ++i) {
                const T value = p[k];
                const bool is_better = is_min ? value < best : value > best, is_nan = value != value;
                const bool is_equal = value == best || (is_nan && best != best);
                const bool takes = is_better || (is_nan && best == best) || (is_equal && r.takes_last);
                if (i && !takes) continue;
                best = value;
                place = i;
            }
        });
        *reinterpret_cast<int64_t*>(y) = place;
    }
};

template <typename T>
void run(const Reduction& r, const Walk& kept, char* scratch) {
    const Wide<T> wide{r, scratch, scratch + kPiece * 8, converter(r.dtype, wide_dtype(r.dtype))};
    int64_t at_axis[kMostRank] = {};
    char* base[kMostOperands] = {kept.base[0], kept.base[1]};
    do wide.reduce(base[0], base[1]);
    while (advance(kept, kept.rank, at_axis, base));
}

}  // namespace

bool reduce_nd_supported(int64_t kind, int64_t dtype) {
    constexpr int64_t kMax = static_cast<int64_t>(ReduceKind::max),
                      kMin = static_cast<int64_t>(ReduceKind::min);
    if (!is_count(kind, 0, static_cast<int64_t>(ReduceKind::argmin)) || !is_dtype(dtype)) return false;
    return static_cast<Dtype>(dtype) != Dtype::boolean || kind == kMax || kind == kMin;
}

void reduce_wide(const Reduction& r, const Walk& kept, char* scratch) {
    switch (wide_dtype(r.dtype)) {
        case Dtype::f64:
            return run<double>(r, kept, scratch);
        case Dtype::u64:
            return run<uint64_t>(r, kept, scratch);
        default:
            return run<int64_t>(r, kept, scratch);
    }
}

}  // namespace ecv
