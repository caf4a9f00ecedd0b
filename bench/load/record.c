/* SPDX-License-Identifier: Apache-2.0
 * The record of a run: histograms, verdicts, samples, CPU time of the servers. */
#include "load/load.h"

#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

pil_status load_record_init(struct load_record *record, const struct load_plan *plan, struct pil_error *ret_error) {
    memset(record, 0, sizeof *record);
    if (plan->samples_path == NULL) {
        return PIL_STATUS_OK;
    }
    void *samples = mmap(NULL, LOAD_SAMPLES_MAX * sizeof *record->samples, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (samples == MAP_FAILED) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for --samples");
    }
    record->samples = samples;
    return PIL_STATUS_OK;
}

void load_record_deinit(struct load_record *record) {
    if (record->samples != NULL) {
        munmap(record->samples, LOAD_SAMPLES_MAX * sizeof *record->samples);
        record->samples = NULL;
    }
}

void load_record_reply(struct load_record *record, uint64_t intended_ns, uint64_t now_ns, load_verdict verdict) {
    record->verdicts[verdict]++;
    record->interval_errors += verdict != LOAD_REPLY_OK;
    record->replies_in_window += now_ns >= record->cpu_window_begin_ns && record->cpu_window_end_ns == 0;
    if (intended_ns < record->measure_begin_ns || intended_ns >= record->measure_end_ns) {
        return;
    }
    uint64_t latency_ns = now_ns - intended_ns;
    pil_histogram_add_owner(&record->all, latency_ns, 1);
    pil_histogram_add_owner(&record->interval, latency_ns, 1);
    if (record->samples == NULL) {
        return;
    }
    if (record->sample_count == LOAD_SAMPLES_MAX) {
        record->samples_lost++;
        return;
    }
    record->samples[record->sample_count++] = (struct load_sample){
        .intended_us = (uint32_t)((intended_ns - record->begin_ns) / 1000),
        .latency_ns = latency_ns < UINT32_MAX ? (uint32_t)latency_ns : UINT32_MAX,
    };
}

bool load_record_write_samples(const struct load_record *record, const char *path) {
    FILE *file = fopen(path, "we");
    bool ok = file != NULL;
    for (uint64_t i = 0; ok && i < record->sample_count; i++) {
        const struct load_sample *sample = &record->samples[i];
        uint64_t pair[2] = {record->begin_ns + (uint64_t)sample->intended_us * 1000, sample->latency_ns};
        ok = fwrite(pair, sizeof pair, 1, file) == 1;
    }
    ok = (file == NULL || fclose(file) == 0) && ok;
    if (!ok) {
        fprintf(stderr, "pillion-load: --samples %s: %s\n", path, strerror(errno));
    }
    return ok;
}

/* Adds the first field of schedstat: nanoseconds on a CPU. */
static bool read_schedstat(const char *path, uint64_t *sum_ns) {
    struct pil_text text = {0};
    char *end = NULL;
    if (pil_sys_read_file(path, 4096, &text, NULL) != PIL_STATUS_OK) {
        return false;
    }
    *sum_ns += strtoull(pil_text_chars(&text), &end, 10);
    bool good = end != pil_text_chars(&text);
    pil_text_deinit(&text);
    return good;
}

bool load_cpu_read(const struct load_plan *plan, uint64_t *ret_ns) {
    uint64_t sum_ns = 0;
    for (uint32_t i = 0; i < plan->cpu_pid_count; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/task", plan->cpu_pids[i]);
        DIR *tasks = opendir(path);
        if (tasks == NULL) {
            fprintf(stderr, "pillion-load: --cpu-of %d: %s\n", plan->cpu_pids[i], strerror(errno));
            return false;
        }
        uint32_t read = 0;
        for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
            char file[384];
            snprintf(file, sizeof file, "%s/%s/schedstat", path, task->d_name);
            /* A thread may end between the listing and the reading. */
            read += task->d_name[0] != '.' && read_schedstat(file, &sum_ns);
        }
        closedir(tasks);
        if (read == 0) {
            fprintf(stderr, "pillion-load: --cpu-of %d: no schedstat of any thread can be read\n", plan->cpu_pids[i]);
            return false;
        }
    }
    *ret_ns = sum_ns;
    return true;
}
