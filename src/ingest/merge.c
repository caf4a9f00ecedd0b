/* SPDX-License-Identifier: Apache-2.0
 * MERGE: finds the winner of each key, partition by partition. Records are sorted by shard hash, so their order (and
 * the profile, to the last bit) does not depend on the order of input. A partition that is larger than memory is read
 * in pieces: the winners so far stay at the front of the buffer and compete with the next piece. */
#include "ingest/internal.h"
#include "base/clock.h"
#include "base/panic.h"
#include "ingest/order.h"
#include "ingest/value.h"
#include "snapshot/reader.h"

#include <stdlib.h>

struct entry {
    uint64_t hash;
    struct pil_record *record;
};

struct merger {
    struct pil_ingest *ingest;
    struct entry *entries;
    size_t entry_capacity;
    uint8_t *buffer; /* for a partition in the file */
    size_t buffer_bytes;
    uint64_t bytes_done, bytes_total;
    uint32_t conflicts_shown;
    struct pil_error *error;
};

/* ---- Order */

/* Three-way quicksort: hashes are evenly distributed, and many equal ones (a hot key) form one run. */
static void sort_entries(struct entry *entries, size_t count) {
    while (count > 1) {
        uint64_t pivot = entries[count / 2].hash;
        size_t less = 0, at = 0, more = count;
        while (at < more) {
            struct entry entry = entries[at];
            if (entry.hash < pivot) {
                entries[at++] = entries[less];
                entries[less++] = entry;
            } else if (entry.hash > pivot) {
                entries[at] = entries[--more];
                entries[more] = entry;
            } else {
                at++;
            }
        }
        /* Recursing into the smaller side keeps the stack logarithmic. */
        if (less < count - more) {
            sort_entries(entries, less);
            entries += more;
            count -= more;
        } else {
            sort_entries(entries + more, count - more);
            count = less;
        }
    }
}

static struct pil_bytes key_of(const struct pil_view *view, const struct pil_record *record) {
    const uint8_t *row = pil_record_row(record);
    if (view->layout.key_is_fixed) {
        return pil_bytes_from(row, view->layout.key_bytes);
    }
    const struct pil_bytes heap = pil_value_heap(view, record);
    return pil_row_reference(&heap, row);
}

/* ---- Winners */

/* For entries of one key, marks all but the winner as dead. Rows older than the winner are counted as late at once.
 * Rows of the winner's time are counted in the winner, because a newer row in a later piece makes them late, too. */
static void settle_key(struct merger *merger, struct entry *entries, size_t count) {
    const struct pil_view *view = merger->ingest->view;
    struct pil_record *winner = entries[0].record;
    for (size_t i = 1; i < count; i++) {
        winner = pil_order_is_better(view, winner, entries[i].record) ? entries[i].record : winner;
    }
    for (size_t i = 0; i < count; i++) {
        struct pil_record *loser = entries[i].record;
        if (loser == winner) {
            continue;
        }
        uint64_t rows = (uint64_t)loser->duplicates + loser->conflicts + 1;
        switch (pil_order_relate(view, winner, loser)) {
        case PIL_ORDER_LATE: merger->ingest->counts.late += rows; break;
        case PIL_ORDER_CONFLICT: winner->conflicts += (uint32_t)rows; break;
        case PIL_ORDER_DUPLICATE:
            winner->duplicates += loser->duplicates + 1;
            winner->conflicts += loser->conflicts;
            break;
        }
        loser->duplicates = PIL_RECORD_DEAD;
    }
}

/* For entries of one hash, which nearly always have one key. */
static void settle_hash(struct merger *merger, struct entry *entries, size_t count) {
    const struct pil_view *view = merger->ingest->view;
    while (count > 0) {
        struct pil_bytes key = key_of(view, entries[0].record);
        size_t same = 1;
        for (size_t i = 1; i < count; i++) {
            if (pil_value_compare_bytes(key, key_of(view, entries[i].record)) == 0) {
                struct entry entry = entries[i];
                entries[i] = entries[same];
                entries[same++] = entry;
            }
        }
        settle_key(merger, entries, same);
        entries += same;
        count -= same;
    }
}

static void settle(struct merger *merger, size_t count) {
    struct entry *entries = merger->entries;
    sort_entries(entries, count);
    for (size_t start = 0, end; start < count; start = end) {
        for (end = start + 1; end < count && entries[end].hash == entries[start].hash; end++) {
        }
        if (end - start > 1) {
            settle_hash(merger, entries + start, end - start);
        }
    }
}

