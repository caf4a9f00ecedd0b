/* SPDX-License-Identifier: Apache-2.0 */
#include "mapped/complaint.h"
#include "base/log.h"
#include "base/panic.h"
#include "mapped/internal.h"

static const uint64_t interval_ns = 10000000000;

static const struct {
    const char *event, *reason; /* reason: the label of the metric */
} troubles[] = {
    [MAPPED_TROUBLE_INVALID] = {"mapped session closed", "invalid"},
    [MAPPED_TROUBLE_REFUSED] = {"mapped session refused", "refused"},
    [MAPPED_TROUBLE_REPLACED] = {"mapped session closed", "replaced"},
    [MAPPED_TROUBLE_SILENT] = {"mapped session closed", "silent"},
    [MAPPED_TROUBLE_IN_FLIGHT] = {"mapped session waits", "in_flight"},
};
PIL_STATIC_ASSERT(sizeof troubles / sizeof troubles[0] == MAPPED_TROUBLE_COUNT);

/* Logs the number of times that were not logged. */
static void log_rest(struct pil_mapped_complaint *complaint) {
    char uid[24], count[24];
    if (complaint->count > 0) {
        pil_log(PIL_LOG_WARN, troubles[complaint->trouble].event, "reason", troubles[complaint->trouble].reason, "uid",
                pil_log_number(uid, complaint->uid), "more", pil_log_number(count, complaint->count), NULL);
    }
    *complaint = (struct pil_mapped_complaint){0};
}

/* The place of this user and reason, or a free one; NULL: all are in use. */
static struct pil_mapped_complaint *place_for(struct pil_mapped *mapped, uint32_t uid, pil_mapped_trouble trouble) {
    struct pil_mapped_complaint *free_one = NULL;
    for (uint32_t i = 0; i < MAPPED_COMPLAINTS_MAX; i++) {
        struct pil_mapped_complaint *at = &mapped->complaints[i];
        if (at->until_ns != 0 && at->uid == uid && at->trouble == trouble) {
            return at;
        }
        free_one = at->until_ns == 0 ? at : free_one;
    }
    return free_one;
}

static void count(struct pil_mapped *mapped, pil_mapped_trouble trouble, uint64_t more) {
    pil_metric_count(pil_server_metrics(mapped->server), pil_server_control_shard(mapped->server),
                     PIL_METRIC_mapped_troubles_total, PIL_METRIC_LABELS(troubles[trouble].reason), more);
}

void pil_mapped_complaint_init(struct pil_mapped *mapped) {
    for (uint32_t trouble = 0; trouble < MAPPED_TROUBLE_COUNT; trouble++) {
        count(mapped, (pil_mapped_trouble)trouble, 0);
    }
}

void pil_mapped_complain(struct pil_mapped *mapped, const struct pil_peer_identity *peer, pil_mapped_trouble trouble,
                         const char *why) {
    uint64_t now_ns = pil_mapped_now_ns(mapped);
    char uid[24], pid[24];
    PIL_ASSERT(trouble < MAPPED_TROUBLE_COUNT);
    count(mapped, trouble, 1);
    struct pil_mapped_complaint *complaint = place_for(mapped, peer->uid, trouble);
    if (complaint == NULL) {
        return; /* so many users at once: the metric counts them */
    }
    if (now_ns < complaint->until_ns) {
        complaint->count++;
        return;
    }
    log_rest(complaint);
    *complaint = (struct pil_mapped_complaint){.uid = peer->uid, .trouble = trouble, .until_ns = now_ns + interval_ns};
    pil_log(PIL_LOG_WARN, troubles[trouble].event, "reason", troubles[trouble].reason, "uid",
            pil_log_number(uid, peer->uid), "pid",
            (peer->known & PIL_PEER_PID) != 0 ? pil_log_number(pid, peer->pid) : "unknown", "why", why, NULL);
}

void pil_mapped_complaint_tick(struct pil_mapped *mapped) {
    uint64_t now_ns = pil_mapped_now_ns(mapped);
    for (uint32_t i = 0; i < MAPPED_COMPLAINTS_MAX; i++) {
        struct pil_mapped_complaint *at = &mapped->complaints[i];
        if (at->until_ns != 0 && now_ns >= at->until_ns) {
            log_rest(at);
        }
    }
}
