/* SPDX-License-Identifier: Apache-2.0
 * Small real releases for the tests of this module: view rides/drivers, key int64, one float32, one shard of 16 rows.
 */
#pragma once

#include "base/clock.h"
#include "release/channel.h"
#include "release/manifest.h"
#include "release/project.h"
#include "release/shard_io.h"
#include "schema/project_read.h"
#include "snapshot/writer.h"
#include "unit/store/folder.h"

enum { FIXTURE_ROWS = 16 };

static const char fixture_yaml[] = "project: rides\n"
                                   "entities:\n"
                                   "  - {name: driver, join_key: driver_id, type: int64}\n"
                                   "feature_views:\n"
                                   "  - name: drivers\n"
                                   "    entities: [driver]\n"
                                   "    ttl: 1d\n"
                                   "    source: {type: parquet, path: x.parquet, timestamp_field: ts}\n"
                                   "    features:\n"
                                   "      - {name: rate, type: float32}\n";

FOLDER struct pil_project *fixture_project(const char *yaml) {
    struct pil_project *project = NULL;
    struct pil_text problems = {0};
    if (pil_project_parse_yaml(pil_bytes_from_text(yaml), "fixture", &project, &problems) != PIL_STATUS_OK) {
        fail_msg("%s", problems.data);
    }
    return project;
}

/* Writes the shard of a seed and puts it. */
FOLDER struct pil_manifest_shard fixture_put_shard(struct pil_store *store, const struct pil_view *view,
                                                   uint32_t seed) {
    uint8_t rows[FIXTURE_ROWS][64] = {{0}};
    struct pil_writer_row writer_rows[FIXTURE_ROWS];
    struct pil_writer_result file;
    const struct pil_writer_options options = {0};
    bool is_new;
    assert_true(view->layout.stride <= sizeof rows[0]);
    for (uint32_t i = 0; i < FIXTURE_ROWS; i++) {
        pil_store_i64(rows[i], i);
        pil_store_i64(rows[i] + view->layout.event_ts_offset, 1000000 + i);
        pil_store_f32(rows[i] + view->features[0].offset, (float)(i * 100 + seed));
        writer_rows[i] = (struct pil_writer_row){.row = rows[i]};
    }
    assert_int_equal(pil_writer_finish(view, &options, writer_rows, FIXTURE_ROWS, &file, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_shard_io_put(store, &file.id, pil_bytes_from(file.data, file.bytes), &is_new, NULL),
                     PIL_STATUS_OK);
    struct pil_manifest_shard shard = {.id = file.id, .bytes = file.bytes, .row_count = file.row_count};
    pil_writer_result_deinit(&file);
    return shard;
}

/* A manifest that was not published; shards and view are its own. created_us rises from call to call. */
FOLDER struct pil_manifest *fixture_manifest(struct pil_store *store, uint32_t seed) {
    static int64_t created_us = 1700000000000000;
    struct pil_project *project = fixture_project(fixture_yaml);
    struct pil_manifest *manifest = calloc(1, sizeof *manifest);
    manifest->view = pil_view_clone(project->views[0].view);
    manifest->shards = calloc(1, sizeof *manifest->shards);
    manifest->shards[0] = fixture_put_shard(store, manifest->view, seed);
    manifest->shard_count = 1;
    manifest->row_count = manifest->shards[0].row_count;
    manifest->bytes = manifest->shards[0].bytes;
    manifest->created_us = created_us += 1000000;
    memcpy(manifest->ref.project, "rides", sizeof "rides");
    memcpy(manifest->ref.view, "drivers", sizeof "drivers");
    if (pil_manifest_identify(manifest->view, manifest->shards, 1, manifest->ref.release, NULL) != PIL_STATUS_OK) {
        abort();
    }
    pil_project_destroy(&project);
    return manifest;
}

/* A published release. */
FOLDER struct pil_release_ref fixture_release(struct pil_store *store, uint32_t seed) {
    struct pil_manifest *manifest = fixture_manifest(store, seed);
    struct pil_error error = {0};
    pil_status status = pil_manifest_publish(store, manifest, &error);
    if (status != PIL_STATUS_OK && status != PIL_STATUS_EXISTS) {
        fail_msg("%s", error.text);
    }
    struct pil_release_ref ref = manifest->ref;
    pil_manifest_destroy(&manifest);
    return ref;
}

FOLDER void fixture_shard_name(struct pil_store *store, const struct pil_release_ref *ref,
                               char ret_name[PIL_STORE_NAME_BYTES]) {
    struct pil_manifest *manifest = NULL;
    assert_int_equal(pil_manifest_read(store, ref, &manifest, NULL), PIL_STATUS_OK);
    pil_layout_shard(&manifest->shards[0].id, ret_name);
    pil_manifest_destroy(&manifest);
}

FOLDER bool fixture_has(struct pil_store *store, const char *name) {
    uint64_t bytes;
    return pil_store_stat(store, name, &bytes, NULL, NULL) == PIL_STATUS_OK;
}
