/* SPDX-License-Identifier: Apache-2.0
 * A channel: a small document that points to a release, changed only by compare-and-swap. Nodes serve `pinned` if set,
 * else `release`. Each write has a new sequence number and nonce, so that no two versions have equal bytes (stores
 * derive ETags from content). schemas/channel.schema.json lists the members. */
#pragma once

#include "release/guard.h"
#include "release/layout.h"

enum { PIL_CHANNEL_HISTORY_MAX = 64 };

struct pil_channel_entry {
    char release[PIL_RELEASE_ID_CHARS + 1];
    char act[16]; /* "promote", "rollback", "pin", "unpin" */
    uint64_t sequence;
    int64_t changed_us;
};
struct pil_channel {
    char name[PIL_NAME_BYTES_MAX + 1];
    uint64_t sequence;
    int64_t changed_us;
    char release[PIL_RELEASE_ID_CHARS + 1];
    char pinned[PIL_RELEASE_ID_CHARS + 1]; /* "" when not pinned */
    /* Newest first. The release of a "pin" entry is the pinned one; of all others, the one that the channel points to
     * after the change. */
    struct pil_channel_entry history[PIL_CHANNEL_HISTORY_MAX];
    uint32_t history_count;
};

/* The release that nodes serve now. */
static inline const char *pil_channel_effective(const struct pil_channel *channel) {
    return channel->pinned[0] != '\0' ? channel->pinned : channel->release;
}

/* The release that a rollback would return to: the one before the current one among the promotions that were not rolled
 * back; "" if the history has none. */
void pil_channel_previous(const struct pil_channel *channel, char ret_release[PIL_RELEASE_ID_CHARS + 1]);

/* INVALID: no channel can have that name; the message says what a name is. */
pil_status pil_channel_check_name(const char *name, struct pil_error *ret_error) PIL_CHECKED;
/* Parses hostile text. CORRUPT: also if the document is not of ref->project, ref->view and `channel`. UNSUPPORTED,
 * TOO_LARGE, NO_MEMORY. */
pil_status pil_channel_parse(struct pil_bytes text, const struct pil_release_ref *ref, const char *channel,
                             struct pil_channel *ret_channel, struct pil_error *ret_error) PIL_CHECKED;
/* Reads a channel of the view ref->project, ref->view. NOT_FOUND: no release was ever promoted to it. CORRUPT. */
pil_status pil_channel_read(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                            struct pil_channel *ret_channel, struct pil_error *ret_error) PIL_CHECKED;
/* A channel and the tag of the version that was read; tag "": not read yet. */
struct pil_channel_version {
    struct pil_channel channel;
    struct pil_store_tag tag;
};
/* As pil_channel_read, for callers that read a channel again and again: *version holds the last reading and is updated.
 * Cost: if the channel is unchanged, no content is transferred or parsed. */
pil_status pil_channel_refresh(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                               struct pil_channel_version *version, struct pil_error *ret_error) PIL_CHECKED;
/* Points the channel at ref->release, whose manifest and shards must be in the store. If it points there already,
 * writes nothing and returns OK. Retries CONFLICT a few times. All four functions return the channel as it is
 * afterwards. All take a guard, and pass the release that they would put into service by it; NULL: unguarded. Without
 * the right to write leases, the release is checked again after the channel was written: NOT_FOUND or IO then mean that
 * the channel names a release that was removed. */
pil_status pil_channel_promote(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                               struct pil_guard *guard, struct pil_channel *ret_channel,
                               struct pil_error *ret_error) PIL_CHECKED;
/* Returns what pil_channel_promote would return now, and changes no channel. */
pil_status pil_channel_try_promote(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                                   struct pil_guard *guard, struct pil_error *ret_error) PIL_CHECKED;
/* Returns the channel to pil_channel_previous. NOT_FOUND: the history has none, or its manifest is gone. */
pil_status pil_channel_rollback(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                                struct pil_guard *guard, struct pil_channel *ret_channel,
                                struct pil_error *ret_error) PIL_CHECKED;
/* Keeps nodes on ref->release, whatever is promoted, until unpin. */
pil_status pil_channel_pin(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                           struct pil_guard *guard, struct pil_channel *ret_channel,
                           struct pil_error *ret_error) PIL_CHECKED;
pil_status pil_channel_unpin(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                             struct pil_guard *guard, struct pil_channel *ret_channel,
                             struct pil_error *ret_error) PIL_CHECKED;
