/* SPDX-License-Identifier: Apache-2.0
 * The catalog is checked where it is used, like everything received. */
#include "client/catalog.h"
#include "base/json_value.h"
#include "base/panic.h"
#include "client/client.h"
#include "client/spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CATALOG_BYTES_MAX = 64 << 20 };

static struct pil_json_value document_of(const struct pil_catalog *catalog) {
    return (struct pil_json_value){.text = pil_bytes_from(catalog->text, catalog->len),
                                   .scratch = catalog->text + catalog->len,
                                   .scratch_bytes = catalog->len};
}

void pil_catalog_deinit(struct pil_catalog *catalog) {
    free(catalog->text);
    *catalog = (struct pil_catalog){0};
}

/* ---- Reading. */

static size_t read_all(int fd, uint8_t *to, size_t bytes) {
    size_t len = 0;
    while (len < bytes) {
        ssize_t got = pread(fd, to + len, bytes - len, (off_t)len);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            break;
        }
        len += got > 0 ? (size_t)got : 0;
    }
    return len;
}

static pil_status check(const struct pil_catalog *catalog, struct pil_error *error) {
    struct pil_json_value document = document_of(catalog);
    pil_status status = pil_json_value_check(&document, error);
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(error, status, "the catalog");
    }
    struct pil_json_value views = pil_json_value_member(&document, "views");
    struct pil_json_value projects = pil_json_value_member(&document, "projects");
    if (!pil_json_value_is(&views, PIL_JSON_ARRAY) || !pil_json_value_is(&projects, PIL_JSON_ARRAY) ||
        pil_json_value_count(&views) > PIL_MAPPED_VIEWS_MAX) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the catalog lacks \"views\" or \"projects\", or has over %d views",
                        PIL_MAPPED_VIEWS_MAX);
    }
    return PIL_STATUS_OK;
}

static pil_status read_catalog(int fd, struct pil_catalog *ret_catalog, struct pil_error *error) {
    struct stat info;
    if (fstat(fd, &info) != 0 || info.st_size <= 0 || info.st_size > CATALOG_BYTES_MAX) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the catalog is empty or over %d bytes", CATALOG_BYTES_MAX);
    }
    size_t bytes = (size_t)info.st_size;
    struct pil_catalog catalog = {.text = malloc(2 * bytes)};
    if (catalog.text == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for the catalog, %zu bytes", bytes);
    }
    catalog.len = read_all(fd, catalog.text, bytes);
    pil_status status = check(&catalog, error);
    if (status != PIL_STATUS_OK) {
        pil_catalog_deinit(&catalog);
        return status;
    }
    *ret_catalog = catalog;
    return PIL_STATUS_OK;
}

/* Reads "project/view" of one view, "/" if it has no names. Returns false if it has another index or names that are too
 * long. */
static bool read_view(const struct pil_json_value *view, uint32_t index, struct pil_client_view *to) {
    struct pil_json_value project = pil_json_value_member(view, "project"), name = pil_json_value_member(view, "name");
    struct pil_json_value number = pil_json_value_member(view, "index");
    int64_t said = -1;
    size_t project_len = pil_json_value_text(&project).len;
    if (!pil_json_value_integer(&number, &said) || said != index || project_len >= PILLION_NAME_BYTES ||
        pil_json_value_text(&name).len >= PILLION_NAME_BYTES) {
        return false;
    }
    pil_json_value_copy(&project, to->name, PILLION_NAME_BYTES);
    to->project_len = (uint32_t)strlen(to->name);
    to->name[to->project_len] = '/';
    pil_json_value_copy(&name, to->name + to->project_len + 1, sizeof to->name - to->project_len - 1);
    return true;
}

/* While a connection lasts, an index stays that of its view, which may only get or lose its names: plans and mappings
 * know views by it. */
static bool is_same_view(const struct pil_client_view *before, const struct pil_client_view *now) {
    return strcmp(before->name, now->name) == 0 || strcmp(before->name, "/") == 0 || strcmp(now->name, "/") == 0;
}

/* `names` has room for PIL_MAPPED_VIEWS_MAX views. */
static pil_status read_views(const struct pillion_client *client, const struct pil_catalog *catalog,
                             struct pil_client_view *names, uint32_t *ret_count, struct pil_error *error) {
    struct pil_json_value document = document_of(catalog), views = pil_json_value_member(&document, "views"), view;
    struct pil_json_value_cursor cursor = pil_json_value_elements(&views);
    uint32_t count = 0;
    for (; pil_json_value_next(&cursor, &view); count++) {
        if (!read_view(&view, count, &names[count])) {
            return pil_fail(error, PIL_STATUS_CORRUPT, "view %u of the catalog has another index or no valid name",
                            count);
        }
        if (count < client->view_count && !is_same_view(&client->views[count], &names[count])) {
            return pil_fail(error, PIL_STATUS_CORRUPT, "view %u of the catalog was %.256s before", count,
                            client->views[count].name);
        }
    }
    if (count < client->view_count) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the catalog has %u views, before it had %u", count,
                        client->view_count);
    }
    *ret_count = count;
    return PIL_STATUS_OK;
}

