/* SPDX-License-Identifier: Apache-2.0
 * Names of objects in a store, as schemas/store.md specifies them:
 *   projects/PROJECT.json                         the applied project; changed by compare-and-swap
 *   applied/PROJECT.json                          the project was applied once; immutable
 *   views/PROJECT/VIEW/releases/RELEASE.json      manifest; immutable
 *   views/PROJECT/VIEW/channels/CHANNEL.json      pointer; changed by compare-and-swap
 *   shards/AB/ABCDEF….shard                       content-addressed; immutable; AB = first two hex digits of the id
 *   leases/write-ID.json, leases/collect-ID.json  objects that writers rely on or collectors remove; ID = 16 hex digits
 */
#pragma once

#include "base/bounds.h"
#include "base/hash.h"
#include "base/status.h"
#include "store/store.h"

/* "rides/driver_stats@0123456789abcdef" or "…@production": the part after @ may be a release id or a channel. */
struct pil_release_ref {
    char project[PIL_NAME_BYTES_MAX + 1];
    char view[PIL_NAME_BYTES_MAX + 1];
    char release[PIL_NAME_BYTES_MAX + 1]; /* "" if there was no @ */
};
pil_status pil_release_ref_parse(const char *text, struct pil_release_ref *ret_ref,
                                 struct pil_error *ret_error) PIL_CHECKED;

/* Whether the name matches [a-z_A-Z][A-Za-z0-9_-]* and has at most PIL_NAME_BYTES_MAX bytes. */
bool pil_release_name_ok(const char *name);
/* Whether the text is exactly PIL_RELEASE_ID_CHARS lower-case hex digits. */
bool pil_release_id_ok(const char *text);

void pil_layout_project(const char *project, char ret_name[PIL_STORE_NAME_BYTES]);
void pil_layout_applied(const char *project, char ret_name[PIL_STORE_NAME_BYTES]);
void pil_layout_manifest(const struct pil_release_ref *ref, char ret_name[PIL_STORE_NAME_BYTES]);
void pil_layout_channel(const struct pil_release_ref *ref, const char *channel, char ret_name[PIL_STORE_NAME_BYTES]);
void pil_layout_shard(const struct pil_sha256 *id, char ret_name[PIL_STORE_NAME_BYTES]);

/* Prefixes of names: of all projects, of all leases, of one view's channels. */
#define PIL_LAYOUT_PROJECTS "projects/"
#define PIL_LAYOUT_LEASES "leases/"
void pil_layout_channels(const struct pil_release_ref *ref, char ret_prefix[PIL_STORE_NAME_BYTES]);

typedef enum pil_layout_lease { PIL_LAYOUT_LEASE_WRITE, PIL_LAYOUT_LEASE_COLLECT } pil_layout_lease;
/* `id` is 16 lower-case hex digits. */
void pil_layout_lease_name(pil_layout_lease kind, const char *id, char ret_name[PIL_STORE_NAME_BYTES]);

/* The reverse: parses a name. A name that none of the functions above produces is foreign. */
typedef enum pil_layout_kind {
    PIL_LAYOUT_FOREIGN,
    PIL_LAYOUT_PROJECT,  /* ref.project */
    PIL_LAYOUT_APPLIED,  /* ref.project */
    PIL_LAYOUT_MANIFEST, /* ref */
    PIL_LAYOUT_CHANNEL,  /* ref without release, channel */
    PIL_LAYOUT_SHARD,    /* shard */
    PIL_LAYOUT_LEASE,    /* lease */
} pil_layout_kind;
struct pil_layout_object {
    pil_layout_kind kind;
    struct pil_release_ref ref;
    char channel[PIL_NAME_BYTES_MAX + 1];
    struct pil_sha256 shard;
    pil_layout_lease lease;
};
void pil_layout_parse(const char *name, struct pil_layout_object *ret_object);
