/* SPDX-License-Identifier: Apache-2.0
 * Mark and sweep, in batches: each batch is posted, then the leases of writers are read, then the objects that no lease
 * names are removed (release/lease.h). The collector writes its own lease before it reads the store, so that writers
 * that finish in the meantime leave their leases for the collector to read. */
#include "release/gc.h"

#include "release/catalog.h"
#include "release/lease.h"
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
    int64_t started_us;
    int64_t limit_us;        /* objects that were put later stay */
    struct pil_lease *lease; /* NULL in a dry run */
    struct pil_lease_set leased;
    char (*names)[PIL_STORE_NAME_BYTES]; /* of the batch; PIL_LEASE_OBJECTS_MAX of them */
    struct pil_catalog catalog;
    struct candidate *candidates;
    size_t candidate_count;
    struct pil_sha256 *marked; /* sorted */
    size_t marked_count;
    struct swept_shard *swept;
    size_t swept_count;
    struct pil_gc_result result;
};

static pil_status no_memory(struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a collection; nothing more was removed");
}

/* ---- Which releases stay */

/* Renews the lease when a third of its time has passed, so that it does not expire during long reads between batches.
 */
static pil_status hold(struct collector *collector, struct pil_error *error) {
    if (collector->lease == NULL ||
        pil_lease_left_us(collector->lease) > PIL_LEASE_COLLECT_SECONDS * 1000000ll / 3 * 2) {
        return PIL_STATUS_OK;
    }
    return pil_lease_post(collector->lease, NULL, 0, PIL_LEASE_COLLECT_SECONDS, error);
}

