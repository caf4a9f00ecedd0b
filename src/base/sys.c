/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BACKGROUND_NICE = 5, PROMPT_SLICE_NS = 100000 };

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3; Debian 12's headers are older */
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

enum { SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

static pil_status fail_errno(struct pil_error *error, const char *what, const char *path) {
    int number = errno;
    return pil_fail(error, pil_status_from_errno(number), "%s %s: %s", what, path, strerror(number));
}

static pil_status read_into(int fd, const char *path, size_t bytes_max, struct pil_text *text,
                            struct pil_error *ret_error) {
    char chunk[65536];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_errno(ret_error, "read", path);
        }
        if (text->failed) {
            return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory to read %s", path);
        }
        if (got == 0) {
            return PIL_STATUS_OK;
        }
        if (text->len + (size_t)got > bytes_max) {
            return pil_fail(ret_error, PIL_STATUS_TOO_LARGE, "%s is larger than %zu bytes", path, bytes_max);
        }
        pil_text_append(text, chunk, (size_t)got);
    }
}

pil_status pil_sys_read_file(const char *path, size_t bytes_max, struct pil_text *ret_text,
                             struct pil_error *ret_error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fail_errno(ret_error, "open", path);
    }
    struct pil_text text = {0};
    pil_text_append(&text, "", 0);
    pil_status status = read_into(fd, path, bytes_max, &text, ret_error);
    pil_sys_close(&fd);
    if (status != PIL_STATUS_OK) {
        pil_text_deinit(&text);
        return status;
    }
    *ret_text = text;
    return PIL_STATUS_OK;
}

pil_status pil_sys_write_all(int fd, struct pil_bytes data, struct pil_error *ret_error) {
    while (data.len > 0) {
        ssize_t wrote = write(fd, data.data, data.len);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote < 0) {
            int number = errno;
            return pil_fail(ret_error, pil_status_from_errno(number), "write: %s", strerror(number));
        }
        data.data += wrote;
        data.len -= (size_t)wrote;
    }
    return PIL_STATUS_OK;
}

pil_status pil_sys_make_dirs(const char *path, struct pil_error *ret_error) {
    char partial[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof partial) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "folder name of %zu bytes", len);
    }
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        memcpy(partial, path, i);
        partial[i] = '\0';
        if (mkdir(partial, 0777) != 0 && errno != EEXIST) {
            return fail_errno(ret_error, "make folder", partial);
        }
    }
    return PIL_STATUS_OK;
}

