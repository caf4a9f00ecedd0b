/* SPDX-License-Identifier: Apache-2.0
 * The pages of the admin listener: /metrics, /healthz, /readyz, /status, /mapped, /hist, /slowlog. Thread: control.
 * Allocates; when memory is short the answer is 503 with a line that says so. */
#pragma once

#include "node/node.h"
#include "wire/http.h"

struct pil_page {
    int status;
    const char *content_type;
    const char *fields;   /* more response fields, or NULL */
    struct pil_text body; /* owned by the caller, who frees it with pil_text_deinit */
};

void pil_page_answer(const struct pil_node *node, const struct pil_http_request *request, struct pil_page *ret_page);
/* Whether a probe asks: /healthz or /readyz. */
bool pil_page_is_health(const struct pil_http_request *request);
