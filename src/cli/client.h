/* SPDX-License-Identifier: Apache-2.0
 * A RESP client: requests are queued and sent together, and their replies are read one by one. Blocking, with a
 * timeout.
 */
#pragma once

#include "base/text.h"
#include "wire/resp.h"

struct pil_client {
    int fd;
    struct pil_text out; /* requests to send */
    struct pil_text in;  /* replies; the next one starts at in_at */
    size_t in_at;
};

/* Connects to "unix:PATH" or "tcp:HOST:PORT" ("tcp:[::1]:PORT"). INVALID: the address has another form. CLOSED,
 * NOT_FOUND, TIMEOUT, …: no server accepts there. */
pil_status pil_client_open(const char *address, struct pil_client *ret_client, struct pil_error *ret_error) PIL_CHECKED;
void pil_client_close(struct pil_client *client);

void pil_client_queue(struct pil_client *client, const struct pil_bytes *args, uint32_t arg_count);
pil_status pil_client_flush(struct pil_client *client, struct pil_error *ret_error) PIL_CHECKED;
/* Returns the next whole reply, for pil_resp_value_next; borrowed until the next call. */
pil_status pil_client_reply(struct pil_client *client, struct pil_bytes *ret_reply,
                            struct pil_error *ret_error) PIL_CHECKED;
