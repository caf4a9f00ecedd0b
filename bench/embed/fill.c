/* SPDX-License-Identifier: Apache-2.0
 * Shared by all fillers: progress, the size of the rows, and databases that appear only when they are complete. */
#include "embed/embed.h"

#include "base/clock.h"

#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_ROWS = 1024 };

void embed_fill_progress(const struct embed_options *options, uint64_t done) {
    static uint64_t next_ns;
    if (done % LOOK_ROWS != 0) {
        return;
    }
    uint64_t now_ns = pil_clock_monotonic_ns();
    bool is_terminal = isatty(STDERR_FILENO);
    if (next_ns != 0 && now_ns >= next_ns) {
        fprintf(stderr, is_terminal ? "\r  %s: %llu of %llu rows " : "  %s: %llu of %llu rows\n", options->reader->name,
                (unsigned long long)done, (unsigned long long)options->keys);
    }
    if (next_ns == 0 || now_ns >= next_ns) {
        next_ns = now_ns + (is_terminal ? 200000000u : 5000000000u);
    }
}

void embed_fill_report(const struct embed_options *options, const char *what, uint64_t bytes) {
    double raw = (double)options->keys * (double)(embed_row_bytes(options) + sizeof(int64_t));
    if (options->is_json) {
        printf("{\"reader\":\"%s\",\"rows\":%llu,\"raw_bytes\":%.0f,\"%s_bytes\":%llu}\n", options->reader->name,
               (unsigned long long)options->keys, raw, what, (unsigned long long)bytes);
    } else {
        printf("%s%s: %llu rows, %.1f MiB of values and keys, %.1f MiB of %s, %.3f bytes per byte\n",
               isatty(STDERR_FILENO) ? "\r" : "", options->reader->name, (unsigned long long)options->keys,
               raw / (1 << 20), (double)bytes / (1 << 20), what, (double)bytes / raw);
    }
}

static const char *path_of(const struct embed_options *options) {
    if (options->path == NULL) {
        embed_fail(options->reader->name, "--fill needs --path");
    }
    return options->path;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *place) {
    (void)about, (void)kind, (void)place;
    return remove(path);
}

void embed_fill_begin(const struct embed_options *options, char ret_partial[4096]) {
    if (snprintf(ret_partial, 4096, "%s.partial", path_of(options)) >= 4096) {
        embed_fail(options->path, "is too long");
    }
    if (access(options->path, F_OK) == 0) {
        embed_fail(options->path, "is there already");
    }
    (void)nftw(ret_partial, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* left by an interrupted fill */
    if (mkdir(ret_partial, 0777) != 0) {
        embed_fail(ret_partial, strerror(errno));
    }
}

static uint64_t files_bytes;

static int count_one(const char *path, const struct stat *about, int kind, struct FTW *place) {
    (void)path, (void)place;
    files_bytes += kind == FTW_F ? (uint64_t)about->st_blocks * 512 : 0;
    return 0;
}

void embed_fill_commit(const struct embed_options *options, const char *partial) {
    if (rename(partial, options->path) != 0) {
        embed_fail(options->path, strerror(errno));
    }
    files_bytes = 0;
    (void)nftw(options->path, count_one, 16, FTW_PHYS);
    embed_fill_report(options, "file", files_bytes);
}
