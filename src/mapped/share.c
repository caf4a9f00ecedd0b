/* SPDX-License-Identifier: Apache-2.0 */
#include "mapped/share.h"
#include "base/panic.h"
#include "mapped/internal.h"

#include <stdlib.h>

/* ---- Counting. */

static struct pil_mapped_peer *find(const struct pil_mapped *mapped, const struct pil_mapped_peer *user, uint32_t uid,
                                    int32_t pid) {
    PIL_LIST_EACH(struct pil_mapped_peer, link, at, &mapped->peers) {
        if (at->user == user && at->uid == uid && at->pid == pid) {
            return at;
        }
    }
    return NULL;
}

static struct pil_mapped_peer *find_or_add(struct pil_mapped *mapped, struct pil_mapped_peer *user, uint32_t uid,
                                           int32_t pid) {
    struct pil_mapped_peer *peer = find(mapped, user, uid, pid);
    if (peer == NULL) {
        peer = calloc(1, sizeof *peer);
        if (peer == NULL) {
            return NULL;
        }
        *peer = (struct pil_mapped_peer){.user = user, .uid = uid, .pid = pid};
        pil_list_append(&mapped->peers, &peer->link);
    }
    peer->session_count++;
    return peer;
}

static void let_go(struct pil_mapped_peer *peer) {
    PIL_ASSERT(peer->session_count > 0);
    if (--peer->session_count == 0) {
        PIL_ASSERT(peer->in_flight == 0);
        pil_list_remove(&peer->link);
        free(peer);
    }
}

struct pil_mapped_peer *pil_mapped_share_join(struct pil_mapped *mapped, const struct pil_peer_identity *identity) {
    int32_t pid = (identity->known & PIL_PEER_PID) != 0 ? identity->pid : 0;
    struct pil_mapped_peer *user = find_or_add(mapped, NULL, identity->uid, 0);
    if (user == NULL) {
        return NULL;
    }
    struct pil_mapped_peer *process = find_or_add(mapped, user, identity->uid, pid);
    if (process == NULL) {
        let_go(user);
    }
    return process;
}

void pil_mapped_share_leave(struct pil_mapped *mapped, struct pil_mapped_peer *process) {
    struct pil_mapped_peer *user = process->user;
    MAPPED_ASSERT_OWNER(mapped);
    let_go(process);
    let_go(user);
}

/* ---- Descriptors in flight. */

static uint32_t half_of_rest(uint32_t whole, uint32_t taken) {
    return taken < whole ? (whole - taken) / 2 : 0;
}

/* While a process has little in flight, packets are as large as they can be. Of half of what the process may have, one
 * descriptor is left for each further session that it may open. */
uint32_t pil_mapped_share_packet(const struct pil_mapped *mapped, const struct pil_mapped_peer *process) {
    const struct pil_mapped_peer *user = process->user;
    PIL_ASSERT(user->in_flight <= mapped->in_flight && process->in_flight <= user->in_flight);
    uint32_t of_user = half_of_rest(mapped->in_flight_max, mapped->in_flight - user->in_flight);
    uint32_t of_process = half_of_rest(of_user, user->in_flight - process->in_flight);
    uint32_t room = process->in_flight < of_process ? of_process - process->in_flight : 0;
    uint32_t places = mapped->settings->limits.mapped_sessions_max;
    uint32_t kept = places < of_process / 2 ? places : of_process / 2;
    uint32_t packet = room > kept ? (room - kept) / 4 : 0;
    packet = packet > 0 ? packet : room > 0;
    return packet < PIL_MAPPED_FDS_MAX ? packet : PIL_MAPPED_FDS_MAX;
}

void pil_mapped_share_sent(struct pil_mapped *mapped, struct pil_mapped_session *session, uint32_t count) {
    PIL_ASSERT(session->in_flight == 0);
    session->in_flight = count;
    session->process->in_flight += count;
    session->process->user->in_flight += count;
    mapped->in_flight += count;
}

void pil_mapped_share_received(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    uint32_t count = session->in_flight;
    PIL_ASSERT(session->process->in_flight >= count && mapped->in_flight >= count);
    session->in_flight = 0;
    session->process->in_flight -= count;
    session->process->user->in_flight -= count;
    mapped->in_flight -= count;
}

/* ---- Places. */

/* How much is lost with the session; one that has not received its descriptors does not free its place at once. */
static int worth_of(const struct pil_mapped_session *session) {
    return (session->in_flight > 0 ? 4 : 0) + (session->hold_count > 0 ? 2 : 0) + (session->is_welcome ? 1 : 0);
}

static bool goes_before(const struct pil_mapped_session *a, const struct pil_mapped_session *b) {
    const struct pil_mapped_peer *of_a = a->process, *of_b = b->process;
    if (of_a->user->session_count != of_b->user->session_count) {
        return of_a->user->session_count > of_b->user->session_count;
    }
    if (of_a->session_count != of_b->session_count) {
        return of_a->session_count > of_b->session_count;
    }
    return worth_of(a) < worth_of(b);
}

/* The session comes from the user with the most sessions, there from the process with the most, there the one of least
 * worth, and of these the one that was answered longest ago. One that maps something, or has not received its
 * descriptors, goes only when its user or process has more sessions than the new one's. */
struct pil_mapped_session *pil_mapped_share_victim(const struct pil_mapped *mapped,
                                                   const struct pil_mapped_peer *process) {
    struct pil_mapped_session *victim = NULL;
    PIL_LIST_EACH(struct pil_mapped_session, link, at, &mapped->sessions) {
        if (!at->is_ended && (victim == NULL || goes_before(at, victim))) {
            victim = at;
        }
    }
    if (victim == NULL || worth_of(victim) <= 1) {
        return victim;
    }
    const struct pil_mapped_peer *of_victim = victim->process;
    bool is_larger = of_victim->user->session_count > process->user->session_count ||
                     (of_victim->user == process->user && of_victim->session_count > process->session_count);
    return is_larger ? victim : NULL;
}

/* ---- Validation. */

static void validate_peer(const struct pil_mapped *mapped, const struct pil_mapped_peer *peer) {
    uint32_t sessions = 0, in_flight = 0;
    PIL_LIST_EACH(struct pil_mapped_session, link, at, &mapped->sessions) {
        bool is_its = at->process == peer || at->process->user == peer;
        sessions += is_its;
        in_flight += is_its ? at->in_flight : 0;
    }
    PIL_ASSERT(sessions == peer->session_count && sessions > 0 && in_flight == peer->in_flight);
}

void pil_mapped_share_validate(const struct pil_mapped *mapped) {
    uint32_t sessions = 0, in_flight = 0;
    PIL_LIST_EACH(struct pil_mapped_peer, link, at, &mapped->peers) {
        validate_peer(mapped, at);
        sessions += at->user == NULL ? at->session_count : 0;
        in_flight += at->user == NULL ? at->in_flight : 0;
    }
    PIL_ASSERT(sessions == mapped->session_count + mapped->ended_count);
    PIL_ASSERT(in_flight == mapped->in_flight && in_flight <= mapped->in_flight_max);
}
