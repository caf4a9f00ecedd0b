/* SPDX-License-Identifier: Apache-2.0
 * Writes responses and errors of Feast's HTTP API. */
#include "wire/feast.h"
#include "base/panic.h"
#include "wire/value.h"

enum { INPUT_BYTES_MAX = 256 }; /* a longer offending value is not shown */

static void put_text(struct pil_sink *sink, const char *text) {
    pil_sink_write_text(sink, text);
}

static void put_string(struct pil_sink *sink, const char *text) {
    pil_value_put_json_string(sink, pil_bytes_from_text(text));
}

/* ---- Rejections. */

void pil_feast_put_detail(struct pil_sink *sink, const char *text) {
    put_text(sink, "{\"detail\":");
    put_string(sink, text);
    put_text(sink, "}");
}

void pil_feast_put_rejection(struct pil_sink *sink, const struct pil_feast_rejection *rejection) {
    if (rejection->limit > 0) {
        put_text(sink, "{\"detail\":\"");
        put_text(sink, rejection->message);
        put_text(sink, ": at most ");
        pil_sink_write_u64(sink, rejection->limit);
        put_text(sink, " are possible in one request\"}");
        return;
    }
    if (rejection->type == NULL) {
        pil_feast_put_detail(sink, rejection->message);
        return;
    }
    put_text(sink, "{\"detail\":[{\"type\":");
    put_string(sink, rejection->type);
    put_text(sink, ",\"loc\":[\"body\"");
    if (rejection->member != NULL) {
        put_text(sink, ",");
        put_string(sink, rejection->member);
    }
    if (rejection->field.len > 0) {
        put_text(sink, ",");
        pil_value_put_json_string(sink, rejection->field);
    }
    if (rejection->index >= 0) {
        put_text(sink, ",");
        pil_sink_write_i64(sink, rejection->index);
    }
    put_text(sink, "],\"msg\":");
    put_string(sink, rejection->message);
    if (rejection->input.len > 0 && rejection->input.len <= INPUT_BYTES_MAX) {
        put_text(sink, ",\"input\":");
        pil_sink_write_bytes(sink, rejection->input);
    }
    if (rejection->detail != NULL) {
        put_text(sink, ",\"ctx\":{\"error\":");
        put_string(sink, rejection->detail);
        put_text(sink, "}");
    }
    put_text(sink, "}]}");
}

/* ---- Errors. */

static const struct error {
    int http_status;
    const char *class_name; /* in feast.errors; NULL: a plain message */
    const char *message;
} errors[] = {
#define X(name, status, class_name, message) {status, class_name, message},
    PIL_FEAST_ERROR_TABLE(X)
#undef X
};

/* A sink on the stack, large enough for any error message. */
struct note {
    struct pil_sink sink;
    uint8_t bytes[4096];
};

static bool note_grow(struct pil_sink *sink) {
    (void)sink;
    return false;
}

static void note_init(struct note *note) {
    note->sink.at = note->bytes;
    note->sink.end = note->bytes + sizeof note->bytes;
    note->sink.grow = note_grow;
    note->sink.failed = false;
}

static struct pil_bytes note_bytes(const struct note *note) {
    PIL_ASSERT(!note->sink.failed);
    return pil_bytes_from(note->bytes, (size_t)(note->sink.at - note->bytes));
}

static void put_message(struct pil_sink *sink, const char *message, struct pil_bytes first, struct pil_bytes second) {
    for (; *message != '\0'; message++) {
        if (*message != '%') {
            pil_sink_put(sink, (uint8_t)*message);
            continue;
        }
        struct pil_bytes argument = *++message == '1' ? first : second;
        argument.len = argument.len < PIL_FEAST_ARGUMENT_BYTES ? argument.len : PIL_FEAST_ARGUMENT_BYTES;
        pil_sink_write_bytes(sink, argument);
    }
}

int pil_feast_error_http_status(pil_feast_error error) {
    return errors[error].http_status;
}

void pil_feast_put_error(struct pil_sink *sink, pil_feast_error error, struct pil_bytes first,
                         struct pil_bytes second) {
    struct note message, inner;
    note_init(&message);
    put_message(&message.sink, errors[error].message, first, second);
    if (errors[error].class_name == NULL) {
        pil_value_put_json_string(sink, note_bytes(&message));
        return;
    }
    note_init(&inner);
    put_text(&inner.sink, "{\"module\": \"feast.errors\", \"class\": ");
    put_string(&inner.sink, errors[error].class_name);
    put_text(&inner.sink, ", \"message\": ");
    pil_value_put_json_string(&inner.sink, note_bytes(&message));
    put_text(&inner.sink, "}");
    pil_value_put_json_string(sink, note_bytes(&inner));
}

/* ---- Response. */

/* Each with its comma, padded to equal size: copying a constant length takes two moves. */
enum { STATUS_BYTES = 24, TIME_COPY_BYTES = 32 };
static const struct status_text {
    char text[STATUS_BYTES + 1];
    uint8_t len;
} status_texts[] = {
    [PIL_VALUE_PRESENT] = {",\"PRESENT\"", 10},     [PIL_VALUE_NULL_VALUE] = {",\"NULL_VALUE\"", 13},
    [PIL_VALUE_NOT_FOUND] = {",\"NOT_FOUND\"", 12}, [PIL_VALUE_OUTSIDE_MAX_AGE] = {",\"OUTSIDE_MAX_AGE\"", 18},
    [PIL_VALUE_DENIED] = {",\"DENIED\"", 9},
};
PIL_STATIC_ASSERT(sizeof status_texts / sizeof *status_texts == PIL_VALUE_STATUS_COUNT);

