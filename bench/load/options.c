/* SPDX-License-Identifier: Apache-2.0
 * The command line of pillion-load. */
#include "load/load.h"

#include <getopt.h>
#include <stdlib.h>

static const char usage[] =
    "usage: pillion-load --address unix:PATH|tcp:IPV4:PORT --command COMMAND [option...]\n"
    "\n"
    "what to ask\n"
    "  --command C        hmget, hgetall, get, mget, vector (RESP); feast (HTTP); bytes (any server with fixed sizes)\n"
    "  --keys N           row numbers 0 .. N-1 are asked for (default 1000)\n"
    "  --zipf THETA       by Zipf's law, 0 < THETA < 1, scattered; default: uniform\n"
    "  --entities E       keys of one mget, vector or feast request (default 1)\n"
    "  --features F       features f0 .. f{F-1} (default 10)\n"
    "  --key-prefix P     what stands before the row number in RESP keys (default \"view:\")\n"
    "  --view V, --service S, --join-key K, --path P    of a feast request (default view, none, id, "
    "/get-online-features)\n"
    "  --request-bytes N, --reply-bytes N   of --command bytes (default 64)\n"
    "  --random N         where the stream of keys starts (default 1); the same number, the same keys\n"
    "how\n"
    "  --rate R           open loop: R requests a second, whatever the server does; latency counts from the intended\n"
    "                     time, and the run fails when over 0.1 % of the sends were over one period late\n"
    "  --poisson          arrivals at random instead of evenly\n"
    "  --allow-late       late sends are reported, but do not fail the run\n"
    "                     (without --rate: closed loop, each connection waits for its answers; latency leaves out "
    "what\n"
    "                     could not be sent meanwhile)\n"
    "  --connections N    (default 1)\n"
    "  --depth D          requests sent at once on a connection (default 1)\n"
    "  --duration S, --requests N, --warmup S    (default 5, no limit, 1)\n"
    "  --engine E         epoll or io_uring (default epoll)\n"
    "  --spin-us N        look for answers for so long before sleeping (default 100)\n"
    "what to check and report\n"
    "  --verify SEEDS     comma-separated seeds of make_release: each value must come from one of them, and all "
    "values\n"
    "                     of one answer from the same\n"
    "  --interval-ms N    a JSON line with the quantiles of each interval\n"
    "  --samples FILE     two u64 a request: when it was due (CLOCK_MONOTONIC) and how long it took, both in ns\n"
    "  --cpu-of PID       CPU time of this process per request; may be repeated\n"
    "  --capture F        write the first answer to F and stop\n"
    "  --json             the result as one JSON line\n"
    "\n"
    "exit status: 0; 1 a wrong, mixed, missing or failed answer, or a lost connection; 2 usage; 3 late sends\n";

enum option_id {
    OPTION_ADDRESS = 256,
    OPTION_COMMAND,
    OPTION_KEYS,
    OPTION_ZIPF,
    OPTION_ENTITIES,
    OPTION_FEATURES,
    OPTION_KEY_PREFIX,
    OPTION_VIEW,
    OPTION_SERVICE,
    OPTION_JOIN_KEY,
    OPTION_PATH,
    OPTION_REQUEST_BYTES,
    OPTION_REPLY_BYTES,
    OPTION_RANDOM,
    OPTION_RATE,
    OPTION_POISSON,
    OPTION_ALLOW_LATE,
    OPTION_CONNECTIONS,
    OPTION_DEPTH,
    OPTION_DURATION,
    OPTION_REQUESTS,
    OPTION_WARMUP,
    OPTION_ENGINE,
    OPTION_SPIN_US,
    OPTION_VERIFY,
    OPTION_INTERVAL_MS,
    OPTION_SAMPLES,
    OPTION_CPU_OF,
    OPTION_CAPTURE,
    OPTION_JSON,
    OPTION_HELP,
};

