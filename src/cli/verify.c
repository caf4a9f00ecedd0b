/* SPDX-License-Identifier: Apache-2.0
 * The command verify: checks every byte of a shard, of a release, or of a whole store, and lists all problems. */
#include "base/utf8.h"
#include "cli/command.h"
#include "cli/reference.h"
#include "cli/report.h"
#include "cli/shard_file.h"
#include "release/catalog.h"
#include "release/project.h"
#include "schema/json_text.h"
#include "store/scheme.h"

#include <stdio.h>
#include <stdlib.h>

/* A shard as one release names it. */
struct use {
    const struct pil_manifest *manifest;
    uint32_t index;
};

struct inspection {
    struct pil_store *store;
    uint64_t projects, channels, releases, shards, bytes, unreferenced, foreign;
    json_t *problems; /* array of strings */
    struct pil_manifest **manifests;
    size_t manifest_count;
    struct use *uses; /* sorted by shard id */
    size_t use_count;
};

/* Adds a problem unless the status is OK. When memory is short, ends the process: that says nothing about the store. */
static void found(struct inspection *inspection, pil_status status, const struct pil_error *error) {
    if (status == PIL_STATUS_NO_MEMORY) {
        exit(pil_report_failure(status, error));
    }
    if (status != PIL_STATUS_OK) {
        bool is_utf8 = pil_utf8_is_valid(pil_bytes_from_text(error->text));
        pil_json_append(&inspection->problems, json_string(is_utf8 ? error->text : "a name that is not UTF-8"));
        pil_report_need(inspection->problems);
    }
}

static const struct pil_sha256 *use_id(const struct use *use) {
    return &use->manifest->shards[use->index].id;
}

static int compare_uses(const void *a, const void *b) {
    return memcmp(use_id(a), use_id(b), sizeof(struct pil_sha256));
}

static void check_shard(struct inspection *inspection, const struct use *use) {
    struct pil_shard_file file = {0};
    struct pil_error error = {0};
    pil_status status = pil_shard_file_fetch_verified(inspection->store, use->manifest, use->index, &file, &error);
    if (status == PIL_STATUS_OK) {
        inspection->shards++;
        inspection->bytes += file.bytes;
    } else {
        pil_ignore(pil_fail_in(&error, status, "%s/%s@%s, shard %u", use->manifest->ref.project,
                               use->manifest->ref.view, use->manifest->ref.release, use->index),
                   "only the text");
    }
    found(inspection, status, &error);
    pil_shard_file_deinit(&file);
}

/* Whether two releases describe a shared shard in the same way: then one check is enough. */
static bool same_meaning(const struct use *a, const struct use *b) {
    const struct pil_manifest_shard *x = &a->manifest->shards[a->index], *y = &b->manifest->shards[b->index];
    return a->index == b->index && a->manifest->shard_count == b->manifest->shard_count && x->bytes == y->bytes &&
           x->row_count == y->row_count &&
           json_equal(json_object_get(a->manifest->document, "schema"),
                      json_object_get(b->manifest->document, "schema"));
}

/* Checks the shards of the collected manifests, shared ones only once. */
static void check_releases(struct inspection *inspection) {
    size_t total = 0;
    for (size_t i = 0; i < inspection->manifest_count; i++) {
        total += inspection->manifests[i]->shard_count;
    }
    inspection->uses = pil_report_need(calloc(total + 1, sizeof *inspection->uses));
    for (size_t i = 0; i < inspection->manifest_count; i++) {
        for (uint32_t s = 0; s < inspection->manifests[i]->shard_count; s++) {
            inspection->uses[inspection->use_count++] = (struct use){.manifest = inspection->manifests[i], .index = s};
        }
    }
    qsort(inspection->uses, inspection->use_count, sizeof *inspection->uses, compare_uses);
    for (size_t i = 0; i < inspection->use_count; i++) {
        const struct use *before = i > 0 ? &inspection->uses[i - 1] : NULL, *use = &inspection->uses[i];
        if (before == NULL || compare_uses(before, use) != 0 || !same_meaning(before, use)) {
            check_shard(inspection, use);
        }
    }
}

