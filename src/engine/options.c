/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/options.h"

enum {
    CONNECTIONS_MAX = 1 << 20,
    BUFFERS_MAX = 32768 /* the kernel's limit for a provided-buffer ring */
};

pil_status pil_engine_options_fill(const struct pil_engine_options *options, struct pil_engine_options *ret_options,
                                   struct pil_error *ret_error) {
    struct pil_engine_options filled = *options;
    uint64_t complete = 4 * (uint64_t)options->connections_max;
    filled.submit_entries = options->submit_entries != 0 ? options->submit_entries : 1024;
    filled.complete_entries = options->complete_entries != 0 ? options->complete_entries
                              : complete < 4096              ? 4096
                                                             : (uint32_t)complete;
    filled.buffer_count = options->buffer_count != 0 ? options->buffer_count : 256;
    filled.buffer_bytes = options->buffer_bytes != 0 ? options->buffer_bytes : 16384;
    filled.receive_bytes_per_turn_max =
        options->receive_bytes_per_turn_max != 0 ? options->receive_bytes_per_turn_max : 65536;
    if (options->connections_max == 0 || options->connections_max > CONNECTIONS_MAX) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "connections_max is %u, not 1 to %d", options->connections_max,
                        CONNECTIONS_MAX);
    }
    if (filled.buffer_count > BUFFERS_MAX || (filled.buffer_count & (filled.buffer_count - 1)) != 0) {
        return pil_fail(ret_error, PIL_STATUS_INVALID, "buffer_count is %u, not a power of two up to %d",
                        filled.buffer_count, BUFFERS_MAX);
    }
    *ret_options = filled;
    return PIL_STATUS_OK;
}