static pil_status load_candidates(struct collector *collector, struct pil_error *error) {
    const struct pil_catalog *catalog = &collector->catalog;
    collector->candidates = calloc(catalog->release_count + 1, sizeof *collector->candidates);
    if (collector->candidates == NULL) {
        return no_memory(error);
    }
    for (size_t i = 0; i < catalog->channel_count; i++) {
        if (catalog->channels[i].status != PIL_STATUS_OK) {
            return pil_fail(error, catalog->channels[i].status,
                            "%s; nothing was removed, because what it needs is unknown",
                            catalog->channels[i].error.text);
        }
    }
    for (size_t i = 0; i < catalog->release_count; i++) {
        struct candidate *candidate = &collector->candidates[i];
        struct pil_manifest *manifest;
        PIL_TRY(hold(collector, error));
        pil_status status = pil_manifest_read(collector->store, &catalog->releases[i].ref, &manifest, error);
        if (status != PIL_STATUS_OK) {
            return pil_fail_in(error, status, "nothing was removed, because what this needs is unknown");
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

static bool is_leased(const struct collector *collector, const struct pil_release_ref *ref) {
    char name[PIL_STORE_NAME_BYTES];
    pil_layout_manifest(ref, name);
    return pil_lease_set_has(&collector->leased, name);
}

static void choose(struct collector *collector) {
    struct candidate *candidates = collector->candidates;
    qsort(candidates, collector->candidate_count, sizeof *candidates, newest_first);
    uint32_t rank = 0;
    for (size_t i = 0; i < collector->candidate_count; i++) {
        struct candidate *candidate = &candidates[i];
        rank = i > 0 && pil_catalog_same_view(&candidate->ref, &candidates[i - 1].ref) ? rank + 1 : 0;
        candidate->keep = rank < collector->options->keep || candidate->modified_us > collector->limit_us ||
                          is_leased(collector, &candidate->ref);
        for (size_t c = 0; c < collector->catalog.channel_count && !candidate->keep; c++) {
            candidate->keep = channel_needs(&collector->catalog.channels[c], &candidate->ref);
        }
    }
}

/* ---- Removal */

static pil_status read_leases(struct collector *collector, struct pil_error *error) {
    struct pil_lease_set leased = {0};
    pil_status status = pil_lease_set_read(collector->store, collector->started_us, &leased, error);
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(error, status, "nothing more was removed, because what this needs is unknown");
    }
    pil_lease_set_deinit(&collector->leased);
    collector->leased = leased;
    return PIL_STATUS_OK;
}

/* Removes those of the objects collector->names[0..count) that no writer has leased; ret_spared marks the others. */
static pil_status remove_batch(struct collector *collector, uint32_t count, bool *ret_spared, struct pil_error *error) {
    const char *names[PIL_LEASE_OBJECTS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        names[i] = collector->names[i];
    }
    PIL_TRY(pil_lease_post(collector->lease, names, count, PIL_LEASE_BATCH_SECONDS, error));
    PIL_TRY(read_leases(collector, error));
    for (uint32_t i = 0; i < count; i++) {
        ret_spared[i] = pil_lease_set_has(&collector->leased, names[i]);
        if (ret_spared[i]) {
            continue;
        }
        if (pil_lease_left_us(collector->lease) < PIL_LEASE_BATCH_SECONDS * 1000000ll / 2) {
            /* the store is slow: writers must see that the batch is still being removed */
            PIL_TRY(pil_lease_post(collector->lease, names, count, PIL_LEASE_BATCH_SECONDS, error));
        }
        pil_status status = pil_store_remove(collector->store, names[i], pil_store_always(), error);
        if (status != PIL_STATUS_NOT_FOUND) { /* another collector removed it: fine */
            PIL_TRY(status);
        }
    }
    return PIL_STATUS_OK;
}

/* Removes candidates[at[0..count)], whose names are in the batch. */
static pil_status remove_release_batch(struct collector *collector, const size_t *at, uint32_t count,
                                       struct pil_error *error) {
    bool spared[PIL_LEASE_OBJECTS_MAX];
    PIL_TRY(remove_batch(collector, count, spared, error));
    for (uint32_t i = 0; i < count; i++) {
        collector->candidates[at[i]].keep = spared[i]; /* a writer has leased it in the meantime */
    }
    return PIL_STATUS_OK;
}

static pil_status remove_releases(struct collector *collector, struct pil_error *error) {
    size_t at[PIL_LEASE_OBJECTS_MAX];
    uint32_t count = 0;
    for (size_t i = 0; i < collector->candidate_count && !collector->options->dry_run; i++) {
        if (!collector->candidates[i].keep) {
            pil_layout_manifest(&collector->candidates[i].ref, collector->names[count]);
            at[count++] = i;
        }
        if (count == PIL_LEASE_OBJECTS_MAX) {
            PIL_TRY(remove_release_batch(collector, at, count, error));
            count = 0;
        }
    }
    if (count > 0) {
        PIL_TRY(remove_release_batch(collector, at, count, error));
    }
    for (size_t i = 0; i < collector->candidate_count; i++) {
        collector->result.releases_kept += collector->candidates[i].keep;
        collector->result.releases_removed += !collector->candidates[i].keep;
    }
    return PIL_STATUS_OK;
}

/* ---- Which shards stay */

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, sizeof(struct pil_sha256));
}

static pil_status mark(struct collector *collector, struct pil_error *error) {
    size_t count = 0;
    for (size_t i = 0; i < collector->candidate_count; i++) {
        count += collector->candidates[i].keep ? collector->candidates[i].shard_count : 0;
    }
    collector->marked = calloc(count + 1, sizeof *collector->marked);
    if (collector->marked == NULL) {
        return no_memory(error);
    }
    for (size_t i = 0; i < collector->candidate_count; i++) {
        const struct candidate *candidate = &collector->candidates[i];
        for (uint32_t s = 0; candidate->keep && s < candidate->shard_count; s++) {
            collector->marked[collector->marked_count++] = candidate->shards[s].id;
        }
    }
    qsort(collector->marked, collector->marked_count, sizeof *collector->marked, compare_ids);
    return PIL_STATUS_OK;
}