static void open_list(struct pil_feast_encoder *encoder, const char *text) {
    put_text(encoder->sink, text);
    encoder->comma = false;
}

static void put_comma(struct pil_feast_encoder *encoder) {
    if (encoder->comma) {
        pil_sink_put(encoder->sink, ',');
    }
    encoder->comma = true;
}

void pil_feast_put_begin(struct pil_feast_encoder *encoder) {
    put_text(encoder->sink, "{\"results\":[");
}

void pil_feast_put_column(struct pil_feast_encoder *encoder) {
    open_list(encoder, encoder->column_open ? "]},{\"values\":[" : "{\"values\":[");
    encoder->column_open = true;
}

void pil_feast_put_value(struct pil_feast_encoder *encoder, struct pil_type type, struct pil_bytes raw) {
    put_comma(encoder);
    pil_value_put_json(encoder->sink, type, raw);
}

void pil_feast_put_null(struct pil_feast_encoder *encoder) {
    put_comma(encoder);
    pil_sink_write(encoder->sink, "null", 4);
}

void pil_feast_put_statuses(struct pil_feast_encoder *encoder) {
    open_list(encoder, "],\"statuses\":[");
}

void pil_feast_put_status(struct pil_feast_encoder *encoder, pil_value_status status) {
    const struct status_text *text = &status_texts[status];
    size_t skip = !encoder->comma;
    memcpy(pil_sink_reserve(encoder->sink, STATUS_BYTES), text->text + skip, STATUS_BYTES);
    pil_sink_advance(encoder->sink, text->len - skip);
    encoder->comma = true;
}

void pil_feast_put_timestamps(struct pil_feast_encoder *encoder) {
    open_list(encoder, "],\"event_timestamps\":[");
}

static char *put_two(char *at, unsigned value) {
    at[0] = (char)('0' + value / 10);
    at[1] = (char)('0' + value % 10);
    return at + 2;
}

/* "hh:mm:ss", followed by 3 or 6 digits of fraction if it is not zero, as in pil_clock_format_us. */
static char *put_time_of_day(char *at, uint64_t us_of_day) {
    unsigned seconds = (unsigned)(us_of_day / 1000000), fraction = (unsigned)(us_of_day % 1000000);
    at = put_two(at, seconds / 3600);
    *at++ = ':';
    at = put_two(at, seconds / 60 % 60);
    *at++ = ':';
    at = put_two(at, seconds % 60);
    if (fraction != 0) {
        int digits = fraction % 1000 == 0 ? 3 : 6;
        unsigned rest = digits == 3 ? fraction / 1000 : fraction;
        *at = '.';
        for (int i = digits; i > 0; i--) {
            at[i] = (char)('0' + rest % 10);
            rest /= 10;
        }
        at += 1 + digits;
    }
    return at;
}

/* Renders ,"2026-11-21T03:45:10Z" into time_text. */
static void render_time(struct pil_feast_encoder *encoder, int64_t us) {
    const int64_t day_length_us = INT64_C(86400) * 1000000, year_ten_thousand_us = INT64_C(2932897) * day_length_us;
    enum { TIME_AT = 13 }; /* after ,"2026-11-21T */
    encoder->time_us = us;
    char *end;
    if (encoder->day_known && us >= encoder->day_us && us < encoder->day_us + day_length_us) {
        end = put_time_of_day(encoder->time_text + TIME_AT, (uint64_t)(us - encoder->day_us));
        *end++ = 'Z';
    } else {
        encoder->time_text[0] = ',';
        encoder->time_text[1] = '"';
        end = encoder->time_text + 2 + pil_clock_format_us(us, encoder->time_text + 2);
        encoder->day_known = us >= 0 && us < year_ten_thousand_us; /* other times are rare, and clamped */
        encoder->day_us = us - us % day_length_us;
    }
    *end++ = '"';
    encoder->time_bytes = (uint8_t)(end - encoder->time_text);
}

void pil_feast_put_timestamp(struct pil_feast_encoder *encoder, int64_t event_us) {
    if (encoder->time_us != event_us || encoder->time_bytes == 0) {
        render_time(encoder, event_us);
    }
    size_t skip = !encoder->comma;
    memcpy(pil_sink_reserve(encoder->sink, TIME_COPY_BYTES), encoder->time_text + skip, TIME_COPY_BYTES);
    pil_sink_advance(encoder->sink, encoder->time_bytes - skip);
    encoder->comma = true;
}

void pil_feast_put_names(struct pil_feast_encoder *encoder) {
    open_list(encoder,
              encoder->column_open ? "]}],\"metadata\":{\"feature_names\":[" : "],\"metadata\":{\"feature_names\":[");
}

void pil_feast_put_name(struct pil_feast_encoder *encoder, struct pil_bytes name) {
    put_comma(encoder);
    pil_value_put_json_string(encoder->sink, name);
}

void pil_feast_put_views(struct pil_feast_encoder *encoder) {
    open_list(encoder, "],\"feature_view_metadata\":[");
}

void pil_feast_put_view(struct pil_feast_encoder *encoder, struct pil_bytes name) {
    put_comma(encoder);
    put_text(encoder->sink, "{\"name\":");
    pil_value_put_json_string(encoder->sink, name);
    put_text(encoder->sink, "}");
}

void pil_feast_put_end(struct pil_feast_encoder *encoder) {
    put_text(encoder->sink, "]}}");
}
