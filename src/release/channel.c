/* SPDX-License-Identifier: Apache-2.0
 * Channels. Each change reads the channel, changes it, and puts it unless it was changed in the meantime; else it
 * starts again. */
#include "release/channel.h"

#include "base/clock.h"
#include "base/panic.h"
#include "release/document.h"
#include "release/lease.h"
#include "release/manifest.h"
#include "release/retry.h"
#include "schema/json_text.h"

#include <stdio.h>

enum { TEXT_BYTES_MAX = 64 << 10 };

/* ---- History */

void pil_channel_previous(const struct pil_channel *channel, char ret_release[PIL_RELEASE_ID_CHARS + 1]) {
    const char *stack[PIL_CHANNEL_HISTORY_MAX] = {0};
    uint32_t count = 0;
    for (uint32_t i = channel->history_count; i-- > 0;) { /* oldest first */
        const struct pil_channel_entry *entry = &channel->history[i];
        if (strcmp(entry->act, "promote") == 0) {
            stack[count++] = entry->release;
        } else if (strcmp(entry->act, "rollback") == 0) {
            count -= count > 0;
            if (count == 0) { /* the rollback went back to a release that is older than the history */
                stack[count++] = entry->release;
            }
        }
    }
    memcpy(ret_release, count > 1 ? stack[count - 2] : "", count > 1 ? PIL_RELEASE_ID_CHARS + 1 : 1);
}

static void push_history(struct pil_channel *channel, const char *release, const char *act) {
    uint32_t kept =
        channel->history_count < PIL_CHANNEL_HISTORY_MAX ? channel->history_count : PIL_CHANNEL_HISTORY_MAX - 1;
    memmove(&channel->history[1], &channel->history[0], kept * sizeof channel->history[0]);
    struct pil_channel_entry *entry = &channel->history[0];
    *entry = (struct pil_channel_entry){.sequence = channel->sequence, .changed_us = channel->changed_us};
    memcpy(entry->release, release, strlen(release) + 1);
    memcpy(entry->act, act, strlen(act) + 1);
    channel->history_count = kept + 1;
}

/* ---- Text */

static pil_status parse_entry(const json_t *json, struct pil_channel_entry *entry, struct pil_error *error) {
    uint64_t changed_us;
    PIL_TRY(pil_document_release(json, "release", false, entry->release, error));
    PIL_TRY(pil_document_string(json, "act", false, entry->act, sizeof entry->act, error));
    PIL_TRY(pil_document_u64(json, "sequence", INT64_MAX - 1, &entry->sequence, error));
    PIL_TRY(pil_document_u64(json, "changed_us", INT64_MAX, &changed_us, error));
    static const char *const acts[] = {"promote", "rollback", "pin", "unpin"};
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        if (strcmp(entry->act, acts[i]) == 0) {
            entry->changed_us = (int64_t)changed_us;
            return PIL_STATUS_OK;
        }
    }
    return pil_fail(error, PIL_STATUS_CORRUPT, "\"act\" must be promote, rollback, pin or unpin");
}

static pil_status parse_history(const json_t *list, struct pil_channel *channel, struct pil_error *error) {
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count == 0 || count > PIL_CHANNEL_HISTORY_MAX) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "\"history\" must be a list of 1 to %d entries",
                        PIL_CHANNEL_HISTORY_MAX);
    }
    uint64_t newer = channel->sequence + 1;
    for (size_t i = 0; i < count; i++) {
        pil_status status = parse_entry(json_array_get(list, i), &channel->history[i], error);
        uint64_t sequence = channel->history[i].sequence;
        if (status == PIL_STATUS_OK && (sequence == 0 || sequence >= newer)) {
            status =
                pil_fail(error, PIL_STATUS_CORRUPT, "\"sequence\" must be 1 or more, and fall from entry to entry");
        }
        if (status != PIL_STATUS_OK) {
            return pil_fail_in(error, status, "\"history\"[%zu]", i);
        }
        newer = sequence;
    }
    channel->history_count = (uint32_t)count;
    return PIL_STATUS_OK;
}

