/* SPDX-License-Identifier: Apache-2.0
 * Leases as documents {"format":1,"kind":…,"holder":…,"nonce":…,"expires_us":N,"objects":[…]}. */
#include "release/lease.h"

#include "base/panic.h"
#include "release/document.h"

#include <stdlib.h>
#include <time.h>

enum { ID_CHARS = PIL_DOCUMENT_NONCE_CHARS, WAIT_MS = 20 };

/* One document of a lease. */
struct part {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_store_tag tag; /* "": not written yet */
    json_t *objects;          /* owned */
};

struct pil_lease {
    struct pil_store *store;
    const struct pil_clock *clock;
    pil_layout_lease kind;
    char *holder;
    struct part *parts;
    uint32_t part_count;
    int64_t expires_us; /* of the part that expires first; INT64_MAX: nothing was written */
};

static int64_t now_us(const struct pil_lease *lease) {
    return lease->clock->wall_us(lease->clock->context);
}

static const char *kind_text(pil_layout_lease kind) {
    return kind == PIL_LAYOUT_LEASE_WRITE ? "write" : "collect";
}

struct pil_lease *pil_lease_create(struct pil_store *store, const struct pil_clock *clock, pil_layout_lease kind,
                                   const char *holder) {
    struct pil_lease *lease = calloc(1, sizeof *lease);
    char *copy = strdup(holder);
    if (lease == NULL || copy == NULL) {
        free(lease);
        free(copy);
        return NULL;
    }
    *lease = (struct pil_lease){.store = store, .clock = clock, .kind = kind, .holder = copy, .expires_us = INT64_MAX};
    return lease;
}

int64_t pil_lease_left_us(const struct pil_lease *lease) {
    return lease->expires_us - now_us(lease);
}

/* ---- Writing */

static pil_status no_memory(struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for a lease");
}

/* NULL when memory is short. */
static struct part *add_part(struct pil_lease *lease) {
    char id[ID_CHARS + 1];
    json_t *objects = json_array();
    struct part *parts = realloc(lease->parts, (lease->part_count + 1) * sizeof *parts);
    lease->parts = parts != NULL ? parts : lease->parts;
    if (parts == NULL || objects == NULL) {
        json_decref(objects);
        return NULL;
    }
    struct part *part = &parts[lease->part_count++];
    *part = (struct part){.objects = objects};
    pil_document_nonce(id);
    pil_layout_lease_name(lease->kind, id, part->name);
    return part;
}

static pil_status put_part(struct pil_lease *lease, struct part *part, int64_t expires_us, struct pil_error *error) {
    char nonce[PIL_DOCUMENT_NONCE_CHARS + 1];
    struct pil_text text;
    pil_document_nonce(nonce);
    json_t *document = json_pack("{s:i, s:s, s:s, s:s, s:I, s:O}", "format", PIL_DOCUMENT_FORMAT, "kind",
                                 kind_text(lease->kind), "holder", lease->holder, "nonce", nonce, "expires_us",
                                 (json_int_t)expires_us, "objects", part->objects);
    PIL_TRY(pil_document_format(document, &text, error));
    pil_status status = PIL_STATUS_CONFLICT;
    if (part->tag.text[0] != '\0') {
        status = pil_store_put(lease->store, part->name, pil_text_bytes(&text), pil_store_if_match(&part->tag),
                               &part->tag, error);
    }
    if (status == PIL_STATUS_CONFLICT) { /* never written before, or swept after it expired */
        status =
            pil_store_put(lease->store, part->name, pil_text_bytes(&text), pil_store_if_absent(), &part->tag, error);
    }
    pil_text_deinit(&text);
    if (status == PIL_STATUS_DENIED) {
        return pil_fail_in(error, status,
                           "all who write have to be able to write to all of %s (one group for its files and folders, "
                           "umask 002)",
                           pil_store_url(lease->store));
    }
    return status;
}

static pil_status put_all(struct pil_lease *lease, uint32_t seconds, struct pil_error *error) {
    int64_t expires_us = now_us(lease) + seconds * 1000000ll;
    for (uint32_t i = 0; i < lease->part_count; i++) {
        PIL_TRY(put_part(lease, &lease->parts[i], expires_us, error));
    }
    lease->expires_us = expires_us;
    return PIL_STATUS_OK;
}

/* Renews the lease when a third of its time has passed. *ret_anew becomes true if it had expired before. */
static pil_status keep(struct pil_lease *lease, bool *ret_anew, struct pil_error *error) {
    int64_t left_us = pil_lease_left_us(lease);
    if (lease->part_count == 0 || left_us > PIL_LEASE_WRITE_SECONDS * 1000000ll / 3 * 2) {
        return PIL_STATUS_OK;
    }
    PIL_TRY(put_all(lease, PIL_LEASE_WRITE_SECONDS, error));
    *ret_anew = left_us <= 0;
    return PIL_STATUS_OK;
}

