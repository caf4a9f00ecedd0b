/* SPDX-License-Identifier: Apache-2.0
 * The command line of pillion-embed. */
#include "embed/embed.h"

#include <getopt.h>
#include <stdlib.h>

static const char *const type_names[] = {"float32", "float16", "int8"};

static const char help[] =
    "usage: pillion-embed --reader R [option...]          reads and measures\n"
    "       pillion-embed --reader R --fill [option...]   writes what the reader will read\n\n"
    "  --reader R      mapped, socket   libpillion, mapped or over the socket\n"
    "                  array            a plain array, prefetched: the limit of memory\n"
    "                  lmdb, rocksdb    databases in this process\n"
    "                  redis, memcached a packed row per key, MGET or multi-get; redis also asks pilliond's resp\n"
    "                                   listener, with --key-prefix VIEW:\n"
    "                  null             a pillion-null that answers as PIL.VECTOR64 would: the limit of the socket\n"
    "  --address A     unix:PATH of the server: mapped, socket, redis, memcached, null\n"
    "  --path P        folder of the database: lmdb, rocksdb; file to write: null --fill\n"
    "  --service S     feature service (default every); with --width, features of --view V (default view) instead\n"
    "  --key-prefix P  before the row number in keys of redis and memcached (default: nothing)\n"
    "  --keys N        row numbers 0 .. N-1 (default 1000)\n"
    "  --features F    values of a row of the tensor (default 10)\n"
    "  --width W       values of a stored row, of which F are picked: those at f * W / F (default F)\n"
    "  --type T        of stored values: float32 features, or one vector of float16 or int8 (default float32)\n"
    "  --batch B       keys of one call (default 1)\n"
    "  --zipf T        by Zipf's law, 0 < T < 1, scattered; default: uniform\n"
    "  --duration S, --warmup S   seconds (default 3, 0.5); an interrupt ends the measurement early\n"
    "  --rate R        calls a second at even distances, late ones counted from when they were due\n"
    "  --samples FILE  two u64 a call: when it was due on the monotonic clock, and how long it took, both in ns\n"
    "  --processes N   readers that begin together, each on a CPU of its own while there are enough (default 1)\n"
    "  --verify SEED   every value must be make_release's of this seed (not: null)\n"
    "  --random N      where the stream of keys starts\n"
    "  --seed K        --fill: of the values (default 1)\n"
    "  --json          the result as one line: reader, type, batch, features, width, processes, calls, p50_us, "
    "p99_us,\n"
    "                  p999_us, max_us (a call, of all processes), vectors_per_s (in calls, sum of the processes),\n"
    "                  cpu_us_per_call (user and system, of the readers), instructions_per_vector,\n"
    "                  cache_misses_per_vector (null where the machine does not count), minor_faults, rss_bytes,\n"
    "                  pss_bytes (sums at the end), wrong, failed, elapsed_s,\n"
    "                  per_process: [{cpu, calls, vectors_per_s, p50_us, p99_us}]\n\n"
    "exit status: 0; 1 a wrong or missing value, or no server or database; 2 usage\n";

static void refuse(const char *what, const char *why) {
    fprintf(stderr, "pillion-embed: %s: %s\n", what, why);
    exit(2);
}

const char *embed_type_name(embed_type type) {
    return type_names[type];
}

static double number(const char *name, const char *text, double max) {
    char *end = NULL;
    double value = strtod(text, &end);
    if (*end != '\0' || end == text || !(value >= 0 && value <= max)) {
        char why[128];
        snprintf(why, sizeof why, "expected a number from 0 to %.0f, got '%s'", max, text);
        refuse(name, why);
    }
    return value;
}

static embed_type type_of(const char *text) {
    for (size_t i = 0; i < sizeof type_names / sizeof type_names[0]; i++) {
        if (strcmp(text, type_names[i]) == 0) {
            return (embed_type)i;
        }
    }
    refuse("--type", "expected float32, float16 or int8");
    return EMBED_FLOAT32;
}

static const struct embed_reader *reader_of(const char *text) {
    for (size_t i = 0; i < embed_reader_count; i++) {
        if (strcmp(embed_readers[i]->name, text) == 0) {
            return embed_readers[i];
        }
    }
    refuse(text, "no such --reader; --help lists them");
    return NULL;
}