static pil_status parse_document(const json_t *document, const struct pil_release_ref *ref, const char *name,
                                 struct pil_channel *channel, struct pil_error *error) {
    struct pil_release_ref found;
    uint64_t changed_us;
    PIL_TRY(pil_document_string(document, "project", false, found.project, sizeof found.project, error));
    PIL_TRY(pil_document_string(document, "view", false, found.view, sizeof found.view, error));
    PIL_TRY(pil_document_string(document, "channel", false, channel->name, sizeof channel->name, error));
    if (strcmp(found.project, ref->project) != 0 || strcmp(found.view, ref->view) != 0 ||
        strcmp(channel->name, name) != 0) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "it says that it is channel %s of %s/%s", channel->name,
                        found.project, found.view);
    }
    PIL_TRY(pil_document_u64(document, "sequence", INT64_MAX - 1, &channel->sequence, error));
    PIL_TRY(pil_document_u64(document, "changed_us", INT64_MAX, &changed_us, error));
    PIL_TRY(pil_document_release(document, "release", false, channel->release, error));
    PIL_TRY(pil_document_release(document, "pinned", true, channel->pinned, error));
    channel->changed_us = (int64_t)changed_us;
    return parse_history(json_object_get(document, "history"), channel, error);
}

pil_status pil_channel_parse(struct pil_bytes text, const struct pil_release_ref *ref, const char *channel,
                             struct pil_channel *ret_channel, struct pil_error *ret_error) {
    struct pil_channel parsed = {0};
    json_t *document;
    PIL_TRY(pil_document_parse(text, &document, ret_error));
    pil_status status = parse_document(document, ref, channel, &parsed, ret_error);
    json_decref(document);
    if (status == PIL_STATUS_OK) {
        *ret_channel = parsed;
    }
    return status;
}

static pil_status format_channel(const struct pil_channel *channel, const struct pil_release_ref *ref,
                                 struct pil_text *ret_text, struct pil_error *error) {
    char nonce[PIL_DOCUMENT_NONCE_CHARS + 1];
    json_t *history = json_array();
    pil_document_nonce(nonce);
    for (uint32_t i = 0; i < channel->history_count; i++) {
        const struct pil_channel_entry *entry = &channel->history[i];
        pil_json_append(&history, json_pack("{s:s, s:I, s:I, s:s}", "release", entry->release, "sequence",
                                            (json_int_t)entry->sequence, "changed_us", (json_int_t)entry->changed_us,
                                            "act", entry->act));
    }
    json_t *document =
        json_pack("{s:i, s:s, s:s, s:s, s:I, s:s, s:s, s:o, s:I, s:o}", "format", PIL_DOCUMENT_FORMAT, "project",
                  ref->project, "view", ref->view, "channel", channel->name, "sequence", (json_int_t)channel->sequence,
                  "nonce", nonce, "release", channel->release, "pinned", pil_document_optional(channel->pinned),
                  "changed_us", (json_int_t)channel->changed_us, "history", history);
    return pil_document_format(document, ret_text, error);
}

/* ---- The store */

pil_status pil_channel_check_name(const char *name, struct pil_error *ret_error) {
    return pil_release_name_ok(name)
               ? PIL_STATUS_OK
               : pil_fail(ret_error, PIL_STATUS_INVALID,
                          "'%.200s' cannot be the name of a channel: a letter or '_', then letters, digits, '_' or '-'",
                          name);
}

pil_status pil_channel_refresh(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                               struct pil_channel_version *version, struct pil_error *ret_error) {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_store_content content;
    struct pil_channel_version read = {0};
    PIL_TRY(pil_channel_check_name(channel, ret_error));
    pil_layout_channel(ref, channel, name);
    pil_status status = pil_store_get_if_changed(store, name, TEXT_BYTES_MAX, &version->tag, &content, ret_error);
    if (status == PIL_STATUS_NOT_FOUND) {
        return pil_fail(ret_error, status, "%s/%s has no channel %s in %s; promote a release to it first", ref->project,
                        ref->view, channel, pil_store_url(store));
    }
    PIL_TRY(status);
    if (content.is_unchanged) {
        version->tag = content.tag; /* the next reading may be cheaper */
        return PIL_STATUS_OK;
    }
    read.tag = content.tag;
    status = pil_channel_parse(pil_text_bytes(&content.text), ref, channel, &read.channel, ret_error);
    pil_text_deinit(&content.text);
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(ret_error, status, "%s", name);
    }
    *version = read;
    return PIL_STATUS_OK;
}

pil_status pil_channel_read(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                            struct pil_channel *ret_channel, struct pil_error *ret_error) {
    struct pil_channel_version version = {0};
    PIL_TRY(pil_channel_refresh(store, ref, channel, &version, ret_error));
    *ret_channel = version.channel;
    return PIL_STATUS_OK;
}

/* ---- Acts */