/* ---- Reading */

struct lease_document {
    pil_layout_lease kind;
    int64_t expires_us;
    json_t *document; /* owned */
    json_t *objects;  /* in the document */
    struct pil_store_tag tag;
};

static pil_status document_parse(struct lease_document *lease, struct pil_error *error) {
    uint64_t expires_us;
    PIL_TRY(pil_document_u64(lease->document, "expires_us", INT64_MAX, &expires_us, error));
    lease->expires_us = (int64_t)expires_us;
    lease->objects = json_object_get(lease->document, "objects");
    bool is_sound = json_is_array(lease->objects);
    for (size_t i = 0; is_sound && i < json_array_size(lease->objects); i++) {
        is_sound = json_is_string(json_array_get(lease->objects, i));
    }
    return is_sound ? PIL_STATUS_OK
                    : pil_fail(error, PIL_STATUS_CORRUPT, "\"objects\" must be a list of names of objects");
}

/* NOT_FOUND: the lease has ended in the meantime. */
static pil_status document_read(struct pil_store *store, const char *name, struct lease_document *ret_lease,
                                struct pil_error *error) {
    struct pil_layout_object parsed;
    struct lease_document lease = {0};
    pil_layout_parse(name, &parsed);
    lease.kind = parsed.lease;
    PIL_TRY(pil_document_read(store, name, &lease.document, &lease.tag, error));
    pil_status status = document_parse(&lease, error);
    if (status != PIL_STATUS_OK) {
        json_decref(lease.document);
        return pil_fail_in(error, status, "%s", name);
    }
    *ret_lease = lease;
    return PIL_STATUS_OK;
}

static bool has_ended(const struct lease_document *lease, int64_t at_us) {
    return lease->expires_us + PIL_LEASE_SKEW_SECONDS * 1000000ll < at_us;
}

struct names {
    char **names;
    size_t count;
};

static pil_status visit_lease(void *context, const struct pil_store_object *object) {
    struct names *names = context;
    struct pil_layout_object parsed;
    pil_layout_parse(object->name, &parsed);
    if (parsed.kind == PIL_LAYOUT_LEASE) {
        char **grown = realloc(names->names, (names->count + 1) * sizeof *grown);
        names->names = grown != NULL ? grown : names->names;
        char *name = grown != NULL ? strdup(object->name) : NULL;
        if (name == NULL) {
            return PIL_STATUS_NO_MEMORY;
        }
        names->names[names->count++] = name;
    }
    return PIL_STATUS_OK;
}

typedef pil_status (*each_fn)(void *context, const char *name, const struct lease_document *lease,
                              struct pil_error *error);

/* Calls `each` for every lease of a kind; leaves out leases that end during the listing. */
static pil_status each_lease(struct pil_store *store, pil_layout_lease kind, each_fn each, void *context,
                             struct pil_error *error) {
    struct names names = {0};
    pil_status status = pil_store_list(store, PIL_LAYOUT_LEASES, visit_lease, &names, error);
    for (size_t i = 0; i < names.count; i++) {
        struct pil_layout_object parsed;
        struct lease_document lease;
        pil_layout_parse(names.names[i], &parsed);
        if (status == PIL_STATUS_OK && parsed.lease == kind) {
            status = document_read(store, names.names[i], &lease, error);
            if (status == PIL_STATUS_OK) {
                status = each(context, names.names[i], &lease, error);
                json_decref(lease.document);
            }
            status = status == PIL_STATUS_NOT_FOUND ? PIL_STATUS_OK : status;
        }
        free(names.names[i]);
    }
    free(names.names);
    return status;
}

/* ---- Writers */

/* A question about the collectors that are active now. */
struct question {
    const struct pil_lease *lease; /* of the process that asks */
    const char *name;              /* is this object being removed? NULL: is any object that the lease names? */
    bool of_any;                   /* instead: is any other collector active, whatever it removes? */
    int64_t now_us;
    bool answer;
};

