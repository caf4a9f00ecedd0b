/* SPDX-License-Identifier: Apache-2.0
 * Counters of the processor and of the kernel for a reader. */
#include "embed/run.h"

#include <linux/perf_event.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_counter(uint64_t event) {
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_HARDWARE, .size = sizeof attributes, .config = event, .exclude_hv = 1};
    int fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) {
        attributes.exclude_kernel = 1;
        fd = (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    }
    return fd;
}

struct embed_counters embed_counters_start(void) {
    return (struct embed_counters){.instructions = open_counter(PERF_COUNT_HW_INSTRUCTIONS),
                                   .cache_misses = open_counter(PERF_COUNT_HW_CACHE_MISSES)};
}

static int64_t take(int fd) {
    uint64_t value = 0;
    if (fd < 0) {
        return -1;
    }
    ssize_t got = read(fd, &value, sizeof value);
    close(fd);
    return got == sizeof value ? (int64_t)value : -1;
}

void embed_counters_stop(struct embed_counters *counters, struct embed_result *result) {
    result->instructions = take(counters->instructions);
    result->cache_misses = take(counters->cache_misses);
}

uint64_t embed_memory_of(int pid, const char *what) {
    char path[64], line[256];
    size_t len = strlen(what);
    uint64_t bytes = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid == 0 ? (int)getpid() : pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && bytes == 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, what, len) == 0 && line[len] == ':') {
            bytes = strtoull(line + len + 1, NULL, 10) * 1024;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return bytes;
}
