/* SPDX-License-Identifier: Apache-2.0
 * pillion-embed: one thread calls a reader again and again. Keys of a call are drawn before its clock starts; a call's
 * latency is taken around it (two clock reads, about 40 ns, are in it). */
#include "embed/embed.h"
#include "load/load.h"

#include "base/clock.h"

#include <getopt.h>
#include <stdlib.h>
#include <time.h>

enum { POOL = 1 << 16 }; /* keys are drawn in advance, so that drawing does not warm or cool the caches in between */

void embed_fail(const char *what, const char *why) {
    fprintf(stderr, "pillion-embed: %s: %s\n", what, why);
    exit(1);
}

static const struct embed_reader *const readers[] = {&embed_reader_mapped, &embed_reader_socket, &embed_reader_array};

static void usage(FILE *to) {
    fprintf(to, "usage: pillion-embed --reader mapped|socket|array [option...]\n\n"
                "  --address A     unix:PATH of the daemon's mapped or resp listener\n"
                "  --service S     feature service (default every)\n"
                "  --keys N        row numbers 0 .. N-1 (default 1000)\n"
                "  --features F    float32 features of the service (default 10)\n"
                "  --batch B       keys of one call (default 1)\n"
                "  --zipf T        by Zipf's law, 0 < T < 1, scattered; default: uniform\n"
                "  --duration S, --warmup S   seconds (default 3, 0.5)\n"
                "  --verify SEED   every value must be make_release's of this seed\n"
                "  --random N      where the stream of keys starts\n"
                "  --json          the result as one line\n\nexit status: 0; 1 a wrong or missing value; 2 usage\n");
}

static double number(const char *text) {
    char *end = NULL;
    double value = strtod(text, &end);
    if (*end != '\0' || end == text) {
        fprintf(stderr, "pillion-embed: '%s' is no number\n", text);
        exit(2);
    }
    return value;
}

static struct embed_options parse(int argc, char **argv) {
    static const struct option flags[] = {
        {"reader", 1, NULL, 'r'},   {"address", 1, NULL, 'a'}, {"service", 1, NULL, 's'}, {"keys", 1, NULL, 'k'},
        {"features", 1, NULL, 'f'}, {"batch", 1, NULL, 'b'},   {"zipf", 1, NULL, 'z'},    {"duration", 1, NULL, 'd'},
        {"warmup", 1, NULL, 'w'},   {"verify", 1, NULL, 'v'},  {"random", 1, NULL, 'x'},  {"json", 0, NULL, 'j'},
        {"help", 0, NULL, 'h'},     {NULL, 0, NULL, 0}};
    struct embed_options options = {.reader = "",
                                    .service = "every",
                                    .keys = 1000,
                                    .features = 10,
                                    .batch = 1,
                                    .duration_s = 3,
                                    .warmup_s = 0.5,
                                    .seed = -1,
                                    .random = 1};
    for (int flag; (flag = getopt_long(argc, argv, "", flags, NULL)) != -1;) {
        switch (flag) {
        case 'r': options.reader = optarg; break;
        case 'a': options.address = optarg; break;
        case 's': options.service = optarg; break;
        case 'k': options.keys = (uint64_t)number(optarg); break;
        case 'f': options.features = (uint32_t)number(optarg); break;
        case 'b': options.batch = (uint32_t)number(optarg); break;
        case 'z': options.zipf = number(optarg); break;
        case 'd': options.duration_s = number(optarg); break;
        case 'w': options.warmup_s = number(optarg); break;
        case 'v': options.seed = (int64_t)number(optarg); break;
        case 'x': options.random = (uint64_t)number(optarg); break;
        case 'j': options.is_json = true; break;
        case 'h': usage(stdout); exit(0);
        default: usage(stderr); exit(2);
        }
    }
    if (options.keys == 0 || options.batch == 0 || options.batch > POOL || options.features == 0) {
        usage(stderr);
        exit(2);
    }
    return options;
}

struct run {
    const struct embed_options *options;
    const struct embed_reader *reader;
    void *context;
    int64_t *pool;
    float *values;
    struct pil_histogram latency;
    uint64_t calls, wrong, failed;
};

