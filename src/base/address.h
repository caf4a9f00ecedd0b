/* SPDX-License-Identifier: Apache-2.0
 * Socket addresses in text form: unix:/PATH and tcp:HOST:PORT. Listeners, the CLI and libpillion use the same parser.
 */
#pragma once

#include "base/status.h"

enum {
    PIL_ADDRESS_PATH_BYTES = 108, /* sockaddr_un.sun_path with its NUL, unix(7) */
    PIL_ADDRESS_HOST_BYTES = 256, /* a DNS name with its NUL, RFC 1035 */
    PIL_ADDRESS_PORT_BYTES = 6,
};

typedef enum pil_address_kind { PIL_ADDRESS_UNIX, PIL_ADDRESS_TCP } pil_address_kind;

struct pil_address {
    pil_address_kind kind;
    char path[PIL_ADDRESS_PATH_BYTES]; /* for UNIX */
    char host[PIL_ADDRESS_HOST_BYTES]; /* for TCP: a name or a number, without brackets */
    char port[PIL_ADDRESS_PORT_BYTES]; /* for TCP: "1" to "65535" */
};

/* INVALID, with a message that quotes `text` and shows both forms. Cost: no allocation, no system call. */
pil_status pil_address_parse(const char *text, struct pil_address *ret_address,
                             struct pil_error *ret_error) PIL_CHECKED;