static const struct option options[] = {
    {"address", required_argument, NULL, OPTION_ADDRESS},
    {"command", required_argument, NULL, OPTION_COMMAND},
    {"keys", required_argument, NULL, OPTION_KEYS},
    {"zipf", required_argument, NULL, OPTION_ZIPF},
    {"entities", required_argument, NULL, OPTION_ENTITIES},
    {"features", required_argument, NULL, OPTION_FEATURES},
    {"key-prefix", required_argument, NULL, OPTION_KEY_PREFIX},
    {"view", required_argument, NULL, OPTION_VIEW},
    {"service", required_argument, NULL, OPTION_SERVICE},
    {"join-key", required_argument, NULL, OPTION_JOIN_KEY},
    {"path", required_argument, NULL, OPTION_PATH},
    {"request-bytes", required_argument, NULL, OPTION_REQUEST_BYTES},
    {"reply-bytes", required_argument, NULL, OPTION_REPLY_BYTES},
    {"random", required_argument, NULL, OPTION_RANDOM},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"poisson", no_argument, NULL, OPTION_POISSON},
    {"allow-late", no_argument, NULL, OPTION_ALLOW_LATE},
    {"connections", required_argument, NULL, OPTION_CONNECTIONS},
    {"depth", required_argument, NULL, OPTION_DEPTH},
    {"duration", required_argument, NULL, OPTION_DURATION},
    {"requests", required_argument, NULL, OPTION_REQUESTS},
    {"warmup", required_argument, NULL, OPTION_WARMUP},
    {"engine", required_argument, NULL, OPTION_ENGINE},
    {"spin-us", required_argument, NULL, OPTION_SPIN_US},
    {"verify", required_argument, NULL, OPTION_VERIFY},
    {"interval-ms", required_argument, NULL, OPTION_INTERVAL_MS},
    {"samples", required_argument, NULL, OPTION_SAMPLES},
    {"cpu-of", required_argument, NULL, OPTION_CPU_OF},
    {"capture", required_argument, NULL, OPTION_CAPTURE},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

_Noreturn static void refuse(const char *option, const char *value, const char *expected) {
    fprintf(stderr, "pillion-load: --%s %s: expected %s\n", option, value, expected);
    exit(2);
}

static double number(const char *option, double min, double max) {
    char *end = NULL, expected[64];
    double value = strtod(optarg, &end);
    if (end == optarg || *end != '\0' || !(value >= min && value <= max)) {
        snprintf(expected, sizeof expected, "a number from %g to %g", min, max);
        refuse(option, optarg, expected);
    }
    return value;
}

static uint64_t whole(const char *option, uint64_t min, uint64_t max) {
    double value = number(option, (double)min, (double)max);
    if ((double)(uint64_t)value < value) {
        refuse(option, optarg, "a whole number");
    }
    return (uint64_t)value;
}

static size_t word(const char *option, const char *const *words) {
    char expected[128] = "one of:";
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcmp(optarg, words[i]) == 0) {
            return i;
        }
        size_t len = strlen(expected);
        snprintf(expected + len, sizeof expected - len, " %s", words[i]);
    }
    refuse(option, optarg, expected);
}

static void seeds(struct load_plan *plan) {
    for (const char *at = optarg; *at != '\0';) {
        char *end = NULL;
        uint64_t seed = strtoull(at, &end, 10);
        if (end == at || (*end != ',' && *end != '\0') || plan->seed_count == LOAD_SEEDS_MAX) {
            refuse("verify", optarg, "at most 64 whole numbers with commas between them");
        }
        plan->seeds[plan->seed_count++] = seed;
        at = end + (*end == ',');
    }
}

/* Takes an option about the request. Returns false if `id` is not one of these. */
static bool take_request_option(struct load_plan *plan, int id, double *zipf) {
    static const char *const commands[] = {"hmget", "hgetall", "get", "mget", "vector", "feast", "bytes", NULL};
    switch (id) {
    case OPTION_ADDRESS: plan->address = optarg; return true;
    case OPTION_COMMAND: plan->command = (load_command)word("command", commands); return true;
    case OPTION_KEYS: plan->keys.count = whole("keys", 1, 1ull << 40); return true;
    case OPTION_ZIPF: *zipf = number("zipf", 0.01, 0.9999); return true;
    case OPTION_ENTITIES: plan->entities = (uint32_t)whole("entities", 1, 1000000); return true;
    case OPTION_FEATURES: plan->features = (uint32_t)whole("features", 1, 4096); return true;
    case OPTION_KEY_PREFIX: plan->key_prefix = optarg; return true;
    case OPTION_VIEW: plan->view = optarg; return true;
    case OPTION_SERVICE: plan->service = optarg; return true;
    case OPTION_JOIN_KEY: plan->join_key = optarg; return true;
    case OPTION_PATH: plan->path = optarg; return true;
    case OPTION_REQUEST_BYTES: plan->request_bytes = (uint32_t)whole("request-bytes", 1, 1 << 24); return true;
    case OPTION_REPLY_BYTES: plan->reply_bytes = (uint32_t)whole("reply-bytes", 1, 1 << 28); return true;
    case OPTION_RANDOM: plan->random = whole("random", 0, 1ull << 50); return true;
    default: return false;
    }
}

