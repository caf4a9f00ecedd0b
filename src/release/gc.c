/* SPDX-License-Identifier: Apache-2.0
 * Mark and sweep. All removals carry the same limit, start - grace, which the store checks at the moment of removal:
 * whatever was touched since the picture was taken stays. */
#include "release/gc.h"

#include "base/clock.h"
#include "base/panic.h"
#include "release/catalog.h"
#include "release/manifest.h"

#include <stdlib.h>

struct candidate {
    struct pil_release_ref ref;
    int64_t modified_us, created_us;
    struct pil_manifest_shard *shards; /* owned */
    uint32_t shard_count;
    bool keep;
};

struct swept_shard {
    struct pil_sha256 id;
    uint64_t bytes;
};

struct collector {
    struct pil_store *store;
    const struct pil_gc_options *options;
    int64_t limit_us; /* what is younger stays */
    struct pil_catalog catalog;
    struct candidate *candidates;
    size_t candidate_count;
    struct pil_sha256 *marked; /* sorted */
    size_t marked_count;
    struct swept_shard *swept;
    size_t swept_count;
    struct pil_gc_result result;
};

/* ---- Which releases stay */

static pil_status load_candidates(struct collector *collector, struct pil_error *error) {
    const struct pil_catalog *catalog = &collector->catalog;
    collector->candidates = calloc(catalog->release_count + 1, sizeof *collector->candidates);
    PIL_ASSERT(collector->candidates != NULL);
    for (size_t i = 0; i < catalog->channel_count; i++) {
        if (catalog->channels[i].status != PIL_STATUS_OK) {
            return pil_fail(error, catalog->channels[i].status,
                            "%s; nothing was removed, for nobody knows what it needs", catalog->channels[i].error.text);
        }
    }
    for (size_t i = 0; i < catalog->release_count; i++) {
        struct candidate *candidate = &collector->candidates[i];
        struct pil_manifest *manifest;
        pil_status status = pil_manifest_read(collector->store, &catalog->releases[i].ref, &manifest, error);
        if (status != PIL_STATUS_OK) {
            return pil_fail_in(error, status, "nothing was removed, for nobody knows what this needs");
        }
        *candidate = (struct candidate){.ref = manifest->ref,
                                        .modified_us = catalog->releases[i].modified_us,
                                        .created_us = manifest->created_us,
                                        .shards = manifest->shards,
                                        .shard_count = manifest->shard_count};
        manifest->shards = NULL;
        pil_manifest_destroy(&manifest);
        collector->candidate_count++;
    }
    return PIL_STATUS_OK;
}

static int newest_first(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    int order = strcmp(x->ref.project, y->ref.project);
    order = order != 0 ? order : strcmp(x->ref.view, y->ref.view);
    order = order != 0 ? order : (x->created_us < y->created_us) - (x->created_us > y->created_us);
    return order != 0 ? order : strcmp(x->ref.release, y->ref.release);
}

static bool channel_needs(const struct pil_catalog_channel *channel, const struct pil_release_ref *ref) {
    char previous[PIL_RELEASE_ID_CHARS + 1];
    pil_channel_previous(&channel->channel, previous);
    return pil_catalog_same_view(&channel->ref, ref) &&
           (strcmp(channel->channel.release, ref->release) == 0 || strcmp(channel->channel.pinned, ref->release) == 0 ||
            strcmp(previous, ref->release) == 0);
}

static void choose(struct collector *collector) {
    struct candidate *candidates = collector->candidates;
    qsort(candidates, collector->candidate_count, sizeof *candidates, newest_first);
    uint32_t rank = 0;
    for (size_t i = 0; i < collector->candidate_count; i++) {
        struct candidate *candidate = &candidates[i];
        rank = i > 0 && pil_catalog_same_view(&candidate->ref, &candidates[i - 1].ref) ? rank + 1 : 0;
        candidate->keep = rank < collector->options->keep || candidate->modified_us > collector->limit_us;
        for (size_t c = 0; c < collector->catalog.channel_count && !candidate->keep; c++) {
            candidate->keep = channel_needs(&collector->catalog.channels[c], &candidate->ref);
        }
    }
}