pil_status pil_sys_memfd_create(const char *name, int *ret_fd, struct pil_error *ret_error) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) { /* before Linux 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    if (fd < 0) {
        return fail_errno(ret_error, "memfd_create", name);
    }
    *ret_fd = fd;
    return PIL_STATUS_OK;
}

pil_status pil_sys_memfd_seal(int fd, struct pil_error *ret_error) {
    if (fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
        return fail_errno(ret_error, "seal", "memfd");
    }
    return PIL_STATUS_OK;
}

static pil_status check_seals(int fd, struct pil_error *error) {
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 && errno != EINVAL) {
        return pil_fail(error, PIL_STATUS_SYSTEM, "seals of descriptor: %s", strerror(errno));
    }
    return seals >= 0 && (seals & SEALS) == SEALS
               ? PIL_STATUS_OK
               : pil_fail(error, PIL_STATUS_DENIED, "the descriptor is not a sealed memfd");
}

bool pil_sys_memfd_is_sealed(int fd) {
    return check_seals(fd, NULL) == PIL_STATUS_OK;
}

pil_status pil_sys_memfd_size(int fd, size_t *ret_bytes, struct pil_error *ret_error) {
    struct stat info;
    if (fd < 0) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "the descriptor was lost on its way");
    }
    if (fstat(fd, &info) != 0) {
        return pil_fail(ret_error, PIL_STATUS_SYSTEM, "fstat of descriptor: %s", strerror(errno));
    }
    PIL_TRY(check_seals(fd, ret_error));
    if (info.st_size <= 0) {
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "the descriptor has no content");
    }
    *ret_bytes = (size_t)info.st_size;
    return PIL_STATUS_OK;
}

pil_status pil_sys_map_aligned(int fd, size_t bytes, void **ret_data, struct pil_error *ret_error) {
    size_t room = bytes + PIL_SYS_HUGE_PAGE_BYTES;
    uint8_t *reserved = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "%zu bytes of addresses: %s", room, strerror(errno));
    }
    uint8_t *at = (uint8_t *)pil_align_up((uintptr_t)reserved, PIL_SYS_HUGE_PAGE_BYTES);
    size_t page = (size_t)sysconf(_SC_PAGESIZE), used = (size_t)(at - reserved) + pil_align_up(bytes, page);
    if (mmap(at, bytes, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        int number = errno;
        munmap(reserved, room);
        return pil_fail(ret_error, pil_status_from_errno(number), "mmap of %zu bytes: %s", bytes, strerror(number));
    }
    if (at > reserved) {
        munmap(reserved, (size_t)(at - reserved));
    }
    if (used < pil_align_up(room, page)) {
        munmap(reserved + used, pil_align_up(room, page) - used);
    }
    *ret_data = at;
    return PIL_STATUS_OK;
}

/* Makes the kernel allocate, zero and free a huge page, which it then allocates next. Memory that a virtual machine has
 * not touched lately is slow at the first touch (microseconds per 4 KiB, from the host). Zeroing yields the processor
 * in between; the copy of MADV_COLLAPSE does not, and took 5 ms instead of 0.5 ms. */
static void warm_huge_page(void) {
    void *room = mmap(NULL, 2 * PIL_SYS_HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) {
        return;
    }
    uint8_t *page = (uint8_t *)pil_align_up((uintptr_t)room, PIL_SYS_HUGE_PAGE_BYTES);
    if (madvise(page, PIL_SYS_HUGE_PAGE_BYTES, MADV_HUGEPAGE) == 0) {
        *(volatile uint8_t *)page = 0;
    }
    munmap(room, 2 * PIL_SYS_HUGE_PAGE_BYTES);
}

uint64_t pil_sys_collapse(void *data, size_t bytes) {
    uint64_t huge = 0;
    for (size_t at = 0; at + PIL_SYS_HUGE_PAGE_BYTES <= bytes; at += PIL_SYS_HUGE_PAGE_BYTES) {
        warm_huge_page();
        if (madvise((uint8_t *)data + at, PIL_SYS_HUGE_PAGE_BYTES, MADV_COLLAPSE) == 0) {
            huge += PIL_SYS_HUGE_PAGE_BYTES;
        } else if (errno != EAGAIN && errno != EBUSY) { /* unsupported, or memory is short: the rest would also fail */
            break;
        }
    }
    return huge;
}

pil_status pil_sys_run_in_background(struct pil_error *ret_error) {
    const struct sched_param none = {0};
    /* A thread that is nicer already may not come back to BACKGROUND_NICE, and need not. */
    bool is_nice = getpriority(PRIO_PROCESS, 0) >= BACKGROUND_NICE;
    if (sched_setscheduler(0, SCHED_BATCH, &none) != 0 ||
        (!is_nice && setpriority(PRIO_PROCESS, 0, BACKGROUND_NICE) != 0)) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "SCHED_BATCH, nice %d: %s", BACKGROUND_NICE,
                        strerror(errno));
    }
    return PIL_STATUS_OK;
}

/* Of mimalloc, which only the programs are linked with, and not in every build. */
extern void mi_collect(bool force) __attribute__((weak));

void pil_sys_return_memory(void) {
    if (mi_collect != NULL) {
        mi_collect(true);
    } else {
        (void)malloc_trim(0);
    }
}

void pil_sys_run_promptly(void) {
    /* sched_setattr(2); the C library of Debian 12 has no declaration of it. */
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime_ns, deadline_ns, period_ns;
    } attributes = {.size = sizeof attributes,
                    .policy = SCHED_OTHER,
                    .nice = getpriority(PRIO_PROCESS, 0),
                    .runtime_ns = PROMPT_SLICE_NS};
    (void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

void pil_sys_open_stdio(void) {
    while (true) {
        int fd = open("/dev/null", O_RDWR);
        if (fd < 0 || fd > STDERR_FILENO) { /* the lowest free number: all three are open */
            pil_sys_close(&fd);
            return;
        }
    }
}

static void close_from_to(unsigned first, unsigned last) {
    if (first > last || close_range(first, last, 0) == 0) {
        return;
    }
    struct rlimit files = {.rlim_cur = 1024}; /* before Linux 5.9, and where seccomp refuses the call */
    getrlimit(RLIMIT_NOFILE, &files);
    for (unsigned fd = first; fd <= last && fd < files.rlim_cur; fd++) {
        close((int)fd);
    }
}

void pil_sys_close_inherited(int kept) {
    const unsigned first = STDERR_FILENO + 1;
    if (kept < (int)first) {
        close_from_to(first, UINT_MAX);
        return;
    }
    close_from_to(first, (unsigned)kept - 1);
    close_from_to((unsigned)kept + 1, UINT_MAX);
}

void pil_sys_close(int *fd) {
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}
