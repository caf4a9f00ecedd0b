/* SPDX-License-Identifier: Apache-2.0
 * READ: turns record batches into records. A chunk of rows is encoded column by column into scratch rows (sequential
 * reads, one type for each loop), then row by row into its partition. */
#include "ingest/internal.h"
#include "base/clock.h"
#include "base/panic.h"

#include <stdio.h>
#include <stdlib.h>

enum { CHUNK_BYTES = 256 << 10, CHUNK_ROWS_MAX = 1024 };

struct encoder {
    struct pil_ingest *ingest;
    const struct pil_view *view;
    struct pil_column keys[PIL_ENTITIES_MAX];
    struct pil_column event, created; /* child is -1 when absent: event in a static view only */
    struct pil_column event_ns, created_ns;
    struct pil_column *features;
    uint32_t chunk_rows;
    uint8_t *rows; /* chunk_rows × stride */
    struct pil_row_flaw *flaws;
    uint8_t *key; /* canonical key of the current row, when keys have variable length */
    struct pil_error *error;
};

/* ---- Set-up for a stream */

/* Binds a column that may be absent, and adds it to *expected if it is there. */
static pil_status bind_optional(struct encoder *encoder, const struct ArrowSchema *schema, struct pil_column *column,
                                int64_t *expected) {
    pil_status status = pil_column_bind(column, schema, encoder->error);
    *expected += status == PIL_STATUS_OK;
    return status == PIL_STATUS_NOT_FOUND ? PIL_STATUS_OK : status;
}

static pil_status bind(struct encoder *encoder, const struct ArrowSchema *schema) {
    const struct pil_view *view = encoder->view;
    const struct pil_type timestamp = {.scalar = PIL_SCALAR_UNIX_TIMESTAMP}, nanoseconds = {.scalar = PIL_SCALAR_INT32};
    if (strcmp(schema->format, "+s") != 0) {
        return pil_fail(encoder->error, PIL_STATUS_INVALID, "a stream of Arrow format '%s' instead of record batches",
                        schema->format);
    }
    int64_t expected = (int64_t)view->entity_count + view->feature_count;
    for (uint32_t i = 0; i < view->entity_count; i++) {
        encoder->keys[i] =
            (struct pil_column){.name = view->entities[i].join_key, .type = {.scalar = view->entities[i].type}};
        PIL_TRY(pil_column_bind(&encoder->keys[i], schema, encoder->error));
    }
    encoder->event = (struct pil_column){.name = PIL_INGEST_EVENT_COLUMN, .type = timestamp};
    encoder->event.child = -1;
    if (!view->is_static) {
        expected++;
        PIL_TRY(pil_column_bind(&encoder->event, schema, encoder->error));
    }
    encoder->created = (struct pil_column){.name = PIL_INGEST_CREATED_COLUMN, .type = timestamp};
    PIL_TRY(bind_optional(encoder, schema, &encoder->created, &expected));
    encoder->event_ns = (struct pil_column){.name = PIL_INGEST_EVENT_NS_COLUMN, .type = nanoseconds};
    PIL_TRY(bind_optional(encoder, schema, &encoder->event_ns, &expected));
    encoder->created_ns = (struct pil_column){.name = PIL_INGEST_CREATED_NS_COLUMN, .type = nanoseconds};
    PIL_TRY(bind_optional(encoder, schema, &encoder->created_ns, &expected));
    for (uint32_t i = 0; i < view->feature_count; i++) {
        encoder->features[i] = (struct pil_column){.name = view->features[i].name, .type = view->features[i].type};
        PIL_TRY(pil_column_bind(&encoder->features[i], schema, encoder->error));
    }
    if (schema->n_children != expected) {
        return pil_fail(encoder->error, PIL_STATUS_INVALID, "%lld columns where feature view %s needs %lld",
                        (long long)schema->n_children, view->name, (long long)expected);
    }
    return PIL_STATUS_OK;
}

static pil_status encoder_init(struct encoder *encoder, struct pil_ingest *ingest, struct pil_error *ret_error) {
    const struct pil_view *view = ingest->view;
    uint32_t rows = CHUNK_BYTES / view->layout.stride;
    rows = rows < 1 ? 1 : rows > CHUNK_ROWS_MAX ? CHUNK_ROWS_MAX : rows;
    *encoder = (struct encoder){
        .ingest = ingest,
        .view = view,
        .features = calloc(view->feature_count + 1, sizeof *encoder->features),
        .chunk_rows = rows,
        .rows = malloc((size_t)rows * view->layout.stride),
        .flaws = malloc(rows * sizeof *encoder->flaws),
        .key = malloc(PIL_KEY_BYTES_MAX),
        .error = ret_error,
    };
    bool ok = encoder->features != NULL && encoder->rows != NULL && encoder->flaws != NULL && encoder->key != NULL;
    return ok ? PIL_STATUS_OK : pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory");
}

