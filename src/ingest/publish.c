/* SPDX-License-Identifier: Apache-2.0
 * WRITE: chooses the number of shards, writes each shard's file, uploads those that the store lacks, and finally the
 * manifest. Shards are independent: each of several threads takes the next shard and uploads it through its own handle
 * of the store. The lease has a handle, too; both and the sums of the result are protected by one lock. */
#include "ingest/internal.h"
#include "base/clock.h"
#include "base/panic.h"
#include "ingest/value.h"
#include "release/catalog.h"
#include "release/lease.h"
#include "release/shard_io.h"
#include "schema/json_text.h"
#include "snapshot/writer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SHARD_OVERHEAD_BYTES = 4 << 20, /* superblock, schema, alignment of rows, checksums */
    WRITER_ROW_BYTES = 43,          /* memory of pil_writer_finish beside the file, and the row's part of the pilots */
};

struct job {
    struct pil_ingest *ingest;
    struct pil_store *store; /* NULL: a dry run */
    uint32_t shard_bits;
    uint64_t bytes_total;
    struct pil_manifest_shard *shards;

    pthread_mutex_t lock;          /* protects all members below */
    struct pil_store *lease_store; /* the lease's own handle, used by the thread that holds the lock */
    struct pil_lease *lease;       /* of the files that the manifest will name; NULL: a dry run */
    uint32_t next;
    uint64_t bytes_done;
    struct pil_tally *tally;
    struct pil_ingest_result result;
    pil_status status; /* the first failure of any thread */
    struct pil_error error;
};

struct worker {
    struct job *job;
    struct pil_store *store; /* the thread's own handle; the caller uses the job's; NULL: a dry run */
    struct pil_tally *tally;
    pthread_t thread;
    bool is_caller;
};

/* The rows of one shard in memory. */
struct load {
    struct pil_writer_row *rows;
    size_t rows_bytes, row_count;
    uint8_t *buffer; /* records read from the file; NULL when they are already in memory */
    size_t buffer_bytes;
};

/* ---- The number of shards */

struct need {
    uint64_t rows, bytes; /* maxima over all shards, taken separately */
    uint64_t memory;      /* for writing the shard that needs most */
};

static uint64_t loaded_bytes(const struct pil_ingest *ingest, uint32_t shard, uint32_t bits) {
    uint64_t bytes = 0;
    if (pil_partitions_in_memory(ingest->partitions)) {
        return 0;
    }
    if (bits >= PIL_PARTITION_BITS) {
        return pil_partition_bytes(ingest->partitions, shard >> (bits - PIL_PARTITION_BITS));
    }
    uint32_t per_shard = PIL_PARTITION_COUNT >> bits;
    for (uint32_t i = 0; i < per_shard; i++) {
        bytes += pil_partition_bytes(ingest->partitions, shard * per_shard + i);
    }
    return bytes;
}

static struct need need_of(const struct pil_ingest *ingest, uint32_t bits) {
    struct need need = {0};
    uint32_t per_shard = PIL_INGEST_CELLS >> bits;
    for (uint32_t shard = 0; shard < 1u << bits; shard++) {
        uint64_t rows = 0, bytes = 0;
        for (uint32_t i = 0; i < per_shard; i++) {
            rows += ingest->cells[shard * per_shard + i].rows;
            bytes += ingest->cells[shard * per_shard + i].bytes;
        }
        /* The file has some empty slots, hence bytes / 32. */
        uint64_t memory = loaded_bytes(ingest, shard, bits) + bytes + bytes / 32 + SHARD_OVERHEAD_BYTES +
                          rows * (sizeof(struct pil_writer_row) + WRITER_ROW_BYTES);
        need.rows = rows > need.rows ? rows : need.rows;
        need.bytes = bytes > need.bytes ? bytes : need.bytes;
        need.memory = memory > need.memory ? memory : need.memory;
    }
    return need;
}

/* The fewest shards that keep every shard small: this depends on the rows only, not on memory or their order. */
static struct need choose_bits(const struct pil_ingest *ingest, uint32_t *ret_bits) {
    for (uint32_t bits = 0;; bits++) {
        struct need need = need_of(ingest, bits);
        if (bits == PIL_SHARD_BITS_MAX ||
            (need.rows <= PIL_INGEST_SHARD_ROWS && need.bytes <= PIL_INGEST_SHARD_BYTES)) {
            *ret_bits = bits;
            return need;
        }
    }
}

