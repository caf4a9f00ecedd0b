/* SPDX-License-Identifier: Apache-2.0 */
#include "release/project.h"

#include "base/clock.h"
#include "release/catalog.h"
#include "release/document.h"
#include "release/manifest.h"
#include "release/retry.h"
#include "schema/project_changes.h"
#include "schema/project_read.h"

#include <stdio.h>

/* A project on its way to a store. */
struct publishing {
    struct pil_store *store;
    const struct pil_project *project;
    bool force;
    struct pil_project_published published;
    struct pil_text *lines;
};

/* ---- Views in use */

/* Whether a channel of the catalog, which has only this project, points to the view. Unreadable channels count, too. */
static bool in_use(void *context, const char *view_name) {
    const struct pil_catalog *catalog = context;
    for (size_t i = 0; i < catalog->channel_count; i++) {
        if (strcmp(catalog->channels[i].ref.view, view_name) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether no node can load what this was read from, whatever the project says; other errors are of this reading. */
static bool is_of_the_object(pil_status status) {
    return status == PIL_STATUS_NOT_FOUND || status == PIL_STATUS_CORRUPT || status == PIL_STATUS_UNSUPPORTED;
}

/* Appends a line for everything that the release in service of a channel lacks. */
static pil_status count_unanswered(struct pil_store *store, const struct pil_project *project,
                                   const struct pil_catalog_channel *channel, struct pil_text *lines, uint32_t *count,
                                   struct pil_error *error) {
    char prefix[2 * PIL_NAME_BYTES_MAX + 64];
    struct pil_release_ref ref = channel->ref;
    struct pil_manifest *manifest = NULL;
    if (channel->status != PIL_STATUS_OK) {
        return pil_fail(error, channel->status, "%s", channel->error.text);
    }
    memcpy(ref.release, pil_channel_effective(&channel->channel), sizeof channel->channel.release);
    snprintf(prefix, sizeof prefix, "channel %s, release %s: ", channel->channel.name, ref.release);
    PIL_TRY(pil_manifest_read(store, &ref, &manifest, error));
    *count += pil_project_unanswered(project, manifest->view, prefix, lines);
    pil_manifest_destroy(&manifest);
    return PIL_STATUS_OK;
}

/* The same for all channels. With `force`, a release that could not be read just now is a line. */
static pil_status count_all_unanswered(const struct publishing *publishing, const struct pil_catalog *catalog,
                                       uint32_t *count, struct pil_error *ret_error) {
    for (size_t i = 0; i < catalog->channel_count; i++) {
        struct pil_error error = {0};
        pil_status status = count_unanswered(publishing->store, publishing->project, &catalog->channels[i],
                                             publishing->lines, count, &error);
        if (status == PIL_STATUS_OK || is_of_the_object(status)) {
            continue;
        }
        if (status == PIL_STATUS_NO_MEMORY || !publishing->force) {
            return pil_fail(ret_error, status, "%s", error.text);
        }
        pil_text_format(publishing->lines, "channel %s of %s/%s was not compared: %s\n",
                        catalog->channels[i].channel.name, catalog->channels[i].ref.project,
                        catalog->channels[i].ref.view, error.text);
        *count += 1;
    }
    return PIL_STATUS_OK;
}

/* `before` is NULL if no project is applied yet. */
static pil_status count_breaking(const struct publishing *publishing, const struct pil_project *before,
                                 uint32_t *ret_count, struct pil_error *error) {
    const struct pil_project *after = publishing->project;
    struct pil_text *lines = publishing->lines;
    struct pil_catalog catalog;
    PIL_TRY(pil_catalog_read(publishing->store, after->name, "", &catalog, error));
    pil_text_clear(lines);
    *ret_count = before != NULL ? pil_project_breaking_changes(before, after, in_use, &catalog, lines) : 0;
    pil_status status = count_all_unanswered(publishing, &catalog, ret_count, error);
    pil_catalog_deinit(&catalog);
    PIL_TRY(status);
    return lines->failed ? pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory to say what would break") : PIL_STATUS_OK;
}

/* ---- The document */

struct applied {
    json_t *document;            /* owned */
    struct pil_project *project; /* owned */
    uint64_t sequence;
    struct pil_store_tag tag;
};

static void applied_deinit(struct applied *applied) {
    pil_project_destroy(&applied->project);
    json_decref(applied->document);
}

static pil_status applied_parse(struct applied *applied, const char *name, struct pil_error *error) {
    PIL_TRY(pil_document_u64(applied->document, "sequence", INT64_MAX - 1, &applied->sequence, error));
    PIL_TRY(pil_project_from_json(json_object_get(applied->document, "project"), &applied->project, error));
    if (strcmp(applied->project->name, name) != 0) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "it says that it is project %s", applied->project->name);
    }
    return PIL_STATUS_OK;
}

pil_status pil_project_missing(struct pil_store *store, const char *name, struct pil_error *ret_error) {
    char object[PIL_STORE_NAME_BYTES];
    struct pil_store_tag tag;
    uint64_t bytes;
    pil_layout_applied(name, object);
    pil_status status = pil_store_stat(store, object, &bytes, &tag, ret_error);
    if (status == PIL_STATUS_OK) {
        pil_layout_project(name, object);
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "%s is gone, and the project was applied; apply it again",
                        object);
    }
    return status == PIL_STATUS_NOT_FOUND
               ? pil_fail(ret_error, status, "project %s was not applied to %s", name, pil_store_url(store))
               : status;
}

