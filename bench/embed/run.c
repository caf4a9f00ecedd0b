/* SPDX-License-Identifier: Apache-2.0
 * Processes that call a reader repeatedly, each from one thread. The keys of a call are drawn before its clock starts;
 * the latency includes two clock reads, about 40 ns. */
#include "embed/run.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Keys are drawn in advance, in one copy for all processes, so that drawing costs a call nothing. There are so many
 * that their rows do not fit into a cache (128 MiB for rows of 50 float32). */
enum { POOL = 1 << 19 };

struct shared {
    pthread_barrier_t begin, end, gone;
    int64_t pool[POOL];
    struct embed_result results[EMBED_PROCESSES_MAX];
};

struct sample {
    uint64_t due_ns, taken_ns;
};

struct run {
    const struct embed_options *options;
    struct shared *shared;
    struct embed_result *result;
    void *reader;
    float *values;
    size_t at; /* index in the pool */
    struct sample *samples;
    size_t sample_count, sample_capacity;
};

static volatile sig_atomic_t is_stopped;

static void stop(int signal_number) {
    (void)signal_number;
    is_stopped = 1;
}

static void *shared_memory(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        embed_fail("start", "no memory");
    }
    return memory;
}

/* ---- Calls */

static void check(struct run *run, const int64_t *keys) {
    const struct embed_options *options = run->options;
    for (uint32_t i = 0; i < options->batch; i++) {
        for (uint32_t f = 0; f < options->features; f++) {
            run->result->wrong +=
                run->values[(size_t)i * options->features + f] !=
                embed_value(options, (uint64_t)keys[i], embed_pick(options, f), (uint64_t)options->seed);
        }
    }
}

static void keep_sample(struct run *run, uint64_t due_ns, uint64_t taken_ns) {
    if (run->sample_count == run->sample_capacity) {
        run->sample_capacity = run->sample_capacity == 0 ? 1 << 20 : 2 * run->sample_capacity;
        run->samples = realloc(run->samples, run->sample_capacity * sizeof run->samples[0]);
        if (run->samples == NULL) {
            embed_fail("--samples", "no memory");
        }
    }
    run->samples[run->sample_count++] = (struct sample){.due_ns = due_ns, .taken_ns = taken_ns};
}

static uint32_t bucket_of(uint64_t ns) {
    uint32_t octave = 63 - (uint32_t)__builtin_clzll(ns | 1);
    if (octave < EMBED_SUB_BITS) {
        return (uint32_t)ns;
    }
    octave = octave < EMBED_OCTAVES ? octave : EMBED_OCTAVES - 1;
    return ((octave - EMBED_SUB_BITS) << EMBED_SUB_BITS) +
           (uint32_t)(ns >> (octave - EMBED_SUB_BITS)) % (2 << EMBED_SUB_BITS);
}

static void record(struct run *run, uint64_t due_ns, uint64_t begin_ns, uint64_t now_ns) {
    struct embed_result *result = run->result;
    uint64_t taken_ns = now_ns - due_ns;
    result->latency[bucket_of(taken_ns)]++;
    result->calls++;
    result->in_calls_ns += now_ns - begin_ns;
    result->max_ns = taken_ns > result->max_ns ? taken_ns : result->max_ns;
    if (run->options->samples_path != NULL) {
        keep_sample(run, due_ns, taken_ns);
    }
}

static void run_for(struct run *run, double seconds, bool is_measured) {
    const struct embed_options *options = run->options;
    uint64_t begin_all_ns = pil_clock_monotonic_ns(), end_ns = begin_all_ns + (uint64_t)(seconds * 1e9);
    uint64_t now_ns = begin_all_ns;
    double period_ns = options->rate > 0 ? 1e9 / options->rate : 0;
    for (uint64_t i = 0; now_ns < end_ns && !is_stopped; i++) {
        uint64_t due_ns = begin_all_ns + (uint64_t)((double)i * period_ns), begin_ns = pil_clock_monotonic_ns();
        while (period_ns > 0 && begin_ns < due_ns) {
            begin_ns = pil_clock_monotonic_ns();
        }
        const int64_t *keys = &run->shared->pool[run->at];
        bool ok = options->reader->get(run->reader, keys, options->batch, run->values);
        now_ns = pil_clock_monotonic_ns();
        if (is_measured) {
            record(run, period_ns > 0 ? due_ns : begin_ns, begin_ns, now_ns);
        }
        run->result->failed += !ok;
        if (options->seed >= 0) {
            check(run, keys);
        }
        run->at = run->at + 2 * options->batch <= POOL ? run->at + options->batch : 0;
    }
}

static void write_samples(const struct run *run) {
    const char *path = run->options->samples_path;
    FILE *file = fopen(path, "we");
    if (file == NULL || fwrite(run->samples, sizeof run->samples[0], run->sample_count, file) != run->sample_count ||
        fclose(file) != 0) {
        embed_fail(path, strerror(errno));
    }
}

/* ---- Processes */

static uint64_t cpu_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (uint64_t)at.tv_sec * 1000000000 + (uint64_t)at.tv_nsec;
}

static uint64_t minor_faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_minflt;
}

