/* SPDX-License-Identifier: Apache-2.0
 * Compiles plans against the mapped releases, and decides when to do so. */
#include "client/compile.h"
#include "base/panic.h"
#include "client/client.h"
#include "client/describe.h"

#include <stdlib.h>

/* ---- Creating and destroying. */

/* NULL when memory is short. */
static struct pil_compiled *compiled_create(struct pillion_client *client, const struct pillion_plan *plan) {
    struct pil_compiled *compiled = calloc(1, sizeof *compiled);
    PIL_ASSERT(plan->spec->view_count > 0 && plan->spec->view_count <= PIL_VECTOR_VIEWS_MAX);
    if (compiled != NULL) {
        compiled->fork_generation = client->fork_generation;
        compiled->view_count = plan->spec->view_count;
        compiled->page = pil_control_page_reference(client->session.page);
    }
    return compiled;
}

void pil_compile_destroy(struct pillion_client *client, struct pil_compiled *compiled) {
    PIL_ASSERT(pil_client_is_locked(client));
    if (compiled->fork_generation != client->fork_generation) {
        return; /* created before this process was forked: its counts cannot be trusted */
    }
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        pil_mapping_release(&client->mappings, &compiled->views[slot].mapping);
    }
    pil_control_page_release(&compiled->page);
    pil_vector_plan_destroy(&compiled->vector);
    free(compiled);
}

/* ---- Compiling. */

static bool is_recent_enough(const struct pillion_plan *plan, const struct pil_mapping *mapping) {
    return plan->min_release[0] == '\0' || strcmp(mapping->release->id, plan->min_release) == 0 ||
           (plan->min_created_us != 0 && mapping->created_us >= plan->min_created_us);
}

/* Takes a reference to the newest mapping of each view. Fails when that mapping is not one that the plan waits for. */
static pillion_result take_mappings(struct pillion_client *client, const struct pillion_plan *plan,
                                    struct pil_compiled *compiled) {
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        struct pil_mapping *mapping = client->views[plan->numbers[slot]].mapping;
        PIL_ASSERT(mapping != NULL && mapping->references > 0);
        mapping->references++;
        compiled->views[slot] = (struct pil_compiled_view){
            .number = plan->numbers[slot], .generation = mapping->generation, .mapping = mapping};
    }
    const struct pil_mapping *first = compiled->views[0].mapping; /* the only view when min_release is set */
    return is_recent_enough(plan, first)
               ? PILLION_OK
               : pil_result_fail(&compiled->error, PILLION_NOT_READY,
                                 "view %s is at release %s, which is not %s nor made after it", plan->spec->views[0],
                                 first->release->id, plan->min_release);
}

/* Sets `vector`, and describes the plan for the caller. */
static pillion_result make_vector(struct pillion_plan *plan, struct pil_compiled *compiled) {
    const struct pil_view *views[PIL_VECTOR_VIEWS_MAX];
    struct pil_error error = {{0}};
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        views[slot] = compiled->views[slot].mapping->release->view;
    }
    pil_status status = pil_vector_plan_create(plan->spec, views, (pil_vector_dtype)plan->dtype,
                                               (plan->flags & PILLION_COLUMNS) == 0, &compiled->vector, &error);
    if (status != PIL_STATUS_OK) {
        return pil_result_fail_status(&compiled->error, status, &error);
    }
    status = pil_describe_fits(plan, compiled->vector, &error);
    if (status == PIL_STATUS_OK) {
        status = pil_describe_vector(plan, compiled->vector);
    }
    return status == PIL_STATUS_OK ? PILLION_OK : pil_result_fail_status(&compiled->error, status, &error);
}

/* To be called when all views are mapped. A plan that still waits for its release is described by the release at hand,
 * if possible. */