/* Says for ever that the project was applied once. */
static pil_status put_applied(struct pil_store *store, const char *name, struct pil_error *error) {
    char object[PIL_STORE_NAME_BYTES];
    struct pil_text text;
    pil_layout_applied(name, object);
    PIL_TRY(pil_document_format(json_pack("{s:i}", "format", PIL_DOCUMENT_FORMAT), &text, error));
    pil_status status = pil_store_put(store, object, pil_text_bytes(&text), pil_store_if_absent(), NULL, error);
    pil_text_deinit(&text);
    return status == PIL_STATUS_EXISTS ? PIL_STATUS_OK : status;
}

/* NOT_FOUND: there is no document, whatever the reason. */
static pil_status applied_read(struct pil_store *store, const char *name, struct applied *ret_applied,
                               struct pil_error *error) {
    char object[PIL_STORE_NAME_BYTES];
    struct applied applied = {0};
    pil_layout_project(name, object);
    PIL_TRY(pil_document_read(store, object, &applied.document, &applied.tag, error));
    pil_status status = applied_parse(&applied, name, error);
    if (status != PIL_STATUS_OK) {
        applied_deinit(&applied);
        return pil_fail_in(error, status, "%s", object);
    }
    *ret_applied = applied;
    return PIL_STATUS_OK;
}

pil_status pil_project_read(struct pil_store *store, const char *name, struct pil_project **ret_project,
                            uint64_t *ret_sequence, struct pil_error *ret_error) {
    struct applied applied;
    if (!pil_release_name_ok(name)) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "'%.200s' cannot be the name of a project", name);
    }
    pil_status status = applied_read(store, name, &applied, ret_error);
    if (status != PIL_STATUS_OK) {
        return status == PIL_STATUS_NOT_FOUND ? pil_project_missing(store, name, ret_error) : status;
    }
    *ret_project = applied.project;
    if (ret_sequence != NULL) {
        *ret_sequence = applied.sequence;
    }
    applied.project = NULL;
    applied_deinit(&applied);
    return PIL_STATUS_OK;
}

static pil_status put_project(struct pil_store *store, const struct pil_project *project, json_t *json,
                              const struct applied *before, struct pil_error *error) {
    char name[PIL_STORE_NAME_BYTES], nonce[PIL_DOCUMENT_NONCE_CHARS + 1];
    struct pil_text text;
    pil_layout_project(project->name, name);
    pil_document_nonce(nonce);
    json_t *document = json_pack("{s:i, s:I, s:s, s:I, s:O}", "format", PIL_DOCUMENT_FORMAT, "sequence",
                                 (json_int_t)(before->sequence + 1), "nonce", nonce, "changed_us",
                                 (json_int_t)pil_clock_wall_us(), "project", json);
    PIL_TRY(pil_document_format(document, &text, error));
    if (text.len > PIL_PROJECT_BYTES_MAX) {
        size_t len = text.len;
        pil_text_deinit(&text);
        return pil_fail(error, PIL_STATUS_TOO_LARGE,
                        "project %s has %zu bytes as a document, and nodes read at most %d; divide it, or shorten its "
                        "descriptions",
                        project->name, len, PIL_PROJECT_BYTES_MAX);
    }
    struct pil_store_condition condition =
        before->project != NULL ? pil_store_if_match(&before->tag) : pil_store_if_absent();
    pil_status status = pil_store_put(store, name, pil_text_bytes(&text), condition, NULL, error);
    pil_text_deinit(&text);
    return status;
}