/* Counts the rows that conflicted with a winner, and reports the first such keys. */
static pil_status record_conflicts(struct merger *merger, const struct pil_record *winner) {
    struct pil_ingest *ingest = merger->ingest;
    const struct pil_ingest_options *options = &ingest->options;
    PIL_ASSERT(winner->duplicates != PIL_RECORD_DEAD && winner->conflicts > 0);
    ingest->counts.conflicts += winner->conflicts;
    if (options->on_conflict == NULL || merger->conflicts_shown == PIL_INGEST_CONFLICTS_SHOWN) {
        return PIL_STATUS_OK;
    }
    merger->conflicts_shown++;
    struct pil_bytes key = key_of(ingest->view, winner);
    size_t len = pil_view_key_format(ingest->view, key, NULL, 0);
    char *text = malloc(len + 1);
    if (text == NULL) {
        return pil_fail(merger->error, PIL_STATUS_NO_MEMORY, "no memory for the text of a key");
    }
    pil_view_key_format(ingest->view, key, text, len);
    bool go_on = options->on_conflict(options->context, pil_bytes_from(text, len),
                                      pil_row_event_ts_us(ingest->view, pil_record_row(winner)), winner->conflicts);
    free(text);
    return go_on ? PIL_STATUS_OK
                 : pil_fail(merger->error, PIL_STATUS_INVALID, "rows of one key%s have different values",
                            ingest->view->is_static ? "" : " and time");
}

/* Counts and profiles the winners among the entries, which are sorted. */
static pil_status record_winners(struct merger *merger, size_t count) {
    struct pil_ingest *ingest = merger->ingest;
    for (size_t i = 0; i < count; i++) {
        const struct pil_record *record = merger->entries[i].record;
        if (record->duplicates == PIL_RECORD_DEAD) {
            continue;
        }
        struct pil_ingest_cell *cell = &ingest->cells[record->hash >> (64 - PIL_SHARD_BITS_MAX)];
        cell->rows++;
        cell->bytes += record->bytes - sizeof *record;
        ingest->counts.rows_out++;
        ingest->counts.duplicates += record->duplicates;
        if (record->conflicts > 0) {
            PIL_TRY(record_conflicts(merger, record));
        }
        const struct pil_bytes heap = pil_value_heap(ingest->view, record);
        pil_profile_row(ingest->profile, pil_record_row(record), &heap);
    }
    return PIL_STATUS_OK;
}

static pil_status reserve_entries(struct merger *merger, size_t count) {
    if (count <= merger->entry_capacity) {
        return PIL_STATUS_OK;
    }
    struct pil_budget *budget = &merger->ingest->budget;
    pil_budget_unmap(budget, merger->entries, merger->entry_capacity * sizeof *merger->entries);
    merger->entry_capacity = 0;
    merger->entries = pil_budget_map(budget, count * sizeof *merger->entries);
    if (merger->entries == NULL) {
        return pil_fail(merger->error, PIL_STATUS_NO_MEMORY,
                        "the memory limit of %zu MiB is too low to sort %zu rows; raise it to %zu MiB",
                        pil_budget_limit_mib(budget), count,
                        pil_budget_needed_mib(budget, atomic_load(&budget->used) + count * sizeof *merger->entries));
    }
    merger->entry_capacity = count;
    return PIL_STATUS_OK;
}

static pil_status merge_in_memory(struct merger *merger, uint32_t partition) {
    struct pil_partitions *partitions = merger->ingest->partitions;
    PIL_TRY(reserve_entries(merger, pil_partition_records(partitions, partition)));
    struct pil_partition_cursor cursor = {0};
    size_t count = 0;
    for (struct pil_record *record; (record = pil_partition_next(partitions, partition, &cursor)) != NULL;) {
        merger->entries[count++] = (struct entry){.hash = record->hash, .record = record};
    }
    settle(merger, count);
    return record_winners(merger, count);
}

/* ---- From the file */

/* Lists the whole records in [0, used); *ret_whole is where they end. */
static size_t list_records(struct merger *merger, size_t used, size_t *ret_whole) {
    size_t at = 0, count = 0;
    while (used - at >= sizeof(struct pil_record)) {
        struct pil_record *record = (struct pil_record *)(void *)(merger->buffer + at);
        if (record->bytes > used - at) {
            break;
        }
        PIL_ASSERT(count < merger->entry_capacity && record->bytes >= sizeof *record);
        merger->entries[count++] = (struct entry){.hash = record->hash, .record = record};
        at += record->bytes;
    }
    *ret_whole = at;
    return count;
}

/* Moves the living records in [0, whole) to the front and the bytes after `whole` behind them; returns the size of the
 * living records. */
static size_t compact(struct merger *merger, size_t whole, size_t used, uint64_t *ret_alive) {
    size_t to = 0;
    *ret_alive = 0;
    for (size_t at = 0; at < whole;) {
        struct pil_record *record = (struct pil_record *)(void *)(merger->buffer + at);
        size_t bytes = record->bytes;
        if (record->duplicates != PIL_RECORD_DEAD) {
            memmove(merger->buffer + to, merger->buffer + at, bytes);
            to += bytes;
            (*ret_alive)++;
        }
        at += bytes;
    }
    memmove(merger->buffer + to, merger->buffer + whole, used - whole);
    return to;
}