/* ---- A whole store */

static void check_channel(struct inspection *inspection, const struct pil_catalog_channel *channel) {
    const char *releases[] = {channel->channel.release, channel->channel.pinned};
    struct pil_error error = channel->error;
    found(inspection, channel->status, &error);
    for (size_t i = 0; i < 2 && channel->status == PIL_STATUS_OK; i++) {
        struct pil_release_ref ref = channel->ref;
        char name[PIL_STORE_NAME_BYTES];
        uint64_t bytes;
        if (releases[i][0] == '\0') {
            continue;
        }
        memcpy(ref.release, releases[i], PIL_RELEASE_ID_CHARS + 1);
        pil_layout_manifest(&ref, name);
        pil_status status = pil_store_stat(inspection->store, name, &bytes, NULL, &error);
        if (status == PIL_STATUS_NOT_FOUND) {
            status = pil_fail(&error, status,
                              "%s/%s: channel %s points to release %s, which does not exist; promote another",
                              ref.project, ref.view, channel->channel.name, ref.release);
        }
        found(inspection, status, &error);
    }
    inspection->channels += channel->status == PIL_STATUS_OK;
}

static void check_catalog(struct inspection *inspection, const struct pil_catalog *catalog) {
    inspection->manifests = pil_report_need(calloc(catalog->release_count + 1, sizeof(struct pil_manifest *)));
    for (size_t i = 0; i < catalog->release_count; i++) {
        struct pil_error error = {0};
        pil_status status = pil_manifest_read(inspection->store, &catalog->releases[i].ref,
                                              &inspection->manifests[inspection->manifest_count], &error);
        inspection->manifest_count += status == PIL_STATUS_OK;
        found(inspection, status, &error);
    }
    inspection->releases = inspection->manifest_count;
    for (size_t i = 0; i < catalog->channel_count; i++) {
        check_channel(inspection, &catalog->channels[i]);
    }
}

static void check_project(struct inspection *inspection, const char *name) {
    struct pil_project *project = NULL;
    struct pil_error error = {0};
    pil_status status = pil_project_read(inspection->store, name, &project, NULL, &error);
    inspection->projects += status == PIL_STATUS_OK;
    found(inspection, status, &error);
    pil_project_destroy(&project);
}

static void check_unreferenced(struct inspection *inspection, const struct pil_sha256 *id, uint64_t bytes) {
    const struct pil_manifest_shard shard = {.id = *id, .bytes = bytes};
    const struct pil_verify_options options = {.id = id};
    struct pil_shard_file file = {0};
    struct pil_error error = {0};
    char name[PIL_STORE_NAME_BYTES];
    pil_layout_shard(id, name);
    pil_status status = pil_shard_file_fetch(inspection->store, &shard, &file, &error);
    if (status == PIL_STATUS_OK) {
        status = pil_verify(pil_bytes_from(file.data, file.bytes), &options, &error);
    }
    if (status != PIL_STATUS_OK) {
        pil_ignore(pil_fail_in(&error, status, "%s, which no release names", name), "only the text");
    }
    found(inspection, status, &error);
    inspection->unreferenced++;
    pil_shard_file_deinit(&file);
}

/* The project itself is checked where its document is visited. */
static void check_applied(struct inspection *inspection, const char *name) {
    char object[PIL_STORE_NAME_BYTES];
    struct pil_error error = {0};
    struct pil_store_tag tag;
    uint64_t bytes;
    pil_layout_project(name, object);
    pil_status status = pil_store_stat(inspection->store, object, &bytes, &tag, &error);
    if (status == PIL_STATUS_NOT_FOUND) {
        status = pil_project_missing(inspection->store, name, &error);
    }
    found(inspection, status, &error);
}

