/* SPDX-License-Identifier: Apache-2.0
 * A store in memory, for tests: conditional, no watch. Handles of one store share a `struct memory`, under one lock.
 * The tag of a version is a counter, so that equal bytes put twice are two versions, as on stores with generations. */
#pragma once

#include "base/panic.h"
#include "store/ops.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define MEMORY_STORE __attribute__((unused)) static

struct memory_object {
    char *name;
    uint8_t *data;
    size_t len;
    uint64_t version;
    int64_t modified_us;
};

struct memory {
    pthread_mutex_t lock;
    uint32_t handles;
    struct memory_object *objects; /* sorted by name */
    size_t count;
    uint64_t version;
    int64_t now_us; /* modified_us of what is put; the test moves it */
};

struct memory_store {
    struct pil_store base;
    struct memory *memory;
};

static struct memory *memory_of(struct pil_store *store) {
    return ((struct memory_store *)store)->memory;
}

/* The index of the object, or where it would be. */
static size_t memory_find(const struct memory *memory, const char *name, bool *ret_found) {
    size_t at = 0, end = memory->count;
    while (at < end) {
        size_t middle = (at + end) / 2;
        if (strcmp(memory->objects[middle].name, name) < 0) {
            at = middle + 1;
        } else {
            end = middle;
        }
    }
    *ret_found = at < memory->count && strcmp(memory->objects[at].name, name) == 0;
    return at;
}

static void memory_tag(const struct memory_object *object, struct pil_store_tag *ret_tag) {
    memset(ret_tag, 0, sizeof *ret_tag);
    snprintf(ret_tag->text, sizeof ret_tag->text, "v%llu", (unsigned long long)object->version);
}

static bool memory_matches(const struct memory_object *object, const struct pil_store_tag *tag) {
    struct pil_store_tag now;
    memory_tag(object, &now);
    return strcmp(now.text, tag->text) == 0;
}

static const struct memory_object *memory_look(struct memory *memory, const char *name) {
    bool found;
    size_t at = memory_find(memory, name, &found);
    return found ? &memory->objects[at] : NULL;
}

static pil_status memory_absent(const char *name, struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_NOT_FOUND, "%s: no such object", name);
}

static pil_status memory_get_locked(struct memory *memory, const struct pil_store_get *get,
                                    struct pil_store_content *ret_content, struct pil_error *error) {
    const struct memory_object *object = memory_look(memory, get->name);
    if (object == NULL) {
        return memory_absent(get->name, error);
    }
    if (object->len > get->bytes_max) {
        return pil_fail(error, PIL_STATUS_TOO_LARGE, "%s is larger than %zu bytes", get->name, get->bytes_max);
    }
    struct pil_store_content content = {.is_unchanged = get->if_not != NULL && memory_matches(object, get->if_not)};
    memory_tag(object, &content.tag);
    if (!content.is_unchanged) {
        pil_text_append(&content.text, object->data, object->len);
    }
    *ret_content = content;
    return PIL_STATUS_OK;
}

static pil_status memory_get(struct pil_store *store, const struct pil_store_get *get,
                             struct pil_store_content *ret_content, struct pil_error *error) {
    struct memory *memory = memory_of(store);
    pthread_mutex_lock(&memory->lock);
    pil_status status = memory_get_locked(memory, get, ret_content, error);
    pthread_mutex_unlock(&memory->lock);
    return status;
}

static pil_status memory_get_range(struct pil_store *store, const struct pil_store_range *range, size_t *ret_len,
                                   struct pil_error *error) {
    struct memory *memory = memory_of(store);
    pthread_mutex_lock(&memory->lock);
    const struct memory_object *object = memory_look(memory, range->name);
    if (object != NULL) {
        size_t offset = range->offset < object->len ? (size_t)range->offset : object->len;
        size_t len = object->len - offset < range->bytes ? object->len - offset : range->bytes;
        if (len > 0) {
            memcpy(range->buffer, object->data + offset, len);
        }
        *ret_len = len;
    }
    pthread_mutex_unlock(&memory->lock);
    return object != NULL ? PIL_STATUS_OK : memory_absent(range->name, error);
}

static pil_status memory_stat(struct pil_store *store, const char *name, uint64_t *ret_bytes,
                              struct pil_store_tag *ret_tag, struct pil_error *error) {
    struct memory *memory = memory_of(store);
    pthread_mutex_lock(&memory->lock);
    const struct memory_object *object = memory_look(memory, name);
    if (object != NULL) {
        *ret_bytes = object->len;
        if (ret_tag != NULL) {
            memory_tag(object, ret_tag);
        }
    }
    pthread_mutex_unlock(&memory->lock);
    return object != NULL ? PIL_STATUS_OK : memory_absent(name, error);
}

