// Counts calls of the C library that take memory, a lock, or the system's time. Preloaded by a test; only the
// thread that asked is counted.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

static __thread int counting;
static __thread long calls;

void count_from_here(void) {
    calls = 0;
    counting = 1;
}

long count_until_here(void) {
    counting = 0;
    return calls;
}

// The C library's own names for what lies behind malloc and its kin.
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

#define COUNT() (calls += counting)

void *malloc(size_t n) {
    COUNT();
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
    COUNT();
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) {
    COUNT();
    return __libc_realloc(p, n);
}
void free(void *p) {
    COUNT();
    __libc_free(p);
}
int posix_memalign(void **p, size_t alignment, size_t n) {
    COUNT();
    *p = __libc_memalign(alignment, n);
    return *p == NULL ? 12 : 0;
}
void *aligned_alloc(size_t alignment, size_t n) {
    COUNT();
    return __libc_memalign(alignment, n);
}

#define NEXT(result, name, parameters, arguments)                                     \
    result name parameters {                                                          \
        static result(*next) parameters;                                              \
        if (next == NULL) next = (result(*) parameters)dlsym(RTLD_NEXT, #name);       \
        COUNT();                                                                      \
        return next arguments;                                                        \
    }

NEXT(void *, mmap, (void *p, size_t n, int protection, int flags, int file, off_t offset),
     (p, n, protection, flags, file, offset))
NEXT(int, munmap, (void *p, size_t n), (p, n))
NEXT(int, madvise, (void *p, size_t n, int advice), (p, n, advice))
NEXT(int, sched_yield, (void), ())
NEXT(int, pthread_mutex_lock, (pthread_mutex_t * mutex), (mutex))

long syscall(long number, ...) {
    static long (*next)(long, ...);
    if (next == NULL) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    COUNT();
    va_list a;
    va_start(a, number);
    long v[6];
    for (int i = 0; i < 6; ++i) v[i] = va_arg(a, long);
    va_end(a);
    return next(number, v[0], v[1], v[2], v[3], v[4], v[5]);
}
