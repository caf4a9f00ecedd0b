/* SPDX-License-Identifier: Apache-2.0
 * Plans as compiled against releases, how calls get hold of them without a lock, and when they are freed: hazard
 * pointers (Michael, IEEE TPDS 2004), one for each call in flight. */
#include "client/internal.h"
#include "base/clock.h"
#include "base/panic.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static uint32_t plan_features(const struct pil_compiled *compiled) {
    return compiled->vector != NULL ? compiled->vector->feature_count : 0;
}

void pil_world_destroy(struct pillion_client *client, struct pil_compiled *compiled) {
    if (compiled->era != client->era) {
        return; /* its counts are not ours to trust */
    }
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        pil_mapping_release(client, &compiled->views[slot].mapping);
    }
    pil_page_release(&compiled->page);
    pil_vector_defaults_destroy(&compiled->defaults, plan_features(compiled));
    pil_vector_plan_destroy(&compiled->vector);
    free(compiled);
}

/* ---- Compiling. */

bool pil_world_plan_resolve(struct pillion_client *client, struct pillion_plan *plan) {
    if (plan->resolved == client->session.number) {
        return true;
    }
    for (uint32_t slot = 0; slot < plan->spec->view_count; slot++) {
        struct pil_bytes name = pil_bytes_from_text(plan->spec->views[slot]);
        struct pil_error error;
        if (pil_catalog_view(client, name, &plan->numbers[slot], &error) != PIL_STATUS_OK) {
            return false;
        }
    }
    plan->resolved = client->session.number;
    return true;
}

static struct pil_compiled *compiled_create(struct pillion_client *client, const struct pillion_plan *plan) {
    struct pil_compiled *compiled = calloc(1, sizeof *compiled);
    PIL_ASSERT(compiled != NULL);
    compiled->era = client->era;
    compiled->view_count = plan->spec->view_count;
    compiled->page = client->session.page;
    if (compiled->page != NULL) {
        compiled->page->references++;
    }
    return compiled;
}

static bool is_recent_enough(const struct pillion_plan *plan, const struct pil_mapping *mapping) {
    return plan->min_release[0] == '\0' || strcmp(mapping->release->id, plan->min_release) == 0 ||
           (plan->min_created_us != 0 && mapping->created_us >= plan->min_created_us);
}

/* What the plan was made with must still hold: the caller has laid its buffers out by it. */
static pillion_result check_shape(const struct pillion_plan *plan, struct pil_compiled *compiled) {
    const struct pil_vector_plan *vector = compiled->vector;
    const struct pillion_plan_info *info = &plan->info;
    if (info->join_key_count != 0 && vector->join_key_count != info->join_key_count) {
        return pil_client_fail(&compiled->error, PILLION_INVALID,
                               "the plan was made for %u join keys, the release has %u: plan anew",
                               info->join_key_count, vector->join_key_count);
    }
    if (info->join_key_count != 0 && vector->width != info->width) {
        return pil_client_fail(&compiled->error, PILLION_INVALID,
                               "the plan was made for rows of %u elements, the release has %u: plan anew", info->width,
                               vector->width);
    }
    return PILLION_OK;
}

/* References the newest mapping of each view; fails when that is not one the plan waits for. */
static pillion_result take_mappings(struct pillion_client *client, const struct pillion_plan *plan,
                                    struct pil_compiled *compiled) {
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        struct pil_mapping *mapping = client->views[plan->numbers[slot]].mapping;
        mapping->references++;
        compiled->has_ages |= mapping->release->view->ttl_us != 0;
        compiled->views[slot] = (struct pil_compiled_view){
            .number = plan->numbers[slot], .generation = mapping->generation, .mapping = mapping};
    }
    const struct pil_mapping *first = compiled->views[0].mapping; /* the only one where min_release is set */
    return is_recent_enough(plan, first)
               ? PILLION_OK
               : pil_client_fail(&compiled->error, PILLION_NOT_READY,
                                 "view %s is at release %s, which is not %s nor made after it", plan->spec->views[0],
                                 first->release->id, plan->min_release);
}

