#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

namespace ecv {
namespace {

// Of a huge page, where the kernel may use them: fewer entries of the TLB for an arena of megabytes.
constexpr int64_t kHugePage = 2 << 20;

}  // namespace

char* allocate_zeroed(int64_t bytes) {
    if (bytes <= 0) return nullptr;
    const bool huge = bytes >= kHugePage;
    void* data = nullptr;
    if (posix_memalign(&data, static_cast<size_t>(huge ? kHugePage : kAlignment), static_cast<size_t>(bytes)))
        return nullptr;
    // Advice: where the kernel cannot follow it, small pages serve.
    if (huge) (void)madvise(data, static_cast<size_t>(bytes), MADV_HUGEPAGE);
    memset(data, 0, static_cast<size_t>(bytes));
    return static_cast<char*>(data);
}

int64_t physical_memory() {
    const int64_t pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? pages * size : INT64_MAX;
}

}  // namespace ecv
