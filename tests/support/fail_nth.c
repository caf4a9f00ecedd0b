/* SPDX-License-Identifier: Apache-2.0
 * Fails the nth allocation or the nth system call of a process that runs with this library preloaded. The file named by
 * PIL_FAIL_FILE is the control page, shared by all processes that map it: a test writes there which process, which kind
 * of call, and which of them, at any time (tests/system/faults.py). What is counted: calls of libc's functions, from
 * whatever code, or only from the object that `object` names. Writes to standard error never fail: the message is what
 * the test wants to read.
 *
 * The wrappers call what comes after this library (dlsym(3), RTLD_NEXT): libc, the allocator of the program, or a
 * sanitizer. A sanitizer's runtime wants to come first and must be told otherwise:
 * ASAN_OPTIONS=verify_asan_link_order=0.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

#define EXPORT __attribute__((visibility("default")))
enum { PAGE_BYTES = 8192, REPORT_BYTES = 4096, FRAMES = 24 };

enum kind { KIND_ALLOC, KIND_CALL };

/* The control page. The test writes `armed` last, and reads `fired` before the rest. */
struct control {
    _Atomic uint32_t armed;
    uint32_t kind;
    uint32_t stalls; /* not 0: the calls do not fail, they wait until it is disarmed */
    uint32_t unused;
    uint64_t nth;           /* 1: the first; 0: only count */
    uint64_t span;          /* how many in a row fail */
    _Atomic uint64_t count; /* since it was armed */
    _Atomic uint64_t fired;
    char role[32];             /* supervisor, server, fetcher, or a program's name; empty: every process */
    char object[64];           /* part of the path of the object that calls; empty: any */
    char call[32];             /* the only call to count; empty: all of the kind */
    char report[REPORT_BYTES]; /* of the first that failed: its name, and its callers as object+offset */
};
_Static_assert(sizeof(struct control) <= PAGE_BYTES, "fits into the page");

static struct control *control;
static char own_role[32];
/* No allocation for the first access of a thread, and no counting of what a wrapper itself calls. */
static __thread bool is_inside __attribute__((tls_model("initial-exec")));

/* The role of pilliond's process, or the name of the program. */
static void find_role(void) {
    char line[4096] = "";
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC, 0);
    long got = fd >= 0 ? syscall(SYS_read, fd, line, sizeof line - 1) : 0;
    if (fd >= 0) {
        syscall(SYS_close, fd);
    }
    const char *name = strrchr(line, '/') != NULL ? strrchr(line, '/') + 1 : line;
    snprintf(own_role, sizeof own_role, "%.31s", strcmp(name, "pilliond") == 0 ? "supervisor" : name);
    for (const char *at = line; at < line + got; at += strlen(at) + 1) {
        if (strcmp(at, "--role") == 0) {
            snprintf(own_role, sizeof own_role, "%.31s", at + sizeof "--role");
        }
    }
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("PIL_FAIL_FILE");
    is_inside = true;
    find_role();
    int fd = path != NULL ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;
    if (fd >= 0) {
        long mapped = syscall(SYS_mmap, NULL, PAGE_BYTES, 3 /* read, write */, 1 /* shared */, fd, 0);
        control = mapped > 0 ? (struct control *)mapped : NULL; /* NOLINT(performance-no-int-to-ptr) */
        syscall(SYS_close, fd);
    }
    is_inside = false;
}

/* The calls that led here. libc's backtrace(3) would dlopen(3) libgcc at its first use, in the middle of a fault, and
 * never free it. */
struct frames {
    int count;
    void *at[FRAMES];
};

static _Unwind_Reason_Code add_frame(struct _Unwind_Context *context, void *user) {
    struct frames *frames = user;
    if (frames->count == FRAMES) {
        return _URC_END_OF_STACK;
    }
    frames->at[frames->count++] = (void *)_Unwind_GetIP(context); /* NOLINT(performance-no-int-to-ptr) */
    return _URC_NO_REASON;
}

