/* SPDX-License-Identifier: Apache-2.0
 * Objects that never change: a writer that finds one relies on it, and tells a collector that looked earlier
 * (schemas/store.md, "Order of writes"). For this module. */
#pragma once

#include "store/store.h"

/* Makes the object that is there count as written now: touches it or, when it is another user's and so not ours to
 * touch, puts the same bytes in its place: `content` or, when that is NULL, what is read from there. *ret_replaced:
 * they were put. NOT_FOUND; DENIED says which rights are needed. */
pil_status pil_object_refresh(struct pil_store *store, const char *name, const struct pil_bytes *content,
                              bool *ret_replaced, struct pil_error *ret_error) PIL_CHECKED;
