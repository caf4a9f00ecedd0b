/* SPDX-License-Identifier: Apache-2.0
 * Goal: what was appended to a partition comes back, from memory or from the file, within the budget, and nothing is
 * left behind. Method: records of random sizes with known content, a small buffer, a folder of our own that must stay
 * empty. */
#include "ingest/partition.h"
#include "base/hash.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static char folder[] = "/tmp/pil-partition-XXXXXX";

static uint64_t hash_of(uint64_t i) {
    return pil_hash_shard(pil_bytes_from(&i, sizeof i));
}

static uint64_t bytes_of(uint64_t i) {
    return sizeof(struct pil_record) + 16 + 8 * (hash_of(~i) % 20) + (i % 1000 == 0 ? 40000 : 0);
}

static void append(struct pil_partitions *partitions, uint64_t count) {
    struct pil_error error = {{0}};
    for (uint64_t i = 0; i < count; i++) {
        struct pil_record *record = NULL;
        if (pil_partitions_append(partitions, hash_of(i), bytes_of(i), &record, &error) != PIL_STATUS_OK) {
            fail_msg("%s", error.text);
        }
        record->created_us = (int64_t)i;
        memset(pil_record_row(record), (int)(i & 255), bytes_of(i) - sizeof *record);
    }
}

/* Each record once, whole; ids are the created timestamps. */
static void check_record(const struct pil_record *record, uint32_t partition, uint8_t *seen) {
    uint64_t i = (uint64_t)record->created_us;
    assert_int_equal(record->hash, hash_of(i));
    assert_int_equal(record->hash >> (64 - PIL_PARTITION_BITS), partition);
    assert_int_equal(record->bytes, bytes_of(i));
    const uint8_t *row = pil_record_row(record);
    assert_true(row[0] == (i & 255) && row[record->bytes - sizeof *record - 1] == (i & 255));
    assert_int_equal(seen[i], 0);
    seen[i] = 1;
}