/* ---- One shard */

static void load_release(struct pil_ingest *ingest, struct load *load) {
    pil_budget_unmap(&ingest->budget, load->rows, load->rows_bytes);
    pil_budget_unmap(&ingest->budget, load->buffer, load->buffer_bytes);
    *load = (struct load){0};
}

static void add_record(const struct job *job, uint32_t shard, struct load *load, const struct pil_record *record) {
    if (record->duplicates == PIL_RECORD_DEAD || pil_shard_of(record->hash, job->shard_bits) != shard) {
        return;
    }
    PIL_ASSERT((load->row_count + 1) * sizeof *load->rows <= load->rows_bytes);
    load->rows[load->row_count++] = (struct pil_writer_row){
        .row = pil_record_row(record),
        .heap = pil_value_heap(job->ingest->view, record).data,
    };
}

static pil_status load_partition(const struct job *job, uint32_t shard, uint32_t partition, struct load *load,
                                 size_t *at, struct pil_error *error) {
    struct pil_partitions *partitions = job->ingest->partitions;
    if (pil_partitions_in_memory(partitions)) {
        struct pil_partition_cursor cursor = {0};
        for (struct pil_record *record; (record = pil_partition_next(partitions, partition, &cursor)) != NULL;) {
            add_record(job, shard, load, record);
        }
        return PIL_STATUS_OK;
    }
    size_t end = *at + pil_partition_bytes(partitions, partition);
    PIL_TRY(pil_partition_read(partitions, partition, 0, load->buffer + *at, end - *at, error));
    while (*at < end) {
        const struct pil_record *record = (const struct pil_record *)(const void *)(load->buffer + *at);
        add_record(job, shard, load, record);
        *at += record->bytes;
    }
    return PIL_STATUS_OK;
}

/* Loads the rows of a shard; the load must be released in any case. */
static pil_status load_shard(const struct job *job, uint32_t shard, struct load *load, struct pil_error *error) {
    struct pil_ingest *ingest = job->ingest;
    uint32_t bits = job->shard_bits, cells = PIL_INGEST_CELLS >> bits;
    uint64_t rows = 0;
    for (uint32_t i = 0; i < cells; i++) {
        rows += ingest->cells[shard * cells + i].rows;
    }
    if (rows == 0) {
        return PIL_STATUS_OK;
    }
    load->rows_bytes = rows * sizeof *load->rows;
    load->rows = pil_budget_map(&ingest->budget, load->rows_bytes);
    load->buffer_bytes = loaded_bytes(ingest, shard, bits);
    load->buffer = load->buffer_bytes > 0 ? pil_budget_map(&ingest->budget, load->buffer_bytes) : NULL;
    if (load->rows == NULL || (load->buffer == NULL && load->buffer_bytes > 0)) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for the %llu rows of shard %u",
                        (unsigned long long)rows, shard);
    }
    size_t at = 0;
    if (bits >= PIL_PARTITION_BITS) {
        PIL_TRY(load_partition(job, shard, shard >> (bits - PIL_PARTITION_BITS), load, &at, error));
    } else {
        uint32_t per_shard = PIL_PARTITION_COUNT >> bits;
        for (uint32_t i = 0; i < per_shard; i++) {
            PIL_TRY(load_partition(job, shard, shard * per_shard + i, load, &at, error));
        }
    }
    PIL_ASSERT(load->row_count == rows);
    return PIL_STATUS_OK;
}

/* Names the shard in the lease, then uploads it. */
static pil_status upload(struct worker *worker, const struct pil_writer_result *file, bool *ret_new,
                         struct pil_error *error) {
    struct job *job = worker->job;
    char name[PIL_STORE_NAME_BYTES];
    pil_layout_shard(&file->id, name);
    pthread_mutex_lock(&job->lock);
    pil_status status = pil_lease_add(job->lease, name, error);
    pthread_mutex_unlock(&job->lock);
    PIL_TRY(status);
    return pil_shard_io_put(worker->store, &file->id, pil_bytes_from(file->data, file->bytes), ret_new, error);
}