static void encoder_deinit(struct encoder *encoder) {
    free(encoder->features);
    free(encoder->rows);
    free(encoder->flaws);
    free(encoder->key);
}

static pil_status attach(struct encoder *encoder, const struct ArrowArray *batch) {
    for (uint32_t i = 0; i < encoder->view->entity_count; i++) {
        PIL_TRY(pil_column_attach(&encoder->keys[i], batch, encoder->error));
    }
    struct pil_column *const optional[] = {&encoder->event, &encoder->created, &encoder->event_ns,
                                           &encoder->created_ns};
    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++) {
        if (optional[i]->child >= 0) {
            PIL_TRY(pil_column_attach(optional[i], batch, encoder->error));
        }
    }
    for (uint32_t i = 0; i < encoder->view->feature_count; i++) {
        PIL_TRY(pil_column_attach(&encoder->features[i], batch, encoder->error));
    }
    const uint8_t *validity = batch->n_buffers > 0 && batch->null_count != 0 ? batch->buffers[0] : NULL;
    for (int64_t i = 0; validity != NULL && i < batch->length; i++) {
        if (!pil_bit_at(validity, batch->offset + i)) {
            return pil_fail(encoder->error, PIL_STATUS_INVALID, "record %lld of a batch is null as a whole",
                            (long long)i);
        }
    }
    return PIL_STATUS_OK;
}

/* ---- One chunk, column by column */

static int64_t timestamp_at(const struct pil_column *column, int64_t row) {
    return pil_load_i64(column->cells.values + 8 * (column->cells.first + row));
}

/* 0 when the column is absent or the cell null. */
static uint16_t nanoseconds_at(const struct pil_column *column, int64_t row) {
    if (column->child < 0 || pil_column_is_null(column, row)) {
        return 0;
    }
    return (uint16_t)pil_load_i32(column->cells.values + 4 * (column->cells.first + row));
}

static bool is_after_as_of(const struct pil_ingest_options *options, int64_t event_us, uint16_t event_ns) {
    return event_us > options->as_of_us || (event_us == options->as_of_us && event_ns > options->as_of_ns);
}

static void flag(struct pil_row_flaw *flaw, pil_ingest_flaw kind, const struct pil_column *column, int64_t found) {
    if (flaw->flaw == PIL_INGEST_FLAW_NONE) {
        *flaw = (struct pil_row_flaw){.flaw = kind, .column = column, .found = found};
    }
}

static void check_chunk(struct encoder *encoder, int64_t first, uint32_t count) {
    struct pil_row_flaw *flaws = encoder->flaws;
    const struct pil_ingest_options *options = &encoder->ingest->options;
    memset(flaws, 0, count * sizeof *flaws);
    for (uint32_t k = 0; k < encoder->view->entity_count; k++) {
        const struct pil_column *key = &encoder->keys[k];
        for (uint32_t i = 0; key->cells.validity != NULL && i < count; i++) {
            if (pil_column_is_null(key, first + i)) {
                flag(&flaws[i], PIL_INGEST_FLAW_NULL_KEY, key, 0);
            }
        }
        pil_column_check(key, first, count, flaws);
    }
    for (uint32_t i = 0; encoder->event.child >= 0 && i < count; i++) {
        if (pil_column_is_null(&encoder->event, first + i)) {
            flag(&flaws[i], PIL_INGEST_FLAW_NULL_TIMESTAMP, &encoder->event, 0);
            continue;
        }
        int64_t event_us = timestamp_at(&encoder->event, first + i);
        bool is_late = is_after_as_of(options, event_us, nanoseconds_at(&encoder->event_ns, first + i));
        bool is_future = event_us > options->event_ts_us_max && !is_late; /* a late one is left out */
        if (is_future || event_us == INT64_MIN) {
            flag(&flaws[i], PIL_INGEST_FLAW_ABSURD_TIMESTAMP, &encoder->event, event_us);
        }
    }
    for (uint32_t f = 0; f < encoder->view->feature_count; f++) {
        pil_column_check(&encoder->features[f], first, count, flaws);
    }
}

