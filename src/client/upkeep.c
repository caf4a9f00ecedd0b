/* SPDX-License-Identifier: Apache-2.0 */
#include "client/upkeep.h"
#include "base/clock.h"
#include "base/panic.h"
#include "client/lock.h"

/* ---- Plans and views. */

static uint64_t earlier_ns(uint64_t at_ns, uint64_t other_ns) {
    return at_ns == 0 || (other_ns != 0 && other_ns < at_ns) ? other_ns : at_ns;
}

/* When the first refused view of the plan may be asked for again; 0: no view was refused. */
static uint64_t retry_ns(const struct pillion_client *client, const struct pillion_plan *plan) {
    uint64_t at_ns = plan->min_release[0] != '\0' && plan->min_created_us == 0 ? plan->locate_at_ns : 0;
    for (uint32_t slot = 0; plan->resolved == client->session.number && slot < plan->spec->view_count; slot++) {
        const struct pil_client_view *view = &client->views[plan->numbers[slot]];
        at_ns = earlier_ns(at_ns, view->refusal != PIL_STATUS_OK ? view->retry_ns : 0);
    }
    return at_ns;
}

static bool is_wanted(const struct pillion_client *client, uint32_t number) {
    for (const struct pillion_plan *plan = client->plans; plan != NULL; plan = plan->next) {
        for (uint32_t slot = 0; slot < plan->spec->view_count; slot++) {
            if (plan->numbers[slot] == number) {
                return true;
            }
        }
    }
    return false;
}

static void release_unwanted(struct pillion_client *client) {
    for (uint32_t i = 0; i < client->view_count; i++) {
        if (client->views[i].mapping != NULL && !is_wanted(client, i)) {
            pil_mapping_release(&client->mappings, &client->views[i].mapping);
        }
    }
}

/* Brings every plan to the newest releases of its views. Returns false if memory was short for one; that plan keeps its
 * state. */
static bool renew_plans(struct pillion_client *client) {
    bool had_memory = true;
    for (struct pillion_plan *plan = client->plans; plan != NULL; plan = plan->next) {
        struct pil_compiled *new = NULL;
        if (pil_compile_renew(client, plan, &new) != PIL_STATUS_OK) {
            had_memory = false;
            continue;
        }
        struct pil_compiled *now = new != NULL ? new : atomic_load(&plan->compiled);
        PIL_ASSERT(now != NULL);
        atomic_store_explicit(&now->poll_at_ns, retry_ns(client, plan), memory_order_relaxed);
        if (new != NULL) {
            pil_epoch_publish(client, plan, new);
        }
    }
    release_unwanted(client);
    return had_memory;
}

void pil_upkeep_clean(struct pillion_client *client) {
    PIL_ASSERT(pil_client_is_locked(client));
    release_unwanted(client);
    (void)pil_epoch_reclaim(client);
    pil_mapping_unmap_all(&client->mappings);
    pil_session_report_drops(client);
}

/* ---- Maintaining. */

/* When a call that finds a problem should poll again, for reasons that concern every plan. */
static uint64_t next_poll_ns(const struct pillion_client *client, bool has_retired, uint64_t now_ns) {
    const struct pil_session *session = &client->session;
    if (client->mapped == NULL) {
        return UINT64_MAX;
    }
    if (client->worked_ns != 0) {
        return 0;
    }
    if (has_retired || session->state == PIL_SESSION_WELCOMING || session->request_count > 0) {
        return now_ns + pil_client_poll_ns;
    }
    if (session->state == PIL_SESSION_CLOSED) {
        return session->connect_at_ns;
    }
    PIL_ASSERT(session->page != NULL);
    uint64_t heartbeat_ns = atomic_load_explicit(&session->page->control->heartbeat_ns, memory_order_relaxed);
    bool is_stopped = heartbeat_ns < now_ns && now_ns - heartbeat_ns > pil_client_heartbeat_ns_max;
    return is_stopped ? now_ns + pil_client_connect_ns : 0;
}

void pil_upkeep_maintain(struct pillion_client *client, uint64_t until_ns, uint64_t work_ns) {
    PIL_ASSERT(pil_client_is_locked(client));
    (void)pil_epoch_reclaim(client); /* first, so that the releases it frees are reported before more are asked for */
    pil_session_step(client, until_ns);
    bool had_memory = renew_plans(client), has_retired = pil_epoch_reclaim(client);
    bool has_work = pil_mapping_work(client, work_ns);
    pil_session_report_drops(client);
    uint64_t now_ns = pil_clock_monotonic_ns(), poll_at_ns = 0;
    bool is_pending = has_retired || has_work || !had_memory || client->session.request_count > 0;
    client->worked_ns = has_work ? now_ns : 0;
    poll_at_ns = next_poll_ns(client, has_retired, now_ns);
    poll_at_ns = had_memory ? poll_at_ns : now_ns + pil_client_memory_ns;
    atomic_store_explicit(&client->poll_at_ns, poll_at_ns, memory_order_relaxed);
    atomic_store_explicit(&client->has_pending_work, is_pending, memory_order_relaxed);
}

/* How long a call may work on prefaulting and unmapping: a short time, or a small part of the time since the last call
 * that did such work, so that clients which seldom call finish within a fraction of a second, too. */
static uint64_t share_ns(const struct pillion_client *client, uint64_t now_ns) {
    enum { LITTLE_NS = 50000, PART = 16 };
    uint64_t part_ns = client->worked_ns != 0 ? (now_ns - client->worked_ns) / PART : 0;
    return part_ns > LITTLE_NS ? part_ns : LITTLE_NS;
}

void pil_upkeep_poll(struct pillion_client *client) {
    if (!pil_lock_try(client)) {
        return;
    }
    /* If an earlier request is still unanswered, the answer is late: no call waits for it a second time. */
    uint64_t now_ns = pil_clock_monotonic_ns();
    bool may_wait = client->session.state == PIL_SESSION_READY && client->session.request_count == 0;
    pil_upkeep_maintain(client, may_wait ? now_ns + client->refresh_us * 1000ull : now_ns, share_ns(client, now_ns));
    pil_lock_release(client);
}

void pil_upkeep_renew_catalog(struct pillion_client *client, uint64_t until_ns) {
    struct pil_session *session = &client->session;
    pil_upkeep_maintain(client, until_ns, UINT64_MAX);
    if (session->state == PIL_SESSION_READY && session->request_count == 0 &&
        atomic_load_explicit(&session->page->control->catalog_generation, memory_order_acquire) !=
            session->catalog_generation) {
        pil_session_request_catalog(client);
        pil_upkeep_maintain(client, until_ns, UINT64_MAX);
    }
}