static pil_status finish_shard(struct worker *worker, uint32_t shard, const struct pil_writer_result *file,
                               struct pil_error *error) {
    struct job *job = worker->job;
    uint32_t cells = PIL_INGEST_CELLS >> job->shard_bits;
    bool is_new = false;
    if (worker->store != NULL) {
        PIL_TRY(upload(worker, file, &is_new, error));
    }
    pthread_mutex_lock(&job->lock);
    job->shards[shard] =
        (struct pil_manifest_shard){.id = file->id, .bytes = file->bytes, .row_count = file->row_count};
    job->result.shards_uploaded += is_new;
    job->result.bytes_uploaded += is_new ? file->bytes : 0;
    job->result.bytes += file->bytes;
    for (uint32_t i = 0; i < cells; i++) {
        job->bytes_done += job->ingest->cells[shard * cells + i].bytes;
    }
    uint64_t done = job->bytes_done;
    pthread_mutex_unlock(&job->lock);
    return worker->is_caller
               ? pil_ingest_report(job->ingest, PIL_INGEST_PHASE_WRITE, done, job->bytes_total, false, error)
               : PIL_STATUS_OK;
}

static pil_status write_shard(struct worker *worker, uint32_t shard, struct pil_error *error) {
    struct job *job = worker->job;
    struct pil_ingest *ingest = job->ingest;
    struct load load = {0};
    struct pil_writer_result file = {0};
    pil_status status = load_shard(job, shard, &load, error);
    if (status != PIL_STATUS_OK) {
        goto out;
    }
    for (size_t i = 0; i < load.row_count; i++) {
        const struct pil_record *record = (const struct pil_record *)(const void *)load.rows[i].row - 1;
        const struct pil_bytes heap = pil_value_heap(ingest->view, record);
        pil_tally_row(worker->tally, load.rows[i].row, &heap);
    }
    const struct pil_writer_options options = {.shard_index = shard, .shard_bits = job->shard_bits};
    status = pil_writer_finish(ingest->view, &options, load.rows, load.row_count, &file, error);
    if (status == PIL_STATUS_OK) {
        load_release(ingest, &load); /* the upload may take long */
        status = finish_shard(worker, shard, &file, error);
        pil_writer_result_deinit(&file);
    }
out:
    load_release(ingest, &load);
    return status;
}

/* ---- All shards */

static void *work(void *context) {
    struct worker *worker = context;
    struct job *job = worker->job;
    struct pil_error error = {0};
    for (;;) {
        pthread_mutex_lock(&job->lock);
        uint32_t shard = job->next;
        bool more = shard < 1u << job->shard_bits && job->status == PIL_STATUS_OK;
        job->next += more;
        pthread_mutex_unlock(&job->lock);
        if (!more) {
            return NULL;
        }
        pil_status status = write_shard(worker, shard, &error);
        if (status != PIL_STATUS_OK) {
            pthread_mutex_lock(&job->lock);
            if (job->status == PIL_STATUS_OK) {
                job->status = status;
                job->error = error;
            }
            pthread_mutex_unlock(&job->lock);
        }
    }
}

static uint32_t choose_workers(const struct job *job, uint64_t need_memory) {
    struct pil_ingest *ingest = job->ingest;
    uint64_t fit = (ingest->budget.cap - atomic_load(&ingest->budget.used)) / need_memory;
    uint64_t count = ingest->options.threads > 0 ? ingest->options.threads : 1;
    count = count > fit ? fit : count;
    return (uint32_t)(count > 1ull << job->shard_bits ? 1ull << job->shard_bits : count);
}

static void worker_deinit(struct worker *worker) {
    pil_tally_destroy(&worker->tally);
    if (!worker->is_caller) {
        pil_store_close(&worker->store);
    }
}

/* Starts a worker; the first is the caller itself. If there is no memory, thread or handle for another worker, the
 * existing ones do the work. */
static bool start_worker(struct job *job, struct worker *worker, bool is_caller) {
    *worker = (struct worker){.job = job, .tally = pil_tally_create(job->ingest->profile), .is_caller = is_caller};
    bool is_ready = worker->tally != NULL;
    if (is_caller) {
        worker->store = job->store;
    } else if (is_ready && job->store != NULL) {
        is_ready = pil_store_open_again(job->store, &worker->store, NULL) == PIL_STATUS_OK;
    }
    if (!is_ready || (!is_caller && pthread_create(&worker->thread, NULL, work, worker) != 0)) {
        worker_deinit(worker);
        return false;
    }
    return true;
}