static pil_status visit_object(void *context, const struct pil_store_object *object) {
    struct inspection *inspection = context;
    struct pil_layout_object parsed;
    pil_layout_parse(object->name, &parsed);
    const struct pil_manifest wanted = {.shards = &(struct pil_manifest_shard){.id = parsed.shard}};
    const struct use key = {.manifest = &wanted};
    switch (parsed.kind) {
    case PIL_LAYOUT_PROJECT: check_project(inspection, parsed.ref.project); break;
    case PIL_LAYOUT_APPLIED: check_applied(inspection, parsed.ref.project); break;
    case PIL_LAYOUT_SHARD:
        if (bsearch(&key, inspection->uses, inspection->use_count, sizeof key, compare_uses) == NULL) {
            check_unreferenced(inspection, &parsed.shard, object->bytes);
        }
        break;
    case PIL_LAYOUT_FOREIGN: inspection->foreign++; break;
    case PIL_LAYOUT_MANIFEST:
    case PIL_LAYOUT_CHANNEL: break; /* check_catalog has read them */
    case PIL_LAYOUT_LEASE: break;   /* temporary */
    }
    return PIL_STATUS_OK;
}

static void check_store(struct inspection *inspection) {
    struct pil_catalog catalog = {0};
    struct pil_error error = {0};
    pil_status status = pil_catalog_read(inspection->store, "", "", &catalog, &error);
    found(inspection, status, &error);
    if (status == PIL_STATUS_OK) {
        check_catalog(inspection, &catalog);
        check_releases(inspection);
        found(inspection, pil_store_list(inspection->store, "", visit_object, inspection, &error), &error);
    }
    pil_catalog_deinit(&catalog);
}

/* ---- The three kinds of arguments */

static void inspection_deinit(struct inspection *inspection) {
    for (size_t i = 0; i < inspection->manifest_count; i++) {
        pil_manifest_destroy(&inspection->manifests[i]);
    }
    free(inspection->manifests);
    free(inspection->uses);
    json_decref(inspection->problems);
    pil_store_close(&inspection->store);
}

static void print_summary(const char *name, const struct inspection *inspection, size_t problems) {
    char things[PIL_REPORT_THINGS_BYTES], bytes[PIL_REPORT_NUMBER_BYTES];
    struct pil_text printable = {0};
    printf("%s: %s of %s checked", pil_report_printable(name, &printable),
           pil_report_things(inspection->shards, "good shard", things), pil_report_bytes(inspection->bytes, bytes));
    pil_text_deinit(&printable);
    if (inspection->releases > 0) {
        printf(", %s", pil_report_things(inspection->releases, "release", things));
    }
    if (inspection->channels > 0) {
        printf(", %s", pil_report_things(inspection->channels, "channel", things));
    }
    if (inspection->projects > 0) {
        printf(", %s", pil_report_things(inspection->projects, "project", things));
    }
    if (inspection->unreferenced > 0) {
        printf("; no release names %s (`pillion gc`)", pil_report_things(inspection->unreferenced, "shard", things));
    }
    if (inspection->foreign > 0) {
        printf("; %s", pil_report_things(inspection->foreign, "foreign object", things));
    }
    printf("; %s%s%s\n", problems == 0 ? "" : pil_report_style(PIL_STYLE_BAD),
           pil_report_things(problems, "problem", things), problems == 0 ? "" : pil_report_style(PIL_STYLE_PLAIN));
}