static pil_status remove_releases(struct collector *collector, struct pil_error *error) {
    for (size_t i = 0; i < collector->candidate_count; i++) {
        struct candidate *candidate = &collector->candidates[i];
        if (!candidate->keep && !collector->options->dry_run) {
            char name[PIL_STORE_NAME_BYTES];
            pil_layout_manifest(&candidate->ref, name);
            pil_status status = collector->store->ops->remove(collector->store, name, collector->limit_us, error);
            candidate->keep = status == PIL_STATUS_CONFLICT; /* promoted meanwhile */
            if (status != PIL_STATUS_OK && status != PIL_STATUS_CONFLICT && status != PIL_STATUS_NOT_FOUND) {
                return status;
            }
        }
        collector->result.releases_kept += candidate->keep;
        collector->result.releases_removed += !candidate->keep;
    }
    return PIL_STATUS_OK;
}

/* ---- Which shards stay */

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, sizeof(struct pil_sha256));
}

static void mark(struct collector *collector) {
    size_t count = 0;
    for (size_t i = 0; i < collector->candidate_count; i++) {
        count += collector->candidates[i].keep ? collector->candidates[i].shard_count : 0;
    }
    collector->marked = calloc(count + 1, sizeof *collector->marked);
    PIL_ASSERT(collector->marked != NULL);
    for (size_t i = 0; i < collector->candidate_count; i++) {
        const struct candidate *candidate = &collector->candidates[i];
        for (uint32_t s = 0; candidate->keep && s < candidate->shard_count; s++) {
            collector->marked[collector->marked_count++] = candidate->shards[s].id;
        }
    }
    qsort(collector->marked, collector->marked_count, sizeof *collector->marked, compare_ids);
}

static pil_status visit_shard(void *context, const struct pil_store_object *object) {
    struct collector *collector = context;
    struct pil_layout_object parsed;
    pil_layout_parse(object->name, &parsed);
    if (parsed.kind != PIL_LAYOUT_SHARD) {
        return PIL_STATUS_OK; /* not ours to remove */
    }
    bool keep =
        object->modified_us > collector->limit_us || bsearch(&parsed.shard, collector->marked, collector->marked_count,
                                                             sizeof *collector->marked, compare_ids) != NULL;
    collector->result.shards_kept += keep;
    collector->result.shards_removed += !keep;
    collector->result.bytes_kept += keep ? object->bytes : 0;
    collector->result.bytes_removed += keep ? 0 : object->bytes;
    if (!keep) {
        if ((collector->swept_count & (collector->swept_count - 1)) == 0) { /* doubles at powers of two */
            size_t capacity = collector->swept_count == 0 ? 1 : 2 * collector->swept_count;
            collector->swept = realloc(collector->swept, capacity * sizeof *collector->swept);
            PIL_ASSERT(collector->swept != NULL);
        }
        collector->swept[collector->swept_count++] = (struct swept_shard){.id = parsed.shard, .bytes = object->bytes};
    }
    return PIL_STATUS_OK;
}

static pil_status sweep(struct collector *collector, struct pil_error *error) {
    PIL_TRY(collector->store->ops->list(collector->store, "shards/", visit_shard, collector, error));
    for (size_t i = 0; i < collector->swept_count && !collector->options->dry_run; i++) {
        char name[PIL_STORE_NAME_BYTES];
        pil_layout_shard(&collector->swept[i].id, name);
        pil_status status = collector->store->ops->remove(collector->store, name, collector->limit_us, error);
        if (status == PIL_STATUS_CONFLICT) { /* a build relies on it since */
            collector->result.shards_removed--;
            collector->result.shards_kept++;
            collector->result.bytes_removed -= collector->swept[i].bytes;
            collector->result.bytes_kept += collector->swept[i].bytes;
        } else if (status != PIL_STATUS_NOT_FOUND) {
            PIL_TRY(status);
        }
    }
    return PIL_STATUS_OK;
}

pil_status pil_gc_run(struct pil_store *store, const struct pil_gc_options *options, struct pil_gc_result *ret_result,
                      struct pil_error *ret_error) {
    struct collector collector = {
        .store = store, .options = options, .limit_us = pil_clock_wall_us() - options->grace_us};
    PIL_TRY(pil_catalog_read(store, "", "", &collector.catalog, ret_error));
    pil_status status = load_candidates(&collector, ret_error);
    if (status == PIL_STATUS_OK) {
        choose(&collector);
        status = remove_releases(&collector, ret_error);
    }
    if (status == PIL_STATUS_OK) {
        mark(&collector);
        status = sweep(&collector, ret_error);
    }
    for (size_t i = 0; i < collector.candidate_count; i++) {
        free(collector.candidates[i].shards);
    }
    free(collector.candidates);
    free(collector.marked);
    free(collector.swept);
    pil_catalog_deinit(&collector.catalog);
    if (status == PIL_STATUS_OK) {
        *ret_result = collector.result;
    }
    return status;
}
