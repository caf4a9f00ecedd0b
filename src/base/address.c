/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* "HOST:PORT"; the host may be in brackets, for IPv6 addresses, which contain colons. */
static bool parse_tcp(const char *text, struct pil_address *address) {
    const char *colon = strrchr(text, ':');
    size_t digits = colon != NULL ? strspn(colon + 1, "0123456789") : 0;
    unsigned long port = digits > 0 && digits < PIL_ADDRESS_PORT_BYTES ? strtoul(colon + 1, NULL, 10) : 0;
    if (port == 0 || port > UINT16_MAX || colon[1 + digits] != '\0') {
        return false;
    }
    size_t len = (size_t)(colon - text);
    bool in_brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';
    len -= in_brackets ? 2 : 0;
    if (len == 0 || len >= sizeof address->host) {
        return false;
    }
    memcpy(address->host, text + in_brackets, len);
    memcpy(address->port, colon + 1, digits);
    return true;
}

static bool parse_unix(const char *text, struct pil_address *address) {
    size_t len = strlen(text);
    if (len == 0 || len >= sizeof address->path) {
        return false;
    }
    memcpy(address->path, text, len);
    return true;
}

pil_status pil_address_parse(const char *text, struct pil_address *ret_address, struct pil_error *ret_error) {
    struct pil_address address = {.kind = strncmp(text, "tcp:", 4) == 0 ? PIL_ADDRESS_TCP : PIL_ADDRESS_UNIX};
    bool ok = address.kind == PIL_ADDRESS_TCP ? parse_tcp(text + 4, &address)
                                              : strncmp(text, "unix:", 5) == 0 && parse_unix(text + 5, &address);
    if (!ok) {
        return pil_fail(ret_error, PIL_STATUS_INVALID,
                        "'%.256s' is not an address; write unix:/PATH (at most %d bytes) or tcp:HOST:PORT (1 to 65535)",
                        text, PIL_ADDRESS_PATH_BYTES - 1);
    }
    *ret_address = address;
    return PIL_STATUS_OK;
}
