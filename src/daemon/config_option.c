/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_option.h"

#include "base/address.h"
#include "base/panic.h"
#include "protocol/protocols.h"
#include "release/layout.h"
#include "schema/yaml.h"
#include "store/scheme.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SECOND_MS 1000ull
#define MIB (1ull << 20)
#define AT(member) offsetof(struct pil_config, member)
#define LIMIT(member) AT(settings.limits.member), sizeof(((struct pil_limits *)0)->member)

/* key, kind, offset and bytes of the field, default, bounds, choices, reloadable, help */
static const struct pil_config_option options[] = {
    {"store", PIL_OPTION_TEXT, AT(store), PIL_CONFIG_TEXT_BYTES, "", 0, 0, NULL, false,
     "The store that releases come from: " PIL_STORE_FORMS "; $PILLION_STORE when it is not given."},
    {"workers", PIL_OPTION_AUTO_COUNT, AT(workers), 8, "auto", 1, PIL_SETTINGS_WORKERS_MAX, NULL, false,
     "Worker threads; auto: one for each core that is ours (affinity, cgroup quota)."},
    {"engine", PIL_OPTION_CHOICE, AT(engine), 8, "auto", 0, 0, "auto|io_uring|epoll", false,
     "Event loop; auto: io_uring when a probe passes and every worker can open its ring, else epoll."},
    {"memory_budget", PIL_OPTION_AUTO_BYTES, AT(memory_budget), 8, "auto", 1 * MIB, 1ull << 46, NULL, true,
     "Memory for releases and clients (limits.client_memory); auto: 3/4 of what the cgroup allows, or half of the "
     "machine's. A release that will not fit is refused; the old one stays in service."},
    {"keep_releases", PIL_OPTION_COUNT, AT(settings.keep_releases), 4, "2", 1, 16, NULL, true,
     "Releases of each view that stay in memory, the served one included: rolling back to them needs no I/O."},
    {"huge_pages", PIL_OPTION_CHOICE, AT(huge_pages), 8, "auto", 0, 0, "auto|off", false,
     "Whether releases are moved into huge pages while they are fetched (Linux 6.1), which makes reads faster and "
     "fetching slower."},
    {"fetch_priority", PIL_OPTION_CHOICE, AT(fetch_priority), 8, "background", 0, 0, "background|normal", false,
     "background: once every view is served, releases are fetched and verified with a third of the usual weight and "
     "without interrupting anybody, so that swaps cost less latency; normal: as soon as possible."},
    {"mapped_generations", PIL_OPTION_COUNT, AT(settings.mapped_generations_max), 4, "4", 1, 64, NULL, false,
     "Releases of a view that clients may keep mapped, the served one included; when there are as many, the next one "
     "is not granted and clients read over the socket."},
    {"mapped_hold_timeout", PIL_OPTION_DURATION, AT(settings.mapped_hold_timeout_ms), 8, "30s", 100, 86400 * SECOND_MS,
     NULL, false, "A client that keeps a replaced release mapped for longer is granted nothing more until it lets go."},
    {"poll_interval", PIL_OPTION_DURATION, AT(settings.poll_interval_ms), 8, "10s", 10, 86400 * SECOND_MS, NULL, true,
     "How often channels are read when the store cannot tell of changes, and at the latest."},
    {"staleness_bound", PIL_OPTION_DURATION, AT(staleness_bound_ms), 8, "5m", 1 * SECOND_MS, 30 * 86400 * SECOND_MS,
     NULL, true, "A view is not ready when its channel could not be read for longer."},
    {"spin", PIL_OPTION_AUTO_DURATION_US, AT(spin_us), 8, "auto", 0, 1000000, NULL, false,
     "How long a worker looks for work before it sleeps, at most; adaptive; auto: 50us, off when the workers have no "
     "core to spare."},
    {"slowlog", PIL_OPTION_DURATION_US, AT(settings.slowlog_us), 8, "10ms", 0, 3600 * SECOND_MS * 1000, NULL, false,
     "Requests that take longer are remembered."},
    {"log_level", PIL_OPTION_CHOICE, AT(log_level), 8, "info", 0, 0, "debug|info|warn|error", true,
     "Least severe event that is logged."},
    {"log_format", PIL_OPTION_CHOICE, AT(log_format), 8, "logfmt", 0, 0, "logfmt|json", true,
     "Form of log lines, on standard error."},
    {"user", PIL_OPTION_TEXT, AT(user), 64, "", 0, 0, NULL, false,
     "User to become after the listeners are open, when started as root."},
    {"limits.connections", PIL_OPTION_COUNT, LIMIT(connections_max), "4096", 1, 1000000, NULL, false,
     "Connections, of all workers together. Beyond it, 32 more are kept for a second: probes are answered, other "
     "requests are refused with a sentence; yet more are closed at once. Lowered at the start when the hard limit of "
     "open files does not reach."},
    {"limits.request_bytes", PIL_OPTION_BYTES, LIMIT(request_bytes_max), "4M", 16384, 64 * MIB, NULL, false,
     "One request, and the requests between MULTI and EXEC together."},
    {"limits.arguments", PIL_OPTION_COUNT, LIMIT(arguments_max), "32768", 16, 262144, NULL, false,
     "Arguments of one RESP request."},
    {"limits.requests_per_turn", PIL_OPTION_COUNT, LIMIT(requests_per_turn), "256", 1, 65536, NULL, false,
     "Pipelined requests of one connection before others get their turn."},
    {"limits.keys_per_request", PIL_OPTION_COUNT, LIMIT(keys_per_request_max), "16384", 1, 1048576, NULL, false,
     "Entity lookups of one request: rows x views. A worker needs up to 320 bytes for each, while it answers."},
    {"limits.values_per_request", PIL_OPTION_COUNT, LIMIT(values_per_request_max), "1000000", 1, 1000000000, NULL,
     false,
     "Values of one answer in JSON: rows x features, and each element of a vector. 100000 take a worker 4 to 13 ms, "
     "in slices of a millisecond. Binary tensors are not counted."},
    {"limits.output_bytes", PIL_OPTION_BYTES, LIMIT(output_bytes_max), "64M", 65536, 1024 * MIB, NULL, false,
     "One answer. When a client has not taken as much of its answers, its next requests are read but wait."},
    {"limits.output_stall", PIL_OPTION_DURATION, LIMIT(output_stall_ms), "5m", 100, 3600 * SECOND_MS, NULL, false,
     "A connection that takes nothing of its output for so long is closed."},
    {"limits.client_memory", PIL_OPTION_AUTO_BYTES, AT(client_memory), 8, "auto", 1 * MIB, 1ull << 40, NULL, false,
     "What all connections together may hold: requests that wait, answers that are not taken, prepared plans. It is a "
     "part of memory_budget, which must be larger, and a client may hold as much of it as is free; auto: 1/8 of "
     "memory_budget, at most 1G."},
    {"limits.idle_timeout", PIL_OPTION_DURATION, LIMIT(idle_timeout_ms), "0s", 0, 86400 * SECOND_MS, NULL, false,
     "A connection without requests for so long is closed; 0: never."},
    {"limits.mapped_sessions", PIL_OPTION_COUNT, LIMIT(mapped_sessions_max), "256", 1, 65536, NULL, false,
     "Clients that map releases. When all are there, a new one takes the place of one of the user and process with "
     "most. Lowered like limits.connections."},
    {"limits.request_timeout", PIL_OPTION_DURATION, LIMIT(request_timeout_ms), "10s", 100, 3600 * SECOND_MS, NULL,
     false,
     "From the first byte of the first request of a connection to its last. A client that pauses within a later "
     "one has limits.output_stall, if that is longer."},
};
enum { OPTION_COUNT = sizeof options / sizeof options[0] };

