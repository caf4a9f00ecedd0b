/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/reference.h"

#include "cli/report.h"
#include "release/catalog.h"
#include "release/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NAMES_MAX = 1024 };

struct names {
    const char *items[NAMES_MAX];
    uint32_t count;
};

int pil_reference_store(const struct pil_invocation *invocation, struct pil_store **ret_store) {
    struct pil_error error = {0};
    if (!pil_invocation_has(invocation, PIL_OPTION_STORE)) {
        return pil_report_usage("a release is in a store: give it with --store " PIL_STORE_FORMS);
    }
    pil_status status = pil_store_open(invocation->values[PIL_OPTION_STORE], false, ret_store, &error);
    if (status == PIL_STATUS_INVALID) {
        return pil_report_usage("%s", error.text);
    }
    return status == PIL_STATUS_OK ? PIL_EXIT_OK : pil_report_unreadable(status, &error);
}

bool pil_reference_is_release(const char *text) {
    return strchr(text, '@') != NULL && access(text, F_OK) != 0;
}

/* ---- Releases of a view */

/* The releases of a view, to choose one of them. */
struct choice {
    struct pil_store *store;
    const struct pil_release_ref *view;
    struct pil_catalog catalog;
};

/* Copies the release that was created last; NOT_FOUND: there is none that can be read. */
static pil_status choose_latest(struct choice *choice, struct pil_release_ref *ref, struct pil_error *error) {
    int64_t newest_us = INT64_MIN;
    for (size_t i = 0; i < choice->catalog.release_count; i++) {
        struct pil_manifest *manifest = NULL;
        pil_status status = pil_manifest_read(choice->store, &choice->catalog.releases[i].ref, &manifest, error);
        if (status != PIL_STATUS_OK) {
            return status; /* it may be the latest */
        }
        if (manifest->created_us > newest_us) {
            newest_us = manifest->created_us;
            *ref = manifest->ref;
        }
        pil_manifest_destroy(&manifest);
    }
    return newest_us != INT64_MIN ? PIL_STATUS_OK
                                  : pil_fail(error, PIL_STATUS_NOT_FOUND, "%s/%s has no release in %s",
                                             choice->view->project, choice->view->view, pil_store_url(choice->store));
}

static pil_status choose_prefix(struct choice *choice, const char *prefix, struct pil_release_ref *ref,
                                struct pil_error *error) {
    uint32_t count = 0;
    for (size_t i = 0; i < choice->catalog.release_count; i++) {
        const struct pil_release_ref *release = &choice->catalog.releases[i].ref;
        if (strncmp(release->release, prefix, strlen(prefix)) == 0) {
            *ref = *release;
            count++;
        }
    }
    return count == 1 ? PIL_STATUS_OK
           : count > 1
               ? pil_fail(error, PIL_STATUS_INVALID, "%u releases of %s/%s begin with %s; write more digits", count,
                          choice->view->project, choice->view->view, prefix)
               : pil_fail(error, PIL_STATUS_NOT_FOUND,
                          "no release of %s/%s begins with %s; `pillion releases %s/%s` lists them",
                          choice->view->project, choice->view->view, prefix, choice->view->project, choice->view->view);
}

/* A channel that is not there. */
static pil_status fail_channel(struct choice *choice, const char *name, struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_NOT_FOUND, "%s/%s has no channel %s in %s%s", choice->view->project,
                    choice->view->view, name, pil_store_url(choice->store),
                    choice->catalog.channel_count > 0 ? "" : "; promote a release to it first");
}

/* Adds a name of a sorted list, in which it stands once for each release. */
static void add_name(struct names *names, const char *name) {
    bool is_new = names->count == 0 || strcmp(names->items[names->count - 1], name) != 0;
    if (is_new && names->count < NAMES_MAX) {
        names->items[names->count++] = name;
    }
}

/* Whether the word is not among the names; then *room is a hint, "" if none is near. */
static bool hint(const char *word, const struct names *names, struct pil_text *room) {
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], word) == 0) {
            return false;
        }
    }
    pil_report_hint(word, names->items, names->count, room);
    return true;
}

const char *pil_reference_hint(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                               struct pil_text *room) {
    struct pil_catalog all;
    struct names projects = {0}, views = {0}, channels = {0};
    pil_text_clear(room);
    if (pil_catalog_read(store, "", "", &all, NULL) != PIL_STATUS_OK) {
        return "";
    }
    for (size_t i = 0; i < all.release_count; i++) {
        add_name(&projects, all.releases[i].ref.project);
        if (strcmp(all.releases[i].ref.project, ref->project) == 0) {
            add_name(&views, all.releases[i].ref.view);
        }
    }
    for (size_t i = 0; i < all.channel_count; i++) {
        if (pil_catalog_same_view(&all.channels[i].ref, ref)) {
            add_name(&channels, all.channels[i].channel.name);
        }
    }
    if (!hint(ref->project, &projects, room) && ref->view[0] != '\0' && !hint(ref->view, &views, room) &&
        channel != NULL) {
        hint(channel, &channels, room);
    }
    pil_catalog_deinit(&all);
    return pil_report_text(room);
}