static pil_status visit_shard(void *context, const struct pil_store_object *object) {
    struct collector *collector = context;
    struct pil_layout_object parsed;
    pil_layout_parse(object->name, &parsed);
    if (parsed.kind != PIL_LAYOUT_SHARD) {
        return PIL_STATUS_OK; /* a foreign object, which stays */
    }
    bool keep = object->modified_us > collector->limit_us || pil_lease_set_has(&collector->leased, object->name) ||
                bsearch(&parsed.shard, collector->marked, collector->marked_count, sizeof *collector->marked,
                        compare_ids) != NULL;
    collector->result.shards_kept += keep;
    collector->result.shards_removed += !keep;
    collector->result.bytes_kept += keep ? object->bytes : 0;
    collector->result.bytes_removed += keep ? 0 : object->bytes;
    if (!keep) {
        if ((collector->swept_count & (collector->swept_count - 1)) == 0) { /* doubles at powers of two */
            size_t capacity = collector->swept_count == 0 ? 1 : 2 * collector->swept_count;
            struct swept_shard *swept = realloc(collector->swept, capacity * sizeof *swept);
            if (swept == NULL) {
                return PIL_STATUS_NO_MEMORY;
            }
            collector->swept = swept;
        }
        collector->swept[collector->swept_count++] = (struct swept_shard){.id = parsed.shard, .bytes = object->bytes};
    }
    return PIL_STATUS_OK;
}

static pil_status sweep_batch(struct collector *collector, const struct swept_shard *shards, uint32_t count,
                              struct pil_error *error) {
    bool spared[PIL_LEASE_OBJECTS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        pil_layout_shard(&shards[i].id, collector->names[i]);
    }
    PIL_TRY(remove_batch(collector, count, spared, error));
    for (uint32_t i = 0; i < count; i++) {
        if (spared[i]) { /* a build has leased it in the meantime */
            collector->result.shards_removed--;
            collector->result.shards_kept++;
            collector->result.bytes_removed -= shards[i].bytes;
            collector->result.bytes_kept += shards[i].bytes;
        }
    }
    return PIL_STATUS_OK;
}

static pil_status sweep(struct collector *collector, struct pil_error *error) {
    PIL_TRY(pil_store_list(collector->store, "shards/", visit_shard, collector, error));
    for (size_t i = 0; i < collector->swept_count && !collector->options->dry_run; i += PIL_LEASE_OBJECTS_MAX) {
        size_t left = collector->swept_count - i;
        PIL_TRY(sweep_batch(collector, &collector->swept[i],
                            left < PIL_LEASE_OBJECTS_MAX ? (uint32_t)left : PIL_LEASE_OBJECTS_MAX, error));
    }
    return PIL_STATUS_OK;
}

/* ---- The run */

static pil_status collect(struct collector *collector, struct pil_error *error) {
    if (collector->names == NULL || (collector->lease == NULL && !collector->options->dry_run)) {
        return no_memory(error);
    }
    if (collector->lease != NULL) {
        PIL_TRY(pil_lease_post(collector->lease, NULL, 0, PIL_LEASE_COLLECT_SECONDS, error));
    }
    PIL_TRY(pil_catalog_read(collector->store, "", "", &collector->catalog, error));
    PIL_TRY(load_candidates(collector, error));
    PIL_TRY(read_leases(collector, error));
    choose(collector);
    PIL_TRY(remove_releases(collector, error));
    PIL_TRY(mark(collector, error));
    PIL_TRY(hold(collector, error));
    PIL_TRY(sweep(collector, error));
    return collector->lease != NULL ? pil_lease_sweep(collector->lease, collector->started_us, error) : PIL_STATUS_OK;
}

pil_status pil_gc_run(struct pil_store *store, const struct pil_gc_options *options, struct pil_gc_result *ret_result,
                      struct pil_error *ret_error) {
    int64_t now_us = options->clock->wall_us(options->clock->context);
    struct collector collector = {.store = store,
                                  .options = options,
                                  .started_us = now_us,
                                  .limit_us = now_us - options->grace_us,
                                  .names = calloc(PIL_LEASE_OBJECTS_MAX, sizeof *collector.names)};
    if (!options->dry_run) {
        collector.lease = pil_lease_create(store, options->clock, PIL_LAYOUT_LEASE_COLLECT, "gc");
    }
    pil_status status = collect(&collector, ret_error);
    pil_lease_end(&collector.lease);
    pil_lease_set_deinit(&collector.leased);
    for (size_t i = 0; i < collector.candidate_count; i++) {
        free(collector.candidates[i].shards);
    }
    free(collector.candidates);
    free(collector.marked);
    free(collector.swept);
    free(collector.names);
    pil_catalog_deinit(&collector.catalog);
    if (status == PIL_STATUS_OK) {
        *ret_result = collector.result;
    }
    return status;
}
