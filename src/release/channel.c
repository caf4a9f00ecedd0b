/* SPDX-License-Identifier: Apache-2.0
 * Channels: read, change, put when nobody else did meanwhile, else read again. */
#include "release/channel.h"

#include "base/clock.h"
#include "base/panic.h"
#include "release/document.h"
#include "release/manifest.h"
#include "release/object.h"

enum { ATTEMPTS_MAX = 16, TEXT_BYTES_MAX = 64 << 10 };

static const char act_promote[] = "promote", act_rollback[] = "rollback", act_pin[] = "pin", act_unpin[] = "unpin";

/* ---- History */

void pil_channel_previous(const struct pil_channel *channel, char ret_release[PIL_RELEASE_ID_CHARS + 1]) {
    const char *stack[PIL_CHANNEL_HISTORY_MAX] = {0};
    uint32_t count = 0;
    for (uint32_t i = channel->history_count; i-- > 0;) { /* oldest first */
        const struct pil_channel_entry *entry = &channel->history[i];
        if (strcmp(entry->act, act_promote) == 0) {
            stack[count++] = entry->release;
        } else if (strcmp(entry->act, act_rollback) == 0) {
            count -= count > 0;
            if (count == 0) { /* what it went back to is older than the history */
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
    const char *acts[] = {act_promote, act_rollback, act_pin, act_unpin};
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
            status = pil_fail(error, PIL_STATUS_CORRUPT,
                              "\"sequence\" must be 1 or more, and fall from entry to entry");
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

static void format_channel(const struct pil_channel *channel, const struct pil_release_ref *ref,
                           struct pil_text *ret_text) {
    char nonce[PIL_DOCUMENT_NONCE_CHARS + 1];
    json_t *history = json_array();
    pil_document_nonce(nonce);
    for (uint32_t i = 0; i < channel->history_count; i++) {
        const struct pil_channel_entry *entry = &channel->history[i];
        json_array_append_new(history, json_pack("{s:s, s:I, s:I, s:s}", "release", entry->release, "sequence",
                                                 (json_int_t)entry->sequence, "changed_us",
                                                 (json_int_t)entry->changed_us, "act", entry->act));
    }
    json_t *document =
        json_pack("{s:i, s:s, s:s, s:s, s:I, s:s, s:s, s:o, s:I, s:o}", "format", PIL_DOCUMENT_FORMAT, "project",
                  ref->project, "view", ref->view, "channel", channel->name, "sequence", (json_int_t)channel->sequence,
                  "nonce", nonce, "release", channel->release, "pinned", pil_document_optional(channel->pinned),
                  "changed_us", (json_int_t)channel->changed_us, "history", history);
    PIL_ASSERT(document != NULL);
    pil_document_format(document, ret_text);
    json_decref(document);
}

/* ---- The store */

static pil_status read_tagged(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                              struct pil_channel *ret_channel, struct pil_store_tag *ret_tag, struct pil_error *error) {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_text text = {0};
    if (!pil_release_name_ok(channel)) {
        return pil_fail(error, PIL_STATUS_INVALID,
                        "'%.200s' is no name of a channel: a letter or '_', then letters, digits, '_' or '-'", channel);
    }
    pil_layout_channel(ref, channel, name);
    pil_status status = store->ops->get(store, name, TEXT_BYTES_MAX, &text, ret_tag, error);
    if (status == PIL_STATUS_NOT_FOUND) {
        return pil_fail(error, status, "%s/%s has no channel %s in %s; promote a release to it first", ref->project,
                        ref->view, channel, store->url);
    }
    PIL_TRY(status);
    status = pil_channel_parse(pil_text_bytes(&text), ref, channel, ret_channel, error);
    pil_text_deinit(&text);
    return status == PIL_STATUS_OK ? status : pil_fail_in(error, status, "%s", name);
}

pil_status pil_channel_read(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                            struct pil_channel *ret_channel, struct pil_error *ret_error) {
    return read_tagged(store, ref, channel, ret_channel, NULL, ret_error);
}

/* The release must be there whole. It is refreshed, so that a collector that has looked at the channels already spares
 * it until the new pointer is there. Who may write channels only cannot do that, and is not refused for it. */
static pil_status check_release(struct pil_store *store, const struct pil_release_ref *ref, struct pil_error *error) {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_manifest *manifest;
    bool replaced;
    if (!pil_release_id_ok(ref->release)) {
        return pil_fail(error, PIL_STATUS_INVALID, "'%s' is no release id, which is %d hex digits", ref->release,
                        PIL_RELEASE_ID_CHARS);
    }
    pil_layout_manifest(ref, name);
    pil_ignore(pil_object_refresh(store, name, NULL, &replaced, NULL), "when it is not there, reading it says so");
    PIL_TRY(pil_manifest_read(store, ref, &manifest, error));
    pil_status status = pil_manifest_check_shards(store, manifest, error);
    pil_manifest_destroy(&manifest);
    return status;
}

/* One act on a channel. *ret_changed stays false when the channel is as wanted already; *ret_release is for the
 * history. */
typedef pil_status (*act_fn)(struct pil_store *store, const struct pil_release_ref *ref, struct pil_channel *channel,
                             bool *ret_changed, const char **ret_release, struct pil_error *error);

static void set_release(char to[PIL_RELEASE_ID_CHARS + 1], const char *release) {
    memcpy(to, release, strlen(release) + 1);
}

static pil_status promote(struct pil_store *store, const struct pil_release_ref *ref, struct pil_channel *channel,
                          bool *ret_changed, const char **ret_release, struct pil_error *error) {
    PIL_TRY(check_release(store, ref, error));
    *ret_changed = strcmp(channel->release, ref->release) != 0;
    *ret_release = ref->release;
    set_release(channel->release, ref->release);
    return PIL_STATUS_OK;
}

static pil_status rollback(struct pil_store *store, const struct pil_release_ref *ref, struct pil_channel *channel,
                           bool *ret_changed, const char **ret_release, struct pil_error *error) {
    struct pil_release_ref target = *ref;
    memset(target.release, 0, sizeof target.release);
    pil_channel_previous(channel, target.release);
    if (target.release[0] == '\0') {
        return pil_fail(error, PIL_STATUS_NOT_FOUND,
                        "channel %s of %s/%s was at no release before %s; promote the release that you want",
                        channel->name, ref->project, ref->view, channel->release);
    }
    pil_status status = check_release(store, &target, error);
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(error, status, "channel %s cannot go back to %s", channel->name, target.release);
    }
    *ret_changed = true;
    set_release(channel->release, target.release);
    *ret_release = channel->release;
    return PIL_STATUS_OK;
}

static pil_status pin(struct pil_store *store, const struct pil_release_ref *ref, struct pil_channel *channel,
                      bool *ret_changed, const char **ret_release, struct pil_error *error) {
    PIL_TRY(check_release(store, ref, error));
    *ret_changed = strcmp(channel->pinned, ref->release) != 0;
    *ret_release = ref->release;
    set_release(channel->pinned, ref->release);
    return PIL_STATUS_OK;
}

static pil_status unpin(struct pil_store *store, const struct pil_release_ref *ref, struct pil_channel *channel,
                        bool *ret_changed, const char **ret_release, struct pil_error *error) {
    (void)store, (void)ref, (void)error;
    *ret_changed = channel->pinned[0] != '\0';
    *ret_release = channel->release;
    channel->pinned[0] = '\0';
    return PIL_STATUS_OK;
}

static pil_status put_channel(struct pil_store *store, const struct pil_release_ref *ref,
                              const struct pil_channel *channel, const struct pil_store_tag *tag,
                              struct pil_error *error) {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_text text;
    pil_layout_channel(ref, channel->name, name);
    format_channel(channel, ref, &text);
    pil_status status = store->ops->put_if_match(store, name, pil_text_bytes(&text), tag, error);
    pil_text_deinit(&text);
    return status;
}

static pil_status change_once(struct pil_store *store, const struct pil_release_ref *ref, const char *name, act_fn act,
                              const char *act_name, struct pil_channel *ret_channel, struct pil_error *error) {
    struct pil_channel channel = {0};
    struct pil_store_tag tag;
    bool changed = false;
    const char *release = "";
    pil_status status = read_tagged(store, ref, name, &channel, &tag, error);
    bool create = status == PIL_STATUS_NOT_FOUND && act == promote;
    if (status != PIL_STATUS_OK && !create) {
        return status;
    }
    memcpy(channel.name, name, strlen(name) + 1);
    PIL_TRY(act(store, ref, &channel, &changed, &release, error));
    if (changed) {
        int64_t now_us = pil_clock_wall_us();
        channel.sequence++;
        channel.changed_us = now_us;
        push_history(&channel, release, act_name);
        PIL_TRY(put_channel(store, ref, &channel, create ? NULL : &tag, error));
    }
    *ret_channel = channel;
    return PIL_STATUS_OK;
}

static pil_status change(struct pil_store *store, const struct pil_release_ref *ref, const char *name, act_fn act,
                         const char *act_name, struct pil_channel *ret_channel, struct pil_error *error) {
    pil_status status = PIL_STATUS_CONFLICT;
    for (uint32_t attempt = 0; attempt < ATTEMPTS_MAX && status == PIL_STATUS_CONFLICT; attempt++) {
        status = change_once(store, ref, name, act, act_name, ret_channel, error);
    }
    return status;
}

pil_status pil_channel_promote(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                               struct pil_channel *ret_channel, struct pil_error *ret_error) {
    return change(store, ref, channel, promote, act_promote, ret_channel, ret_error);
}

pil_status pil_channel_rollback(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                                struct pil_channel *ret_channel, struct pil_error *ret_error) {
    return change(store, ref, channel, rollback, act_rollback, ret_channel, ret_error);
}

pil_status pil_channel_pin(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                           struct pil_channel *ret_channel, struct pil_error *ret_error) {
    return change(store, ref, channel, pin, act_pin, ret_channel, ret_error);
}

pil_status pil_channel_unpin(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                             struct pil_channel *ret_channel, struct pil_error *ret_error) {
    return change(store, ref, channel, unpin, act_unpin, ret_channel, ret_error);
}
