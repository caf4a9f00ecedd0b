/* SPDX-License-Identifier: Apache-2.0
 * Reads all mapped memory once. The first access to a page costs a fault; in a virtual machine, memory that was not
 * used for long costs another fault in the host (10 to 50 µs). Neither is part of a read. */
#include "embed/embed.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, CHUNK = 1 << 16 };

/* Reads the file from the disk in order: a map that is declared as randomly accessed would fetch each page
 * separately. */
static void cache_file(char *name, uint64_t bytes_max) {
    static char chunk[CHUNK];
    name[strcspn(name, "\n")] = '\0';
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    for (uint64_t done = 0; fd >= 0 && done < bytes_max;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got <= 0) {
            break;
        }
        done += (uint64_t)got;
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void touch(const volatile uint8_t *begin, size_t bytes) {
    (void)madvise((void *)(uintptr_t)begin, bytes, MADV_POPULATE_READ);
    for (size_t at = 0; at < bytes; at += PAGE) {
        (void)begin[at];
    }
}

void embed_pages_touch(const char *prefix, uint64_t bytes_max) {
    char line[8192];
    FILE *file = fopen("/proc/self/maps", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *at = line;
        uintptr_t begin = strtoull(line, &at, 16), end = *at == '-' ? strtoull(at + 1, &at, 16) : begin;
        char *name = strchr(line, '/');
        if (end > begin && at[1] == 'r' && name != NULL && strncmp(name, prefix, strlen(prefix)) == 0) {
            cache_file(name, bytes_max);
            touch((const volatile uint8_t *)begin, end - begin < bytes_max ? end - begin : bytes_max);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

void embed_folder_touch(const char *path, uint64_t bytes_max) {
    char prefix[4096 + 1], *real = realpath(path, NULL);
    if (real != NULL && snprintf(prefix, sizeof prefix, "%s/", real) < (int)sizeof prefix) {
        embed_pages_touch(prefix, bytes_max);
    }
    free(real);
}
