/* SPDX-License-Identifier: Apache-2.0 */
#include "base/machine.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 1024 };

/* The first number in a cgroup file; UINT64_MAX if it is "max" or the file cannot be read. *ret_second (if not NULL):
 * the number after it, or 0. */
static uint64_t cgroup_number(const char *path, uint64_t *ret_second) {
    FILE *file = fopen(path, "re");
    char text[128] = "";
    uint64_t value = UINT64_MAX;
    if (file != NULL) {
        char *end = text;
        if (fgets(text, sizeof text, file) != NULL && text[0] >= '0' && text[0] <= '9') {
            value = strtoull(text, &end, 10);
        }
        if (ret_second != NULL) {
            const char *space = strchr(text, ' ');
            *ret_second = space != NULL ? strtoull(space + 1, NULL, 10) : 0;
        }
        fclose(file);
    }
    return value;
}

/* Calls visit for the cgroup (v2) folder of this process and each parent; a container sees its own cgroup as the root.
 */
static void each_cgroup(void (*visit)(void *context, const char *folder), void *context) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[PATH_BYTES] = "";
    char folder[PATH_BYTES + 32] = "/sys/fs/cgroup";
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "0::", 3) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(folder, sizeof folder, "/sys/fs/cgroup%s", line + 3);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    for (;;) {
        visit(context, folder);
        char *slash = strrchr(folder, '/');
        if (slash == NULL || strcmp(folder, "/sys/fs/cgroup") == 0) {
            return;
        }
        *slash = '\0';
    }
}

static void least_memory(void *context, const char *folder) {
    char path[2 * PATH_BYTES];
    snprintf(path, sizeof path, "%s/memory.max", folder);
    uint64_t limit = cgroup_number(path, NULL);
    if (limit < *(uint64_t *)context) {
        *(uint64_t *)context = limit;
    }
}

static void least_cores(void *context, const char *folder) {
    char path[2 * PATH_BYTES];
    uint64_t period = 0;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    uint64_t quota = cgroup_number(path, &period);
    if (quota != UINT64_MAX && period > 0 && (quota + period - 1) / period < *(uint64_t *)context) {
        *(uint64_t *)context = (quota + period - 1) / period;
    }
}

uint64_t pil_machine_memory_limit(void) {
    uint64_t limit = UINT64_MAX;
    each_cgroup(least_memory, &limit);
    return limit;
}

uint64_t pil_machine_memory(void) {
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint32_t pil_machine_cores(void) {
    cpu_set_t cpus;
    bool fits = sched_getaffinity(0, sizeof cpus, &cpus) == 0; /* fails on machines with more than 1,024 cores */
    uint64_t cores = fits ? (uint64_t)CPU_COUNT(&cpus) : (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    each_cgroup(least_cores, &cores);
    return cores == 0 ? 1 : (uint32_t)cores;
}
