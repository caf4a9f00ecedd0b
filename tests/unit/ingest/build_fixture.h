/* SPDX-License-Identifier: Apache-2.0
 * Builds of small rows into a store in a temporary folder, for the tests of this module. */
#pragma once

#include "unit/ingest/arrow_fixture.h"

#include <dirent.h>
#include <unistd.h>

#define BUILD __attribute__((unused)) static

enum { MIB = 1 << 20, NO_CREATED = -1 };
static const int64_t FUTURE_US = INT64_C(4102444800000000);

/* ---- A row as a test thinks of it: key, times, one number, one text (NULL: null). */

struct row {
    int64_t key, event_us, created_us;
    int32_t number;
    const char *text;
};

BUILD struct arrow_batch batch_of(const struct row *rows, int64_t count, bool with_created) {
    struct arrow_batch batch = {.length = count};
    struct arrow_column *key = arrow_column("k0", "l", NULL),
                        *event = arrow_column("@event_timestamp", "tsu:UTC", NULL);
    struct arrow_column *created = arrow_column("@created_timestamp", "tsu:", NULL),
                        *number = arrow_column("f0", "i", NULL);
    struct arrow_column *text = arrow_column("f1", "u", NULL);
    for (int64_t i = 0; i < count; i++) {
        arrow_add(key, rows[i].key >= 0 ? &rows[i].key : NULL, 8);
        arrow_add(event, rows[i].event_us >= 0 ? &rows[i].event_us : NULL, 8);
        arrow_add(created, rows[i].created_us != NO_CREATED ? &rows[i].created_us : NULL, 8);
        arrow_add(number, &rows[i].number, 4);
        arrow_add_text(text, rows[i].text);
    }
    /* Not in the view's order: columns go by name. */
    struct arrow_column *all[] = {text, key, number, event, created};
    for (size_t i = 0; i < 5; i++) {
        if (all[i] == created && !with_created) {
            arrow_column_destroy(created);
            continue;
        }
        arrow_finish(all[i], 0);
        arrow_batch_add(&batch, all[i]);
    }
    return batch;
}

/* ---- One build and its store */

struct flaws {
    bool skip;
    uint64_t count, last_row;
    char last[256];
};

struct conflicts {
    bool stop;
    uint32_t count, lost;
    int64_t event_us;
    char key[128];
};

struct build {
    struct pil_view *view;
    struct pil_ingest_options options;
    struct pil_ingest *ingest;
    struct pil_store *store;
    struct pil_ingest_counts counts;
    struct pil_ingest_result result;
    struct pil_error error;
    struct flaws flaws;
    struct conflicts conflicts;
    char folder[32];
};

BUILD bool on_flaw(void *context, uint64_t row, const char *column, pil_ingest_flaw flaw, const char *text) {
    struct build *build = context;
    build->flaws.count++;
    build->flaws.last_row = row;
    snprintf(build->flaws.last, sizeof build->flaws.last, "%s %s %s", pil_ingest_flaw_text(flaw), column, text);
    return build->flaws.skip;
}

BUILD bool on_conflict(void *context, struct pil_bytes key, int64_t event_us, uint32_t lost) {
    struct conflicts *conflicts = &((struct build *)context)->conflicts;
    conflicts->count++;
    conflicts->lost = lost;
    conflicts->event_us = event_us;
    snprintf(conflicts->key, sizeof conflicts->key, "%.*s", (int)key.len, (const char *)key.data);
    return !conflicts->stop;
}

BUILD void build_init(struct build *build) {
    *build = (struct build){.folder = "/tmp/pil-ingest-XXXXXX"};
    assert_non_null(mkdtemp(build->folder));
    build->view = sample_view(SAMPLE_LIST("int64"), SAMPLE_LIST("int32", "string"));
    build->options = (struct pil_ingest_options){
        .view = build->view,
        .temporary = build->folder,
        .memory_bytes = 256 * MIB,
        .threads = 2,
        .event_ts_us_max = FUTURE_US,
        .as_of_us = INT64_MAX,
        .on_flaw = on_flaw,
        .on_conflict = on_conflict,
        .context = build,
    };
}

BUILD void remove_tree(const char *path) {
    DIR *folder = opendir(path);
    if (folder == NULL) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            char child[1024];
            snprintf(child, sizeof child, "%.500s/%.500s", path, entry->d_name);
            remove_tree(child);
        }
    }
    closedir(folder);
    assert_int_equal(rmdir(path), 0);
}

BUILD void build_deinit(struct build *build) {
    pil_ingest_destroy(&build->ingest);
    if (build->store != NULL) {
        pil_store_close(&build->store);
    }
    pil_view_destroy(&build->view);
    remove_tree(build->folder);
}

BUILD void build_open(struct build *build) {
    if (pil_ingest_create(&build->options, &build->ingest, &build->error) != PIL_STATUS_OK) {
        fail_msg("%s", build->error.text);
    }
}

BUILD void build_open_store(struct build *build) {
    char url[64];
    snprintf(url, sizeof url, "dir:%s/store", build->folder);
    if (build->store == NULL && pil_store_open(url, true, &build->store, &build->error) != PIL_STATUS_OK) {
        fail_msg("%s", build->error.text);
    }
}

/* Feeds the batch `times` times; ends the batch's life. */
BUILD pil_status build_feed(struct build *build, struct arrow_batch batch, uint32_t times) {
    struct arrow_stream source = {.batch = &batch, .times = times};
    struct ArrowArrayStream stream = arrow_stream(&source);
    pil_status status = pil_ingest_stream(build->ingest, &stream, &build->error);
    assert_true(source.released);
    arrow_batch_deinit(&batch);
    return status;
}

BUILD pil_status build_finish(struct build *build) {
    pil_status status = pil_ingest_merge(build->ingest, &build->counts, &build->error);
    if (status == PIL_STATUS_OK) {
        status = pil_ingest_publish(build->ingest, build->store, NULL, &build->result, &build->error);
    }
    pil_ingest_destroy(&build->ingest);
    return status;
}

BUILD void build_rows(struct build *build, const struct row *rows, int64_t count, bool with_created) {
    build_open(build);
    if (build_feed(build, batch_of(rows, count, with_created), 1) != PIL_STATUS_OK ||
        build_finish(build) != PIL_STATUS_OK) {
        fail_msg("%s", build->error.text);
    }
    const struct pil_ingest_counts *counts = &build->counts;
    assert_int_equal(counts->rows_in, counts->rows_out + counts->duplicates + counts->conflicts + counts->late +
                                          counts->after_as_of + counts->null_keys + counts->bad_rows);
}
