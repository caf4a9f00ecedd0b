/* SPDX-License-Identifier: Apache-2.0
 * Shared by the parts of pillion-load: the plan of a run, the stream of keys, requests and the check of replies, and
 * the record. One thread. Tour: options.c, keys.c, resp.c and feast.c (one per protocol), run.c, record.c, report.c. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "base/text.h"
#include "engine/engine.h"
#include "metric/metric.h"

#include <stdio.h>

enum { LOAD_SEEDS_MAX = 64, LOAD_CPU_PIDS_MAX = 16, LOAD_SAMPLES_MAX = 20000000 };

/* ---- Keys: row numbers 0 .. count - 1. The state is a single number, so that a request's keys can be drawn again. */

struct load_keys {
    uint64_t count;
    double theta; /* 0: uniform; else Zipf's exponent, below 1 */
    double zeta, alpha, eta;
};
void load_keys_init(struct load_keys *keys, uint64_t count, double theta);
uint64_t load_random_next(uint64_t *state);
/* Uniform between 0 (excluded) and 1. */
double load_random_unit(uint64_t *state);
uint64_t load_key_next(const struct load_keys *keys, uint64_t *state);

/* ---- The plan */

typedef enum load_command {
    LOAD_HMGET,
    LOAD_HGETALL,
    LOAD_GET,
    LOAD_MGET,
    LOAD_VECTOR,
    LOAD_FEAST,
    LOAD_BYTES
} load_command;

struct load_plan {
    const char *address;
    load_command command;
    uint32_t connections, depth;
    uint32_t entities; /* keys of one MGET, PIL.VECTOR64 or feast request */
    uint32_t features; /* f0 .. f{features - 1} */
    const char *key_prefix, *view, *service, *join_key, *path;
    struct load_keys keys;
    uint64_t random;                     /* the initial state of the stream of keys */
    uint32_t request_bytes, reply_bytes; /* LOAD_BYTES */

    double rate; /* requests per second; 0: closed loop */
    bool is_poisson, allow_late;
    double warmup_s, duration_s;
    uint64_t requests_max; /* measured requests; 0: by duration */
    pil_engine_kind engine;
    uint64_t spin_ns;

    uint64_t seeds[LOAD_SEEDS_MAX];
    uint32_t seed_count;  /* 0: replies are not checked */
    uint32_t interval_ms; /* 0: no time series */
    const char *samples_path, *capture_path;
    int cpu_pids[LOAD_CPU_PIDS_MAX];
    uint32_t cpu_pid_count;
    bool is_json;

    /* The constant parts of a request, made once from the members above. */
    struct pil_text head, tail;
};

/* Exits with a message and status 2 if the command line is wrong. */
void load_options_parse(int argc, char **argv, struct load_plan *ret_plan);
/* Connects a non-blocking socket to "unix:PATH" or "tcp:HOST:PORT". */
pil_status load_connect(const char *address, int *ret_fd, struct pil_error *ret_error) PIL_CHECKED;

/* ---- Protocols */

typedef enum load_verdict {
    LOAD_REPLY_OK,
    LOAD_REPLY_ERROR,   /* the server answered with an error */
    LOAD_REPLY_MISSING, /* a value is null */
    LOAD_REPLY_WRONG,   /* no allowed seed explains a value */
    LOAD_REPLY_MIXED,   /* a seed explains each value, but no single one explains all: two releases in one answer */
    LOAD_VERDICT_COUNT
} load_verdict;

struct load_protocol {
    void (*prepare)(struct load_plan *plan);
    /* Appends one request with keys drawn from *random. */
    void (*put)(struct load_plan *plan, uint64_t *random, struct pil_text *request);
    /* Length of the reply at the start of `input`. AGAIN: the reply is incomplete; INVALID. */
    pil_status (*frame)(const struct load_plan *plan, struct pil_bytes input, size_t *ret_len);
    /* Checks a reply; compares values when plan->seed_count > 0. `random` is the state that put was called with. */
    load_verdict (*check)(const struct load_plan *plan, uint64_t random, struct pil_bytes reply);
};
extern const struct load_protocol load_protocol_resp, load_protocol_feast, load_protocol_bytes;
const struct load_protocol *load_protocol_of(load_command command);

/* The result of comparing the values of one reply with the seeds. */
struct load_check {
    uint64_t seeds; /* bit i: plan->seeds[i] explains all values so far */
    bool is_missing, is_wrong;
};
struct load_check load_check_begin(const struct load_plan *plan);
void load_check_value(struct load_check *check, const struct load_plan *plan, uint64_t key, uint32_t feature,
                      float value);
/* Parses decimal text; text that is not a number is wrong. */
void load_check_text(struct load_check *check, const struct load_plan *plan, uint64_t key, uint32_t feature,
                     struct pil_bytes text);
load_verdict load_check_end(const struct load_check *check);
/* The feature number of a name like "f12". Returns false if the plan has no such feature. */
bool load_feature_number(const struct load_plan *plan, struct pil_bytes name, uint32_t *ret_feature);
/* Appends decimal digits. */
void load_put_u64(struct pil_text *text, uint64_t value);

/* ---- Records */

/* Microseconds since the run began, and nanoseconds of latency (4.29 s at most; longer ones are cut). */
struct load_sample {
    uint32_t intended_us, latency_ns;
};

struct load_record {
    struct pil_histogram all, interval;
    struct load_sample *samples; /* allocated only for --samples */
    uint64_t sample_count, samples_lost;
    uint64_t begin_ns;                         /* when the run began */
    uint64_t measure_begin_ns, measure_end_ns; /* intended times in between count; sending ends with the second */
    uint64_t interval_begin_ns, interval_errors;

    uint64_t sent, late;                   /* measured requests, and those of them that were more than a period late */
    uint64_t verdicts[LOAD_VERDICT_COUNT]; /* of all replies, including those of the warm-up */
    uint64_t unanswered;
    uint64_t replies_in_window; /* replies between the two readings of CPU time */
    uint64_t cpu_begin_ns, cpu_end_ns, cpu_window_begin_ns, cpu_window_end_ns;
    bool has_cpu;
};
pil_status load_record_init(struct load_record *record, const struct load_plan *plan,
                            struct pil_error *ret_error) PIL_CHECKED;
void load_record_deinit(struct load_record *record);
void load_record_reply(struct load_record *record, uint64_t intended_ns, uint64_t now_ns, load_verdict verdict);
/* Returns false if it cannot, after saying why on stderr. */
bool load_record_write_samples(const struct load_record *record, const char *path);
/* Reads the CPU time of the plan's processes so far, over all threads. Returns false if one of them has ended. */
bool load_cpu_read(const struct load_plan *plan, uint64_t *ret_ns);

/* ---- Run and report */

/* SYSTEM, CLOSED, TIMEOUT: the server cannot be reached or has ended the connection; the sentence says what
 * happened. */
pil_status load_run(struct load_plan *plan, struct load_record *record, struct pil_error *ret_error) PIL_CHECKED;
/* Prints one JSON line for the interval that ends now. */
void load_report_interval(const struct load_plan *plan, struct load_record *record, uint64_t now_ns);
/* Prints the whole result. Returns the exit status: 0; 1: wrong, failed or missing replies; 3: the generator was
 * late. */
int load_report(const struct load_plan *plan, const struct load_record *record);