static void report(const char *name) {
    struct frames frames = {0};
    char text[REPORT_BYTES];
    _Unwind_Backtrace(add_frame, &frames);
    int len = snprintf(text, sizeof text, "%s in %s", name, own_role);
    for (int i = 2; i < frames.count && len < (int)sizeof text - 1; i++) {
        Dl_info info;
        if (dladdr(frames.at[i], &info) != 0 && info.dli_fname != NULL) {
            len += snprintf(text + len, sizeof text - (size_t)len, "\n%s+0x%lx", info.dli_fname,
                            (unsigned long)((char *)frames.at[i] - (char *)info.dli_fbase) - 1);
        }
    }
    memcpy(control->report, text, sizeof text);
}

/* Never those of a sanitizer's runtime. */
static bool calls_from(const char *object, const void *caller) {
    static const char *const never[] = {"libasan", "libubsan", "liblsan", "libtsan"};
    Dl_info info;
    if (dladdr(caller, &info) == 0 || info.dli_fname == NULL) {
        return object[0] == '\0';
    }
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        if (strstr(info.dli_fname, never[i]) != NULL) {
            return false;
        }
    }
    return strstr(info.dli_fname, object) != NULL;
}

/* Whether this call is to fail. */
static bool must_fail(enum kind kind, const char *name, const void *caller) {
    if (control == NULL || is_inside || atomic_load_explicit(&control->armed, memory_order_acquire) == 0 ||
        control->kind != kind || (control->role[0] != '\0' && strcmp(control->role, own_role) != 0) ||
        (control->call[0] != '\0' && strcmp(control->call, name) != 0)) {
        return false;
    }
    is_inside = true;
    bool fails = false;
    if (calls_from(control->object, caller)) {
        uint64_t number = atomic_fetch_add(&control->count, 1) + 1;
        fails = control->nth != 0 && number >= control->nth && number - control->nth < control->span;
        if (fails && atomic_fetch_add(&control->fired, 1) == 0) {
            report(name);
        }
        while (fails && control->stalls != 0 && atomic_load(&control->armed) != 0) {
            struct timespec moment = {.tv_nsec = 1000000};
            nanosleep(&moment, NULL);
        }
        fails = fails && control->stalls == 0;
    }
    is_inside = false;
    return fails;
}

#define NEXT(name) \
    static __typeof__(&name) next; \
    if (next == NULL) { \
        next = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
    }