const struct pil_config_option *pil_config_option_find(const char *key, size_t key_len) {
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (strlen(options[i].key) == key_len && memcmp(options[i].key, key, key_len) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

const struct pil_config_option *pil_config_option_at(uint32_t index) {
    return index < OPTION_COUNT ? &options[index] : NULL;
}

void pil_config_option_copy(struct pil_config *to, const struct pil_config *from,
                            const struct pil_config_option *option) {
    memcpy((uint8_t *)to + option->offset, (const uint8_t *)from + option->offset, option->bytes);
}

bool pil_config_option_is_equal(const struct pil_config *a, const struct pil_config *b,
                                const struct pil_config_option *option) {
    return memcmp((const uint8_t *)a + option->offset, (const uint8_t *)b + option->offset, option->bytes) == 0;
}

static void store_number(struct pil_config *config, const struct pil_config_option *option, uint64_t value) {
    uint8_t *to = (uint8_t *)config + option->offset;
    if (option->bytes == sizeof(uint32_t)) {
        pil_store_u32(to, (uint32_t)value);
    } else {
        pil_store_u64(to, value);
    }
}

struct unit {
    const char *suffix;
    uint64_t factor;
};
static const struct unit counts[] = {{"", 1}, {NULL, 0}};
static const struct unit sizes[] = {{"", 1},      {"K", 1024},       {"KiB", 1024},       {"M", MIB},
                                    {"MiB", MIB}, {"G", 1024 * MIB}, {"GiB", 1024 * MIB}, {NULL, 0}};
static const struct unit durations_ms[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                           {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit durations_us[] = {{"us", 1}, {"ms", 1000}, {"s", 1000000}, {NULL, 0}};

/* What the kinds have in common, and how they differ. */
struct kind {
    const char *name; /* for people */
    const char *form; /* of what is written; NULL: any text, or a choice */
    const struct unit *units;
    bool may_be_auto;
};
static const struct kind kinds[] = {
    [PIL_OPTION_TEXT] = {"text", NULL, NULL, false},
    [PIL_OPTION_COUNT] = {"number", "a whole number", counts, false},
    [PIL_OPTION_BYTES] = {"bytes", "bytes, as in 4096, 64K, 512M or 2G", sizes, false},
    [PIL_OPTION_DURATION] = {"duration", "a duration, as in 500ms, 10s, 5m, 1h or 7d", durations_ms, false},
    [PIL_OPTION_DURATION_US] = {"duration", "a duration, as in 50us, 10ms or 1s", durations_us, false},
    [PIL_OPTION_CHOICE] = {"choice", NULL, NULL, false},
    [PIL_OPTION_AUTO_COUNT] = {"number", "a whole number", counts, true},
    [PIL_OPTION_AUTO_BYTES] = {"bytes", "bytes, as in 4096, 64K, 512M or 2G", sizes, true},
    [PIL_OPTION_AUTO_DURATION_US] = {"duration", "a duration, as in 50us, 10ms or 1s", durations_us, true},
};

/* Parses digits and one of the units; returns false for anything else and on overflow. */
static bool parse_number(const char *text, const struct unit *units, uint64_t *ret_value) {
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    uint64_t value = 0;
    size_t i = 0;
    for (; text[i] >= '0' && text[i] <= '9'; i++) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value)) {
            return false;
        }
    }
    for (; units->suffix != NULL; units++) {
        if (strcmp(text + i, units->suffix) == 0) {
            return !__builtin_mul_overflow(value, units->factor, ret_value);
        }
    }
    return false;
}

static bool parse_choice(const char *text, const char *choices, uint64_t *ret_value) {
    uint64_t index = 0;
    for (const char *at = choices; *at != '\0'; index++) {
        size_t len = strcspn(at, "|");
        if (strlen(text) == len && memcmp(text, at, len) == 0) {
            *ret_value = index;
            return true;
        }
        at += len + (at[len] == '|');
    }
    return false;
}

/* A number in the largest unit that it is a whole number of. */
static void append_number(struct pil_text *text, uint64_t value, const struct unit *units) {
    const struct unit *best = units;
    for (; units->suffix != NULL; units++) {
        best = value > 0 && value % units->factor == 0 && units->factor > best->factor ? units : best;
    }
    pil_text_format(text, "%llu%s", (unsigned long long)(value / best->factor), best->suffix);
}

const char *pil_config_option_type(const struct pil_config_option *option) {
    return kinds[option->kind].name;
}

void pil_config_option_append_allowed(struct pil_text *text, const struct pil_config_option *option) {
    const struct kind *kind = &kinds[option->kind];
    if (option->kind == PIL_OPTION_TEXT) {
        pil_text_format(text, "at most %zu bytes", option->bytes - 1);
    } else if (option->kind == PIL_OPTION_CHOICE) {
        for (const char *at = option->choices; *at != '\0'; at += strcspn(at, "|") + (strchr(at, '|') != NULL)) {
            const char *join = at == option->choices ? "" : strchr(at, '|') != NULL ? ", " : " or ";
            pil_text_format(text, "%s%.*s", join, (int)strcspn(at, "|"), at);
        }
    } else {
        append_number(text, option->min, kind->units);
        pil_text_format(text, " to ");
        append_number(text, option->max, kind->units);
        pil_text_format(text, "%s", kind->may_be_auto ? ", or auto" : "");
    }
}

/* Returns whether the text has the form of the kind, and is within the bounds. */
static bool parse_value(const struct pil_config_option *option, const char *text, uint64_t *ret_value) {
    const struct kind *kind = &kinds[option->kind];
    if (option->kind == PIL_OPTION_CHOICE) {
        return parse_choice(text, option->choices, ret_value);
    }
    if (kind->may_be_auto && strcmp(text, "auto") == 0) {
        *ret_value = option->kind == PIL_OPTION_AUTO_DURATION_US ? UINT64_MAX : 0;
        return true;
    }
    return parse_number(text, kind->units, ret_value) && *ret_value >= option->min && *ret_value <= option->max;
}

static pil_status refuse_value(const struct pil_config_option *option, const char *text, struct pil_error *error) {
    const char *form = kinds[option->kind].form;
    struct pil_text allowed = {0};
    pil_config_option_append_allowed(&allowed, option);
    pil_status status =
        pil_fail(error, PIL_STATUS_INVALID, "%s is '%s'; it must be %s%s%s", option->key, PIL_YAML_QUOTE(text),
                 form != NULL ? form : "", form != NULL ? ": " : "", pil_text_chars(&allowed));
    pil_text_deinit(&allowed);
    return status;
}

pil_status pil_config_option_set(struct pil_config *config, const struct pil_config_option *option, const char *text,
                                 struct pil_error *ret_error) {
    if (option->kind == PIL_OPTION_TEXT) {
        size_t len = strlen(text);
        if (len >= option->bytes) {
            return pil_fail(ret_error, PIL_STATUS_INVALID, "%s is %zu bytes long; at most %zu are possible",
                            option->key, len, option->bytes - 1);
        }
        memcpy((uint8_t *)config + option->offset, text, len + 1);
        return PIL_STATUS_OK;
    }
    uint64_t value = 0;
    if (!parse_value(option, text, &value)) {
        return refuse_value(option, text, ret_error);
    }
    store_number(config, option, value);
    return PIL_STATUS_OK;
}

void pil_config_defaults(struct pil_config *config) {
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        PIL_ASSERT(pil_config_option_set(config, &options[i], options[i].default_text, NULL) == PIL_STATUS_OK);
    }
}