static int print_result(const struct pil_invocation *invocation, const struct inspection *inspection) {
    size_t count = json_array_size(inspection->problems), i;
    json_t *problem;
    if (pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        pil_report_json(json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "ok", count == 0, "projects",
                                  (json_int_t)inspection->projects, "channels", (json_int_t)inspection->channels,
                                  "releases", (json_int_t)inspection->releases, "shards",
                                  (json_int_t)inspection->shards, "bytes", (json_int_t)inspection->bytes,
                                  "unreferenced_shards", (json_int_t)inspection->unreferenced, "foreign_objects",
                                  (json_int_t)inspection->foreign, "problems", inspection->problems));
        return count == 0 ? PIL_EXIT_OK : PIL_EXIT_REFUSED;
    }
    json_array_foreach(inspection->problems, i, problem) {
        struct pil_text text = {0};
        pil_text_append_printable(&text, pil_bytes_from_text(json_string_value(problem)), 0);
        printf("%s%s%s\n", pil_report_style(PIL_STYLE_BAD), pil_report_text(&text), pil_report_style(PIL_STYLE_PLAIN));
        pil_text_deinit(&text);
    }
    print_summary(invocation->arg_count > 0 ? invocation->args[0] : invocation->values[PIL_OPTION_STORE], inspection,
                  count);
    return count == 0 ? PIL_EXIT_OK : PIL_EXIT_REFUSED;
}

static int verify_file(const struct pil_invocation *invocation, struct inspection *inspection) {
    const struct pil_verify_options options = {0};
    struct pil_shard_file file;
    struct pil_error error = {0};
    pil_status status = pil_shard_file_read(invocation->args[0], &file, &error);
    if (status != PIL_STATUS_OK) {
        return pil_report_unreadable(status, &error);
    }
    status = pil_verify(pil_bytes_from(file.data, file.bytes), &options, &error);
    found(inspection, status, &error);
    inspection->shards = status == PIL_STATUS_OK;
    inspection->bytes = status == PIL_STATUS_OK ? file.bytes : 0;
    pil_shard_file_deinit(&file);
    return print_result(invocation, inspection);
}

static int verify_release(const struct pil_invocation *invocation, struct inspection *inspection) {
    struct pil_release_ref ref;
    struct pil_error error = {0};
    int exit_code = pil_reference_store(invocation, &inspection->store);
    if (exit_code == PIL_EXIT_OK) {
        exit_code = pil_reference_resolve(inspection->store, invocation->args[0], PIL_REFERENCE_RELEASE, NULL, &ref);
    }
    if (exit_code != PIL_EXIT_OK) {
        return exit_code;
    }
    inspection->manifests = pil_report_need(calloc(1, sizeof(struct pil_manifest *)));
    pil_status status = pil_manifest_read(inspection->store, &ref, &inspection->manifests[0], &error);
    if (status != PIL_STATUS_OK) {
        return pil_report_failure(status, &error);
    }
    inspection->manifest_count = 1;
    inspection->releases = 1;
    check_releases(inspection);
    return print_result(invocation, inspection);
}

static int verify_store(const char *url, const struct pil_invocation *invocation, struct inspection *inspection) {
    struct pil_error error = {0};
    pil_status status = pil_store_open(url, false, &inspection->store, &error);
    if (status != PIL_STATUS_OK) {
        return pil_report_unreadable(status, &error);
    }
    check_store(inspection);
    return print_result(invocation, inspection);
}

int pil_cli_verify(const struct pil_invocation *invocation) {
    const char *what = invocation->arg_count > 0 ? invocation->args[0] : invocation->values[PIL_OPTION_STORE];
    struct inspection inspection = {.problems = pil_report_need(json_array())};
    int exit_code;
    if (what == NULL) {
        exit_code = pil_report_usage("nothing to verify; name a file, a release or a store, or set $PILLION_STORE");
    } else if (pil_store_scheme_find(what) != NULL || invocation->arg_count == 0) {
        exit_code = verify_store(what, invocation, &inspection);
    } else if (pil_reference_is_release(what)) {
        exit_code = verify_release(invocation, &inspection);
    } else {
        exit_code = verify_file(invocation, &inspection);
    }
    inspection_deinit(&inspection);
    return exit_code;
}
