/* SPDX-License-Identifier: Apache-2.0 */
#include "server/admission.h"

#include "server/internal.h"

void pil_admission_identify(struct pil_turn *turn, struct pil_connection *connection, int fd) {
    uint32_t wanted = 0, count = turn->settings->view_count;
    for (uint32_t i = 0; i < count; i++) {
        wanted |= pil_peer_rule_facts(&turn->settings->views[i].read);
    }
    pil_peer_identity_take(fd, wanted, &turn->worker->diag, &connection->identity);
}

/* Not inlined: release builds clear the array at the function's start, which would cost each request. */
__attribute__((noinline)) static void judge(const struct pil_turn *turn, struct pil_connection *connection) {
    const struct pil_peer_rule *rules[PIL_SETTINGS_VIEWS_MAX];
    uint32_t count = turn->settings->view_count;
    PIL_ASSERT(count <= PIL_SETTINGS_VIEWS_MAX && connection->judged_count < count);
    for (uint32_t i = 0; i < count; i++) {
        rules[i] = &turn->settings->views[i].read;
    }
    connection->readable = pil_peer_views_allowed(rules, count, &connection->identity);
    connection->judged_count = count;
}

uint64_t pil_admission_readable(const struct pil_turn *turn, struct pil_connection *connection) {
    if (connection->judged_count != turn->settings->view_count) {
        judge(turn, connection);
    }
    return connection->readable;
}
