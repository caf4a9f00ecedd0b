/* SPDX-License-Identifier: Apache-2.0
 * The server's catalog: its views by number, and the feature services of each project (schemas/mapped.md, "Catalog").
 * It is kept as the text that was received, checked once, and parsed again for each plan. All functions are called
 * under the client's lock. For this module only. */
#pragma once

#include "base/bytes.h"
#include "client/result.h"
#include "vector/plan.h"

struct pillion_client;
struct pillion_plan;

struct pil_catalog {
    uint8_t *text; /* NULL: none was received. Followed by as many bytes of scratch memory for its reader */
    size_t len;
};

/* Reads the document from `fd` into the session and the client's table of views. CORRUPT, NO_MEMORY: the previous
 * catalog stays. */
pil_status pil_catalog_read(struct pillion_client *client, int fd, struct pil_error *ret_error) PIL_CHECKED;
void pil_catalog_deinit(struct pil_catalog *catalog);
/* The number of "view" or "project/view". NOT_FOUND; INVALID: this client may read several of that name. */
pil_status pil_catalog_view(const struct pillion_client *client, struct pil_bytes name, uint32_t *ret_number,
                            struct pil_error *ret_error) PIL_CHECKED;
/* The features of "service" or "project/service", or those of the options, with full view names. */
pil_status pil_catalog_spec(const struct pillion_client *client, const struct pillion_plan_options *options,
                            struct pil_vector_spec **ret_spec, struct pil_error *ret_error) PIL_CHECKED;
/* Calls `take` with the project and the name of each service. */
void pil_catalog_services(const struct pillion_client *client,
                          void (*take)(void *context, const char *project, struct pil_bytes name), void *context);
/* Finds the numbers of the plan's views in the catalog of this connection. Returns false if a view is missing. */
bool pil_catalog_resolve(const struct pillion_client *client, struct pillion_plan *plan);