static bool has_name(const struct part *part, const char *name) {
    for (size_t i = 0; i < json_array_size(part->objects); i++) {
        if (strcmp(json_string_value(json_array_get(part->objects, i)), name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_asked_for(const struct question *question, const char *posted) {
    bool is = question->name != NULL && strcmp(question->name, posted) == 0;
    for (uint32_t i = 0; question->name == NULL && i < question->lease->part_count && !is; i++) {
        is = has_name(&question->lease->parts[i], posted);
    }
    return is;
}

static bool is_ours(const struct pil_lease *lease, const char *document_name) {
    return lease->part_count > 0 && strcmp(lease->parts[0].name, document_name) == 0; /* a collector has one document */
}

static pil_status ask_collector(void *context, const char *name, const struct lease_document *lease,
                                struct pil_error *error) {
    struct question *question = context;
    (void)error;
    bool is_it = question->of_any && !is_ours(question->lease, name);
    for (size_t i = 0; !question->of_any && !is_it && i < json_array_size(lease->objects); i++) {
        is_it = is_asked_for(question, json_string_value(json_array_get(lease->objects, i)));
    }
    question->answer |= is_it && !has_ended(lease, question->now_us);
    return PIL_STATUS_OK;
}

static pil_status ask_collectors(const struct question *asked, bool *ret_answer, struct pil_error *error) {
    struct question question = *asked;
    question.now_us = now_us(question.lease);
    PIL_TRY(each_lease(question.lease->store, PIL_LAYOUT_LEASE_COLLECT, ask_collector, &question, error));
    *ret_answer = question.answer;
    return PIL_STATUS_OK;
}

/* Waits until no collector is removing the object `name`; NULL: any object that the lease names. */
static pil_status wait_for_collectors(struct pil_lease *lease, const char *name, struct pil_error *error) {
    struct question question = {.lease = lease, .name = name};
    for (;;) {
        const struct timespec pause = {.tv_nsec = WAIT_MS * 1000000};
        bool is_posted = false, is_anew = false;
        PIL_TRY(ask_collectors(&question, &is_posted, error));
        if (!is_posted) {
            return PIL_STATUS_OK;
        }
        nanosleep(&pause, NULL);
        PIL_TRY(keep(lease, &is_anew, error));
        question.name = is_anew ? NULL : question.name;
    }
}

pil_status pil_lease_renew(struct pil_lease *lease, struct pil_error *ret_error) {
    bool is_anew = false;
    PIL_ASSERT(lease->kind == PIL_LAYOUT_LEASE_WRITE);
    PIL_TRY(keep(lease, &is_anew, ret_error));
    return is_anew ? wait_for_collectors(lease, NULL, ret_error) : PIL_STATUS_OK;
}

/* Writes a name into the last document, or into a new one if that is full. Looks for the name only in the last
 * document: a lease may name an object twice. */
static pil_status name_object(struct pil_lease *lease, const char *name, struct pil_error *error) {
    struct part *part = lease->part_count > 0 ? &lease->parts[lease->part_count - 1] : NULL;
    if (part != NULL && has_name(part, name) && part->tag.text[0] != '\0') {
        return PIL_STATUS_OK;
    }
    if (part == NULL || json_array_size(part->objects) == PIL_LEASE_OBJECTS_MAX) {
        part = add_part(lease);
    }
    if (part == NULL || json_array_append_new(part->objects, json_string(name)) != 0) {
        return no_memory(error);
    }
    int64_t expires_us = now_us(lease) + PIL_LEASE_WRITE_SECONDS * 1000000ll;
    pil_status status = put_part(lease, part, expires_us, error);
    if (status != PIL_STATUS_OK) { /* the object is not leased */
        json_array_remove(part->objects, json_array_size(part->objects) - 1);
        return status;
    }
    lease->expires_us = expires_us < lease->expires_us ? expires_us : lease->expires_us;
    return PIL_STATUS_OK;
}

pil_status pil_lease_add(struct pil_lease *lease, const char *name, struct pil_error *ret_error) {
    PIL_TRY(pil_lease_renew(lease, ret_error));
    PIL_TRY(name_object(lease, name, ret_error));
    return wait_for_collectors(lease, name, ret_error);
}

void pil_lease_end(struct pil_lease **lease) {
    struct pil_lease *old = *lease;
    *lease = NULL;
    if (old == NULL) {
        return;
    }
    const struct question question = {.lease = old, .of_any = true};
    bool is_needed = false;
    if (old->kind == PIL_LAYOUT_LEASE_WRITE && old->part_count > 0 &&
        ask_collectors(&question, &is_needed, NULL) != PIL_STATUS_OK) {
        is_needed = true;
    }
    for (uint32_t i = 0; i < old->part_count; i++) {
        if (!is_needed && old->parts[i].tag.text[0] != '\0') {
            pil_ignore(pil_store_remove(old->store, old->parts[i].name, pil_store_if_match(&old->parts[i].tag), NULL),
                       "it expires, and the next collector sweeps it");
        }
        json_decref(old->parts[i].objects);
    }
    free(old->parts);
    free(old->holder);
    free(old);
}

/* ---- Collectors */

static pil_status check_alive(const struct pil_lease *lease, struct pil_error *error) {
    return pil_lease_left_us(lease) > 0
               ? PIL_STATUS_OK
               : pil_fail(error, PIL_STATUS_TIMEOUT,
                          "the collection was held up for longer than its lease and removes no more; run it again");
}

pil_status pil_lease_post(struct pil_lease *lease, const char *const *names, uint32_t count, uint32_t seconds,
                          struct pil_error *ret_error) {
    PIL_ASSERT(lease->kind == PIL_LAYOUT_LEASE_COLLECT);
    PIL_ASSERT(count <= PIL_LEASE_OBJECTS_MAX);
    if (lease->part_count > 0) {
        PIL_TRY(check_alive(lease, ret_error));
    } else if (add_part(lease) == NULL) {
        return no_memory(ret_error);
    }
    json_array_clear(lease->parts[0].objects);
    for (uint32_t i = 0; i < count; i++) {
        if (json_array_append_new(lease->parts[0].objects, json_string(names[i])) != 0) {
            return no_memory(ret_error);
        }
    }
    PIL_TRY(put_all(lease, seconds, ret_error));
    return check_alive(lease, ret_error); /* the put may have taken longer than the lease lasts */
}

struct set_reading {
    struct pil_lease_set set;
    int64_t since_us;
};

static pil_status collect_names(void *context, const char *name, const struct lease_document *lease,
                                struct pil_error *error) {
    struct set_reading *reading = context;
    struct pil_lease_set *set = &reading->set;
    size_t count = json_array_size(lease->objects);
    (void)name;
    if (has_ended(lease, reading->since_us) || count == 0) {
        return PIL_STATUS_OK;
    }
    char **names = realloc(set->names, (set->count + count) * sizeof *names);
    if (names == NULL) {
        return no_memory(error);
    }
    set->names = names;
    for (size_t i = 0; i < count; i++) {
        char *object = strdup(json_string_value(json_array_get(lease->objects, i)));
        if (object == NULL) {
            return no_memory(error);
        }
        names[set->count++] = object;
    }
    return PIL_STATUS_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

pil_status pil_lease_set_read(struct pil_store *store, int64_t since_us, struct pil_lease_set *ret_set,
                              struct pil_error *ret_error) {
    struct set_reading reading = {.since_us = since_us};
    pil_status status = each_lease(store, PIL_LAYOUT_LEASE_WRITE, collect_names, &reading, ret_error);
    if (status != PIL_STATUS_OK) {
        pil_lease_set_deinit(&reading.set);
        return status;
    }
    if (reading.set.count > 0) {
        qsort(reading.set.names, reading.set.count, sizeof *reading.set.names, compare_names);
    }
    *ret_set = reading.set;
    return PIL_STATUS_OK;
}

bool pil_lease_set_has(const struct pil_lease_set *set, const char *name) {
    return set->count > 0 && bsearch(&name, set->names, set->count, sizeof *set->names, compare_names) != NULL;
}

void pil_lease_set_deinit(struct pil_lease_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        free(set->names[i]);
    }
    free(set->names);
    *set = (struct pil_lease_set){0};
}

struct sweep {
    struct pil_store *store;
    int64_t since_us;
};

static pil_status sweep_one(void *context, const char *name, const struct lease_document *lease,
                            struct pil_error *error) {
    const struct sweep *sweep = context;
    if (!has_ended(lease, sweep->since_us)) {
        return PIL_STATUS_OK;
    }
    pil_status status = pil_store_remove(sweep->store, name, pil_store_if_match(&lease->tag), error);
    return status == PIL_STATUS_CONFLICT ? PIL_STATUS_OK : status; /* its holder has renewed it */
}

pil_status pil_lease_sweep(struct pil_lease *lease, int64_t since_us, struct pil_error *ret_error) {
    const struct question question = {.lease = lease, .of_any = true};
    struct sweep sweep = {.store = lease->store, .since_us = since_us};
    bool is_other_alive = false;
    PIL_ASSERT(lease->kind == PIL_LAYOUT_LEASE_COLLECT);
    PIL_TRY(ask_collectors(&question, &is_other_alive, ret_error));
    if (!is_other_alive) {
        PIL_TRY(each_lease(lease->store, PIL_LAYOUT_LEASE_WRITE, sweep_one, &sweep, ret_error));
    }
    return each_lease(lease->store, PIL_LAYOUT_LEASE_COLLECT, sweep_one, &sweep, ret_error);
}