/* Sets the null bits of a feature and clears the bytes of null values, so that equal rows have equal bytes. */
static void put_nulls(struct encoder *encoder, uint32_t f, int64_t first, uint32_t count) {
    const struct pil_feature *feature = &encoder->view->features[f];
    const struct pil_column *column = &encoder->features[f];
    uint32_t bytes = pil_type_row_bytes(feature->type), stride = encoder->view->layout.stride;
    uint32_t null_byte = encoder->view->layout.null_offset + feature->null_bit / 8;
    for (uint32_t i = 0; column->cells.validity != NULL && i < count; i++) {
        if (pil_column_is_null(column, first + i)) {
            uint8_t *row = encoder->rows + (size_t)i * stride;
            row[null_byte] |= (uint8_t)(1u << (feature->null_bit % 8));
            memset(row + feature->offset, 0, bytes);
        }
    }
}

static void encode_chunk(struct encoder *encoder, int64_t first, uint32_t count) {
    const struct pil_view *view = encoder->view;
    const struct pil_row_layout *layout = &view->layout;
    memset(encoder->rows, 0, (size_t)count * layout->stride);
    for (uint32_t k = 0, at = 0; layout->key_is_fixed && k < view->entity_count; k++) {
        pil_column_put_fixed(&encoder->keys[k], first, count, encoder->rows + at, layout->stride, encoder->flaws);
        at += pil_scalar_bytes(view->entities[k].type);
    }
    PIL_STATIC_ASSERT(PIL_STATIC_EVENT_US == 0); /* rows of static views keep their zeros */
    if (encoder->event.child >= 0) {
        pil_column_put_fixed(&encoder->event, first, count, encoder->rows + layout->event_ts_offset, layout->stride,
                             encoder->flaws);
    }
    for (uint32_t f = 0; f < view->feature_count; f++) {
        if (!pil_type_is_reference(view->features[f].type)) {
            pil_column_put_fixed(&encoder->features[f], first, count, encoder->rows + view->features[f].offset,
                                 layout->stride, encoder->flaws);
        }
        put_nulls(encoder, f, first, count);
    }
}

/* ---- One row */

static void describe(const struct pil_row_flaw *flaw, char *text, size_t text_bytes) {
    char type[PIL_TYPE_TEXT_BYTES], when[PIL_CLOCK_TEXT_BYTES];
    long long found = flaw->found;
    pil_type_format(flaw->column->type, type);
    switch (flaw->flaw) {
    case PIL_INGEST_FLAW_NONE: break;
    case PIL_INGEST_FLAW_NULL_KEY:
    case PIL_INGEST_FLAW_NULL_TIMESTAMP: snprintf(text, text_bytes, "is null"); break;
    case PIL_INGEST_FLAW_ABSURD_TIMESTAMP:
        pil_clock_format_us(flaw->found, when);
        snprintf(text, text_bytes, "is %s, %s", when, flaw->found > 0 ? "in the future" : "not a valid time");
        break;
    case PIL_INGEST_FLAW_NULL_ELEMENT:
        snprintf(text, text_bytes, "has a null as element %lld of its %s", found + 1, type);
        break;
    case PIL_INGEST_FLAW_VECTOR_LENGTH:
        snprintf(text, text_bytes, "has %lld elements where %s needs %u", found, type, flaw->column->type.dimension);
        break;
    case PIL_INGEST_FLAW_INVALID_UTF8: snprintf(text, text_bytes, "is not UTF-8 (%lld bytes)", found); break;
    case PIL_INGEST_FLAW_OUT_OF_RANGE:
        snprintf(text, text_bytes, "has element %lld beyond the range of %s", found + 1, type);
        break;
    case PIL_INGEST_FLAW_TOO_LARGE: snprintf(text, text_bytes, "makes %lld bytes, over the limit", found); break;
    }
}

static pil_status reject(struct encoder *encoder, const struct pil_row_flaw *flaw) {
    struct pil_ingest *ingest = encoder->ingest;
    const struct pil_ingest_options *options = &ingest->options;
    char text[128] = "";
    describe(flaw, text, sizeof text);
    if (options->on_flaw == NULL ||
        !options->on_flaw(options->context, ingest->counts.rows_in, flaw->column->name, flaw->flaw, text)) {
        return pil_fail(encoder->error, PIL_STATUS_INVALID, "row %llu: column %s %s",
                        (unsigned long long)ingest->counts.rows_in, flaw->column->name, text);
    }
    ingest->counts.null_keys += flaw->flaw == PIL_INGEST_FLAW_NULL_KEY;
    ingest->counts.bad_rows += flaw->flaw != PIL_INGEST_FLAW_NULL_KEY;
    return PIL_STATUS_OK;
}

