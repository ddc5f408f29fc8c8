#include "workspace.h"

namespace ecv {

// Least significant digit first: linear in n, stable, and a digit that all keys share costs nothing.
void Order::sort(size_t n) {
    if (n < 2) return;
    uint32_t histogram[4][256] = {};
    for (size_t i = 0; i < n; ++i) {
        const uint32_t k = key[index[i]];
        for (int digit = 0; digit < 4; ++digit) ++histogram[digit][k >> 8 * digit & 255u];
    }
    uint32_t* from = index.get();
    uint32_t* to = scratch.get();
    for (int digit = 0; digit < 4; ++digit) {
        uint32_t* const place = histogram[digit];
        if (place[key[from[0]] >> 8 * digit & 255u] == n) continue;
        uint32_t next = 0;
        for (int value = 0; value < 256; ++value) {
            const uint32_t count = place[value];
            place[value] = next;
            next += count;
        }
        for (size_t i = 0; i < n; ++i) to[place[key[from[i]] >> 8 * digit & 255u]++] = from[i];
        uint32_t* const other = from;
        from = to;
        to = other;
    }
    if (from != index.get()) memcpy(index.get(), from, n * sizeof *from);
}

void Groups::make(const CandidateRows& c, size_t n) {
    const auto sort_by = [&](const int32_t* id, ptrdiff_t stride) {
        for (size_t i = 0; i < n; ++i) {
            const uint32_t candidate = order.index[i];
            order.key[candidate] = rising_key(at(id, candidate, stride));
        }
        order.sort(n);
    };
    if (c.class_id) sort_by(c.class_id, c.class_stride);
    if (c.image_id) sort_by(c.image_id, c.image_stride);

    const auto differ = [](const int32_t* id, ptrdiff_t stride, size_t a, size_t b) {
        return id && at(id, a, stride) != at(id, b, stride);
    };
    count = 0;
    for (size_t i = 0; i < n; ++i) {
        const uint32_t now = order.index[i], before = order.index[i ? i - 1 : 0];
        if (i == 0 || differ(c.class_id, c.class_stride, now, before) ||
            differ(c.image_id, c.image_stride, now, before))
            begin[count++] = i;
        of[now] = static_cast<uint32_t>(count - 1);
    }
    begin[count] = n;
}

}  // namespace ecv
