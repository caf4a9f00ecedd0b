/* SPDX-License-Identifier: Apache-2.0
 * A channel: a tiny pointer to a release, changed by compare-and-swap only. Nodes serve `pinned` when set, else
 * `release`. Each write has a new sequence number and nonce, so that no two versions are equal bytes (stores derive
 * ETags from content).
 * schemas/channel.schema.json has the members. */
#pragma once

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
    /* Newest first. Of "pin" the release is the pinned one, of all others the one that the channel points to
     * afterwards. */
    struct pil_channel_entry history[PIL_CHANNEL_HISTORY_MAX];
    uint32_t history_count;
};

/* The release that nodes serve now. */
static inline const char *pil_channel_effective(const struct pil_channel *channel) {
    return channel->pinned[0] != '\0' ? channel->pinned : channel->release;
}

/* The release that a rollback would take: the one before the current one among promotions that were not rolled back; ""
 * when the history knows none. */
void pil_channel_previous(const struct pil_channel *channel, char ret_release[PIL_RELEASE_ID_CHARS + 1]);

/* Hostile text in; ref->project, ref->view and `channel` must be those in the document. CORRUPT, UNSUPPORTED. */
pil_status pil_channel_parse(struct pil_bytes text, const struct pil_release_ref *ref, const char *channel,
                             struct pil_channel *ret_channel, struct pil_error *ret_error) PIL_CHECKED;
/* ref->project and ref->view name the view. NOT_FOUND when the channel was never promoted to; CORRUPT. */
pil_status pil_channel_read(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                            struct pil_channel *ret_channel, struct pil_error *ret_error) PIL_CHECKED;
/* A channel and the version that it was read from; tag "": none yet. */
struct pil_channel_version {
    struct pil_channel channel;
    struct pil_store_tag tag;
};
/* The same as pil_channel_read for who reads it again and again: *version is what was read before, and becomes what is
 * there. Cost: nothing is sent or parsed when that is the same. */
pil_status pil_channel_refresh(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                               struct pil_channel_version *version, struct pil_error *ret_error) PIL_CHECKED;
/* Points the channel at ref->release, whose manifest and shards must be there. Already there: OK, nothing written.
 * Retries CONFLICT a few times. All four return the channel as it is afterwards. Without rights for leases the release
 * is looked at once more when the channel is written: NOT_FOUND or IO then, and the channel names what is gone. */
pil_status pil_channel_promote(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                               struct pil_channel *ret_channel, struct pil_error *ret_error) PIL_CHECKED;
/* Back to the release before the current one in history; NOT_FOUND when there is none or its manifest is gone. */
pil_status pil_channel_rollback(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                                struct pil_channel *ret_channel, struct pil_error *ret_error) PIL_CHECKED;
/* Nodes stay on ref->release whatever is promoted, until unpin. */
pil_status pil_channel_pin(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                           struct pil_channel *ret_channel, struct pil_error *ret_error) PIL_CHECKED;
pil_status pil_channel_unpin(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                             struct pil_channel *ret_channel, struct pil_error *ret_error) PIL_CHECKED;
