/* SPDX-License-Identifier: Apache-2.0
 * The commands releases and gc. */
#include "base/clock.h"
#include "cli/command.h"
#include "cli/reference.h"
#include "cli/table.h"
#include "release/catalog.h"
#include "release/gc.h"
#include "release/manifest.h"
#include "schema/json_text.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- releases */

static int newest_first(const void *a, const void *b) {
    const struct pil_manifest *x = *(struct pil_manifest *const *)a, *y = *(struct pil_manifest *const *)b;
    int order = strcmp(x->ref.project, y->ref.project);
    order = order != 0 ? order : strcmp(x->ref.view, y->ref.view);
    return order != 0 ? order : (x->created_us < y->created_us) - (x->created_us > y->created_us);
}

/* How a channel refers to a release; NULL: it does not. */
static const char *relation(const struct pil_catalog_channel *channel, const struct pil_release_ref *ref) {
    if (channel->status != PIL_STATUS_OK || !pil_catalog_same_view(&channel->ref, ref)) {
        return NULL;
    }
    const struct pil_channel *pointer = &channel->channel;
    if (strcmp(pil_channel_effective(pointer), ref->release) == 0) {
        return pointer->pinned[0] != '\0' ? "pinned" : "serves";
    }
    return strcmp(pointer->release, ref->release) == 0 ? "held back" : NULL;
}

static json_t *release_to_json(const struct pil_manifest *manifest, const struct pil_catalog *catalog) {
    json_t *channels = json_object();
    for (size_t i = 0; i < catalog->channel_count; i++) {
        const char *how = relation(&catalog->channels[i], &manifest->ref);
        if (how != NULL) {
            pil_json_set(&channels, catalog->channels[i].channel.name, json_string(how));
        }
    }
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "project", manifest->ref.project, "view",
                     manifest->ref.view, "release", manifest->ref.release, "created_us",
                     (json_int_t)manifest->created_us, "rows", (json_int_t)manifest->row_count, "bytes",
                     (json_int_t)manifest->bytes, "shards", (json_int_t)manifest->shard_count, "previous",
                     manifest->previous[0] != '\0' ? json_string(manifest->previous) : json_null(), "channels",
                     channels);
}

static void add_row(struct pil_table *table, const struct pil_manifest *manifest, const struct pil_catalog *catalog) {
    char number[PIL_REPORT_NUMBER_BYTES], created[PIL_CLOCK_TEXT_BYTES];
    struct pil_text channels = {0};
    for (size_t i = 0; i < catalog->channel_count; i++) {
        const char *how = relation(&catalog->channels[i], &manifest->ref);
        if (how != NULL) {
            pil_text_format(&channels, "%s%s", channels.len > 0 ? ", " : "", catalog->channels[i].channel.name);
            if (strcmp(how, "serves") != 0) {
                pil_text_format(&channels, " (%s)", how);
            }
        }
    }
    pil_clock_format_us(manifest->created_us / 1000000 * 1000000, created);
    pil_table_format(table, "%s/%s@%s", manifest->ref.project, manifest->ref.view, manifest->ref.release);
    pil_table_add(table, PIL_STYLE_PLAIN, created);
    pil_table_add(table, PIL_STYLE_PLAIN, pil_report_count(manifest->row_count, number));
    pil_table_add(table, PIL_STYLE_PLAIN, pil_report_bytes(manifest->bytes, number));
    pil_table_format(table, "%u", manifest->shard_count);
    pil_table_add(table, PIL_STYLE_GOOD, pil_report_text(&channels));
    pil_text_deinit(&channels);
}

static void print_releases(bool json, struct pil_manifest *const *manifests, size_t count,
                           const struct pil_catalog *catalog) {
    static const char *const head[] = {"RELEASE", "CREATED", "ROWS", "SIZE", "SHARDS", "CHANNELS"};
    struct pil_table table;
    json_t *list = json_array();
    pil_table_init(&table, 6, 1 << 2 | 1 << 3 | 1 << 4);
    for (size_t i = 0; i < 6; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, head[i]);
    }
    for (size_t i = 0; i < count; i++) {
        add_row(&table, manifests[i], catalog);
        pil_json_append(&list, release_to_json(manifests[i], catalog));
    }
    if (json) {
        pil_report_json(json_incref(list));
    } else if (count == 0) {
        printf("no releases\n");
    } else {
        pil_table_print(&table, 0);
    }
    json_decref(list);
    pil_table_deinit(&table);
}

/* A name of which there are no releases may be mistyped, or new. */
static void note_meant(struct pil_store *store, const struct pil_release_ref *filter) {
    struct pil_text room = {0};
    const char *hint = filter->project[0] != '\0' ? pil_reference_hint(store, filter, NULL, &room) : "";
    if (hint[0] != '\0') {
        pil_report_note("%s%s%s has no releases%s", filter->project, filter->view[0] != '\0' ? "/" : "", filter->view,
                        hint);
    }
    pil_text_deinit(&room);
}