/* The canonical bytes of a variable key (schema/view.h). Returns false if it is too long; then only the length is
 * set. */
static bool build_key(struct encoder *encoder, int64_t row, struct pil_bytes *ret_key) {
    const struct pil_view *view = encoder->view;
    if (view->entity_count == 1) {
        *ret_key = pil_column_text(&encoder->keys[0], row);
        return ret_key->len <= PIL_KEY_BYTES_MAX;
    }
    size_t len = 0;
    for (uint32_t k = 0; k < view->entity_count; k++) {
        const struct pil_column *column = &encoder->keys[k];
        bool fixed = column->cells.offsets == NULL;
        uint32_t width = pil_scalar_bytes(column->type.scalar);
        struct pil_bytes part = fixed
                                    ? pil_bytes_from(column->cells.values + (column->cells.first + row) * width, width)
                                    : pil_column_text(column, row);
        if (part.len + (fixed ? 0 : 4) > PIL_KEY_BYTES_MAX - len) {
            ret_key->len = len + part.len + 4;
            return false;
        }
        if (!fixed) {
            pil_store_u32(encoder->key + len, (uint32_t)part.len);
            len += 4;
        }
        if (part.len > 0) {
            memcpy(encoder->key + len, part.data, part.len);
        }
        len += part.len;
    }
    *ret_key = pil_bytes_from(encoder->key, len);
    return true;
}

/* Where to write the bytes of a reference: into the field itself, or at *heap_len in the heap, which is then
 * advanced. */
static uint8_t *place(uint8_t *field, uint64_t len, uint8_t *heap, uint64_t *heap_len) {
    pil_store_u32(field, (uint32_t)len);
    if (len <= PIL_REF_INLINE_BYTES) {
        return field + 4;
    }
    uint8_t *at = heap + *heap_len;
    pil_store_u64(field + 8, *heap_len);
    *heap_len += len;
    return at;
}

static void put_references(struct encoder *encoder, int64_t row, struct pil_bytes key, uint8_t *to) {
    const struct pil_view *view = encoder->view;
    uint8_t *heap = to + view->layout.stride;
    uint64_t heap_len = 0;
    if (!view->layout.key_is_fixed) {
        uint8_t *at = place(to, key.len, heap, &heap_len);
        if (key.len > 0) {
            memcpy(at, key.data, key.len);
        }
        if (key.len > PIL_REF_INLINE_BYTES) {
            memcpy(to + 4, key.data, 4);
        }
    }
    for (uint32_t f = 0; f < view->feature_count; f++) {
        const struct pil_column *column = &encoder->features[f];
        if (!pil_type_is_reference(column->type) || pil_column_is_null(column, row)) {
            continue;
        }
        uint8_t *field = to + view->features[f].offset;
        uint64_t len = pil_column_payload_bytes(column, row);
        uint8_t *at = place(field, len, heap, &heap_len);
        pil_column_payload_write(column, row, at);
        if (len > PIL_REF_INLINE_BYTES) {
            memcpy(field + 4, at, 4);
        }
    }
}

static uint64_t heap_bytes_of(const struct encoder *encoder, int64_t row, struct pil_bytes key) {
    uint64_t total = !encoder->view->layout.key_is_fixed && key.len > PIL_REF_INLINE_BYTES ? key.len : 0;
    for (uint32_t f = 0; f < encoder->view->feature_count; f++) {
        const struct pil_column *column = &encoder->features[f];
        if (pil_type_is_reference(column->type) && !pil_column_is_null(column, row)) {
            uint64_t len = pil_column_payload_bytes(column, row);
            total += len > PIL_REF_INLINE_BYTES ? len : 0;
        }
    }
    return total;
}