int pil_reference_failure(struct pil_store *store, const struct pil_release_ref *ref, const char *channel,
                          pil_status status, const struct pil_error *error) {
    struct pil_text room = {0};
    struct pil_error whole;
    pil_ignore(pil_fail(&whole, status, "%s%s", error->text,
                        status == PIL_STATUS_NOT_FOUND ? pil_reference_hint(store, ref, channel, &room) : ""),
               "reported");
    pil_text_deinit(&room);
    return pil_report_failure(status, &whole);
}

/* Finds what stands after the '@' of a reference: a release id, a channel, "latest", or the first digits of an id. */
static pil_status choose(struct pil_store *store, struct pil_release_ref *ref, const char *name,
                         struct pil_error *error) {
    struct pil_channel channel;
    const struct pil_release_ref view = *ref;
    struct choice choice = {.store = store, .view = &view};
    bool is_prefix = strspn(name, "0123456789abcdef") == strlen(name);
    if (pil_release_id_ok(name)) {
        memcpy(ref->release, name, strlen(name) + 1);
        return PIL_STATUS_OK;
    }
    pil_status status =
        pil_release_name_ok(name) ? pil_channel_read(store, ref, name, &channel, error) : PIL_STATUS_NOT_FOUND;
    if (status != PIL_STATUS_NOT_FOUND) {
        memcpy(ref->release, status == PIL_STATUS_OK ? pil_channel_effective(&channel) : "",
               status == PIL_STATUS_OK ? sizeof channel.release : 1);
        return status;
    }
    PIL_TRY(pil_catalog_read(store, ref->project, ref->view, &choice.catalog, error));
    status = strcmp(name, "latest") == 0 ? choose_latest(&choice, ref, error)
             : is_prefix                 ? choose_prefix(&choice, name, ref, error)
                                         : fail_channel(&choice, name, error);
    pil_catalog_deinit(&choice.catalog);
    return status;
}

/* Splits PROJECT/VIEW@NAME. *ret_name points into `text`; it is "" without '@'. */
static pil_status split(const char *text, struct pil_release_ref *ret_ref, const char **ret_name,
                        struct pil_error *error) {
    char view[2 * PIL_NAME_BYTES_MAX + 2];
    const char *at = strchr(text, '@');
    size_t len = at != NULL ? (size_t)(at - text) : strlen(text);
    bool is_short = at != NULL && at[1] != '\0' && len < sizeof view && strlen(at + 1) < PIL_RELEASE_ID_CHARS &&
                    strspn(at + 1, "0123456789abcdef") == strlen(at + 1);
    snprintf(view, sizeof view, "%.*s", is_short ? (int)len : 0, text);
    PIL_TRY(pil_release_ref_parse(is_short ? view : text, ret_ref, error)); /* digits alone are not a name to it */
    *ret_name = at != NULL ? at + 1 : "";
    ret_ref->release[0] = '\0';
    return PIL_STATUS_OK;
}

int pil_reference_resolve(struct pil_store *store, const char *text, pil_reference_need need,
                          const char *default_channel, struct pil_release_ref *ret_ref) {
    struct pil_release_ref ref;
    struct pil_error error = {0};
    const char *name;
    if (split(text, &ref, &name, &error) != PIL_STATUS_OK) {
        return pil_report_usage("%s", error.text);
    }
    if (need == PIL_REFERENCE_VIEW && name[0] != '\0') {
        return pil_report_usage("expected PROJECT/VIEW without a release: %s/%s", ref.project, ref.view);
    }
    if (need == PIL_REFERENCE_RELEASE && name[0] == '\0') {
        return pil_report_usage("expected %s/%s@RELEASE; `pillion releases %s/%s` lists them", ref.project, ref.view,
                                ref.project, ref.view);
    }
    if (need != PIL_REFERENCE_VIEW) {
        pil_status status = choose(store, &ref, name[0] != '\0' ? name : default_channel, &error);
        if (status != PIL_STATUS_OK) {
            return pil_reference_failure(store, &ref, name[0] != '\0' ? name : default_channel, status, &error);
        }
    }
    *ret_ref = ref;
    return PIL_EXIT_OK;
}

bool pil_reference_number(const char *text, uint64_t max, uint64_t *ret_value) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value > max) {
        return false;
    }
    *ret_value = value;
    return true;
}