pil_status pil_config_add_view(struct pil_config *config, const char *text, struct pil_error *ret_error) {
    struct pil_settings *settings = &config->settings;
    struct pil_release_ref ref;
    PIL_TRY(pil_release_ref_parse(text, &ref, ret_error));
    if (ref.release[0] == '\0') {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "'%s' names no channel; write PROJECT/VIEW@CHANNEL", text);
    }
    if (settings->view_count == PIL_SETTINGS_VIEWS_MAX) {
        return pil_fail(ret_error, PIL_STATUS_TOO_LARGE, "more than %d views", PIL_SETTINGS_VIEWS_MAX);
    }
    for (uint32_t i = 0; i < settings->view_count; i++) {
        if (strcmp(settings->views[i].project, ref.project) == 0 && strcmp(settings->views[i].view, ref.view) == 0) {
            return pil_fail(ret_error, PIL_STATUS_INVALID, "view %s/%s is served twice; name it once", ref.project,
                            ref.view);
        }
    }
    struct pil_view_settings *view = &settings->views[settings->view_count++];
    memcpy(view->project, ref.project, sizeof view->project);
    memcpy(view->view, ref.view, sizeof view->view);
    memcpy(view->channel, ref.release, sizeof view->channel);
    return PIL_STATUS_OK;
}

