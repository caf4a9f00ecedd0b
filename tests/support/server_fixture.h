/* SPDX-License-Identifier: Apache-2.0
 * What tests that run a whole server share: settings, listeners, clients. */
#pragma once

#include "server/settings.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
/* cmocka.h needs these. */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* One worker, limits that no test reaches by accident; view i is named `first` + i, of project p and channel c. */
static inline struct pil_settings fixture_settings(uint32_t view_count, char first, uint32_t listener_count,
                                                   pil_engine_kind engine) {
    struct pil_settings settings = {.view_count = view_count,
                                    .listener_count = listener_count,
                                    .worker_count = 1,
                                    .engine = engine,
                                    .slowlog_us = 1000000,
                                    .limits = {.connections_max = 64,
                                               .request_bytes_max = 1 << 22,
                                               .arguments_max = 32768,
                                               .requests_per_turn = 256,
                                               .keys_per_request_max = 16384,
                                               .values_per_request_max = 300000,
                                               .output_bytes_max = 1 << 26,
                                               .output_stall_ms = 10000,
                                               .client_memory_max = 1 << 28,
                                               .request_timeout_ms = 10000}};
    for (uint32_t i = 0; i < view_count; i++) {
        settings.views[i].project[0] = 'p';
        settings.views[i].view[0] = (char)(first + (int)i);
        settings.views[i].channel[0] = 'c';
    }
    return settings;
}

static inline int fixture_listen(const char *name, struct sockaddr_un *ret_address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "/tmp/pil-%s-%d", name, getpid());
    unlink(ret_address->sun_path);
    assert_int_equal(bind(fd, (const struct sockaddr *)ret_address, sizeof *ret_address), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static inline int fixture_connect(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)address, sizeof *address), 0);
    return fd;
}
