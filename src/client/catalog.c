/* SPDX-License-Identifier: Apache-2.0
 * What the server says it has: views by number, and the feature services of each project. The document is JSON
 * (schemas/mapped.md, "Catalog"); like everything received it is checked where it is used. */
#include "client/internal.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *text_at(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static pil_status read_document(int fd, json_t **ret_json, struct pil_error *error) {
    struct stat info;
    if (fstat(fd, &info) != 0 || info.st_size <= 0 || info.st_size > PIL_CLIENT_CATALOG_BYTES_MAX) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the catalog is empty or over %d bytes",
                        PIL_CLIENT_CATALOG_BYTES_MAX);
    }
    size_t bytes = (size_t)info.st_size, len = 0;
    char *text = malloc(bytes);
    PIL_ASSERT(text != NULL);
    while (len < bytes) {
        ssize_t got = pread(fd, text + len, bytes - len, (off_t)len);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            break;
        }
        len += got > 0 ? (size_t)got : 0;
    }
    json_error_t mistake;
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &mistake);
    free(text);
    if (json == NULL) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the catalog: at byte %d: %s", mistake.position, mistake.text);
    }
    *ret_json = json;
    return PIL_STATUS_OK;
}

pil_status pil_catalog_read(struct pillion_client *client, int fd, struct pil_error *ret_error) {
    json_t *json = NULL;
    PIL_TRY(read_document(fd, &json, ret_error));
    const json_t *views = json_object_get(json, "views");
    size_t count = json_array_size(views);
    if (!json_is_array(views) || !json_is_array(json_object_get(json, "projects")) || count > PIL_MAPPED_VIEWS_MAX) {
        json_decref(json);
        return pil_fail(ret_error, PIL_STATUS_CORRUPT, "the catalog lacks \"views\" or \"projects\", or has over %d",
                        PIL_MAPPED_VIEWS_MAX);
    }
    for (uint32_t i = 0; i < count; i++) {
        const json_t *view = json_array_get(views, i);
        snprintf(client->views[i].name, sizeof client->views[i].name, "%s/%s", text_at(view, "project"),
                 text_at(view, "name"));
    }
    client->view_count = (uint32_t)count;
    json_decref(client->session.catalog);
    client->session.catalog = json;
    return PIL_STATUS_OK;
}

/* Whether `name`, which may be "project/x", means x of this project. */
static bool is_named(struct pil_bytes name, const char *project, const char *own) {
    size_t project_len = strlen(project);
    return pil_bytes_equal_text(name, own) ||
           (name.len > project_len && name.data[project_len] == '/' && memcmp(name.data, project, project_len) == 0 &&
            pil_bytes_equal_text(pil_bytes_from(name.data + project_len + 1, name.len - project_len - 1), own));
}

pil_status pil_catalog_view(const struct pillion_client *client, struct pil_bytes name, uint32_t *ret_number,
                            struct pil_error *ret_error) {
    const json_t *views = json_object_get(client->session.catalog, "views");
    uint32_t found = UINT32_MAX;
    int shown = (int)(name.len < 256 ? name.len : 256);
    for (uint32_t i = 0; i < client->view_count; i++) {
        const json_t *view = json_array_get(views, i);
        if (!is_named(name, text_at(view, "project"), text_at(view, "name"))) {
            continue;
        }
        if (found != UINT32_MAX) {
            return pil_fail(ret_error, PIL_STATUS_INVALID, "view %.*s is ambiguous: say project/view", shown,
                            (const char *)name.data);
        }
        found = i;
    }
    if (found == UINT32_MAX) {
        return pil_fail(ret_error, PIL_STATUS_NOT_FOUND, "view %.*s is not served here", shown,
                        (const char *)name.data);
    }
    *ret_number = found;
    return PIL_STATUS_OK;
}

static pil_status find_service(const struct pillion_client *client, const char *name, const json_t **ret_project,
                               const json_t **ret_service, struct pil_error *error) {
    const json_t *projects = json_object_get(client->session.catalog, "projects"), *found = NULL;
    for (size_t i = 0; i < json_array_size(projects); i++) {
        const json_t *project = json_array_get(projects, i), *services = json_object_get(project, "feature_services");
        for (size_t k = 0; k < json_array_size(services); k++) {
            const json_t *service = json_array_get(services, k);
            if (!is_named(pil_bytes_from_text(name), text_at(project, "project"), text_at(service, "name"))) {
                continue;
            }
            if (found != NULL) {
                return pil_fail(error, PIL_STATUS_INVALID, "service %.256s is ambiguous: say project/service", name);
            }
            found = service;
            *ret_project = project;
        }
    }
    *ret_service = found;
    return found != NULL ? PIL_STATUS_OK
                         : pil_fail(error, PIL_STATUS_NOT_FOUND, "service %.256s is not known here", name);
}

/* Appends "project/view:feature" of "view:feature" or "project/view:feature". */
static pil_status add_reference(const struct pillion_client *client, const char *project, const char *reference,
                                struct pil_text *text, struct pil_error *error) {
    const char *colon = strchr(reference, ':');
    uint32_t number = 0;
    char name[2 * PILLION_NAME_BYTES];
    size_t len = colon != NULL ? (size_t)(colon - reference) : 0;
    if (len == 0 || len >= sizeof name || colon[1] == '\0') {
        return pil_fail(error, PIL_STATUS_INVALID, "'%.256s' is not view:feature", reference);
    }
    bool is_bare = project != NULL && memchr(reference, '/', len) == NULL;
    int written =
        snprintf(name, sizeof name, "%s%s%.*s", is_bare ? project : "", is_bare ? "/" : "", (int)len, reference);
    if (written < 0 || (size_t)written >= sizeof name) {
        return pil_fail(error, PIL_STATUS_INVALID, "'%.256s': the name is too long", reference);
    }
    PIL_TRY(pil_catalog_view(client, pil_bytes_from_text(name), &number, error));
    pil_text_format(text, "%s%s", client->views[number].name, colon);
    return PIL_STATUS_OK;
}

pil_status pil_catalog_spec(const struct pillion_client *client, const struct pillion_plan_options *options,
                            struct pil_vector_spec **ret_spec, struct pil_error *ret_error) {
    const json_t *project = NULL, *service = NULL, *features = NULL;
    size_t count = options->feature_count;
    if (options->service != NULL) {
        PIL_TRY(find_service(client, options->service, &project, &service, ret_error));
        features = json_object_get(service, "features");
        count = json_array_size(features);
    }
    if (count == 0 || count > PIL_SERVICE_FEATURES_MAX) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "%zu features; a plan has 1 to %d", count,
                        PIL_SERVICE_FEATURES_MAX);
    }
    struct pil_text text = {0};
    struct pil_bytes *references = calloc(count, sizeof references[0]);
    PIL_ASSERT(references != NULL);
    pil_status status = PIL_STATUS_OK;
    for (size_t i = 0; i < count && status == PIL_STATUS_OK; i++) {
        const char *one = features != NULL ? json_string_value(json_array_get(features, i)) : options->features[i];
        size_t begin = text.len;
        status = add_reference(client, features != NULL ? text_at(project, "project") : NULL, one != NULL ? one : "",
                               &text, ret_error);
        references[i].len = text.len - begin;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; at += references[i++].len) {
        references[i].data = (const uint8_t *)text.data + at; /* which does not move any more */
    }
    if (status == PIL_STATUS_OK) {
        status = pil_vector_spec_create(references, (uint32_t)count, ret_spec, ret_error);
    }
    free(references);
    pil_text_deinit(&text);
    return status;
}