/* A change of a channel in progress. */
struct change {
    struct pil_store *store;
    const struct pil_release_ref *ref;
    const char *channel_name;
    const struct act *act;
    bool is_trial;                      /* only look whether it would be done */
    struct pil_guard *guard;            /* NULL: none */
    struct pil_lease *lease;            /* of the release that the channel will name */
    struct pil_release_ref checked;     /* that release; release "": none, as for unpin */
    bool is_leased;                     /* false: no lease, because the caller may write only channels */
    struct pil_channel_version version; /* as read, then as it will be written */
};

/* `apply` makes the change in change->version.channel. It leaves *ret_changed false if the channel is as wanted
 * already; *ret_release is the release that the history records. */
struct act {
    const char *name;
    bool may_create;
    pil_status (*apply)(struct change *change, bool *ret_changed, const char **ret_release, struct pil_error *error);
};

static pil_status check_whole(struct change *change, struct pil_error *error) {
    struct pil_manifest *manifest;
    PIL_TRY(pil_manifest_read(change->store, &change->checked, &manifest, error));
    pil_status status = pil_manifest_check_shards(change->store, manifest, error);
    pil_manifest_destroy(&manifest);
    return status;
}

/* Checks that the release is whole in the store. Leases its manifest, so that a collector that has read the channels
 * already spares it until the new pointer is written. A caller that may write only channels cannot lease; it is not
 * refused for that (check_again). */
static pil_status check_release(struct change *change, const struct pil_release_ref *ref, struct pil_error *error) {
    char name[PIL_STORE_NAME_BYTES];
    if (!pil_release_id_ok(ref->release)) {
        return pil_fail(error, PIL_STATUS_INVALID, "'%s' is not a release id, which is %d hex digits", ref->release,
                        PIL_RELEASE_ID_CHARS);
    }
    pil_layout_manifest(ref, name);
    pil_status status = pil_lease_add(change->lease, name, error);
    change->is_leased = status == PIL_STATUS_OK;
    change->checked = *ref;
    if (status != PIL_STATUS_DENIED) {
        PIL_TRY(status);
    }
    return check_whole(change, error);
}

/* Checks the release again if no lease lasted until the channel was written: a collector that read the channels earlier
 * may have removed the release since check_release. From now on the channel protects the release. */
static pil_status check_again(struct change *change, struct pil_error *error) {
    bool is_safe = change->checked.release[0] == '\0' || (change->is_leased && pil_lease_left_us(change->lease) > 0);
    pil_status status = is_safe ? PIL_STATUS_OK : check_whole(change, error);
    return status == PIL_STATUS_OK
               ? status
               : pil_fail_in(error, status, "channel %s was written; release %s, looked at once more",
                             change->channel_name, change->checked.release);
}

static void set_release(char to[PIL_RELEASE_ID_CHARS + 1], const char *release) {
    memcpy(to, release, strlen(release) + 1);
}

static pil_status promote(struct change *change, bool *ret_changed, const char **ret_release, struct pil_error *error) {
    PIL_TRY(check_release(change, change->ref, error));
    *ret_changed = strcmp(change->version.channel.release, change->ref->release) != 0;
    *ret_release = change->ref->release;
    set_release(change->version.channel.release, change->ref->release);
    return PIL_STATUS_OK;
}

static pil_status rollback(struct change *change, bool *ret_changed, const char **ret_release,
                           struct pil_error *error) {
    struct pil_channel *channel = &change->version.channel;
    struct pil_release_ref target = *change->ref;
    memset(target.release, 0, sizeof target.release);
    pil_channel_previous(channel, target.release);
    if (target.release[0] == '\0') {
        return pil_fail(error, PIL_STATUS_NOT_FOUND,
                        "channel %s of %s/%s was at no release before %s; promote the release that you want",
                        channel->name, target.project, target.view, channel->release);
    }
    pil_status status = check_release(change, &target, error);
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(error, status, "channel %s cannot go back to %s", channel->name, target.release);
    }
    *ret_changed = true;
    set_release(channel->release, target.release);
    *ret_release = channel->release;
    return PIL_STATUS_OK;
}

static pil_status pin(struct change *change, bool *ret_changed, const char **ret_release, struct pil_error *error) {
    PIL_TRY(check_release(change, change->ref, error));
    *ret_changed = strcmp(change->version.channel.pinned, change->ref->release) != 0;
    *ret_release = change->ref->release;
    set_release(change->version.channel.pinned, change->ref->release);
    return PIL_STATUS_OK;
}

static pil_status unpin(struct change *change, bool *ret_changed, const char **ret_release, struct pil_error *error) {
    (void)error;
    *ret_changed = change->version.channel.pinned[0] != '\0';
    *ret_release = change->version.channel.release;
    change->version.channel.pinned[0] = '\0';
    return PIL_STATUS_OK;
}