/* Sets vector, and what the caller may ask about the plan. */
static pillion_result make_vector(struct pillion_plan *plan, struct pil_compiled *compiled) {
    const struct pil_view *views[PIL_VECTOR_VIEWS_MAX];
    struct pil_error error = {{0}};
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        views[slot] = compiled->views[slot].mapping->release->view;
    }
    pil_status status = pil_vector_plan_create(plan->spec, views, (pil_vector_dtype)plan->dtype,
                                               (plan->flags & PILLION_COLUMNS) == 0, &compiled->vector, &error);
    if (status != PIL_STATUS_OK) {
        return pil_client_fail(&compiled->error, pil_client_result(status), "%s", error.text);
    }
    pillion_result result = check_shape(plan, compiled);
    if (result == PILLION_OK) {
        pil_plan_note(plan, compiled->vector);
    }
    return result;
}

/* All views are mapped. A plan whose release is still to come is described by the one that is there, when it can be. */
static struct pil_compiled *compile(struct pillion_client *client, struct pillion_plan *plan) {
    struct pil_compiled *compiled = compiled_create(client, plan);
    struct pillion_error why_not_yet;
    compiled->is_final = true;
    pillion_result wait = take_mappings(client, plan, compiled);
    why_not_yet = compiled->error;
    compiled->result = make_vector(plan, compiled);
    if (wait != PILLION_OK) {
        compiled->result = wait;
        compiled->error = why_not_yet;
    }
    if (compiled->result != PILLION_OK) {
        pil_vector_plan_destroy(&compiled->vector);
    } else if ((plan->flags & PILLION_COLUMNS) != 0 && (plan->flags & PILLION_USE_DEFAULTS) != 0) {
        compiled->defaults = pil_vector_defaults_create(compiled->vector);
    }
    return compiled;
}

/* For a plan of which some view is not mapped. */
static struct pil_compiled *compile_refusal(struct pillion_client *client, const struct pillion_plan *plan,
                                            pillion_result result, const char *why) {
    struct pil_compiled *compiled = compiled_create(client, plan);
    compiled->result = pil_client_fail(&compiled->error, result, "%s", why);
    compiled->is_final = result == PILLION_NOT_READY;
    for (uint32_t slot = 0; plan->resolved == client->session.number && slot < compiled->view_count; slot++) {
        compiled->views[slot].number = plan->numbers[slot];
        compiled->views[slot].generation = client->views[plan->numbers[slot]].refused_generation;
    }
    return compiled;
}

static bool is_built_from_newest(const struct pillion_client *client, const struct pillion_plan *plan,
                                 const struct pil_compiled *compiled) {
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        if (compiled->views[slot].mapping != client->views[plan->numbers[slot]].mapping) {
            return false;
        }
    }
    return compiled->page == client->session.page;
}

/* The server does not count it any more: it must go, whether there is something newer or not. */
static bool has_dropped(const struct pil_compiled *compiled) {
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        if (compiled->views[slot].mapping != NULL && compiled->views[slot].mapping->is_dropped) {
            return true;
        }
    }
    return false;
}

/* NULL: what the plan has may stay. */
static struct pil_compiled *renewed(struct pillion_client *client, struct pillion_plan *plan,
                                    const struct pil_compiled *old) {
    bool is_mapped = old != NULL && old->vector != NULL && !has_dropped(old);
    if (client->session.state != PIL_SESSION_READY || client->session.catalog_number != client->session.number) {
        return old != NULL ? NULL : compile_refusal(client, plan, PILLION_UNAVAILABLE, client->why_not_mapped);
    }
    if (!pil_world_plan_resolve(client, plan)) {
        return is_mapped ? NULL
                         : compile_refusal(client, plan, PILLION_NOT_FOUND, "the server has no such view any more");
    }
    for (uint32_t slot = 0; slot < plan->spec->view_count; slot++) {
        const struct pil_client_view *view = &client->views[plan->numbers[slot]];
        if (view->refusal == PIL_STATUS_DENIED || (view->mapping == NULL && view->refusal != PIL_STATUS_OK)) {
            bool is_told = old != NULL && !is_mapped && strncmp(old->error.text, view->why_not, 200) == 0;
            bool may_stay = is_told || (is_mapped && view->refusal != PIL_STATUS_DENIED);
            return may_stay ? NULL : compile_refusal(client, plan, pil_client_result(view->refusal), view->why_not);
        }
        if (view->mapping == NULL) {
            return old != NULL ? NULL : compile_refusal(client, plan, PILLION_UNAVAILABLE, "no answer from the server");
        }
    }
    /* Where min_release lies is known now: the same release may do after all. */
    bool has_waited = old != NULL && old->result == PILLION_NOT_READY &&
                      is_recent_enough(plan, client->views[plan->numbers[0]].mapping);
    return old != NULL && is_built_from_newest(client, plan, old) && !has_waited ? NULL : compile(client, plan);
}

