/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/descriptors.h"

#include "admin/console.h"
#include "protocol/protocols.h"

#include <errno.h>
#include <sys/resource.h>

enum {
    FIXED = 64,       /* stdio, the supervisor's socket, the control thread's event loop, project documents, files */
    PER_WORKER = 6,   /* ring or epoll, wake-up, a reserve to shed connections with, socket diagnostics */
    BURST = 64,       /* per worker: connections that the kernel accepts before the worker can count and refuse them */
    SHARDS = 4,       /* of a release of 1 GiB */
    CLIENTS_MIN = 32, /* connections and mapped sessions with which a node is still of use */
    MAPPED_SHARE = 4  /* mapped sessions get at most this part of what the limit leaves for clients */
};

static bool has_mapped(const struct pil_settings *settings) {
    for (uint32_t i = 0; i < settings->listener_count; i++) {
        if (settings->listeners[i].protocol == PIL_PROTOCOL_MAPPED) {
            return true;
        }
    }
    return false;
}

uint32_t pil_descriptors_reserved(const struct pil_settings *settings) {
    uint32_t generations = has_mapped(settings) ? settings->mapped_generations_max : 0;
    uint32_t releases = settings->view_count * (settings->keep_releases + generations + 1);
    return FIXED + PIL_PLACES_SPARE + settings->listener_count + PIL_CONSOLE_CLIENTS_MAX +
           settings->worker_count * (PER_WORKER + BURST) + releases * SHARDS;
}

static void lower(uint32_t *limit, uint64_t to, const char *option, uint64_t available, uint64_t needed,
                  struct pil_text *warnings) {
    if (to < *limit) {
        pil_text_format(warnings,
                        "%s: lowered from %u to %llu, because the hard limit of open files is %llu and the limits need "
                        "%llu; raise it (LimitNOFILE, ulimit -Hn), or lower the option\n",
                        option, *limit, (unsigned long long)to, (unsigned long long)available,
                        (unsigned long long)needed);
        *limit = (uint32_t)to;
    }
}

pil_status pil_descriptors_fit(struct pil_settings *settings, uint64_t available, struct pil_text *warnings,
                               struct pil_error *ret_error) {
    struct pil_limits *limits = &settings->limits;
    uint64_t reserved = pil_descriptors_reserved(settings);
    uint64_t sessions = has_mapped(settings) ? limits->mapped_sessions_max : 0;
    uint64_t needed = reserved + limits->connections_max + sessions;
    if (needed <= available) {
        return PIL_STATUS_OK;
    }
    if (available < reserved + CLIENTS_MIN) {
        return pil_fail(ret_error, PIL_STATUS_TOO_LARGE,
                        "the hard limit of open files is %llu: %llu are needed before the first client, and %llu for "
                        "limits.connections and limits.mapped_sessions; raise it (LimitNOFILE, ulimit -Hn)",
                        (unsigned long long)available, (unsigned long long)reserved, (unsigned long long)needed);
    }
    uint64_t clients = available - reserved;
    if (sessions > clients / MAPPED_SHARE) {
        sessions = clients / MAPPED_SHARE;
        lower(&limits->mapped_sessions_max, sessions, "limits.mapped_sessions", available, needed, warnings);
    }
    lower(&limits->connections_max, clients - sessions, "limits.connections", available, needed, warnings);
    return PIL_STATUS_OK;
}

pil_status pil_descriptors_settle(struct pil_settings *settings, struct pil_text *warnings,
                                  struct pil_error *ret_error) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "limit of open files: %s", strerror(errno));
    }
    files.rlim_cur = files.rlim_max; /* the soft limit protects only programs that use select() */
    setrlimit(RLIMIT_NOFILE, &files);
    return pil_descriptors_fit(settings, files.rlim_max, warnings, ret_error);
}