static pil_status write_shards(struct job *job, const struct need *need) {
    struct pil_ingest *ingest = job->ingest;
    uint32_t count = choose_workers(job, need->memory), started = 0;
    if (count == 0) {
        return pil_fail(&job->error, PIL_STATUS_NO_MEMORY,
                        "writing the largest shard needs a memory limit of %zu MiB; it is %zu MiB: raise it",
                        pil_budget_needed_mib(&ingest->budget, atomic_load(&ingest->budget.used) + need->memory),
                        pil_budget_limit_mib(&ingest->budget));
    }
    struct worker *workers = calloc(count, sizeof *workers);
    if (workers == NULL) {
        return pil_fail(&job->error, PIL_STATUS_NO_MEMORY, "no memory");
    }
    /* Takes the files and the memory that the writer maps itself from the budget. */
    size_t writing =
        (size_t)count * (need->bytes + need->bytes / 32 + SHARD_OVERHEAD_BYTES + need->rows * WRITER_ROW_BYTES);
    bool taken = pil_budget_take(&ingest->budget, writing);
    while (started < count && start_worker(job, &workers[started], started == 0)) {
        started++;
    }
    if (started > 0) {
        work(&workers[0]);
    } else {
        job->status = pil_fail(&job->error, PIL_STATUS_NO_MEMORY, "no memory");
    }
    for (uint32_t i = 0; i < started; i++) {
        if (i > 0) {
            pthread_join(workers[i].thread, NULL);
        }
        pil_tally_merge(job->tally, workers[i].tally);
        worker_deinit(&workers[i]);
    }
    if (taken) {
        pil_budget_give(&ingest->budget, writing);
    }
    free(workers);
    return job->status;
}

/* ---- The manifest */

/* Sets manifest->previous to the newest release of the view. If this release is in the store already, its own manifest
 * names the previous one. A missing or damaged manifest is skipped: `pillion verify` reports it. */
static pil_status find_previous(struct pil_store *store, struct pil_manifest *manifest, struct pil_error *error) {
    struct pil_catalog catalog;
    PIL_TRY(pil_catalog_read(store, manifest->ref.project, manifest->ref.view, &catalog, error));
    pil_status status = PIL_STATUS_OK;
    int64_t newest_us = INT64_MIN;
    for (size_t i = 0; i < catalog.release_count && status == PIL_STATUS_OK; i++) {
        struct pil_manifest *other = NULL;
        status = pil_manifest_read(store, &catalog.releases[i].ref, &other, error);
        if (status != PIL_STATUS_OK) {
            bool readable =
                status == PIL_STATUS_NOT_FOUND || status == PIL_STATUS_CORRUPT || status == PIL_STATUS_UNSUPPORTED;
            status = readable ? PIL_STATUS_OK : status;
            continue;
        }
        bool same = strcmp(other->ref.release, manifest->ref.release) == 0;
        if (same || other->created_us > newest_us) {
            newest_us = same ? INT64_MAX : other->created_us;
            memcpy(manifest->previous, same ? other->previous : other->ref.release, sizeof manifest->previous);
        }
        pil_manifest_destroy(&other);
    }
    pil_catalog_deinit(&catalog);
    return status;
}

/* Names the manifest in the lease, because it may be in the store already. */
static pil_status publish_leased(struct job *job, const struct pil_manifest *manifest) {
    char name[PIL_STORE_NAME_BYTES];
    pil_layout_manifest(&manifest->ref, name);
    PIL_TRY(pil_lease_add(job->lease, name, &job->error));
    PIL_TRY(pil_lease_renew(job->lease, &job->error)); /* before the shards are checked for the last time */
    return pil_manifest_publish(job->store, manifest, &job->error);
}