static pil_status merge_from_file(struct merger *merger, uint32_t partition) {
    struct pil_partitions *partitions = merger->ingest->partitions;
    uint64_t total = pil_partition_bytes(partitions, partition), offset = 0, alive;
    size_t used = 0;
    for (;;) {
        size_t room = merger->buffer_bytes - used;
        size_t part = total - offset < room ? total - offset : room;
        PIL_TRY(pil_partition_read(partitions, partition, offset, merger->buffer + used, part, merger->error));
        offset += part;
        used += part;
        size_t whole, count = list_records(merger, used, &whole);
        settle(merger, count);
        if (offset == total) {
            PIL_ASSERT(whole == used);
            PIL_TRY(record_winners(merger, count));
            size_t bytes = compact(merger, whole, used, &alive);
            if (bytes == total) {
                return PIL_STATUS_OK; /* no record lost: the file is right as it is */
            }
            return pil_partition_replace(partitions, partition, pil_bytes_from(merger->buffer, bytes), alive,
                                         merger->error);
        }
        used = compact(merger, whole, used, &alive) + (used - whole);
        if (used > merger->buffer_bytes - merger->buffer_bytes / 8) {
            return pil_fail(merger->error, PIL_STATUS_NO_MEMORY,
                            "the rows of one of %d partitions do not go into the memory limit of %zu MiB; raise it",
                            PIL_PARTITION_COUNT, pil_budget_limit_mib(&merger->ingest->budget));
        }
    }
}

/* Reserves a buffer for the largest partition, or as large as the budget allows beside the entries. */
static pil_status reserve_buffer(struct merger *merger) {
    struct pil_ingest *ingest = merger->ingest;
    size_t record_bytes_min = sizeof(struct pil_record) + ingest->view->layout.stride;
    size_t budget = ingest->budget.cap - atomic_load(&ingest->budget.used);
    size_t bytes = 0, limit = budget / (record_bytes_min + sizeof(struct entry)) * record_bytes_min;
    for (uint32_t i = 0; i < PIL_PARTITION_COUNT; i++) {
        uint64_t partition = pil_partition_bytes(ingest->partitions, i);
        bytes = partition > bytes ? partition : bytes;
    }
    bytes = bytes < limit ? bytes : limit;
    merger->buffer = pil_budget_map(&ingest->budget, bytes);
    if (merger->buffer == NULL) {
        return pil_fail(merger->error, PIL_STATUS_NO_MEMORY, "no memory for a buffer of %zu bytes", bytes);
    }
    merger->buffer_bytes = bytes;
    return reserve_entries(merger, bytes / record_bytes_min);
}

static pil_status merge_partitions(struct merger *merger) {
    struct pil_ingest *ingest = merger->ingest;
    bool in_memory = pil_partitions_in_memory(ingest->partitions);
    for (uint32_t i = 0; i < PIL_PARTITION_COUNT; i++) {
        merger->bytes_total += pil_partition_bytes(ingest->partitions, i);
    }
    if (!in_memory) {
        PIL_TRY(reserve_buffer(merger));
    }
    for (uint32_t i = 0; i < PIL_PARTITION_COUNT; i++) {
        uint64_t bytes = pil_partition_bytes(ingest->partitions, i);
        if (bytes > 0) {
            PIL_TRY(in_memory ? merge_in_memory(merger, i) : merge_from_file(merger, i));
        }
        merger->bytes_done += bytes;
        PIL_TRY(pil_ingest_report(ingest, PIL_INGEST_PHASE_MERGE, merger->bytes_done, merger->bytes_total,
                                  i + 1 == PIL_PARTITION_COUNT, merger->error));
    }
    return PIL_STATUS_OK;
}

pil_status pil_ingest_merge(struct pil_ingest *ingest, struct pil_ingest_counts *ret_counts,
                            struct pil_error *ret_error) {
    PIL_ASSERT(ingest->state == PIL_INGEST_READING);
    ingest->state = PIL_INGEST_MERGED;
    uint64_t started = pil_clock_monotonic_ns();
    struct merger merger = {.ingest = ingest, .error = ret_error};
    pil_status status = pil_ingest_report(ingest, PIL_INGEST_PHASE_READ, ingest->counts.rows_in, ingest->counts.rows_in,
                                          true, ret_error);
    if (status == PIL_STATUS_OK) {
        status = pil_partitions_seal(ingest->partitions, ret_error);
    }
    if (status == PIL_STATUS_OK) {
        status = merge_partitions(&merger);
    }
    pil_budget_unmap(&ingest->budget, merger.entries, merger.entry_capacity * sizeof *merger.entries);
    pil_budget_unmap(&ingest->budget, merger.buffer, merger.buffer_bytes);
    ingest->phase_ns[PIL_INGEST_PHASE_MERGE] = pil_clock_monotonic_ns() - started;
    if (status == PIL_STATUS_OK) {
        *ret_counts = ingest->counts;
    }
    return status;
}
