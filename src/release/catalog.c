/* SPDX-License-Identifier: Apache-2.0
 * Reads a catalog with one listing of the prefix views/ and one read for each channel. */
#include "release/catalog.h"

#include <stdio.h>
#include <stdlib.h>

/* Makes room for one more item than `count`: doubles the list at powers of two. NULL: memory is short, and the list is
 * unchanged. */
static void *grow(void *list, size_t count, size_t item_bytes) {
    return (count & (count - 1)) != 0 ? list : realloc(list, (count == 0 ? 1 : 2 * count) * item_bytes);
}

static pil_status visit_object(void *context, const struct pil_store_object *object) {
    struct pil_catalog *catalog = context;
    struct pil_layout_object parsed;
    pil_layout_parse(object->name, &parsed);
    if (parsed.kind == PIL_LAYOUT_MANIFEST) {
        struct pil_catalog_release *releases =
            grow(catalog->releases, catalog->release_count, sizeof *catalog->releases);
        if (releases == NULL) {
            return PIL_STATUS_NO_MEMORY;
        }
        catalog->releases = releases;
        releases[catalog->release_count++] =
            (struct pil_catalog_release){.ref = parsed.ref, .modified_us = object->modified_us};
    } else if (parsed.kind == PIL_LAYOUT_CHANNEL) {
        struct pil_catalog_channel *channels =
            grow(catalog->channels, catalog->channel_count, sizeof *catalog->channels);
        if (channels == NULL) {
            return PIL_STATUS_NO_MEMORY;
        }
        catalog->channels = channels;
        struct pil_catalog_channel *channel = &channels[catalog->channel_count++];
        *channel = (struct pil_catalog_channel){.ref = parsed.ref};
        memcpy(channel->channel.name, parsed.channel, sizeof parsed.channel);
    }
    return PIL_STATUS_OK;
}

pil_status pil_catalog_read(struct pil_store *store, const char *project, const char *view,
                            struct pil_catalog *ret_catalog, struct pil_error *ret_error) {
    char prefix[PIL_STORE_NAME_BYTES];
    bool of_view = project[0] != '\0' && view[0] != '\0';
    snprintf(prefix, sizeof prefix, "views/%s%s%s%s", project, project[0] != '\0' ? "/" : "", of_view ? view : "",
             of_view ? "/" : "");
    struct pil_catalog catalog = {0};
    pil_status status = pil_store_list(store, prefix, visit_object, &catalog, ret_error);
    for (size_t i = 0; i < catalog.channel_count && status == PIL_STATUS_OK; i++) {
        struct pil_catalog_channel *channel = &catalog.channels[i];
        char name[PIL_NAME_BYTES_MAX + 1];
        memcpy(name, channel->channel.name, sizeof name);
        channel->status = pil_channel_read(store, &channel->ref, name, &channel->channel, &channel->error);
        if (channel->status == PIL_STATUS_NO_MEMORY) { /* a shortage says nothing about the channel */
            status = pil_fail(ret_error, channel->status, "%s", channel->error.text);
        }
    }
    if (status != PIL_STATUS_OK) {
        pil_catalog_deinit(&catalog);
        return status;
    }
    *ret_catalog = catalog;
    return PIL_STATUS_OK;
}

void pil_catalog_deinit(struct pil_catalog *catalog) {
    free(catalog->releases);
    free(catalog->channels);
    *catalog = (struct pil_catalog){0};
}

bool pil_catalog_same_view(const struct pil_release_ref *a, const struct pil_release_ref *b) {
    return strcmp(a->project, b->project) == 0 && strcmp(a->view, b->view) == 0;
}