/* Asks the guard about the release that the channel is to serve; with a pin that is another one than is promoted, but
 * the promoted one is what an unpin brings into service. */
static pil_status ask_guard(const struct change *change, const char *release, struct pil_error *error) {
    struct pil_release_ref ref = *change->ref;
    if (change->guard == NULL) {
        return PIL_STATUS_OK;
    }
    set_release(ref.release, release);
    return change->guard->ask(change->store, &ref, change->guard, error);
}

static pil_status put_channel(struct change *change, struct pil_store_condition condition, struct pil_error *error) {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_text text;
    pil_layout_channel(change->ref, change->version.channel.name, name);
    PIL_TRY(format_channel(&change->version.channel, change->ref, &text, error));
    pil_status status = pil_store_put(change->store, name, pil_text_bytes(&text), condition, NULL, error);
    pil_text_deinit(&text);
    return status;
}

static pil_status change_once(void *context, struct pil_error *error) {
    struct change *change = context;
    struct pil_channel *channel = &change->version.channel;
    bool changed = false;
    const char *release = "";
    change->version = (struct pil_channel_version){0};
    pil_status status = pil_channel_refresh(change->store, change->ref, change->channel_name, &change->version, error);
    bool create = status == PIL_STATUS_NOT_FOUND && change->act->may_create;
    if (status != PIL_STATUS_OK && !create) {
        return status;
    }
    memcpy(channel->name, change->channel_name, strlen(change->channel_name) + 1);
    PIL_TRY(change->act->apply(change, &changed, &release, error));
    if (!changed) {
        return PIL_STATUS_OK;
    }
    PIL_TRY(ask_guard(change, release, error));
    if (change->is_trial) {
        return PIL_STATUS_OK;
    }
    channel->sequence++;
    channel->changed_us = pil_clock_wall_us();
    push_history(channel, release, change->act->name);
    PIL_TRY(put_channel(change, create ? pil_store_if_absent() : pil_store_if_match(&change->version.tag), error));
    return check_again(change, error);
}

static pil_status run(struct change *change, struct pil_channel *ret_channel, struct pil_error *error) {
    char holder[PIL_NAME_BYTES_MAX * 2 + 32];
    snprintf(holder, sizeof holder, "%s %s/%s", change->act->name, change->ref->project, change->ref->view);
    change->lease = pil_lease_create(change->store, &pil_clock_system, PIL_LAYOUT_LEASE_WRITE, holder);
    if (change->lease == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a lease");
    }
    pil_status status = pil_retry(change_once, change, error);
    pil_lease_end(&change->lease);
    if (status == PIL_STATUS_OK) {
        *ret_channel = change->version.channel;
    }
    return status;
}

static const struct act promotion = {"promote", true, promote};

pil_status pil_channel_promote(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                               struct pil_guard *guard, struct pil_channel *ret_channel, struct pil_error *ret_error) {
    struct change change = {.store = store, .ref = ref, .channel_name = channel, .act = &promotion, .guard = guard};
    return run(&change, ret_channel, ret_error);
}

pil_status pil_channel_try_promote(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                                   struct pil_guard *guard, struct pil_error *ret_error) {
    struct pil_channel unused;
    struct change change = {
        .store = store, .ref = ref, .channel_name = channel, .act = &promotion, .is_trial = true, .guard = guard};
    return run(&change, &unused, ret_error);
}

pil_status pil_channel_rollback(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                                struct pil_guard *guard, struct pil_channel *ret_channel, struct pil_error *ret_error) {
    static const struct act act = {"rollback", false, rollback};
    struct change change = {.store = store, .ref = ref, .channel_name = channel, .act = &act, .guard = guard};
    return run(&change, ret_channel, ret_error);
}

pil_status pil_channel_pin(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                           struct pil_guard *guard, struct pil_channel *ret_channel, struct pil_error *ret_error) {
    static const struct act act = {"pin", false, pin};
    struct change change = {.store = store, .ref = ref, .channel_name = channel, .act = &act, .guard = guard};
    return run(&change, ret_channel, ret_error);
}

pil_status pil_channel_unpin(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                             struct pil_guard *guard, struct pil_channel *ret_channel, struct pil_error *ret_error) {
    static const struct act act = {"unpin", false, unpin};
    struct change change = {.store = store, .ref = ref, .channel_name = channel, .act = &act, .guard = guard};
    return run(&change, ret_channel, ret_error);
}
