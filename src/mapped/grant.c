/* SPDX-License-Identifier: Apache-2.0
 * Which peers may read and map which view, and which generations a session holds. Clients are not trusted: the kernel's
 * facts about the process decide what it may do, and the grants sent to it what it holds. */
#include "base/panic.h"
#include "mapped/internal.h"

/* ---- Rules. */

void pil_mapped_grant_judge(const struct pil_mapped *mapped, struct pil_mapped_session *session) {
    const struct pil_peer_rule *read[PIL_SETTINGS_VIEWS_MAX], *map[PIL_SETTINGS_VIEWS_MAX];
    uint32_t count = mapped->settings->view_count;
    PIL_ASSERT(count <= PIL_SETTINGS_VIEWS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        read[i] = &mapped->settings->views[i].read;
        map[i] = &mapped->settings->views[i].map;
    }
    session->readable = pil_peer_views_allowed(read, count, &session->peer);
    session->mappable = session->readable & pil_peer_views_allowed(map, count, &session->peer);
}

static bool has_tag(const struct pil_feature *feature, const char *tag) {
    for (uint32_t i = 0; i < feature->tag_count; i++) {
        if (strcmp(feature->tags[i], tag) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_regulated_feature(const struct pil_view *view) {
    bool found = false;
    for (uint32_t i = 0; i < view->feature_count && !found; i++) {
        found = has_tag(&view->features[i], "regulated");
    }
    return found;
}

/* True if the view has a tag `regulated` with a value other than "false", or a feature has a tag of that name. */
static bool is_regulated_by_project(const struct pil_project_view *view) {
    const char *tag = json_string_value(json_object_get(view->tags, "regulated"));
    return (tag != NULL && strcmp(tag, "false") != 0) || has_regulated_feature(view->view);
}

void pil_mapped_grant_learn_project(struct pil_mapped *mapped, const struct pil_project *project) {
    for (uint32_t i = 0; i < mapped->settings->view_count; i++) {
        const struct pil_view_settings *settings = &mapped->settings->views[i];
        const struct pil_project_view *view = pil_project_view_find(project, settings->view);
        if (strcmp(settings->project, project->name) != 0) {
            continue;
        }
        if (view != NULL) {
            mapped->views[i].is_regulated = is_regulated_by_project(view);
            mapped->views[i].is_project_known = true;
        } else if (!mapped->views[i].is_project_known) { /* the project says nothing about it */
            mapped->views[i].is_regulated = false;
        }
    }
}

void pil_mapped_grant_learn_release(struct pil_mapped *mapped, uint32_t view_index, const struct pil_release *release) {
    mapped->views[view_index].is_release_regulated = has_regulated_feature(release->view);
}

/* ---- Checks. */

pil_status pil_mapped_grant_check_read(const struct pil_mapped *mapped, const struct pil_mapped_session *session,
                                       uint32_t view_index, struct pil_error *ret_error) {
    char peer[PIL_PEER_DESCRIPTION_BYTES];
    PIL_ASSERT(view_index < mapped->settings->view_count);
    if (pil_peer_views_has(session->readable, view_index)) {
        return PIL_STATUS_OK;
    }
    pil_peer_identity_describe(&session->peer, peer);
    return pil_fail(ret_error, PIL_STATUS_DENIED, "view %u may not be read by %s", view_index, peer);
}

/* A regulated view may be mapped only if its own rule `map` is given and names the peer. */
static pil_status check_map(const struct pil_mapped *mapped, const struct pil_mapped_session *session,
                            uint32_t view_index, struct pil_error *error) {
    const struct pil_view_settings *settings = &mapped->settings->views[view_index];
    const struct pil_mapped_view *view = &mapped->views[view_index];
    bool lacks_rule = (view->is_regulated || view->is_release_regulated) && !settings->map.is_given;
    char peer[PIL_PEER_DESCRIPTION_BYTES];
    if (pil_peer_views_has(session->mappable, view_index) && !lacks_rule) {
        return PIL_STATUS_OK;
    }
    pil_peer_identity_describe(&session->peer, peer);
    return pil_fail(error, PIL_STATUS_DENIED, "%s/%s may not be mapped by %s%s", settings->project, settings->view,
                    peer, lacks_rule ? ": it is regulated, and no `map` rule allows it" : "");
}

/* A session that keeps a replaced generation for too long gets no further grants. */
static pil_status check_retired_holds(const struct pil_mapped *mapped, const struct pil_mapped_session *session,
                                      struct pil_error *error) {
    uint64_t timeout_ns = mapped->settings->mapped_hold_timeout_ms * 1000000, now_ns = pil_mapped_now_ns(mapped);
    for (uint32_t i = 0; i < session->hold_count; i++) {
        const struct pil_mapped_hold *hold = &session->holds[i];
        uint64_t retired_ns = hold->generation->retired_ns;
        PIL_ASSERT(retired_ns <= now_ns);
        if (retired_ns != 0 && now_ns - retired_ns > timeout_ns) {
            return pil_fail(error, PIL_STATUS_BUSY, "drop generation %llu of %s first: it was replaced %llu s ago",
                            (unsigned long long)hold->generation->number,
                            mapped->settings->views[hold->view_index].view,
                            (unsigned long long)((now_ns - retired_ns) / 1000000000));
        }
    }
    return PIL_STATUS_OK;
}

pil_status pil_mapped_grant_check(const struct pil_mapped *mapped, const struct pil_mapped_session *session,
                                  uint32_t view_index, struct pil_error *ret_error) {
    PIL_TRY(pil_mapped_grant_check_read(mapped, session, view_index, ret_error));
    PIL_TRY(check_map(mapped, session, view_index, ret_error));
    const struct pil_view_settings *view = &mapped->settings->views[view_index];
    const struct pil_list *generations = &mapped->views[view_index].generations;
    const struct pil_mapped_generation *live = pil_mapped_generation_live(generations);
    if (live == NULL) {
        return pil_fail(ret_error, PIL_STATUS_AGAIN, "%s/%s has no release yet", view->project, view->view);
    }
    PIL_TRY(check_retired_holds(mapped, session, ret_error));
    uint32_t retired = pil_mapped_generation_count_retired(generations);
    if (retired + 1 > mapped->settings->mapped_generations_max) {
        return pil_fail(ret_error, PIL_STATUS_BUSY, "%u generations of %s/%s are mapped already, as many as may be",
                        retired, view->project, view->view);
    }
    if (live->shard_count > MAPPED_SHARDS_MAX) {
        return pil_fail(ret_error, PIL_STATUS_TOO_LARGE, "the release has %u shards; at most %d can be mapped",
                        live->shard_count, MAPPED_SHARDS_MAX);
    }
    if (session->hold_count == MAPPED_HOLDS_MAX) {
        return pil_fail(ret_error, PIL_STATUS_TOO_LARGE, "one client holds at most %d generations", MAPPED_HOLDS_MAX);
    }
    return PIL_STATUS_OK;
}

/* ---- Holds. */

/* NULL: the session does not hold this generation. */
static struct pil_mapped_hold *find_hold(struct pil_mapped_session *session, uint32_t view_index, uint64_t number) {
    for (uint32_t i = 0; i < session->hold_count; i++) {
        if (session->holds[i].view_index == view_index && session->holds[i].generation->number == number) {
            return &session->holds[i];
        }
    }
    return NULL;
}

const struct pil_mapped_generation *pil_mapped_grant_hold(const struct pil_mapped *mapped,
                                                          struct pil_mapped_session *session, uint32_t view_index) {
    struct pil_mapped_generation *live = pil_mapped_generation_live(&mapped->views[view_index].generations);
    PIL_ASSERT(live != NULL && session->hold_count < MAPPED_HOLDS_MAX);
    if (find_hold(session, view_index, live->number) == NULL) {
        int64_t now_us = mapped->clock.wall_us(mapped->clock.context);
        session->holds[session->hold_count++] =
            (struct pil_mapped_hold){.view_index = view_index, .generation = live, .since_us = now_us};
        live->holder_count++;
    }
    return live;
}

static void drop(struct pil_mapped *mapped, struct pil_mapped_session *session, struct pil_mapped_hold *hold) {
    uint32_t view_index = hold->view_index;
    PIL_ASSERT(hold->generation->holder_count > 0 && session->hold_count > 0);
    hold->generation->holder_count--;
    *hold = session->holds[--session->hold_count];
    pil_mapped_generation_sweep(&mapped->views[view_index].generations);
}

void pil_mapped_grant_drop(struct pil_mapped *mapped, struct pil_mapped_session *session, uint32_t view_index,
                           uint64_t number) {
    struct pil_mapped_hold *hold = find_hold(session, view_index, number);
    if (hold != NULL) {
        drop(mapped, session, hold);
    }
}

void pil_mapped_grant_drop_all(struct pil_mapped *mapped, struct pil_mapped_session *session) {
    while (session->hold_count > 0) {
        drop(mapped, session, &session->holds[0]);
    }
}