/* When the first of its views that were refused may be asked for again; 0: none was. */
static uint64_t retry_ns(const struct pillion_client *client, const struct pillion_plan *plan) {
    uint64_t at_ns = plan->min_release[0] != '\0' && plan->min_created_us == 0 ? plan->locate_at_ns : 0;
    for (uint32_t slot = 0; plan->resolved == client->session.number && slot < plan->spec->view_count; slot++) {
        const struct pil_client_view *view = &client->views[plan->numbers[slot]];
        at_ns = view->refusal != PIL_STATUS_OK && view->retry_ns > at_ns ? view->retry_ns : at_ns;
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
            pil_mapping_release(client, &client->views[i].mapping);
        }
    }
}

void pil_world_update(struct pillion_client *client) {
    for (struct pillion_plan *plan = client->plans; plan != NULL; plan = plan->next) {
        struct pil_compiled *old = atomic_load(&plan->compiled), *new = renewed(client, plan, old);
        struct pil_compiled *now = new != NULL ? new : old;
        atomic_store_explicit(&now->attend_at_ns, retry_ns(client, plan), memory_order_relaxed);
        if (new == NULL) {
            continue;
        }
        atomic_store(&plan->compiled, new);
        if (old != NULL) {
            old->next = client->retired;
            client->retired = old;
        }
    }
    release_unwanted(client);
}

/* ---- Freeing. */

/* After the plan points elsewhere: no slot that does not hold it now can come to hold it. */
static bool is_read(const struct pillion_client *client, const struct pil_compiled *compiled) {
    for (struct pil_slot_block *block = client->slots; block != NULL; block = atomic_load(&block->next)) {
        for (uint32_t i = 0; i < PIL_CLIENT_SLOTS; i++) {
            if (atomic_load(&block->slots[i].reads) == compiled) {
                return true;
            }
        }
    }
    return false;
}

bool pil_world_reclaim(struct pillion_client *client) {
    for (struct pil_compiled **link = &client->retired; *link != NULL;) {
        struct pil_compiled *compiled = *link;
        if (is_read(client, compiled)) {
            link = &compiled->next;
            continue;
        }
        *link = compiled->next;
        pil_world_destroy(client, compiled);
    }
    return client->retired != NULL;
}

/* ---- Calls. */

