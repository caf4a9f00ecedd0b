/* SPDX-License-Identifier: Apache-2.0
 * Messages of a process of ours that has been taken over. The first byte chooses the route, the second the number of
 * descriptors that came along; the rest is the datagram. Invariants: what decodes is within the bounds of the table
 * (the encoder asserts them), came by a route of its kind, and encoded again is the same bytes. */
#include "base/panic.h"
#include "supervise/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const pil_message_route routes[] = {PIL_ROUTE_TO_SERVER, PIL_ROUTE_TO_FETCHER, PIL_ROUTE_FROM_SERVER,
                                               PIL_ROUTE_FROM_FETCHER};
    struct pil_message message;
    uint8_t again[PIL_MESSAGE_BYTES_MAX];
    if (size < 2) {
        return 0;
    }
    struct pil_bytes bytes = pil_bytes_from(data + 2, size - 2);
    if (pil_message_decode(bytes, data[1] % 3, routes[data[0] % 4], &message) != PIL_STATUS_OK) {
        return 0;
    }
    PIL_ASSERT(pil_message_has_fd(message.kind) == data[1] % 3 && message.fd == -1);
    PIL_ASSERT(bytes.len <= sizeof again && pil_message_encode(&message, again) == bytes.len);
    PIL_ASSERT(memcmp(again, bytes.data, bytes.len) == 0);
    return 0;
}
