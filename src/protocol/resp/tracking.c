/* SPDX-License-Identifier: Apache-2.0
 * Which views a connection has read from which generation is noted with each answer, from the serving that the answer
 * is made of. A swap between that moment and the next check is thus always found. */
#include "protocol/resp/tracking.h"

#include "base/clock.h"
#include "cache/freshness.h"
#include "protocol/resp/handlers.h"
#include "schema/view.h"
#include "snapshot/reader.h"

#include <stdio.h>
#include <stdlib.h>

enum { PREFIXES_MAX = 16, PREFIX_BYTES_MAX = 256 };

typedef enum caching { CACHING_UNSAID, CACHING_YES, CACHING_NO } caching;

struct prefix {
    uint16_t len;
    uint8_t bytes[PREFIX_BYTES_MAX];
};

struct pil_redis_tracking {
    bool is_optin, is_optout, is_bcast, is_noloop;
    caching caching;    /* what CLIENT CACHING said of the next request, or of the next transaction */
    bool is_said_now;   /* ... and no other request has come since */
    bool is_in_multi;   /* the next request was MULTI: it lasts until EXEC */
    int64_t expires_us; /* wall clock: the first of the values read is hidden then; INT64_MAX: none is */
    struct pil_redis_seen seen;
    uint32_t prefix_count;
    struct prefix prefixes[PREFIXES_MAX];
};

void pil_redis_tracking_end(struct pil_redis_connection *connection) {
    free(connection->tracking);
    connection->tracking = NULL;
}

/* ---- Saying "forget". */

/* A null in place of keys stands for all of them, as after FLUSHALL in Redis. */
void pil_redis_put_forget(struct pil_sink *sink) {
    pil_resp_put_push(sink, 2);
    pil_resp_put_bulk_text(sink, "invalidate");
    pil_resp_put_null(sink, PIL_RESP_3);
}

/* The generation that the view has now, or in the moment of the batch. An answer is compared with its own moment:
 * compared with now, each answer of a batch that a swap has overtaken would say "forget" again. */
static uint64_t generation_of(struct pil_turn *turn, uint32_t index, bool is_now) {
    const struct pil_release *release = NULL;
    if (!is_now) {
        return pil_redis_generation(turn, index);
    }
    release = pil_cache_live(pil_cache_view_at(turn->scope.cache, index));
    return release != NULL ? release->generation : 0;
}

static bool begins_alike(struct pil_bytes a, struct pil_bytes b) {
    size_t len = a.len < b.len ? a.len : b.len;
    return len == 0 || memcmp(a.data, b.data, len) == 0;
}

/* Whether keys of the view, "view:..." or "project/view:...", can begin with one of the prefixes. */
static bool is_broadcast(const struct pil_redis_tracking *tracking, const struct pil_cache_view *view) {
    char full[2 * PIL_NAME_BYTES_MAX + 3];
    int len = snprintf(full, sizeof full, "%s/%s:", view->project, view->name);
    size_t bare = strlen(view->project) + 1;
    for (uint32_t i = 0; i < tracking->prefix_count; i++) {
        struct pil_bytes prefix = pil_bytes_from(tracking->prefixes[i].bytes, tracking->prefixes[i].len);
        if (begins_alike(prefix, pil_bytes_from(full, (size_t)len)) ||
            begins_alike(prefix, pil_bytes_from(full + bare, (size_t)len - bare))) {
            return true;
        }
    }
    return tracking->prefix_count == 0;
}

/* Notes the generation of all views whose keys the client wants to hear of. */
static void see_broadcast(struct pil_turn *turn, const struct pil_redis_connection *connection, bool is_now) {
    struct pil_redis_tracking *tracking = connection->tracking;
    for (uint32_t i = 0; i < pil_cache_view_count(turn->scope.cache); i++) {
        bool is_readable = (connection->base->readable >> i & 1) != 0;
        if (is_readable && is_broadcast(tracking, pil_cache_view_at(turn->scope.cache, i))) {
            pil_redis_see(&tracking->seen, i, generation_of(turn, i, is_now));
        }
    }
}