static void measure(struct run *run) {
    const struct embed_options *options = run->options;
    struct embed_result *result = run->result;
    run_for(run, options->warmup_s, false);
    pthread_barrier_wait(&run->shared->begin);
    struct embed_counters counters = embed_counters_start();
    uint64_t faults = minor_faults(), used_ns = cpu_ns(), begin_ns = pil_clock_monotonic_ns();
    run_for(run, options->duration_s, true);
    result->elapsed_ns = pil_clock_monotonic_ns() - begin_ns;
    result->cpu_ns = cpu_ns() - used_ns;
    result->minor_faults = minor_faults() - faults;
    embed_counters_stop(&counters, result);
    if (options->samples_path != NULL) {
        write_samples(run);
    }
    pthread_barrier_wait(&run->shared->end); /* all processes still exist here, so PSS counts what they share once */
    result->rss_bytes = embed_memory_of(0, "Rss");
    result->pss_bytes = embed_memory_of(0, "Pss");
    pthread_barrier_wait(&run->shared->gone);
}

/* Pins to the n-th of the CPUs that this process may use. Returns -1 when there are fewer CPUs than processes. */
static int pin(uint32_t process, uint32_t processes) {
    cpu_set_t allowed, one;
    if (processes == 1 || sched_getaffinity(0, sizeof allowed, &allowed) != 0 ||
        (uint32_t)CPU_COUNT(&allowed) < processes) {
        return -1;
    }
    size_t cpu = 0;
    for (uint32_t before = 0; !CPU_ISSET(cpu, &allowed) || before < process; cpu++) {
        before += CPU_ISSET(cpu, &allowed) ? 1 : 0;
    }
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(0, sizeof one, &one) == 0 ? (int)cpu : -1;
}

static void run_process(struct run run, uint32_t process) {
    const struct embed_options *options = run.options;
    run.result = &run.shared->results[process];
    run.result->cpu = pin(process, options->processes);
    run.at = (size_t)process * (POOL / options->processes) / options->batch * options->batch;
    run.at = run.at + options->batch <= POOL ? run.at : 0;
    size_t bytes = (size_t)options->batch * options->features * sizeof(float);
    run.values = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (run.values == NULL) {
        embed_fail("start", "no memory");
    }
    run.reader = options->reader->is_shared ? run.reader : options->reader->open(options);
    measure(&run);
    if (!options->reader->is_shared) {
        options->reader->close(run.reader);
    }
    free(run.values);
    free(run.samples);
}

static void signal_all(const pid_t *pids, uint32_t count, int number) {
    for (uint32_t i = 0; i < count; i++) {
        if (pids[i] > 0) {
            kill(pids[i], number);
        }
    }
}

/* Waits for all processes. When one fails, ends the others, which would wait for it. */
static void wait_for_all(pid_t *pids, uint32_t count) {
    bool is_told = false, has_failed = false;
    for (uint32_t left = count; left > 0;) {
        int status;
        pid_t pid = wait(&status);
        if (pid < 0 && errno == EINTR) {
            if (is_stopped && !is_told) {
                signal_all(pids, count, SIGINT);
                is_told = true;
            }
            continue;
        }
        if (pid < 0) {
            embed_fail("wait", strerror(errno));
        }
        left--;
        for (uint32_t i = 0; i < count; i++) {
            pids[i] = pids[i] == pid ? 0 : pids[i];
        }
        if (status != 0 && !has_failed) {
            has_failed = true;
            signal_all(pids, count, SIGKILL);
        }
    }
    if (has_failed) {
        embed_fail("--processes", "one of them failed");
    }
}

static void fork_all(struct run run) {
    uint32_t count = run.options->processes;
    pid_t pids[EMBED_PROCESSES_MAX] = {0}, parent = getpid();
    for (uint32_t i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] < 0) {
            embed_fail("fork", strerror(errno));
        }
        if (pids[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() == parent) {
                run_process(run, i);
            }
            _exit(0);
        }
    }
    wait_for_all(pids, count);
}

static void make_barriers(struct shared *shared, uint32_t count) {
    pthread_barrierattr_t attributes;
    pthread_barrierattr_init(&attributes);
    pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->begin, &attributes, count);
    pthread_barrier_init(&shared->end, &attributes, count);
    pthread_barrier_init(&shared->gone, &attributes, count);
    pthread_barrierattr_destroy(&attributes);
}

const struct embed_result *embed_run(const struct embed_options *options) {
    struct run run = {.options = options, .shared = shared_memory(sizeof *run.shared)};
    struct load_keys keys;
    uint64_t random = options->random;
    sigaction(SIGINT, &(struct sigaction){.sa_handler = stop}, NULL);
    load_keys_init(&keys, options->keys, options->zipf);
    for (uint32_t i = 0; i < POOL; i++) {
        run.shared->pool[i] = (int64_t)load_key_next(&keys, &random);
    }
    make_barriers(run.shared, options->processes);
    if (options->reader->is_shared) {
        run.reader = options->reader->open(options);
    }
    if (options->processes == 1) {
        run_process(run, 0);
    } else {
        fork_all(run);
    }
    if (options->reader->is_shared) {
        options->reader->close(run.reader);
    }
    return run.shared->results;
}