static pil_status memory_put_locked(struct memory *memory, const char *name, struct pil_bytes content,
                                    const struct pil_store_condition *condition, struct pil_store_tag *ret_tag) {
    bool found;
    size_t at = memory_find(memory, name, &found);
    if (condition->when == PIL_STORE_IF_ABSENT && found) {
        return PIL_STATUS_EXISTS;
    }
    if (condition->when == PIL_STORE_IF_MATCH && (!found || !memory_matches(&memory->objects[at], &condition->tag))) {
        return PIL_STATUS_CONFLICT;
    }
    if (!found) {
        memory->objects = realloc(memory->objects, (memory->count + 1) * sizeof *memory->objects);
        PIL_ASSERT(memory->objects != NULL);
        memmove(&memory->objects[at + 1], &memory->objects[at], (memory->count - at) * sizeof *memory->objects);
        memory->objects[at] = (struct memory_object){.name = strdup(name)};
        memory->count++;
    }
    struct memory_object *object = &memory->objects[at];
    free(object->data);
    object->data = malloc(content.len + 1);
    PIL_ASSERT(object->data != NULL);
    if (content.len > 0) {
        memcpy(object->data, content.data, content.len);
    }
    object->len = content.len;
    object->version = ++memory->version;
    object->modified_us = memory->now_us;
    if (ret_tag != NULL) {
        memory_tag(object, ret_tag);
    }
    return PIL_STATUS_OK;
}

static pil_status memory_put(struct pil_store *store, const char *name, struct pil_bytes content,
                             const struct pil_store_condition *condition, struct pil_store_tag *ret_tag,
                             struct pil_error *error) {
    struct memory *memory = memory_of(store);
    pthread_mutex_lock(&memory->lock);
    pil_status status = memory_put_locked(memory, name, content, condition, ret_tag);
    pthread_mutex_unlock(&memory->lock);
    return status == PIL_STATUS_OK ? status : pil_fail(error, status, "%s: %s", name, pil_status_text(status));
}

static pil_status memory_remove(struct pil_store *store, const char *name, const struct pil_store_condition *condition,
                                struct pil_error *error) {
    struct memory *memory = memory_of(store);
    bool found;
    pthread_mutex_lock(&memory->lock);
    size_t at = memory_find(memory, name, &found);
    pil_status status = found ? PIL_STATUS_OK : PIL_STATUS_NOT_FOUND;
    if (found && condition->when == PIL_STORE_IF_MATCH && !memory_matches(&memory->objects[at], &condition->tag)) {
        status = PIL_STATUS_CONFLICT;
    }
    if (status == PIL_STATUS_OK) {
        free(memory->objects[at].name);
        free(memory->objects[at].data);
        memory->count--;
        memmove(&memory->objects[at], &memory->objects[at + 1], (memory->count - at) * sizeof *memory->objects);
    }
    pthread_mutex_unlock(&memory->lock);
    return status == PIL_STATUS_OK ? status : pil_fail(error, status, "%s: %s", name, pil_status_text(status));
}

/* `visit` must not change the store. */
static pil_status memory_list(struct pil_store *store, const char *prefix, pil_store_visit_fn visit, void *context,
                              struct pil_error *error) {
    struct memory *memory = memory_of(store);
    pil_status status = PIL_STATUS_OK;
    (void)error;
    pthread_mutex_lock(&memory->lock);
    for (size_t i = 0; i < memory->count && status == PIL_STATUS_OK; i++) {
        const struct memory_object *object = &memory->objects[i];
        if (strncmp(object->name, prefix, strlen(prefix)) == 0) {
            struct pil_store_object seen = {
                .name = object->name, .bytes = object->len, .modified_us = object->modified_us};
            status = visit(context, &seen);
        }
    }
    pthread_mutex_unlock(&memory->lock);
    return status;
}

static void memory_close(struct pil_store *store) {
    struct memory *memory = memory_of(store);
    pthread_mutex_lock(&memory->lock);
    bool is_last = --memory->handles == 0;
    pthread_mutex_unlock(&memory->lock);
    for (size_t i = 0; is_last && i < memory->count; i++) {
        free(memory->objects[i].name);
        free(memory->objects[i].data);
    }
    if (is_last) {
        free(memory->objects);
        free(memory);
    }
    free(store->url);
    free(store);
}

static struct pil_store *memory_handle(struct memory *memory);

static pil_status memory_open_again(struct pil_store *store, struct pil_store **ret_store, struct pil_error *error) {
    (void)error;
    *ret_store = memory_handle(memory_of(store));
    return PIL_STATUS_OK;
}

static struct pil_store *memory_handle(struct memory *memory) {
    static const struct pil_store_ops ops = {.get = memory_get,
                                             .get_range = memory_get_range,
                                             .stat = memory_stat,
                                             .put = memory_put,
                                             .remove = memory_remove,
                                             .list = memory_list,
                                             .open_again = memory_open_again,
                                             .close = memory_close};
    struct memory_store *store = calloc(1, sizeof *store);
    PIL_ASSERT(store != NULL);
    store->base = (struct pil_store){.ops = &ops, .url = strdup("memory:")};
    store->memory = memory;
    pthread_mutex_lock(&memory->lock);
    memory->handles++;
    pthread_mutex_unlock(&memory->lock);
    return &store->base;
}

MEMORY_STORE struct pil_store *memory_store_open(void) {
    struct memory *memory = calloc(1, sizeof *memory);
    PIL_ASSERT(memory != NULL);
    pthread_mutex_init(&memory->lock, NULL);
    return memory_handle(memory);
}