/* Whether something that the client may have cached is no longer what it would be told. If so, it counts as told. */
static bool must_forget(struct pil_turn *turn, const struct pil_redis_connection *connection, bool is_now) {
    struct pil_redis_tracking *tracking = connection->tracking;
    bool is_stale = tracking->expires_us <= (is_now ? pil_clock_wall_us() : turn->wall_us);
    for (uint64_t views = tracking->seen.views; views != 0 && !is_stale; views &= views - 1) {
        uint32_t index = (uint32_t)__builtin_ctzll(views);
        is_stale = tracking->seen.generations[index] != generation_of(turn, index, is_now);
    }
    if (is_stale) {
        tracking->seen.views = 0;
        tracking->expires_us = INT64_MAX;
    }
    if (tracking->is_bcast) {
        see_broadcast(turn, connection, is_now); /* also views that are new since the last check */
    }
    return is_stale && connection->resp == PIL_RESP_3;
}

/* ---- What a request tells the connection. */

/* CLIENT CACHING is about the next request; MULTI to EXEC are one. */
static void advance_caching(struct pil_redis_tracking *tracking, const struct pil_redis_call *call) {
    const struct pil_redis_command *command = call->command;
    if (call->is_replayed || call->is_queued) {
        return;
    }
    bool is_exec = command != NULL && command->prepare == pil_redis_prepare_exec;
    if (!tracking->is_said_now && !(tracking->is_in_multi && is_exec)) {
        tracking->caching = CACHING_UNSAID;
    }
    if (command != NULL && command->reply == pil_redis_reply_client) {
        return; /* not the request that is meant */
    }
    tracking->is_in_multi = tracking->is_said_now && command != NULL && command->prepare == pil_redis_prepare_multi;
    tracking->is_said_now = false;
}

static bool is_tracked(const struct pil_redis_tracking *tracking) {
    return tracking->is_optin ? tracking->caching == CACHING_YES : tracking->caching != CACHING_NO;
}

/* Notes the generation of a view of which a row was looked up. With BCAST the views that matter are seen already, and
 * false is returned of all others. */
static bool see_view(struct pil_turn *turn, struct pil_redis_tracking *tracking, uint32_t index) {
    if (tracking->is_bcast) {
        return (tracking->seen.views >> index & 1) != 0;
    }
    pil_redis_see(&tracking->seen, index, pil_redis_generation(turn, index));
    return true;
}

static void see_lookups(struct pil_turn *turn, struct pil_redis_call *call) {
    struct pil_redis_tracking *tracking = call->connection->tracking;
    const struct pil_lookup *lookups = pil_redis_lookup_of(turn, call);
    bool hides = call->connection->base->listener->hide_expired;
    for (uint32_t i = 0; i < call->request->lookup_count; i++) {
        const struct pil_lookup *lookup = &lookups[i];
        bool matters = see_view(turn, tracking, lookup->view_index);
        if (!matters || !hides || !pil_redis_is_there(lookup) || lookup->row.view->ttl_us == 0) {
            continue;
        }
        int64_t event_us = pil_row_event_ts_us(lookup->row.view, lookup->row.fields), end_us = 0;
        int64_t left_us = pil_freshness_left_us(lookup->row.view, event_us, turn->wall_us);
        if (!__builtin_add_overflow(turn->wall_us, left_us, &end_us) && end_us < tracking->expires_us) {
            tracking->expires_us = end_us;
        }
    }
}

void pil_redis_track(struct pil_turn *turn, struct pil_redis_call *call, struct pil_sink *sink) {
    struct pil_redis_connection *connection = call->connection;
    /* Inside of EXEC's array there is no place for a push: EXEC itself has looked, and so will the next request. */
    if (!call->is_replayed && must_forget(turn, connection, false)) {
        call->says_forget = true;
        pil_redis_put_forget(sink);
    }
    advance_caching(connection->tracking, call);
    if (call->error == NULL && !call->is_queued && is_tracked(connection->tracking)) {
        see_lookups(turn, call);
    }
}

/* What waits to be sent goes first: then the next sweep says it, or the next answer. */
void pil_redis_tracking_sweep(struct pil_turn *turn, struct pil_redis_connection *connection) {
    struct pil_connection *base = connection->base;
    bool can_send = base->state < PIL_CONNECTION_FINISHING && base->output.bytes == 0 && base->pending == 0;
    if (connection->tracking != NULL && can_send && must_forget(turn, connection, true)) {
        if (pil_connection_interject(turn, base, pil_redis_put_forget) != PIL_STATUS_OK) {
            connection->tracking->expires_us = 0; /* long ago: it is still to be said */
        }
    }
}