static void check(const struct embed_options *options) {
    const struct embed_reader *reader = options->reader;
    if (reader == NULL) {
        refuse("--reader", "is missing; --help lists them");
    }
    if (options->keys == 0 || options->batch == 0 || options->features == 0 || options->processes == 0) {
        refuse("--keys, --batch, --features, --processes", "must not be 0");
    }
    if (options->width < options->features) {
        refuse("--width", "is less than --features");
    }
    if (strlen(options->key_prefix) + 24 > EMBED_KEY_BYTES) {
        refuse("--key-prefix", "is too long");
    }
    if (options->zipf >= 1) {
        refuse("--zipf", "must be less than 1");
    }
    if (options->samples_path != NULL && options->processes > 1) {
        refuse("--samples", "is for one process");
    }
    if (options->is_fill && reader->fill == NULL && reader->missing == NULL) {
        refuse("--fill", "array fills itself; mapped and socket read what make_release wrote");
    }
    if (options->seed >= 0 && reader == &embed_reader_null) {
        refuse("--verify", "null answers every call with the same values");
    }
}

static bool parse_one(struct embed_options *options, int flag) {
    switch (flag) {
    case 'r': options->reader = reader_of(optarg); return true;
    case 'a': options->address = optarg; return true;
    case 'p': options->path = optarg; return true;
    case 's': options->service = optarg; return true;
    case 'i': options->view = optarg; return true;
    case 'y': options->key_prefix = optarg; return true;
    case 'k': options->keys = (uint64_t)number("--keys", optarg, 1e12); return true;
    case 'f': options->features = (uint32_t)number("--features", optarg, EMBED_WIDTH_MAX); return true;
    case 'W': options->width = (uint32_t)number("--width", optarg, EMBED_WIDTH_MAX); return true;
    case 't': options->type = type_of(optarg); return true;
    case 'b': options->batch = (uint32_t)number("--batch", optarg, 1 << 16); return true;
    case 'z': options->zipf = number("--zipf", optarg, 1); return true;
    case 'd': options->duration_s = number("--duration", optarg, 1e6); return true;
    case 'w': options->warmup_s = number("--warmup", optarg, 1e6); return true;
    case 'R': options->rate = number("--rate", optarg, 1e9); return true;
    case 'S': options->samples_path = optarg; return true;
    case 'n': options->processes = (uint32_t)number("--processes", optarg, EMBED_PROCESSES_MAX); return true;
    case 'v':
        options->seed = (int64_t)number("--verify", optarg, 1e15);
        options->fill_seed = (uint64_t)options->seed; /* the array reader fills its own memory */
        return true;
    case 'e': options->fill_seed = (uint64_t)number("--seed", optarg, 1e15); return true;
    case 'x': options->random = (uint64_t)number("--random", optarg, 1e15); return true;
    case 'F': options->is_fill = true; return true;
    case 'j': options->is_json = true; return true;
    default: return false;
    }
}

struct embed_options embed_options_parse(int argc, char **argv) {
    static const struct option flags[] = {
        {"reader", 1, NULL, 'r'},    {"address", 1, NULL, 'a'},    {"path", 1, NULL, 'p'},  {"service", 1, NULL, 's'},
        {"view", 1, NULL, 'i'},      {"key-prefix", 1, NULL, 'y'}, {"keys", 1, NULL, 'k'},  {"features", 1, NULL, 'f'},
        {"width", 1, NULL, 'W'},     {"type", 1, NULL, 't'},       {"batch", 1, NULL, 'b'}, {"zipf", 1, NULL, 'z'},
        {"duration", 1, NULL, 'd'},  {"warmup", 1, NULL, 'w'},     {"rate", 1, NULL, 'R'},  {"samples", 1, NULL, 'S'},
        {"processes", 1, NULL, 'n'}, {"verify", 1, NULL, 'v'},     {"seed", 1, NULL, 'e'},  {"random", 1, NULL, 'x'},
        {"fill", 0, NULL, 'F'},      {"json", 0, NULL, 'j'},       {"help", 0, NULL, 'h'},  {NULL, 0, NULL, 0}};
    struct embed_options options = {.service = "every",
                                    .view = "view",
                                    .key_prefix = "",
                                    .keys = 1000,
                                    .features = 10,
                                    .batch = 1,
                                    .processes = 1,
                                    .duration_s = 3,
                                    .warmup_s = 0.5,
                                    .seed = -1,
                                    .fill_seed = 1,
                                    .random = 1};
    for (int flag; (flag = getopt_long(argc, argv, "", flags, NULL)) != -1;) {
        if (flag == 'h') {
            fputs(help, stdout);
            exit(0);
        }
        if (!parse_one(&options, flag)) {
            fputs("pillion-embed --help has all options\n", stderr);
            exit(2);
        }
    }
    if (optind != argc) {
        refuse(argv[optind], "is no option");
    }
    options.width = options.width == 0 ? options.features : options.width;
    check(&options);
    return options;
}
