/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sink.h"

static bool no_growth(struct pil_sink *sink) {
    (void)sink;
    return false;
}

struct pil_sink pil_sink_fixed(void *data, size_t bytes) {
    uint8_t *at = data;
    return (struct pil_sink){.at = at, .end = at != NULL ? at + bytes : NULL, .grow = no_growth};
}

static bool measure_grow(struct pil_sink *sink) {
    struct pil_sink_measure *measure = (struct pil_sink_measure *)(void *)sink;
    measure->counted = pil_sink_measured(measure);
    sink->at = measure->bytes;
    sink->end = measure->bytes + sizeof measure->bytes;
    return true;
}

void pil_sink_measure_begin(struct pil_sink_measure *measure) {
    measure->sink.at = measure->bytes;
    measure->sink.end = measure->bytes + sizeof measure->bytes;
    measure->sink.grow = measure_grow;
    measure->sink.failed = false;
    measure->counted = 0;
}

uint64_t pil_sink_measured(const struct pil_sink_measure *measure) {
    return measure->counted + (uint64_t)(measure->sink.at - measure->bytes);
}

void pil_sink_write(struct pil_sink *sink, const void *data, size_t len) {
    const uint8_t *from = data;
    while (len > 0) {
        uint8_t *to = pil_sink_reserve(sink, 1);
        size_t room = (size_t)(sink->end - to);
        size_t part = len < room ? len : room;
        if (sink->failed) {
            return;
        }
        memcpy(to, from, part);
        sink->at += part;
        from += part;
        len -= part;
    }
}

void pil_sink_write_u64(struct pil_sink *sink, uint64_t value) {
    uint8_t digits[20];
    size_t count = 0;
    do {
        digits[sizeof digits - ++count] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    memcpy(pil_sink_reserve(sink, count), digits + sizeof digits - count, count);
    pil_sink_advance(sink, count);
}

void pil_sink_write_i64(struct pil_sink *sink, int64_t value) {
    if (value < 0) {
        pil_sink_put(sink, '-');
        pil_sink_write_u64(sink, 0 - (uint64_t)value);
        return;
    }
    pil_sink_write_u64(sink, (uint64_t)value);
}
