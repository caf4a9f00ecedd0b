/* SPDX-License-Identifier: Apache-2.0
 * The pages of the admin listener: /metrics, /healthz, /readyz, /status, /mapped, /hist, /slowlog. Thread: control;
 * allocates: a page that there is no memory for answers 503 and says so. */
#pragma once

#include "node/node.h"
#include "wire/http.h"

struct pil_page {
    int status;
    const char *content_type;
    const char *fields;   /* more response fields, or NULL */
    struct pil_text body; /* the caller's: pil_text_deinit */
    bool lacks_memory;    /* for the whole of it */
};

void pil_page_answer(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *ret_page);