static pil_status compile(struct pillion_client *client, struct pillion_plan *plan, struct pil_compiled **ret_new) {
    struct pil_compiled *compiled = compiled_create(client, plan);
    if (compiled == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    compiled->is_final = true;
    pillion_result wait = take_mappings(client, plan, compiled);
    struct pillion_error why_not_yet = compiled->error;
    compiled->result = make_vector(plan, compiled);
    if (compiled->result == PILLION_NO_MEMORY) {
        pil_compile_destroy(client, compiled);
        return PIL_STATUS_NO_MEMORY;
    }
    if (wait != PILLION_OK) {
        compiled->result = wait;
        compiled->error = why_not_yet;
    }
    if (compiled->result != PILLION_OK) {
        pil_vector_plan_destroy(&compiled->vector);
    }
    *ret_new = compiled;
    return PIL_STATUS_OK;
}

/* ---- Deciding what to do. */

/* Why a plan cannot be read in this process. `refusal` is OK when the reason is not a refused view. */
struct why_not {
    pillion_result result;
    const char *text;
    pil_status refusal;
    uint32_t slot;
};

typedef enum verdict {
    VERDICT_KEEP,    /* no better state is known */
    VERDICT_COMPILE, /* all views are mapped, at least one by another release than before */
    VERDICT_REFUSE,
} verdict;

typedef enum view_state { VIEW_MAPPED, VIEW_DENIED, VIEW_REFUSED, VIEW_AWAITED } view_state;

static view_state state_of(const struct pil_client_view *view) {
    if (view->refusal == PIL_STATUS_DENIED) {
        return VIEW_DENIED; /* even if an older release is mapped */
    }
    if (view->mapping != NULL) {
        return VIEW_MAPPED;
    }
    return view->refusal != PIL_STATUS_OK ? VIEW_REFUSED : VIEW_AWAITED;
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

/* The server no longer counts one of its mappings, so the plan must give it up even if nothing newer exists. */
static bool has_dropped(const struct pil_compiled *compiled) {
    for (uint32_t slot = 0; slot < compiled->view_count; slot++) {
        if (compiled->views[slot].mapping != NULL && compiled->views[slot].mapping->is_dropped) {
            return true;
        }
    }
    return false;
}

/* Whether the plan already reports this refusal of the view. */
static bool says_so(const struct pillion_client *client, const struct pillion_plan *plan,
                    const struct pil_compiled *old, uint32_t slot) {
    const struct pil_client_view *view = &client->views[plan->numbers[slot]];
    const struct pil_compiled_view *compiled = &old->views[slot];
    return old->vector == NULL && old->refusal == view->refusal && old->refused_slot == slot &&
           compiled->number == plan->numbers[slot] && compiled->generation == view->refused_generation &&
           old->page == client->session.page;
}

static verdict judge_view(const struct pillion_client *client, const struct pillion_plan *plan, uint32_t slot,
                          struct why_not *ret_why) {
    const struct pil_client_view *view = &client->views[plan->numbers[slot]];
    const struct pil_compiled *old = atomic_load(&plan->compiled);
    bool is_readable = old != NULL && old->vector != NULL && !has_dropped(old);
    struct why_not refused = {pil_result_from_status(view->refusal), view->why_not, view->refusal, slot};
    switch (state_of(view)) {
    case VIEW_MAPPED: return VERDICT_COMPILE;
    case VIEW_DENIED:
        *ret_why = refused;
        return old != NULL && says_so(client, plan, old, slot) ? VERDICT_KEEP : VERDICT_REFUSE;
    case VIEW_REFUSED:
        *ret_why = refused;
        return is_readable || (old != NULL && says_so(client, plan, old, slot)) ? VERDICT_KEEP : VERDICT_REFUSE;
    case VIEW_AWAITED:
        *ret_why = (struct why_not){.result = PILLION_UNAVAILABLE, .text = "no answer from the server"};
        return old != NULL ? VERDICT_KEEP : VERDICT_REFUSE;
    }
    PIL_UNREACHABLE("state of a view");
}

static verdict judge(struct pillion_client *client, struct pillion_plan *plan, struct why_not *ret_why) {
    const struct pil_compiled *old = atomic_load(&plan->compiled);
    if (!pil_session_is_ready(client)) {
        *ret_why = (struct why_not){.result = pil_session_result(client), .text = client->why_not_mapped};
        return old != NULL ? VERDICT_KEEP : VERDICT_REFUSE;
    }
    if (!pil_catalog_resolve(client, plan)) {
        bool is_readable = old != NULL && old->vector != NULL && !has_dropped(old);
        *ret_why = (struct why_not){.result = PILLION_NOT_FOUND, .text = "the server has no such view any more"};
        return is_readable || (old != NULL && old->result == PILLION_NOT_FOUND) ? VERDICT_KEEP : VERDICT_REFUSE;
    }
    for (uint32_t slot = 0; slot < plan->spec->view_count; slot++) {
        verdict of_view = judge_view(client, plan, slot, ret_why);
        if (of_view != VERDICT_COMPILE) {
            return of_view;
        }
    }
    /* The creation time of min_release may have become known, so the release at hand may qualify after all. */
    bool has_waited = old != NULL && old->result == PILLION_NOT_READY &&
                      is_recent_enough(plan, client->views[plan->numbers[0]].mapping);
    return old != NULL && is_built_from_newest(client, plan, old) && !has_waited ? VERDICT_KEEP : VERDICT_COMPILE;
}

static pil_status refuse(struct pillion_client *client, const struct pillion_plan *plan, const struct why_not *why,
                         struct pil_compiled **ret_new) {
    struct pil_compiled *compiled = compiled_create(client, plan);
    if (compiled == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    PIL_ASSERT(why->result != PILLION_OK);
    compiled->result = pil_result_fail(&compiled->error, why->result, "%s", why->text);
    /* When a plan is refused the first time, the server describes it at once (plan.c). Later, a plan that was accepted
     * without a description must not use the socket, because a call's buffers could not be checked. */
    bool is_undescribed = atomic_load(&plan->compiled) != NULL && plan->info.feature_count == 0;
    compiled->is_final = why->result == PILLION_NOT_READY || is_undescribed;
    compiled->refusal = why->refusal;
    compiled->refused_slot = why->slot;
    for (uint32_t slot = 0; plan->resolved == client->session.number && slot < compiled->view_count; slot++) {
        compiled->views[slot].number = plan->numbers[slot];
        compiled->views[slot].generation = client->views[plan->numbers[slot]].refused_generation;
    }
    *ret_new = compiled;
    return PIL_STATUS_OK;
}

pil_status pil_compile_renew(struct pillion_client *client, struct pillion_plan *plan, struct pil_compiled **ret_new) {
    struct why_not why = {.result = PILLION_OK};
    PIL_ASSERT(pil_client_is_locked(client));
    switch (judge(client, plan, &why)) {
    case VERDICT_KEEP: *ret_new = NULL; return PIL_STATUS_OK;
    case VERDICT_COMPILE: return compile(client, plan, ret_new);
    case VERDICT_REFUSE: return refuse(client, plan, &why, ret_new);
    }
    PIL_UNREACHABLE("verdict");
}