/* Reports manifests and channels that cannot be read, and lists the others. */
static int list_releases(const struct pil_invocation *invocation, struct pil_store *store,
                         const struct pil_release_ref *filter) {
    struct pil_catalog catalog;
    struct pil_error error = {0};
    int exit_code = PIL_EXIT_OK;
    pil_status status = pil_catalog_read(store, filter->project, filter->view, &catalog, &error);
    if (status != PIL_STATUS_OK) {
        return pil_report_failure(status, &error);
    }
    struct pil_manifest **manifests = pil_report_need(calloc(catalog.release_count + 1, sizeof(struct pil_manifest *)));
    size_t count = 0;
    for (size_t i = 0; i < catalog.release_count; i++) {
        status = pil_manifest_read(store, &catalog.releases[i].ref, &manifests[count], &error);
        if (status == PIL_STATUS_OK) {
            count++;
        } else {
            exit_code = pil_report_failure(status, &error);
        }
    }
    for (size_t i = 0; i < catalog.channel_count; i++) {
        if (catalog.channels[i].status != PIL_STATUS_OK) {
            exit_code = pil_report_failure(catalog.channels[i].status, &catalog.channels[i].error);
        }
    }
    qsort(manifests, count, sizeof(struct pil_manifest *), newest_first);
    if (catalog.release_count == 0) {
        note_meant(store, filter);
    }
    print_releases(pil_invocation_has(invocation, PIL_OPTION_JSON), manifests, count, &catalog);
    for (size_t i = 0; i < count; i++) {
        pil_manifest_destroy(&manifests[i]);
    }
    free(manifests);
    pil_catalog_deinit(&catalog);
    return exit_code;
}

int pil_cli_releases(const struct pil_invocation *invocation) {
    struct pil_release_ref filter = {0};
    struct pil_store *store = NULL;
    const char *text = invocation->arg_count > 0 ? invocation->args[0] : "";
    int exit_code = pil_reference_store(invocation, &store);
    if (exit_code == PIL_EXIT_OK && strchr(text, '/') != NULL) {
        exit_code = pil_reference_resolve(store, text, PIL_REFERENCE_VIEW, NULL, &filter);
    } else if (exit_code == PIL_EXIT_OK && text[0] != '\0') {
        if (pil_release_name_ok(text)) {
            memcpy(filter.project, text, strlen(text) + 1);
        } else {
            exit_code = pil_report_usage("'%s' is not the name of a project; write PROJECT or PROJECT/VIEW", text);
        }
    }
    if (exit_code == PIL_EXIT_OK) {
        exit_code = list_releases(invocation, store, &filter);
    }
    pil_store_close(&store);
    return exit_code;
}

/* ---- gc */

static void print_collected(const struct pil_invocation *invocation, const struct pil_gc_result *result) {
    char bytes[PIL_REPORT_NUMBER_BYTES], count[PIL_REPORT_THINGS_BYTES];
    bool dry_run = pil_invocation_has(invocation, PIL_OPTION_DRY_RUN);
    if (pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_json(json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "dry_run", dry_run, "releases_kept",
                                  (json_int_t)result->releases_kept, "releases_removed",
                                  (json_int_t)result->releases_removed, "shards_kept", (json_int_t)result->shards_kept,
                                  "shards_removed", (json_int_t)result->shards_removed, "bytes_kept",
                                  (json_int_t)result->bytes_kept, "bytes_removed", (json_int_t)result->bytes_removed));
        return;
    }
    printf("%s %s", dry_run ? "would remove" : "removed",
           pil_report_things(result->releases_removed, "release", count));
    printf(" and %s of %s;", pil_report_things(result->shards_removed, "shard", count),
           pil_report_bytes(result->bytes_removed, bytes));
    printf(" %s", pil_report_things(result->releases_kept, "release", count));
    printf(" and %s of %s stay\n", pil_report_things(result->shards_kept, "shard", count),
           pil_report_bytes(result->bytes_kept, bytes));
}

int pil_cli_gc(const struct pil_invocation *invocation) {
    uint64_t keep, grace_s = PIL_GC_GRACE_SECONDS;
    const char *grace = invocation->values[PIL_OPTION_GRACE];
    struct pil_store *store;
    struct pil_gc_result result;
    struct pil_error error = {0};
    if (!pil_reference_number(invocation->values[PIL_OPTION_KEEP], UINT32_MAX, &keep)) {
        return pil_report_usage("--keep %s: how many releases stay, a number", invocation->values[PIL_OPTION_KEEP]);
    }
    if (grace != NULL && !pil_reference_number(grace, UINT32_MAX, &grace_s)) {
        return pil_report_usage("--grace %s: a number of seconds", grace);
    }
    int exit_code = pil_reference_store(invocation, &store);
    if (exit_code != PIL_EXIT_OK) {
        return exit_code;
    }
    const struct pil_gc_options options = {.keep = (uint32_t)keep,
                                           .grace_us = (int64_t)grace_s * 1000000,
                                           .dry_run = pil_invocation_has(invocation, PIL_OPTION_DRY_RUN),
                                           .clock = &pil_clock_system};
    pil_status status = pil_gc_run(store, &options, &result, &error);
    if (status == PIL_STATUS_OK) {
        print_collected(invocation, &result);
    } else {
        exit_code = pil_report_failure(status, &error);
    }
    pil_store_close(&store);
    return exit_code;
}