/* TYPE NAME PARAMETERS that calls the next NAME ARGUMENTS, or returns FAILURE with errno NUMBER. */
#define WRAP(kind, type, name, parameters, arguments, failure, number) \
    EXPORT type name parameters; \
    type name parameters { \
        NEXT(name) \
        if (must_fail(kind, #name, __builtin_return_address(0))) { \
            errno = (number); \
            return failure; \
        } \
        return next arguments; \
    }

#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"

/* ---- Allocations */
WRAP(KIND_ALLOC, void *, malloc, (size_t bytes), (bytes), NULL, ENOMEM)
WRAP(KIND_ALLOC, void *, calloc, (size_t count, size_t bytes), (count, bytes), NULL, ENOMEM)
WRAP(KIND_ALLOC, void *, realloc, (void *data, size_t bytes), (data, bytes), NULL, ENOMEM)
WRAP(KIND_ALLOC, void *, aligned_alloc, (size_t alignment, size_t bytes), (alignment, bytes), NULL, ENOMEM)
WRAP(KIND_ALLOC, int, posix_memalign, (void **data, size_t alignment, size_t bytes), (data, alignment, bytes), ENOMEM,
     0)
WRAP(KIND_ALLOC, char *, strdup, (const char *text), (text), NULL, ENOMEM)
WRAP(KIND_ALLOC, char *, strndup, (const char *text, size_t bytes), (text, bytes), NULL, ENOMEM)

/* ---- Files */
struct stat;
struct dirent;
typedef struct __dirstream DIR;
WRAP(KIND_CALL, ssize_t, read, (int fd, void *data, size_t bytes), (fd, data, bytes), -1, EIO)
WRAP(KIND_CALL, ssize_t, pread, (int fd, void *data, size_t bytes, off_t at), (fd, data, bytes, at), -1, EIO)
WRAP(KIND_CALL, ssize_t, pwrite, (int fd, const void *data, size_t bytes, off_t at), (fd, data, bytes, at), -1, ENOSPC)
WRAP(KIND_CALL, void *, mmap, (void *at, size_t bytes, int protection, int flags, int fd, off_t offset),
     (at, bytes, protection, flags, fd, offset), (void *)-1, ENOMEM)
WRAP(KIND_CALL, int, memfd_create, (const char *name, unsigned flags), (name, flags), -1, EMFILE)
WRAP(KIND_CALL, int, ftruncate, (int fd, off_t bytes), (fd, bytes), -1, ENOSPC)
WRAP(KIND_CALL, int, fstat, (int fd, struct stat *info), (fd, info), -1, EIO)
WRAP(KIND_CALL, int, lstat, (const char *path, struct stat *info), (path, info), -1, EIO)
WRAP(KIND_CALL, int, fstatat, (int folder, const char *path, struct stat *info, int flags), (folder, path, info, flags),
     -1, EIO)
WRAP(KIND_CALL, int, fsync, (int fd), (fd), -1, EIO)
WRAP(KIND_CALL, int, flock, (int fd, int how), (fd, how), -1, ENOLCK)
WRAP(KIND_CALL, int, mkdir, (const char *path, mode_t mode), (path, mode), -1, ENOSPC)
WRAP(KIND_CALL, int, mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), -1, ENOSPC)
WRAP(KIND_CALL, int, rename, (const char *from, const char *to), (from, to), -1, EIO)
WRAP(KIND_CALL, int, renameat, (int from_folder, const char *from, int to_folder, const char *to),
     (from_folder, from, to_folder, to), -1, EIO)
WRAP(KIND_CALL, int, linkat, (int from_folder, const char *from, int to_folder, const char *to, int flags),
     (from_folder, from, to_folder, to, flags), -1, EIO)
WRAP(KIND_CALL, int, unlink, (const char *path), (path), -1, EACCES)
WRAP(KIND_CALL, int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags), -1, EACCES)
WRAP(KIND_CALL, int, utimensat, (int folder, const char *path, const struct timespec times[2], int flags),
     (folder, path, times, flags), -1, EACCES)
WRAP(KIND_CALL, int, chmod, (const char *path, mode_t mode), (path, mode), -1, EPERM)
WRAP(KIND_CALL, DIR *, opendir, (const char *path), (path), NULL, EMFILE)
WRAP(KIND_CALL, DIR *, fdopendir, (int fd), (fd), NULL, ENOMEM)
WRAP(KIND_CALL, struct dirent *, readdir, (DIR * folder), (folder), NULL, EIO)
WRAP(KIND_CALL, FILE *, fopen, (const char *path, const char *mode), (path, mode), NULL, EMFILE)
WRAP(KIND_CALL, int, madvise, (void *at, size_t bytes, int advice), (at, bytes, advice), -1, ENOMEM)

EXPORT ssize_t write(int fd, const void *data, size_t bytes) {
    NEXT(write)
    if (fd != STDERR_FILENO && must_fail(KIND_CALL, "write", __builtin_return_address(0))) {
        errno = ENOSPC;
        return -1;
    }
    return next(fd, data, bytes);
}

static mode_t mode_of(int flags, va_list more) {
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? (mode_t)va_arg(more, int) : 0;
}

EXPORT int open(const char *path, int flags, ...) {
    NEXT(open)
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    if (must_fail(KIND_CALL, "open", __builtin_return_address(0))) {
        errno = EMFILE;
        return -1;
    }
    return next(path, flags, mode);
}

EXPORT int openat(int folder, const char *path, int flags, ...) {
    NEXT(openat)
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    if (must_fail(KIND_CALL, "openat", __builtin_return_address(0))) {
        errno = EMFILE;
        return -1;
    }
    return next(folder, path, flags, mode);
}