pil_status pil_config_check_address(const char *address, struct pil_error *ret_error) {
    struct pil_address parsed;
    PIL_TRY(pil_address_parse(address, &parsed, ret_error));
    return strlen(address) < PIL_SETTINGS_ADDRESS_BYTES
               ? PIL_STATUS_OK
               : pil_fail(ret_error, PIL_STATUS_INVALID, "'%s' is too long; at most %d bytes are possible",
                          PIL_YAML_QUOTE(address), PIL_SETTINGS_ADDRESS_BYTES - 1);
}

pil_status pil_config_add_listener(struct pil_config *config, const char *protocol, const char *address,
                                   struct pil_listener_settings **ret_listener, struct pil_error *ret_error) {
    struct pil_settings *settings = &config->settings;
    uint64_t kind = 0;
    if (!parse_choice(protocol, "resp|feast|oip|admin|mapped", &kind)) {
        return pil_fail(ret_error, PIL_STATUS_INVALID,
                        "unknown protocol '%s'; choose resp, feast, oip, admin or mapped", PIL_YAML_QUOTE(protocol));
    }
    PIL_TRY(pil_config_check_address(address, ret_error));
    if (kind == PIL_PROTOCOL_MAPPED && strncmp(address, "unix:", 5) != 0) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "'%s' cannot pass descriptors; mapped reads need unix:/PATH",
                        address);
    }
    if (settings->listener_count == PIL_SETTINGS_LISTENERS_MAX) {
        return pil_fail(ret_error, PIL_STATUS_TOO_LARGE, "more than %d listeners", PIL_SETTINGS_LISTENERS_MAX);
    }
    struct pil_listener_settings *listener = &settings->listeners[settings->listener_count++];
    listener->protocol = (uint32_t)kind;
    memcpy(listener->address, address, strlen(address) + 1);
    listener->mode = 0660;
    *ret_listener = listener;
    return PIL_STATUS_OK;
}
