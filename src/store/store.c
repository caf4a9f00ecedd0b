/* SPDX-License-Identifier: Apache-2.0
 * The entry points of all stores: they check names, prefixes and cancellation before they call the store's own
 * function. */
#include "store/store.h"

#include "base/panic.h"
#include "store/ops.h"

static pil_status check_name(const struct pil_store *store, const char *name, struct pil_error *error) {
    PIL_ASSERT(store->ops != NULL);
    if (!pil_store_name_ok(name)) {
        return pil_fail(error, PIL_STATUS_INVALID,
                        "'%.200s' cannot be the name of an object: segments of [A-Za-z0-9._=@+-] that do not start "
                        "with '.'",
                        name);
    }
    return pil_store_is_cancelled(store) ? pil_store_fail_cancelled(error) : PIL_STATUS_OK;
}

pil_status pil_store_fail_cancelled(struct pil_error *error) {
    return pil_fail(error, PIL_STATUS_CLOSED, "cancelled");
}

pil_status pil_store_get_if_changed(struct pil_store *store, const char *name, size_t bytes_max,
                                    const struct pil_store_tag *if_not, struct pil_store_content *ret_content,
                                    struct pil_error *ret_error) {
    const struct pil_store_get get = {.name = name, .bytes_max = bytes_max, .if_not = if_not};
    PIL_TRY(check_name(store, name, ret_error));
    return store->ops->get(store, &get, ret_content, ret_error);
}

pil_status pil_store_get(struct pil_store *store, const char *name, size_t bytes_max, struct pil_text *ret_text,
                         struct pil_store_tag *ret_tag, struct pil_error *ret_error) {
    struct pil_store_content content;
    PIL_TRY(pil_store_get_if_changed(store, name, bytes_max, NULL, &content, ret_error));
    PIL_ASSERT(!content.is_unchanged);
    *ret_text = content.text;
    if (ret_tag != NULL) {
        *ret_tag = content.tag;
    }
    return PIL_STATUS_OK;
}

pil_status pil_store_get_range(struct pil_store *store, const struct pil_store_range *range, size_t *ret_len,
                               struct pil_error *ret_error) {
    PIL_TRY(check_name(store, range->name, ret_error));
    if (range->offset > INT64_MAX) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "%s: no object has an offset of %llu", range->name,
                        (unsigned long long)range->offset);
    }
    size_t len = 0;
    PIL_TRY(store->ops->get_range(store, range, &len, ret_error));
    PIL_ASSERT(len <= range->bytes);
    *ret_len = len;
    return PIL_STATUS_OK;
}

pil_status pil_store_stat(struct pil_store *store, const char *name, uint64_t *ret_bytes, struct pil_store_tag *ret_tag,
                          struct pil_error *ret_error) {
    PIL_TRY(check_name(store, name, ret_error));
    return store->ops->stat(store, name, ret_bytes, ret_tag, ret_error);
}

pil_status pil_store_put(struct pil_store *store, const char *name, struct pil_bytes content,
                         struct pil_store_condition condition, struct pil_store_tag *ret_tag,
                         struct pil_error *ret_error) {
    PIL_TRY(check_name(store, name, ret_error));
    PIL_ASSERT(condition.when != PIL_STORE_IF_MATCH || condition.tag.text[0] != '\0');
    return store->ops->put(store, name, content, &condition, ret_tag, ret_error);
}

pil_status pil_store_remove(struct pil_store *store, const char *name, struct pil_store_condition condition,
                            struct pil_error *ret_error) {
    PIL_TRY(check_name(store, name, ret_error));
    PIL_ASSERT(condition.when != PIL_STORE_IF_ABSENT);
    return store->ops->remove(store, name, &condition, ret_error);
}

pil_status pil_store_list(struct pil_store *store, const char *prefix, pil_store_visit_fn visit, void *context,
                          struct pil_error *ret_error) {
    if (!pil_store_prefix_ok(prefix)) {
        return pil_fail(ret_error, PIL_STATUS_INVALID,
                        "'%.200s' cannot be a prefix of names: it must be empty or end in '/'", prefix);
    }
    if (pil_store_is_cancelled(store)) {
        return pil_store_fail_cancelled(ret_error);
    }
    pil_status status = store->ops->list(store, prefix, visit, context, ret_error);
    return status == PIL_STATUS_NO_MEMORY ? pil_fail(ret_error, status, "no memory to list %s%s", prefix, store->url)
                                          : status;
}

int pil_store_watch(struct pil_store *store, const char *prefix) {
    return store->ops->watch != NULL && pil_store_prefix_ok(prefix) ? store->ops->watch(store, prefix) : -1;
}

void pil_store_changed(struct pil_store *store) {
    if (store->ops->changed != NULL) {
        store->ops->changed(store);
    }
}

pil_status pil_store_open_again(struct pil_store *store, struct pil_store **ret_store, struct pil_error *ret_error) {
    return store->ops->open_again(store, ret_store, ret_error);
}

pil_status pil_store_renew(struct pil_store *store, struct pil_error *ret_error) {
    if (pil_store_is_cancelled(store)) {
        return pil_store_fail_cancelled(ret_error);
    }
    return store->ops->renew != NULL ? store->ops->renew(store, ret_error) : PIL_STATUS_OK;
}

void pil_store_cancel(struct pil_store *store) {
    atomic_store_explicit(&store->is_cancelled, true, memory_order_relaxed);
}

const char *pil_store_url(const struct pil_store *store) {
    return store->url;
}

void pil_store_close(struct pil_store **store) {
    if (*store != NULL) {
        (*store)->ops->close(*store);
        *store = NULL;
    }
}