EXPORT int fcntl(int fd, int command, ...) {
    NEXT(fcntl)
    va_list more;
    va_start(more, command);
    long argument = va_arg(more, long);
    va_end(more);
    if (must_fail(KIND_CALL, "fcntl", __builtin_return_address(0))) {
        errno = EPERM;
        return -1;
    }
    return next(fd, command, argument);
}

/* ---- Sockets, events, processes */
struct sockaddr;
struct msghdr;
struct epoll_event;
struct io_uring;
struct io_uring_params;
struct io_uring_buf_reg;
union attributes;
typedef unsigned int length;
WRAP(KIND_CALL, int, socket, (int family, int type, int protocol), (family, type, protocol), -1, EMFILE)
WRAP(KIND_CALL, int, socketpair, (int family, int type, int protocol, int fds[2]), (family, type, protocol, fds), -1,
     EMFILE)
WRAP(KIND_CALL, int, bind, (int fd, const struct sockaddr *address, length bytes), (fd, address, bytes), -1, EACCES)
WRAP(KIND_CALL, int, listen, (int fd, int backlog), (fd, backlog), -1, EADDRINUSE)
WRAP(KIND_CALL, int, connect, (int fd, const struct sockaddr *address, length bytes), (fd, address, bytes), -1,
     ECONNREFUSED)
WRAP(KIND_CALL, int, accept4, (int fd, struct sockaddr *address, length *bytes, int flags), (fd, address, bytes, flags),
     -1, EMFILE)
WRAP(KIND_CALL, int, setsockopt, (int fd, int level, int name, const void *value, length bytes),
     (fd, level, name, value, bytes), -1, ENOBUFS)
WRAP(KIND_CALL, int, getsockopt, (int fd, int level, int name, void *value, length *bytes),
     (fd, level, name, value, bytes), -1, ENOBUFS)
WRAP(KIND_CALL, ssize_t, send, (int fd, const void *data, size_t bytes, int flags), (fd, data, bytes, flags), -1,
     ENOBUFS)
WRAP(KIND_CALL, ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), -1, ENOBUFS)
WRAP(KIND_CALL, ssize_t, recv, (int fd, void *data, size_t bytes, int flags), (fd, data, bytes, flags), -1, ENOMEM)
WRAP(KIND_CALL, ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), -1, ENOMEM)
WRAP(KIND_CALL, int, epoll_create1, (int flags), (flags), -1, EMFILE)
WRAP(KIND_CALL, int, epoll_ctl, (int epoll, int operation, int fd, struct epoll_event *event),
     (epoll, operation, fd, event), -1, ENOSPC)
WRAP(KIND_CALL, int, epoll_wait, (int epoll, struct epoll_event *events, int count, int timeout),
     (epoll, events, count, timeout), -1, EINTR)
WRAP(KIND_CALL, int, eventfd, (unsigned count, int flags), (count, flags), -1, EMFILE)
WRAP(KIND_CALL, int, inotify_init1, (int flags), (flags), -1, EMFILE)
WRAP(KIND_CALL, int, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask), -1, ENOSPC)
WRAP(KIND_CALL, int, pthread_create,
     (unsigned long *thread, const union attributes *how, void *(*run)(void *), void *with), (thread, how, run, with),
     EAGAIN, 0)
WRAP(KIND_CALL, int, fork, (void), (), -1, EAGAIN)
WRAP(KIND_CALL, int, io_uring_queue_init_params, (unsigned entries, struct io_uring *ring, struct io_uring_params *how),
     (entries, ring, how), -ENOMEM, 0)
WRAP(KIND_CALL, int, io_uring_register_buf_ring, (struct io_uring * ring, struct io_uring_buf_reg *how, unsigned flags),
     (ring, how, flags), -ENOMEM, 0)
WRAP(KIND_CALL, int, io_uring_register_ring_fd, (struct io_uring * ring), (ring), -ENOMEM, 0)