static bool take_run_option(struct load_plan *plan, int id) {
    static const char *const engines[] = {"io_uring", "epoll", NULL};
    switch (id) {
    case OPTION_RATE: plan->rate = number("rate", 0.001, 1e9); return true;
    case OPTION_POISSON: plan->is_poisson = true; return true;
    case OPTION_ALLOW_LATE: plan->allow_late = true; return true;
    case OPTION_CONNECTIONS: plan->connections = (uint32_t)whole("connections", 1, 100000); return true;
    case OPTION_DEPTH: plan->depth = (uint32_t)whole("depth", 1, 10000); return true;
    case OPTION_DURATION: plan->duration_s = number("duration", 0.001, 4000); return true;
    case OPTION_REQUESTS: plan->requests_max = whole("requests", 1, 1ull << 50); return true;
    case OPTION_WARMUP: plan->warmup_s = number("warmup", 0, 1000); return true;
    case OPTION_ENGINE:
        plan->engine = word("engine", engines) == 0 ? PIL_ENGINE_IO_URING : PIL_ENGINE_EPOLL;
        return true;
    case OPTION_SPIN_US: plan->spin_ns = whole("spin-us", 0, 1000000) * 1000; return true;
    default: return false;
    }
}

static bool take_report_option(struct load_plan *plan, int id) {
    switch (id) {
    case OPTION_VERIFY: seeds(plan); return true;
    case OPTION_INTERVAL_MS: plan->interval_ms = (uint32_t)whole("interval-ms", 1, 3600000); return true;
    case OPTION_SAMPLES: plan->samples_path = optarg; return true;
    case OPTION_CPU_OF:
        if (plan->cpu_pid_count == LOAD_CPU_PIDS_MAX) {
            refuse("cpu-of", optarg, "at most 16 processes");
        }
        plan->cpu_pids[plan->cpu_pid_count++] = (int)whole("cpu-of", 1, 1 << 30);
        return true;
    case OPTION_CAPTURE: plan->capture_path = optarg; return true;
    case OPTION_JSON: plan->is_json = true; return true;
    default: return false;
    }
}

static void settle(struct load_plan *plan, double zipf) {
    if (plan->address == NULL) {
        fprintf(stderr, "pillion-load: --address is missing; --help lists the options\n");
        exit(2);
    }
    if (plan->command != LOAD_MGET && plan->command != LOAD_VECTOR && plan->command != LOAD_FEAST &&
        plan->entities > 1) {
        refuse("entities", "", "1, but for mget, vector and feast");
    }
    if (plan->command == LOAD_VECTOR && plan->service == NULL) {
        refuse("service", "", "a feature service, for vector");
    }
    if (plan->duration_s <= 0 && plan->requests_max == 0) {
        plan->duration_s = 5;
    }
    if (plan->capture_path != NULL) {
        plan->connections = plan->depth = 1;
        plan->rate = plan->warmup_s = 0;
    }
    load_keys_init(&plan->keys, plan->keys.count, zipf);
}

void load_options_parse(int argc, char **argv, struct load_plan *ret_plan) {
    struct load_plan plan = {
        .connections = 1,
        .depth = 1,
        .entities = 1,
        .features = 10,
        .key_prefix = "view:",
        .view = "view",
        .join_key = "id",
        .path = "/get-online-features",
        .keys.count = 1000,
        .random = 1,
        .request_bytes = 64,
        .reply_bytes = 64,
        .warmup_s = 1,
        .engine = PIL_ENGINE_EPOLL,
        .spin_ns = 100000,
    };
    double zipf = 0;
    for (int id; (id = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (id == OPTION_HELP) {
            fputs(usage, stdout);
            exit(0);
        }
        if (!take_request_option(&plan, id, &zipf) && !take_run_option(&plan, id) && !take_report_option(&plan, id)) {
            exit(2); /* getopt has printed the reason */
        }
    }
    if (optind < argc) {
        fprintf(stderr, "pillion-load: %s: not an option; --help lists them\n", argv[optind]);
        exit(2);
    }
    settle(&plan, zipf);
    *ret_plan = plan;
}