static uint64_t check_partition(struct pil_partitions *partitions, uint32_t partition, uint8_t *seen) {
    uint64_t count = 0;
    if (pil_partitions_in_memory(partitions)) {
        struct pil_partition_cursor cursor = {0};
        for (struct pil_record *record; (record = pil_partition_next(partitions, partition, &cursor)) != NULL;
             count++) {
            check_record(record, partition, seen);
        }
        return count;
    }
    uint64_t bytes = pil_partition_bytes(partitions, partition);
    uint8_t *buffer = malloc(bytes + 1);
    /* In two parts, so that reads start in the middle of an extent. */
    assert_int_equal(pil_partition_read(partitions, partition, 0, buffer, bytes / 3, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_partition_read(partitions, partition, bytes / 3, buffer + bytes / 3, bytes - bytes / 3, NULL),
                     PIL_STATUS_OK);
    for (uint64_t at = 0; at < bytes; count++) {
        struct pil_record *record = (struct pil_record *)(void *)(buffer + at);
        check_record(record, partition, seen);
        at += record->bytes;
    }
    free(buffer);
    return count;
}

static void round_trip(uint64_t count, size_t buffer_bytes, bool in_memory) {
    struct pil_budget budget = {.cap = buffer_bytes};
    struct pil_partitions *partitions = NULL;
    assert_int_equal(pil_partitions_create(&budget, buffer_bytes, folder, &partitions, NULL), PIL_STATUS_OK);
    append(partitions, count);
    assert_int_equal(pil_partitions_seal(partitions, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_partitions_in_memory(partitions), in_memory);
    assert_int_equal(pil_partitions_bytes_spilled(partitions) > 0, !in_memory);
    uint8_t *seen = calloc(count + 1, 1);
    uint64_t found = 0;
    for (uint32_t i = 0; i < PIL_PARTITION_COUNT; i++) {
        uint64_t records = check_partition(partitions, i, seen);
        assert_int_equal(records, pil_partition_records(partitions, i));
        found += records;
    }
    assert_int_equal(found, count);
    assert_true(atomic_load(&budget.peak) <= buffer_bytes);
    assert_true(in_memory || atomic_load(&budget.used) == 0);
    pil_partitions_destroy(&partitions);
    assert_int_equal(atomic_load(&budget.used), 0);
    free(seen);
}

static void records_come_back_from_memory(void **state) {
    (void)state;
    round_trip(0, 64 * MIB, true);
    round_trip(1, 64 * MIB, true);
    round_trip(100000, 64 * MIB, true);
}

static void records_come_back_from_the_file(void **state) {
    (void)state;
    round_trip(300000, 20 * MIB, false);
}

static int entries_in(const char *path) {
    int count = 0;
    DIR *open = opendir(path);
    assert_non_null(open);
    for (struct dirent *entry; (entry = readdir(open)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    closedir(open);
    return count;
}

static void the_file_has_no_name(void **state) {
    (void)state;
    struct pil_budget budget = {.cap = 20 * MIB};
    struct pil_partitions *partitions = NULL;
    assert_int_equal(pil_partitions_create(&budget, 20 * MIB, folder, &partitions, NULL), PIL_STATUS_OK);
    append(partitions, 200000);
    assert_false(pil_partitions_in_memory(partitions));
    assert_int_equal(entries_in(folder), 0); /* a kill now would leave nothing */
    pil_partitions_destroy(&partitions);
}

static void replaced_partitions_hold_the_new_content(void **state) {
    (void)state;
    struct pil_budget budget = {.cap = 20 * MIB};
    struct pil_partitions *partitions = NULL;
    assert_int_equal(pil_partitions_create(&budget, 20 * MIB, folder, &partitions, NULL), PIL_STATUS_OK);
    append(partitions, 200000);
    assert_int_equal(pil_partitions_seal(partitions, NULL), PIL_STATUS_OK);
    uint8_t content[100], back[100];
    memset(content, 7, sizeof content);
    assert_int_equal(pil_partition_replace(partitions, 5, pil_bytes_from(content, sizeof content), 1, NULL),
                     PIL_STATUS_OK);
    assert_int_equal(pil_partition_replace(partitions, 6, pil_bytes_from(NULL, 0), 0, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_partition_bytes(partitions, 5), sizeof content);
    assert_int_equal(pil_partition_bytes(partitions, 6), 0);
    assert_int_equal(pil_partition_read(partitions, 5, 0, back, sizeof back, NULL), PIL_STATUS_OK);
    assert_memory_equal(back, content, sizeof content);
    uint8_t *seen = calloc(200000, 1);
    assert_true(check_partition(partitions, 4, seen) > 0); /* its neighbours are untouched */
    assert_true(check_partition(partitions, 7, seen) > 0);
    free(seen);
    pil_partitions_destroy(&partitions);
}

static void a_record_that_is_too_large_is_refused(void **state) {
    (void)state;
    struct pil_budget budget = {.cap = 20 * MIB};
    struct pil_partitions *partitions = NULL;
    struct pil_record *record = NULL;
    struct pil_error error = {{0}};
    assert_int_equal(pil_partitions_create(&budget, 20 * MIB, folder, &partitions, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_partitions_append(partitions, 1, 4 * MIB, &record, &error), PIL_STATUS_TOO_LARGE);
    assert_null(record);
    /* The largest that is allowed goes in many times, although the free blocks of small records hold all of the buffer.
     */
    append(partitions, 200000);
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(pil_partitions_append(partitions, i << 60, 2 * MIB, &record, &error), PIL_STATUS_OK);
        memset(pil_record_row(record), 0, 2 * MIB - sizeof *record);
    }
    assert_int_equal(pil_partitions_seal(partitions, NULL), PIL_STATUS_OK);
    pil_partitions_destroy(&partitions);
    assert_int_equal(atomic_load(&budget.used), 0);
}

static void a_missing_folder_is_named(void **state) {
    (void)state;
    struct pil_budget budget = {.cap = 20 * MIB};
    struct pil_partitions *partitions = NULL;
    struct pil_error error = {{0}};
    assert_int_equal(pil_partitions_create(&budget, 20 * MIB, "/tmp/pil-no-such-folder", &partitions, NULL),
                     PIL_STATUS_OK);
    pil_status status = PIL_STATUS_OK;
    for (uint64_t i = 0; i < 300000 && status == PIL_STATUS_OK; i++) {
        struct pil_record *record = NULL;
        status = pil_partitions_append(partitions, hash_of(i), 128, &record, &error);
    }
    assert_int_equal(status, PIL_STATUS_IO);
    assert_non_null(strstr(error.text, "/tmp/pil-no-such-folder"));
    pil_partitions_destroy(&partitions);
    assert_int_equal(atomic_load(&budget.used), 0);
}

static void a_failing_write_is_reported(void **state) {
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {.rlim_cur = MIB, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct pil_budget budget = {.cap = 20 * MIB};
    struct pil_partitions *partitions = NULL;
    struct pil_error error = {{0}};
    assert_int_equal(pil_partitions_create(&budget, 20 * MIB, folder, &partitions, NULL), PIL_STATUS_OK);
    pil_status status = PIL_STATUS_OK;
    for (uint64_t i = 0; i < 300000 && status == PIL_STATUS_OK; i++) {
        struct pil_record *record = NULL;
        status = pil_partitions_append(partitions, hash_of(i), 128, &record, &error);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, PIL_STATUS_IO);
    assert_non_null(strstr(error.text, folder));
    pil_partitions_destroy(&partitions);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return rmdir(folder); /* fails when anything was left */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_from_memory),
        cmocka_unit_test(records_come_back_from_the_file),
        cmocka_unit_test(the_file_has_no_name),
        cmocka_unit_test(replaced_partitions_hold_the_new_content),
        cmocka_unit_test(a_record_that_is_too_large_is_refused),
        cmocka_unit_test(a_missing_folder_is_named),
        cmocka_unit_test(a_failing_write_is_reported),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