pil_status pil_catalog_read(struct pillion_client *client, int fd, struct pil_error *ret_error) {
    struct pil_catalog catalog;
    uint32_t count = 0;
    PIL_ASSERT(pil_client_is_locked(client));
    struct pil_client_view *names = calloc(PIL_MAPPED_VIEWS_MAX, sizeof names[0]);
    if (names == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for the names of views");
    }
    pil_status status = read_catalog(fd, &catalog, ret_error);
    if (status == PIL_STATUS_OK) {
        status = read_views(client, &catalog, names, &count, ret_error);
        if (status != PIL_STATUS_OK) {
            pil_catalog_deinit(&catalog);
        }
    }
    if (status == PIL_STATUS_OK) {
        pil_catalog_deinit(&client->session.catalog);
        client->session.catalog = catalog;
        client->view_count = count;
        for (uint32_t i = 0; i < count; i++) {
            memcpy(client->views[i].name, names[i].name, sizeof names[i].name);
            client->views[i].project_len = names[i].project_len;
        }
    }
    free(names);
    return status;
}

/* ---- Views. */

/* Whether `name`, "x" or "project/x", means `own` of this project. */
static bool is_named(struct pil_bytes name, struct pil_bytes project, struct pil_bytes own) {
    return pil_bytes_equal(name, own) || (name.len == project.len + 1 + own.len && name.data[project.len] == '/' &&
                                          pil_bytes_equal(pil_bytes_from(name.data, project.len), project) &&
                                          pil_bytes_equal(pil_bytes_from(name.data + project.len + 1, own.len), own));
}

