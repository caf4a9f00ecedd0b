/* SPDX-License-Identifier: Apache-2.0
 * Formats and parses names of objects and references to releases. */
#include "release/layout.h"

#include "schema/name.h"

#include <stdio.h>

bool pil_release_name_ok(const char *name) {
    return pil_name_is_valid(pil_bytes_from_text(name));
}

bool pil_release_id_ok(const char *text) {
    return strlen(text) == PIL_RELEASE_ID_CHARS && strspn(text, "0123456789abcdef") == PIL_RELEASE_ID_CHARS;
}

/* Returns false if the text does not fit or is not a valid name. */
static bool copy_name(const char *text, size_t len, char ret_name[PIL_NAME_BYTES_MAX + 1]) {
    if (len > PIL_NAME_BYTES_MAX) {
        return false;
    }
    memcpy(ret_name, text, len);
    ret_name[len] = '\0';
    return pil_release_name_ok(ret_name);
}

pil_status pil_release_ref_parse(const char *text, struct pil_release_ref *ret_ref, struct pil_error *ret_error) {
    struct pil_release_ref ref = {0};
    const char *slash = strchr(text, '/');
    const char *at = slash != NULL ? strchr(slash, '@') : NULL;
    bool ok = slash != NULL && copy_name(text, (size_t)(slash - text), ref.project);
    if (ok && at == NULL) {
        ok = copy_name(slash + 1, strlen(slash + 1), ref.view);
    } else if (ok) {
        ok = copy_name(slash + 1, (size_t)(at - slash - 1), ref.view) && strlen(at + 1) <= PIL_NAME_BYTES_MAX;
        memcpy(ref.release, at + 1, ok ? strlen(at + 1) + 1 : 0);
        ok = ok && (pil_release_id_ok(ref.release) || pil_release_name_ok(ref.release));
    }
    if (!ok) {
        return pil_fail(ret_error, PIL_STATUS_INVALID,
                        "'%.300s' is not understood; write PROJECT/VIEW, PROJECT/VIEW@RELEASE (%d hex digits) or "
                        "PROJECT/VIEW@CHANNEL",
                        text, PIL_RELEASE_ID_CHARS);
    }
    *ret_ref = ref;
    return PIL_STATUS_OK;
}

void pil_layout_project(const char *project, char ret_name[PIL_STORE_NAME_BYTES]) {
    snprintf(ret_name, PIL_STORE_NAME_BYTES, PIL_LAYOUT_PROJECTS "%s.json", project);
}

void pil_layout_applied(const char *project, char ret_name[PIL_STORE_NAME_BYTES]) {
    snprintf(ret_name, PIL_STORE_NAME_BYTES, "applied/%s.json", project);
}

void pil_layout_manifest(const struct pil_release_ref *ref, char ret_name[PIL_STORE_NAME_BYTES]) {
    snprintf(ret_name, PIL_STORE_NAME_BYTES, "views/%s/%s/releases/%s.json", ref->project, ref->view, ref->release);
}

void pil_layout_channel(const struct pil_release_ref *ref, const char *channel, char ret_name[PIL_STORE_NAME_BYTES]) {
    snprintf(ret_name, PIL_STORE_NAME_BYTES, "views/%s/%s/channels/%s.json", ref->project, ref->view, channel);
}

void pil_layout_shard(const struct pil_sha256 *id, char ret_name[PIL_STORE_NAME_BYTES]) {
    char hex[PIL_SHA256_HEX_CHARS + 1];
    pil_hex_encode(pil_bytes_from(id->bytes, sizeof id->bytes), hex);
    snprintf(ret_name, PIL_STORE_NAME_BYTES, "shards/%.2s/%s.shard", hex, hex);
}

void pil_layout_channels(const struct pil_release_ref *ref, char ret_prefix[PIL_STORE_NAME_BYTES]) {
    snprintf(ret_prefix, PIL_STORE_NAME_BYTES, "views/%s/%s/channels/", ref->project, ref->view);
}

static const char *const lease_words[] = {"write-", "collect-"};