/* ---- CLIENT TRACKING */

struct options {
    bool is_optin, is_optout, is_bcast, is_noloop;
    uint32_t prefix_first, prefix_count; /* arguments, every second one */
};

/* Reads the options; returns NULL, or the error. */
static const char *read_options(const struct pil_redis_call *call, struct options *options) {
    for (uint32_t i = 3; i < call->arg_count; i++) {
        bool has_value = i + 1 < call->arg_count;
        int64_t id = 0;
        if (pil_redis_is(call, i, "redirect") && has_value) {
            return !pil_number_parse_i64(call->args[i + 1], &id)
                       ? "ERR value is not an integer or out of range"
                       : "ERR REDIRECT is not supported, because there is no Pub/Sub here; use RESP3 (HELLO 3)";
        }
        if (pil_redis_is(call, i, "bcast")) {
            options->is_bcast = true;
        } else if (pil_redis_is(call, i, "optin")) {
            options->is_optin = true;
        } else if (pil_redis_is(call, i, "optout")) {
            options->is_optout = true;
        } else if (pil_redis_is(call, i, "noloop")) {
            options->is_noloop = true;
        } else if (pil_redis_is(call, i, "prefix") && has_value) {
            options->prefix_count++;
            i++;
        } else {
            return "ERR syntax error";
        }
    }
    return NULL;
}

/* Checks the options against each other and against what is on already; returns NULL, or the error. */
static const char *check_options(const struct pil_redis_tracking *tracking, const struct options *options) {
    if (options->prefix_count > 0 && !options->is_bcast) {
        return "ERR PREFIX option requires BCAST mode to be enabled";
    }
    if (tracking != NULL && tracking->is_bcast != options->is_bcast) {
        return "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling "
               "it with a different mode.";
    }
    if (options->is_bcast && (options->is_optin || options->is_optout)) {
        return "ERR OPTIN and OPTOUT are not compatible with BCAST";
    }
    if (options->is_optin && options->is_optout) {
        return "ERR You can't specify both OPTIN mode and OPTOUT mode";
    }
    bool is_switch =
        tracking != NULL && ((options->is_optin && tracking->is_optout) || (options->is_optout && tracking->is_optin));
    return is_switch ? "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then "
                       "re-enabling it with a different mode."
                     : NULL;
}

/* Adds the prefixes of the request; returns NULL, or the error, with none added. */
static const char *add_prefixes(struct pil_turn *turn, const struct pil_redis_call *call,
                                struct pil_redis_tracking *tracking) {
    uint32_t count = tracking->prefix_count;
    for (uint32_t i = 3; i < call->arg_count; i++) {
        if (!pil_redis_is(call, i, "prefix")) {
            continue;
        }
        struct pil_bytes added = call->args[++i];
        if (added.len > PREFIX_BYTES_MAX || count == PREFIXES_MAX) {
            return pil_batch_text(turn->batch, "ERR a client has at most %d prefixes of at most %d bytes", PREFIXES_MAX,
                                  PREFIX_BYTES_MAX);
        }
        for (uint32_t k = 0; k < count; k++) {
            struct pil_bytes other = pil_bytes_from(tracking->prefixes[k].bytes, tracking->prefixes[k].len);
            if (begins_alike(added, other)) {
                return pil_batch_text(turn->batch,
                                      "ERR Prefix '%.*s' overlaps with an existing prefix '%.*s'. Prefixes for a "
                                      "single client must not overlap.",
                                      pil_redis_shown(added), (const char *)added.data, pil_redis_shown(other),
                                      (const char *)other.data);
            }
        }
        tracking->prefixes[count].len = (uint16_t)added.len;
        memcpy(tracking->prefixes[count++].bytes, added.data, added.len);
    }
    tracking->prefix_count = count;
    return NULL;
}