pil_status pil_catalog_view(const struct pillion_client *client, struct pil_bytes name, uint32_t *ret_number,
                            struct pil_error *ret_error) {
    uint32_t found = UINT32_MAX;
    int shown = (int)(name.len < 256 ? name.len : 256);
    for (uint32_t i = 0; i < client->view_count; i++) {
        const struct pil_client_view *view = &client->views[i];
        struct pil_bytes project = pil_bytes_from(view->name, view->project_len);
        if (!is_named(name, project, pil_bytes_from_text(view->name + view->project_len + 1))) {
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

bool pil_catalog_resolve(const struct pillion_client *client, struct pillion_plan *plan) {
    PIL_ASSERT(pil_client_is_locked(client));
    if (plan->resolved == client->session.number) {
        return true;
    }
    for (uint32_t slot = 0; slot < plan->spec->view_count; slot++) {
        struct pil_bytes name = pil_bytes_from_text(plan->spec->views[slot]);
        if (pil_catalog_view(client, name, &plan->numbers[slot], NULL) != PIL_STATUS_OK) {
            return false;
        }
    }
    plan->resolved = client->session.number;
    return true;
}

/* ---- Services, and views as services of all their features. */

/* A service or a view, and the name of its project. */
struct service {
    struct pil_json_value features;
    char project[PILLION_NAME_BYTES];
    const char *view; /* NULL, or the full name of the view */
    uint32_t found;
};

/* `list`: "feature_services" or "feature_views". */
static void find_in_project(const struct pil_json_value *project, const char *list, struct pil_bytes wanted,
                            struct service *service) {
    char project_name[PILLION_NAME_BYTES];
    struct pil_json_value name = pil_json_value_member(project, "project"), one;
    struct pil_json_value services = pil_json_value_member(project, list);
    pil_json_value_copy(&name, project_name, sizeof project_name);
    struct pil_json_value_cursor cursor = pil_json_value_elements(&services);
    while (pil_json_value_next(&cursor, &one)) {
        name = pil_json_value_member(&one, "name");
        if (is_named(wanted, pil_bytes_from_text(project_name), pil_json_value_text(&name))) {
            memcpy(service->project, project_name, sizeof project_name);
            service->features = pil_json_value_member(&one, "features");
            service->found++;
        }
    }
}

static struct service find_in_list(const struct pillion_client *client, const char *list, const char *name) {
    struct pil_json_value document = document_of(&client->session.catalog), project;
    struct pil_json_value projects = pil_json_value_member(&document, "projects");
    struct pil_json_value_cursor cursor = pil_json_value_elements(&projects);
    struct service service = {.found = 0};
    while (pil_json_value_next(&cursor, &project)) {
        find_in_project(&project, list, pil_bytes_from_text(name), &service);
    }
    return service;
}

static pil_status find_service(const struct pillion_client *client, const char *name, struct service *ret_service,
                               struct pil_error *error) {
    struct service service = find_in_list(client, "feature_services", name);
    if (service.found == 0) {
        uint32_t number = 0;
        pil_status status = pil_catalog_view(client, pil_bytes_from_text(name), &number, error);
        if (status == PIL_STATUS_INVALID) {
            return status;
        }
        if (status == PIL_STATUS_OK) {
            service = find_in_list(client, "feature_views", client->views[number].name);
            service.view = client->views[number].name;
        }
    }
    if (service.found != 1) {
        return service.found > 1
                   ? pil_fail(error, PIL_STATUS_INVALID, "service %.256s is ambiguous: say project/service", name)
                   : pil_fail(error, PIL_STATUS_NOT_FOUND, "service %.256s is not known here", name);
    }
    *ret_service = service;
    return PIL_STATUS_OK;
}

void pil_catalog_services(const struct pillion_client *client,
                          void (*take)(void *context, const char *project, struct pil_bytes name), void *context) {
    struct pil_json_value document = document_of(&client->session.catalog), project, service;
    struct pil_json_value projects = pil_json_value_member(&document, "projects");
    struct pil_json_value_cursor cursor = pil_json_value_elements(&projects);
    PIL_ASSERT(pil_client_is_locked(client));
    while (pil_json_value_next(&cursor, &project)) {
        char project_name[PILLION_NAME_BYTES];
        struct pil_json_value name = pil_json_value_member(&project, "project");
        struct pil_json_value services = pil_json_value_member(&project, "feature_services");
        pil_json_value_copy(&name, project_name, sizeof project_name);
        struct pil_json_value_cursor inner = pil_json_value_elements(&services);
        while (pil_json_value_next(&inner, &service)) {
            name = pil_json_value_member(&service, "name");
            take(context, project_name, pil_json_value_text(&name));
        }
    }
}

/* ---- Features. */

/* Adds "project/view:feature". A reference without a project belongs to `project`, or to the only project with such a
 * view when `project` is NULL. */
static pil_status add_reference(const struct pillion_client *client, const char *project, struct pil_bytes reference,
                                struct pil_spec_builder *builder, struct pil_error *error) {
    char name[2 * PILLION_NAME_BYTES];
    uint32_t number = 0;
    int shown = (int)(reference.len < 256 ? reference.len : 256);
    const uint8_t *colon = reference.len > 0 ? memchr(reference.data, ':', reference.len) : NULL;
    size_t len = colon != NULL ? (size_t)(colon - reference.data) : 0;
    if (len == 0 || len >= sizeof name || len + 1 == reference.len) {
        return pil_fail(error, PIL_STATUS_INVALID, "'%.*s' is not view:feature", shown, (const char *)reference.data);
    }
    bool is_bare = project != NULL && memchr(reference.data, '/', len) == NULL;
    int written = snprintf(name, sizeof name, "%s%s%.*s", is_bare ? project : "", is_bare ? "/" : "", (int)len,
                           (const char *)reference.data);
    if (written < 0 || (size_t)written >= sizeof name) {
        return pil_fail(error, PIL_STATUS_INVALID, "'%.*s': the name is too long", shown, (const char *)reference.data);
    }
    PIL_TRY(pil_catalog_view(client, pil_bytes_from_text(name), &number, error));
    pil_spec_add(builder, client->views[number].name, pil_bytes_from(colon + 1, reference.len - len - 1));
    return PIL_STATUS_OK;
}

static pil_status add_features(const struct pillion_client *client, const struct pillion_plan_options *options,
                               const struct service *service, struct pil_spec_builder *builder,
                               struct pil_error *error) {
    if (options->service == NULL) {
        for (uint32_t i = 0; i < options->feature_count; i++) {
            const char *feature = options->features[i] != NULL ? options->features[i] : "";
            PIL_TRY(add_reference(client, NULL, pil_bytes_from_text(feature), builder, error));
        }
        return PIL_STATUS_OK;
    }
    struct pil_json_value_cursor cursor = pil_json_value_elements(&service->features);
    struct pil_json_value feature;
    while (pil_json_value_next(&cursor, &feature)) {
        if (service->view != NULL) {
            struct pil_json_value name = pil_json_value_member(&feature, "name");
            pil_spec_add(builder, service->view, pil_json_value_text(&name));
            continue;
        }
        PIL_TRY(add_reference(client, service->project, pil_json_value_text(&feature), builder, error));
    }
    return PIL_STATUS_OK;
}

pil_status pil_catalog_spec(const struct pillion_client *client, const struct pillion_plan_options *options,
                            struct pil_vector_spec **ret_spec, struct pil_error *ret_error) {
    struct service service = {.found = 0};
    struct pil_spec_builder builder;
    PIL_ASSERT(pil_client_is_locked(client) && client->session.catalog.text != NULL);
    if (options->service != NULL) {
        PIL_TRY(find_service(client, options->service, &service, ret_error));
    }
    size_t count = options->service != NULL ? pil_json_value_count(&service.features) : options->feature_count;
    if (count == 0 || count > PIL_SERVICE_FEATURES_MAX) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "%zu features; a plan has 1 to %d", count,
                        PIL_SERVICE_FEATURES_MAX);
    }
    PIL_TRY(pil_spec_begin(&builder, (uint32_t)count, ret_error));
    pil_status status = add_features(client, options, &service, &builder, ret_error);
    if (status != PIL_STATUS_OK) {
        pil_spec_abandon(&builder);
        return status;
    }
    return pil_spec_finish(&builder, ret_spec, ret_error);
}
