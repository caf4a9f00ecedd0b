/* SPDX-License-Identifier: Apache-2.0
 * The Open Inference Protocol on a listener; framing is web.c's. */
#pragma once

#include "server/internal.h"

/* Routes the request and adds its lookups; on a mistake request->error_body and head.status are set, else
 * request->oip. */
void pil_oip_prepare(struct pil_worker *worker, struct pil_request *request, const struct pil_http_request *http);
/* Head and body of a request whose oip is set. */
void pil_oip_reply(struct pil_worker *worker, struct pil_request *request, struct pil_sink *sink);