/* Anonymous memory, so that this is safe in a signal handler; 255 calls at once are rarely passed. */
static struct pil_slot_block *next_block(struct pil_slot_block *block) {
    struct pil_slot_block *next = atomic_load(&block->next);
    if (next != NULL) {
        return next;
    }
    struct pil_slot_block *new = mmap(NULL, sizeof *new, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (new == MAP_FAILED) {
        return NULL;
    }
    if (atomic_compare_exchange_strong(&block->next, &next, new)) {
        return new;
    }
    munmap(new, sizeof *new);
    return next;
}

/* Takes a free slot by pointing it to something. Threads begin at different slots, each again and again at its own. */
static struct pil_slot *take_slot(struct pil_slot_block *block, struct pil_compiled *reads) {
    uint32_t hint = (uint32_t)(((uint64_t)(uintptr_t)pthread_self() >> 6) * 0x9e3779b97f4a7c15ull >> 32);
    for (; block != NULL; block = next_block(block)) {
        for (uint32_t i = 0; i < PIL_CLIENT_SLOTS; i++) {
            struct pil_slot *slot = &block->slots[(hint + i) % PIL_CLIENT_SLOTS];
            struct pil_compiled *nothing = NULL;
            if (atomic_compare_exchange_strong(&slot->reads, &nothing, reads)) {
                return slot;
            }
        }
    }
    return NULL;
}

/* From when the slot points to what the plan is compiled to, that is not freed. The compare and swap is a full barrier,
 * so that either the second load sees what has replaced it or who replaced it sees the slot. */
static struct pil_compiled *protect(struct pillion_plan *plan, struct pil_slot **ret_slot) {
    struct pil_compiled *compiled = atomic_load_explicit(&plan->compiled, memory_order_relaxed);
    struct pil_slot *slot = take_slot(plan->client->slots, compiled);
    if (slot == NULL) {
        return NULL;
    }
    for (;;) {
        struct pil_compiled *again = atomic_load(&plan->compiled);
        if (again == compiled) {
            break;
        }
        compiled = again;
        (void)atomic_exchange(&slot->reads, compiled);
    }
    *ret_slot = slot;
    return compiled;
}

void pil_world_leave(struct pil_slot *slot) {
    atomic_store_explicit(&slot->reads, NULL, memory_order_release);
}

/* Ticks of some milliseconds are fine for heartbeats, and cheaper by a factor of five. */
static uint64_t coarse_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool is_alive(const struct pil_mapped_control *control, uint64_t now_ns) {
    uint64_t heartbeat_ns = atomic_load_explicit(&control->heartbeat_ns, memory_order_relaxed);
    return (now_ns < heartbeat_ns || now_ns - heartbeat_ns <= pil_client_heartbeat_ns_max) &&
           atomic_load_explicit(&control->state, memory_order_relaxed) == PIL_MAPPED_SERVING;
}

/* Acquire: pairs with the server's release store, so that what it granted before is there. */
static bool is_newest(const struct pil_compiled *compiled) {
    const struct pil_mapped_control *control = compiled->page->control;
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        const struct pil_compiled_view *view = &compiled->views[slot];
        if (atomic_load_explicit(&control->views[view->number].generation, memory_order_acquire) != view->generation) {
            return false;
        }
    }
    return true;
}

const struct pil_compiled *pil_world_enter(struct pillion_plan *plan, bool may_refresh, struct pil_slot **ret_slot) {
    struct pillion_client *client = plan->client;
    struct pil_compiled *compiled = protect(plan, ret_slot);
    if (!may_refresh || compiled == NULL) {
        return compiled;
    }
    uint64_t now_ns = coarse_ns();
    bool is_ours = atomic_load_explicit(&client->slots->is_ours, memory_order_relaxed) == 1;
    bool has_chores = atomic_load_explicit(&client->has_chores, memory_order_relaxed) != 0;
    bool is_behind = compiled->page != NULL && !is_newest(compiled), is_mapped = compiled->vector != NULL;
    if (is_mapped && !is_behind && is_ours && !has_chores && is_alive(compiled->page->control, now_ns)) {
        return compiled;
    }
    if (is_behind && atomic_load(&compiled->behind_since_ns) == 0) {
        atomic_store(&compiled->behind_since_ns, now_ns);
    }
    /* What is refused is asked for again after a while, or at once when there is another release. */
    bool may_wait =
        now_ns < atomic_load_explicit(&compiled->attend_at_ns, memory_order_relaxed) && (is_mapped || !is_behind);
    if (is_ours && (may_wait || now_ns < atomic_load_explicit(&client->attend_at_ns, memory_order_relaxed))) {
        return compiled;
    }
    pil_world_leave(*ret_slot);
    pil_client_attend(client);
    return protect(plan, ret_slot);
}

int64_t pil_world_staleness_us(const struct pil_compiled *compiled) {
    uint64_t now_ns = coarse_ns(), since_ns = now_ns;
    const struct pil_mapped_control *control = compiled->page->control;
    if (!is_alive(control, now_ns)) {
        since_ns = atomic_load_explicit(&control->heartbeat_ns, memory_order_relaxed);
    }
    if (!is_newest(compiled)) {
        uint64_t behind_ns = atomic_load(&compiled->behind_since_ns);
        since_ns = behind_ns != 0 && behind_ns < since_ns ? behind_ns : since_ns;
        since_ns = since_ns == now_ns ? now_ns - 1000 : since_ns; /* it is behind, however short */
    }
    return since_ns < now_ns ? (int64_t)((now_ns - since_ns) / 1000) : 0;
}