/* Takes one row: number first + i in the batch, i in the chunk. */
static pil_status take_row(struct encoder *encoder, int64_t first, uint32_t i) {
    struct pil_ingest *ingest = encoder->ingest;
    const struct pil_row_layout *layout = &encoder->view->layout;
    const uint8_t *row = encoder->rows + (size_t)i * layout->stride;
    struct pil_row_flaw *flaw = &encoder->flaws[i];
    struct pil_bytes key = pil_bytes_from(row, layout->key_bytes);
    if (flaw->flaw == PIL_INGEST_FLAW_NONE && !layout->key_is_fixed && !build_key(encoder, first + i, &key)) {
        flag(flaw, PIL_INGEST_FLAW_TOO_LARGE, &encoder->keys[0], (int64_t)key.len);
    }
    if (flaw->flaw != PIL_INGEST_FLAW_NONE) {
        return reject(encoder, flaw);
    }
    if (!encoder->view->is_static && is_after_as_of(&ingest->options, pil_row_event_ts_us(encoder->view, row),
                                                    nanoseconds_at(&encoder->event_ns, first + i))) {
        ingest->counts.after_as_of++;
        return PIL_STATUS_OK;
    }
    uint64_t heap_bytes = layout->has_references ? heap_bytes_of(encoder, first + i, key) : 0;
    uint64_t bytes = pil_align_up(sizeof(struct pil_record) + layout->stride + heap_bytes, 8);
    struct pil_record *record;
    pil_status status = pil_partitions_append(ingest->partitions, pil_hash_shard(key), bytes, &record, encoder->error);
    if (status == PIL_STATUS_TOO_LARGE) {
        return pil_fail_in(encoder->error, status, "row %llu", (unsigned long long)ingest->counts.rows_in);
    }
    PIL_TRY(status);
    bool dated = encoder->created.child >= 0 && !pil_column_is_null(&encoder->created, first + i);
    record->created_us = dated ? timestamp_at(&encoder->created, first + i) : INT64_MIN;
    record->event_ns = nanoseconds_at(&encoder->event_ns, first + i);
    record->created_ns = nanoseconds_at(&encoder->created_ns, first + i);
    uint8_t *to = pil_record_row(record);
    memcpy(to, row, layout->stride);
    if (layout->has_references) {
        memset(to + bytes - sizeof *record - 8, 0, heap_bytes > 0 ? 8 : 0); /* comparisons include the padding */
        put_references(encoder, first + i, key, to);
    }
    return PIL_STATUS_OK;
}

static pil_status take_batch(struct encoder *encoder, const struct ArrowArray *batch) {
    struct pil_ingest *ingest = encoder->ingest;
    uint64_t started = pil_clock_monotonic_ns();
    PIL_TRY(attach(encoder, batch));
    for (int64_t first = 0; first < batch->length; first += encoder->chunk_rows) {
        int64_t rest = batch->length - first;
        uint32_t count = rest < encoder->chunk_rows ? (uint32_t)rest : encoder->chunk_rows;
        check_chunk(encoder, first, count);
        encode_chunk(encoder, first, count);
        for (uint32_t i = 0; i < count; i++) {
            PIL_TRY(take_row(encoder, first, i));
            ingest->counts.rows_in++;
        }
        PIL_TRY(pil_ingest_report(ingest, PIL_INGEST_PHASE_READ, ingest->counts.rows_in, 0, false, encoder->error));
    }
    ingest->phase_ns[PIL_INGEST_PHASE_READ] += pil_clock_monotonic_ns() - started;
    return PIL_STATUS_OK;
}

/* ---- The stream */

static pil_status fail_stream(struct ArrowArrayStream *stream, int code, struct pil_error *ret_error) {
    const char *text = stream->get_last_error(stream);
    return pil_fail(ret_error, PIL_STATUS_IO, "%s", text != NULL ? text : strerror(code));
}

static pil_status take_batches(struct encoder *encoder, struct ArrowArrayStream *stream) {
    for (;;) {
        struct ArrowArray batch = {0};
        int code = stream->get_next(stream, &batch);
        if (code != 0) {
            return fail_stream(stream, code, encoder->error);
        }
        if (batch.release == NULL) {
            return PIL_STATUS_OK;
        }
        pil_status status = take_batch(encoder, &batch);
        batch.release(&batch);
        PIL_TRY(status);
    }
}

pil_status pil_ingest_stream(struct pil_ingest *ingest, struct ArrowArrayStream *stream, struct pil_error *ret_error) {
    PIL_ASSERT(ingest->state == PIL_INGEST_READING);
    struct ArrowSchema schema = {0};
    struct encoder encoder;
    pil_status status = encoder_init(&encoder, ingest, ret_error);
    if (status != PIL_STATUS_OK) {
        goto out;
    }
    int code = stream->get_schema(stream, &schema);
    if (code != 0) {
        status = fail_stream(stream, code, ret_error);
        goto out;
    }
    status = bind(&encoder, &schema);
    if (status == PIL_STATUS_OK) {
        status = take_batches(&encoder, stream);
    }
out:
    if (schema.release != NULL) {
        schema.release(&schema);
    }
    stream->release(stream);
    encoder_deinit(&encoder);
    return status == PIL_STATUS_NOT_FOUND ? PIL_STATUS_INVALID : status;
}