/* Writes no document if the store has the same project. */
static pil_status publish_over(struct publishing *publishing, const struct applied *before, struct pil_error *error) {
    const struct pil_project *project = publishing->project;
    struct pil_project_published published = {.sequence = before->sequence};
    json_t *json = pil_project_to_json(project);
    pil_status status = PIL_STATUS_OK;
    if (json == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a project");
    }
    if (before->project != NULL && json_equal(json, json_object_get(before->document, "project"))) {
        status = put_applied(publishing->store, project->name, error); /* stores of before have none */
        goto out;
    }
    status = count_breaking(publishing, before->project, &published.breaking, error);
    if (status == PIL_STATUS_OK && published.breaking > 0 && !publishing->force) {
        status =
            pil_fail(error, PIL_STATUS_BUSY,
                     "project %s would break what is in use in %u ways; rename the view, promote releases that have "
                     "what is new first, or pass --force",
                     project->name, published.breaking);
    }
    if (status == PIL_STATUS_OK) {
        status = put_applied(publishing->store, project->name, error);
    }
    if (status == PIL_STATUS_OK) {
        status = put_project(publishing->store, project, json, before, error);
        published.changed = true;
        published.sequence = before->sequence + 1;
    }
out:
    json_decref(json);
    if (status == PIL_STATUS_OK) {
        publishing->published = published;
    }
    return status;
}

static pil_status publish_once(void *context, struct pil_error *error) {
    struct publishing *publishing = context;
    struct applied before = {0};
    pil_status status = applied_read(publishing->store, publishing->project->name, &before, error);
    if (status == PIL_STATUS_OK || status == PIL_STATUS_NOT_FOUND) {
        status = publish_over(publishing, &before, error);
        applied_deinit(&before);
    }
    return status;
}

pil_status pil_project_publish(struct pil_store *store, const struct pil_project *project, bool force,
                               struct pil_project_published *ret_published, struct pil_text *lines,
                               struct pil_error *ret_error) {
    struct publishing publishing = {.store = store, .project = project, .force = force, .lines = lines};
    PIL_TRY(pil_retry(publish_once, &publishing, ret_error));
    *ret_published = publishing.published;
    return PIL_STATUS_OK;
}

pil_status pil_project_document_clean(struct pil_bytes text, const char *name, struct pil_text *ret_text,
                                      struct pil_error *ret_error) {
    struct pil_project *project = NULL;
    PIL_TRY(pil_project_document_parse(text, &project, ret_error));
    pil_status status = PIL_STATUS_OK;
    if (strcmp(project->name, name) != 0) {
        status = pil_fail(ret_error, PIL_STATUS_CORRUPT, "it says that it is project %s", project->name);
    } else {
        json_t *json = pil_project_to_json(project);
        status = pil_document_format(
            json != NULL ? json_pack("{s:i, s:o}", "format", PIL_DOCUMENT_FORMAT, "project", json) : NULL, ret_text,
            ret_error);
    }
    pil_project_destroy(&project);
    return status;
}

pil_status pil_project_document_parse(struct pil_bytes text, struct pil_project **ret_project,
                                      struct pil_error *ret_error) {
    json_t *document = NULL;
    if (text.len > PIL_PROJECT_BYTES_MAX) {
        return pil_fail(ret_error, PIL_STATUS_TOO_LARGE, "the project's document has %zu bytes, at most %d are read",
                        text.len, PIL_PROJECT_BYTES_MAX);
    }
    PIL_TRY(pil_document_parse(text, &document, ret_error));
    pil_status status = pil_project_from_json(json_object_get(document, "project"), ret_project, ret_error);
    json_decref(document);
    return status;
}