static pil_status put_manifest(struct job *job, const json_t *extra) {
    struct pil_ingest *ingest = job->ingest;
    struct pil_manifest manifest = {
        .view = ingest->view,
        .shards = job->shards,
        .shard_count = 1u << job->shard_bits,
        .row_count = ingest->counts.rows_out,
        .bytes = job->result.bytes,
        .created_us = pil_clock_wall_us(),
    };
    memcpy(manifest.ref.project, ingest->view->project, strlen(ingest->view->project) + 1);
    memcpy(manifest.ref.view, ingest->view->name, strlen(ingest->view->name) + 1);
    PIL_TRY(
        pil_manifest_identify(manifest.view, manifest.shards, manifest.shard_count, manifest.ref.release, &job->error));
    pil_status status = PIL_STATUS_OK;
    if (job->store != NULL) {
        PIL_TRY(find_previous(job->store, &manifest, &job->error));
        json_t *members = extra != NULL ? pil_json_copy(extra) : json_object();
        pil_json_set(&members, "profile", pil_profile_to_json(ingest->profile, job->tally));
        manifest.document = members != NULL ? pil_manifest_to_json(&manifest, members) : NULL;
        json_decref(members);
        if (manifest.document == NULL) {
            return pil_fail(&job->error, PIL_STATUS_NO_MEMORY, "no memory for a manifest");
        }
        status = publish_leased(job, &manifest);
        json_decref(manifest.document);
        job->result.existed = status == PIL_STATUS_EXISTS;
    }
    memcpy(job->result.release, manifest.ref.release, sizeof job->result.release);
    memcpy(job->result.previous, manifest.previous, sizeof job->result.previous);
    return status == PIL_STATUS_EXISTS ? PIL_STATUS_OK : status;
}

static pil_status run(struct job *job, const json_t *extra) {
    struct pil_ingest *ingest = job->ingest;
    struct need need = choose_bits(ingest, &job->shard_bits);
    if (need.rows > PIL_SHARD_ROWS_MAX) {
        return pil_fail(&job->error, PIL_STATUS_TOO_LARGE,
                        "a shard of %llu rows, and no more than %d shards are possible", (unsigned long long)need.rows,
                        1 << PIL_SHARD_BITS_MAX);
    }
    for (uint32_t i = 0; i < PIL_INGEST_CELLS; i++) {
        job->bytes_total += ingest->cells[i].bytes;
    }
    job->shards = calloc((size_t)1 << job->shard_bits, sizeof *job->shards);
    job->tally = pil_tally_create(ingest->profile);
    if (job->shards == NULL || job->tally == NULL) {
        return pil_fail(&job->error, PIL_STATUS_NO_MEMORY, "no memory");
    }
    PIL_TRY(write_shards(job, &need));
    PIL_TRY(pil_ingest_report(ingest, PIL_INGEST_PHASE_WRITE, job->bytes_total, job->bytes_total, true, &job->error));
    return put_manifest(job, extra);
}

static pil_status open_lease(struct job *job) {
    const struct pil_view *view = job->ingest->view;
    char holder[2 * PIL_NAME_BYTES_MAX + 32];
    snprintf(holder, sizeof holder, "build %s/%s", view->project, view->name);
    PIL_TRY(pil_store_open_again(job->store, &job->lease_store, &job->error));
    job->lease = pil_lease_create(job->lease_store, &pil_clock_system, PIL_LAYOUT_LEASE_WRITE, holder);
    return job->lease != NULL ? PIL_STATUS_OK : pil_fail(&job->error, PIL_STATUS_NO_MEMORY, "no memory for a lease");
}

pil_status pil_ingest_publish(struct pil_ingest *ingest, struct pil_store *store, const json_t *extra,
                              struct pil_ingest_result *ret_result, struct pil_error *ret_error) {
    PIL_ASSERT(ingest->state == PIL_INGEST_MERGED);
    ingest->state = PIL_INGEST_DONE;
    uint64_t started = pil_clock_monotonic_ns();
    struct job job = {.ingest = ingest, .store = store, .lock = PTHREAD_MUTEX_INITIALIZER};
    pil_status status = store != NULL ? open_lease(&job) : PIL_STATUS_OK;
    status = status == PIL_STATUS_OK ? run(&job, extra) : status;
    pil_lease_end(&job.lease);
    pil_store_close(&job.lease_store);
    ingest->phase_ns[PIL_INGEST_PHASE_WRITE] = pil_clock_monotonic_ns() - started;
    if (status == PIL_STATUS_OK) {
        job.result.shard_count = 1u << job.shard_bits;
        job.result.bytes_spilled = pil_partitions_bytes_spilled(ingest->partitions);
        job.result.memory_bytes_peak = atomic_load(&ingest->budget.peak);
        memcpy(job.result.phase_ns, ingest->phase_ns, sizeof job.result.phase_ns);
        *ret_result = job.result;
    } else if (ret_error != NULL) {
        *ret_error = job.error;
    }
    free(job.shards);
    pil_tally_destroy(&job.tally);
    return status;
}