void pil_layout_lease_name(pil_layout_lease kind, const char *id, char ret_name[PIL_STORE_NAME_BYTES]) {
    snprintf(ret_name, PIL_STORE_NAME_BYTES, "%s%s%s.json", PIL_LAYOUT_LEASES, lease_words[kind], id);
}

enum { SEGMENTS_MAX = 5 };

/* Splits a name at '/'; the last segment ends at its first '.'. Returns the number of segments; 0: not one of our
 * names.
 */
static uint32_t split(const char *name, char segments[SEGMENTS_MAX][PIL_NAME_BYTES_MAX + 1]) {
    uint32_t count = 0;
    for (const char *at = name; at != NULL;) {
        const char *slash = strchr(at, '/');
        size_t len = slash != NULL ? (size_t)(slash - at) : strcspn(at, ".");
        if (count == SEGMENTS_MAX || len > PIL_NAME_BYTES_MAX) {
            return 0;
        }
        memcpy(segments[count], at, len);
        segments[count++][len] = '\0';
        at = slash != NULL ? slash + 1 : NULL;
    }
    return count;
}

/* Parses "write-0123456789abcdef" or "collect-…". */
static void parse_lease(const char *segment, struct pil_layout_object *object, char again[PIL_STORE_NAME_BYTES]) {
    pil_layout_lease kind =
        strncmp(segment, "write-", strlen("write-")) == 0 ? PIL_LAYOUT_LEASE_WRITE : PIL_LAYOUT_LEASE_COLLECT;
    size_t word_len = strlen(lease_words[kind]);
    if (strncmp(segment, lease_words[kind], word_len) != 0 || !pil_release_id_ok(segment + word_len)) {
        return;
    }
    object->kind = PIL_LAYOUT_LEASE;
    object->lease = kind;
    pil_layout_lease_name(kind, segment + word_len, again);
}

void pil_layout_parse(const char *name, struct pil_layout_object *ret_object) {
    char segments[SEGMENTS_MAX][PIL_NAME_BYTES_MAX + 1], again[PIL_STORE_NAME_BYTES] = "";
    struct pil_layout_object object = {.kind = PIL_LAYOUT_FOREIGN};
    uint32_t count = split(name, segments);
    if (count == 2 && strcmp(segments[0], "projects") == 0 && pil_release_name_ok(segments[1])) {
        object.kind = PIL_LAYOUT_PROJECT;
        memcpy(object.ref.project, segments[1], sizeof object.ref.project);
        pil_layout_project(object.ref.project, again);
    } else if (count == 2 && strcmp(segments[0], "applied") == 0 && pil_release_name_ok(segments[1])) {
        object.kind = PIL_LAYOUT_APPLIED;
        memcpy(object.ref.project, segments[1], sizeof object.ref.project);
        pil_layout_applied(object.ref.project, again);
    } else if (count == 2 && strcmp(segments[0], "leases") == 0) {
        parse_lease(segments[1], &object, again);
    } else if (count == 3 && pil_hex_decode(pil_bytes_from_text(segments[2]), object.shard.bytes, PIL_SHA256_BYTES)) {
        object.kind = PIL_LAYOUT_SHARD;
        pil_layout_shard(&object.shard, again);
    } else if (count == 5 && pil_release_name_ok(segments[1]) && pil_release_name_ok(segments[2])) {
        memcpy(object.ref.project, segments[1], sizeof object.ref.project);
        memcpy(object.ref.view, segments[2], sizeof object.ref.view);
        if (pil_release_id_ok(segments[4]) && strcmp(segments[3], "releases") == 0) {
            object.kind = PIL_LAYOUT_MANIFEST;
            memcpy(object.ref.release, segments[4], sizeof object.ref.release);
            pil_layout_manifest(&object.ref, again);
        } else if (pil_release_name_ok(segments[4])) {
            object.kind = PIL_LAYOUT_CHANNEL;
            memcpy(object.channel, segments[4], sizeof object.channel);
            pil_layout_channel(&object.ref, object.channel, again);
        }
    }
    if (strcmp(name, again) != 0) { /* one check covers all parts that were not compared above */
        object = (struct pil_layout_object){.kind = PIL_LAYOUT_FOREIGN};
    }
    *ret_object = object;
}