/* Turns tracking on, or changes it; returns NULL, or the error. */
static const char *turn_on(struct pil_turn *turn, struct pil_redis_call *call, const struct options *options) {
    struct pil_redis_connection *connection = call->connection;
    struct pil_redis_tracking *tracking = connection->tracking;
    const char *mistake = check_options(tracking, options);
    if (mistake != NULL) {
        return mistake;
    }
    if (tracking == NULL && (tracking = calloc(1, sizeof *tracking)) == NULL) {
        return "OOM no memory to track the connection";
    }
    if (connection->tracking == NULL) {
        tracking->expires_us = INT64_MAX;
        connection->tracking = tracking;
    }
    mistake = add_prefixes(turn, call, tracking);
    if (mistake != NULL) {
        return mistake;
    }
    tracking->is_optin = options->is_optin;
    tracking->is_optout = options->is_optout;
    tracking->is_noloop = options->is_noloop;
    tracking->is_bcast = options->is_bcast;
    if (tracking->is_bcast) {
        see_broadcast(turn, connection, false);
    }
    return NULL;
}

PIL_REPLY(pil_redis_reply_tracking) {
    struct options options = {0};
    const char *mistake = read_options(call, &options);
    bool is_on = pil_redis_is(call, 2, "on");
    if (mistake == NULL && !is_on && !pil_redis_is(call, 2, "off")) {
        mistake = "ERR syntax error";
    }
    if (mistake == NULL && is_on) {
        bool was_on = call->connection->tracking != NULL;
        mistake = turn_on(turn, call, &options);
        if (mistake != NULL && !was_on) {
            pil_redis_tracking_end(call->connection);
        }
    } else if (mistake == NULL) {
        pil_redis_tracking_end(call->connection);
    }
    if (mistake != NULL) {
        pil_resp_put_error(sink, mistake);
        return;
    }
    pil_redis_list(turn, call->connection);
    pil_resp_put_simple(sink, "OK");
}

PIL_REPLY(pil_redis_reply_trackinginfo) {
    const struct pil_redis_tracking *tracking = call->connection->tracking;
    static const struct pil_redis_tracking off;
    const struct pil_redis_tracking *t = tracking != NULL ? tracking : &off;
    const struct {
        bool is_set;
        const char *name;
    } flags[] = {{tracking == NULL, "off"},
                 {tracking != NULL, "on"},
                 {t->is_bcast, "bcast"},
                 {t->is_optin, "optin"},
                 {t->is_optin && t->caching == CACHING_YES, "caching-yes"},
                 {t->is_optout, "optout"},
                 {t->is_optout && t->caching == CACHING_NO, "caching-no"},
                 {t->is_noloop, "noloop"}};
    uint32_t count = 0;
    (void)turn;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        count += flags[i].is_set;
    }
    pil_resp_put_map(sink, call->connection->resp, 3);
    pil_resp_put_bulk_text(sink, "flags");
    pil_resp_put_set(sink, call->connection->resp, count);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (flags[i].is_set) {
            pil_resp_put_bulk_text(sink, flags[i].name);
        }
    }
    pil_resp_put_bulk_text(sink, "redirect");
    pil_resp_put_integer(sink, tracking != NULL ? 0 : -1);
    pil_resp_put_bulk_text(sink, "prefixes");
    bool is_all = t->is_bcast && t->prefix_count == 0;
    pil_resp_put_array(sink, is_all ? 1 : t->prefix_count);
    for (uint32_t i = 0; i < t->prefix_count; i++) {
        pil_resp_put_bulk(sink, pil_bytes_from(t->prefixes[i].bytes, t->prefixes[i].len));
    }
    if (is_all) {
        pil_resp_put_bulk_text(sink, "");
    }
}

PIL_REPLY(pil_redis_reply_caching) {
    struct pil_redis_tracking *tracking = call->connection->tracking;
    bool is_yes = pil_redis_is(call, 2, "yes"), is_no = pil_redis_is(call, 2, "no");
    (void)turn;
    if (tracking == NULL) {
        pil_resp_put_error(sink, "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN "
                                 "or OPTOUT mode enabled");
    } else if (!is_yes && !is_no) {
        pil_resp_put_error(sink, "ERR syntax error");
    } else if (is_yes && !tracking->is_optin) {
        pil_resp_put_error(sink, "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
    } else if (is_no && !tracking->is_optout) {
        pil_resp_put_error(sink, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
    } else {
        tracking->caching = is_yes ? CACHING_YES : CACHING_NO;
        tracking->is_said_now = true;
        pil_resp_put_simple(sink, "OK");
    }
}

PIL_REPLY(pil_redis_reply_getredir) {
    (void)turn;
    pil_resp_put_integer(sink, call->connection->tracking != NULL ? 0 : -1);
}