static void check(struct run *run, const int64_t *keys) {
    const struct embed_options *options = run->options;
    for (uint32_t i = 0; i < options->batch; i++) {
        for (uint32_t f = 0; f < options->features; f++) {
            run->wrong += run->values[(size_t)i * options->features + f] !=
                          embed_value((uint64_t)keys[i], f, (uint64_t)options->seed);
        }
    }
}

static void run_for(struct run *run, double seconds, bool is_measured) {
    uint64_t end_ns = pil_clock_monotonic_ns() + (uint64_t)(seconds * 1e9), now_ns = 0;
    for (size_t at = 0; now_ns < end_ns; at = (at + run->options->batch) % (POOL - run->options->batch + 1)) {
        uint64_t begin_ns = pil_clock_monotonic_ns();
        bool ok = run->reader->get(run->context, &run->pool[at], run->options->batch, run->values);
        now_ns = pil_clock_monotonic_ns();
        if (is_measured) {
            pil_histogram_add_owner(&run->latency, now_ns - begin_ns, 1);
            run->calls++;
        }
        run->failed += !ok;
        if (run->options->seed >= 0) {
            check(run, &run->pool[at]);
        }
    }
}

static double cpu_s(void) {
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static int report(const struct run *run, double elapsed_s, double used_s) {
    const struct embed_options *options = run->options;
    struct pil_histogram_view *view = calloc(1, sizeof *view);
    if (view == NULL) {
        embed_fail("report", "no memory");
    }
    pil_histogram_merge(view, &run->latency);
    double in_calls_s = (double)view->sum / 1e9, vectors = (double)run->calls * options->batch;
    const double quantiles[] = {0.5, 0.99, 0.999};
    double us[3];
    for (int i = 0; i < 3; i++) {
        us[i] = (double)pil_histogram_quantile(view, quantiles[i]) / 1e3;
    }
    printf(options->is_json
               ? "{\"reader\":\"%s\",\"batch\":%u,\"features\":%u,\"calls\":%llu,\"p50_us\":%.3f,\"p99_us\":%.3f,"
                 "\"p999_us\":%.3f,\"vectors_per_s\":%.0f,\"cpu_us_per_call\":%.3f,\"wrong\":%llu,\"failed\":%llu,"
                 "\"elapsed_s\":%.2f}\n"
               : "%-7s %u x %u: %llu calls, p50 %.3f p99 %.3f p99.9 %.3f µs, %.0f vectors/s in calls, %.3f µs of CPU a "
                 "call, %llu wrong, %llu failed, %.2f s\n",
           run->reader->name, options->batch, options->features, (unsigned long long)run->calls, us[0], us[1], us[2],
           vectors / in_calls_s, used_s / (double)run->calls * 1e6, (unsigned long long)run->wrong,
           (unsigned long long)run->failed, elapsed_s);
    free(view);
    return run->wrong + run->failed > 0 ? 1 : 0;
}

int main(int argc, char **argv) {
    struct embed_options options = parse(argc, argv);
    static struct run run;
    struct load_keys keys;
    run.options = &options;
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        if (strcmp(readers[i]->name, options.reader) == 0) {
            run.reader = readers[i];
        }
    }
    if (run.reader == NULL) {
        usage(stderr);
        return 2;
    }
    run.pool = malloc(POOL * sizeof run.pool[0]);
    run.values = malloc((size_t)options.batch * options.features * sizeof(float));
    if (run.pool == NULL || run.values == NULL) {
        embed_fail("start", "no memory");
    }
    load_keys_init(&keys, options.keys, options.zipf);
    for (uint32_t i = 0; i < POOL; i++) {
        run.pool[i] = (int64_t)load_key_next(&keys, &options.random);
    }
    run.context = run.reader->open(&options);
    run_for(&run, options.warmup_s, false);
    double begin_s = (double)pil_clock_monotonic_ns() / 1e9, cpu_before_s = cpu_s();
    run_for(&run, options.duration_s, true);
    double elapsed_s = (double)pil_clock_monotonic_ns() / 1e9 - begin_s, used_s = cpu_s() - cpu_before_s;
    run.reader->close(run.context);
    int code = report(&run, elapsed_s, used_s);
    free(run.pool);
    free(run.values);
    return code;
}
