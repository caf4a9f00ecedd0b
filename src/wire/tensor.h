/* SPDX-License-Identifier: Apache-2.0
 * The answer of PIL.VECTOR: a head, a status for each value, an event timestamp for each row and view, and a row-major
 * tensor, little-endian, in one bulk string. Specified in schemas/wire.md. Pure. */
#pragma once

#include "base/bounds.h"
#include "base/bytes.h"
#include "base/status.h"

enum {
    PIL_TENSOR_MAGIC = 0x31564c50, /* "PLV1" */
    PIL_TENSOR_VIEWS_MAX = 16,
    PIL_TENSOR_FIXED_BYTES = 64,
    PIL_TENSOR_VIEW_BYTES = 56,
    PIL_TENSOR_HEAD_BYTES_MAX = PIL_TENSOR_FIXED_BYTES + PIL_TENSOR_VIEWS_MAX * PIL_TENSOR_VIEW_BYTES,
    PIL_TENSOR_ALIGNMENT = 64, /* of the tensor, from the start of the answer */
};

struct pil_tensor_view {
    char release[PIL_RELEASE_ID_CHARS + 1];
    uint64_t generation;
    int64_t worst_age_us; /* now minus the oldest event timestamp of the rows found; -1: none of them has one */
    uint64_t not_found;   /* rows */
    int64_t created_us;   /* of the release */
};

struct pil_tensor_head {
    uint32_t element_bytes; /* 4: float32, 8: float64 */
    uint32_t rows;
    uint32_t features; /* statuses per row */
    uint32_t width;    /* elements per row */
    uint32_t view_count;
    int64_t now_us; /* the server's wall clock, which ages are relative to */
    struct pil_tensor_view views[PIL_TENSOR_VIEWS_MAX];
    /* Set by layout and decode; bytes from the start of the answer. */
    uint64_t statuses_at; /* uint8[rows][features] */
    uint64_t times_at;    /* int64[rows][views]: event timestamps in µs, INT64_MIN where not found; aligned to 8 */
    uint64_t values_at;   /* float[rows][width]; aligned to 64 */
    uint64_t bytes;       /* of the whole answer */
};

/* Computes the offsets from the counts. */
void pil_tensor_layout(struct pil_tensor_head *head);
/* Writes the head after pil_tensor_layout; returns its length, which is statuses_at. */
size_t pil_tensor_put_head(const struct pil_tensor_head *head, uint8_t to[PIL_TENSOR_HEAD_BYTES_MAX]);
/* Reads the head of an answer and checks that every part lies inside, that statuses are valid, and that release ids
 * are. CORRUPT with a message. Cost: reads all statuses. */
pil_status pil_tensor_decode(struct pil_bytes answer, struct pil_tensor_head *ret_head,
                             struct pil_error *ret_error) PIL_CHECKED;
/* 16 hexadecimal digits. */
bool pil_tensor_is_release_id(struct pil_bytes text);
/* Whether `count` bytes are all statuses of values as the answers of PIL.VECTOR and PIL.COLUMNS have them. */
bool pil_tensor_are_statuses(const uint8_t *from, uint64_t count);
/* The view records behind a head; CORRUPT: a release id is none. */
pil_status pil_tensor_load_views(const uint8_t *from, uint32_t count, struct pil_tensor_view *ret_views,
                                 struct pil_error *ret_error) PIL_CHECKED;
/* One view record, which the answer of PIL.COLUMNS also has. */
void pil_tensor_put_view(const struct pil_tensor_view *view, uint8_t to[PIL_TENSOR_VIEW_BYTES]);
