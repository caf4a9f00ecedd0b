/* SPDX-License-Identifier: Apache-2.0
 * Goal: whoever reads a table of connections while its owner changes it sees each of them whole, or not at all. Method:
 * one thread writes summaries whose parts all follow from their number, and lets slots go and takes them again; others
 * read all the while and check every part. */
#include "protocol/resp/client_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { CAPACITY = 150, READERS = 2, WRITES = 60000 };

static void fill(char *text, size_t bytes, uint64_t id) {
    memset(text, 'a' + (int)(id % 26), bytes - 1);
    text[bytes - 1] = '\0';
}

static struct pil_client make(uint64_t id) {
    struct pil_client client = {.id = id, .created_ns = id * 3, .active_ns = id * 5, .resp = (uint32_t)(2 + id % 2)};
    fill(client.name, sizeof client.name, id);
    fill(client.library, sizeof client.library, id + 1);
    fill(client.library_version, sizeof client.library_version, id + 2);
    fill(client.peer, sizeof client.peer, id + 3);
    return client;
}

static bool is_whole(const struct pil_client *client) {
    struct pil_client wanted = make(client->id);
    return client->created_ns == wanted.created_ns && client->active_ns == wanted.active_ns &&
           client->resp == wanted.resp && strcmp(client->name, wanted.name) == 0 &&
           strcmp(client->library, wanted.library) == 0 &&
           strcmp(client->library_version, wanted.library_version) == 0 && strcmp(client->peer, wanted.peer) == 0;
}

static void slots_are_used_again_and_stop_at_the_capacity(void **state) {
    (void)state;
    struct pil_client_table *table = pil_client_table_create(CAPACITY);
    struct pil_client client;
    uint32_t slot;
    assert_int_equal(pil_client_table_size(table), 0);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        assert_int_equal(pil_client_table_acquire(table, &slot), PIL_STATUS_OK);
        assert_int_equal(slot, i);
        assert_false(pil_client_table_read(table, slot, &client)); /* not written yet */
        struct pil_client mine = make(i + 1);
        pil_client_table_write(table, slot, &mine);
    }
    assert_int_equal(pil_client_table_acquire(table, &slot), PIL_STATUS_TOO_LARGE);
    for (uint32_t i = 0; i < CAPACITY; i++) {
        assert_true(pil_client_table_read(table, i, &client));
        assert_int_equal(client.id, i + 1);
        assert_true(is_whole(&client));
    }
    pil_client_table_release(table, 70);
    assert_false(pil_client_table_read(table, 70, &client));
    assert_int_equal(pil_client_table_acquire(table, &slot), PIL_STATUS_OK);
    assert_int_equal(slot, 70);
    assert_false(pil_client_table_read(table, 70, &client)); /* nothing of its former owner */
    assert_int_equal(pil_client_table_size(table), CAPACITY);
    pil_client_table_destroy(&table);
    assert_null(table);
}

struct shared {
    struct pil_client_table *table;
    _Atomic bool is_over;
    _Atomic uint64_t seen, torn;
};

static void *read_all(void *argument) {
    struct shared *shared = argument;
    while (!atomic_load(&shared->is_over)) {
        for (uint32_t slot = 0, size = pil_client_table_size(shared->table); slot < size; slot++) {
            struct pil_client client;
            if (pil_client_table_read(shared->table, slot, &client)) {
                atomic_fetch_add(&shared->seen, 1);
                atomic_fetch_add(&shared->torn, !is_whole(&client));
            }
        }
    }
    return NULL;
}

static void readers_see_each_whole_or_not_at_all(void **state) {
    (void)state;
    struct shared shared = {.table = pil_client_table_create(CAPACITY)};
    pthread_t readers[READERS];
    uint32_t slots[CAPACITY], open = 0;
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, read_all, &shared), 0);
    }
    for (uint64_t i = 1; i < WRITES || atomic_load(&shared.seen) == 0; i++) {
        if (open > 3 && i % 7 == 0) {
            pil_client_table_release(shared.table, slots[--open]);
        } else if (open < CAPACITY && i % 5 == 0) {
            assert_int_equal(pil_client_table_acquire(shared.table, &slots[open++]), PIL_STATUS_OK);
        }
        if (open > 0) {
            struct pil_client client = make(i);
            pil_client_table_write(shared.table, slots[i % open], &client);
        }
    }
    atomic_store(&shared.is_over, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i], NULL);
    }
    assert_int_equal(atomic_load(&shared.torn), 0);
    pil_client_table_destroy(&shared.table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_used_again_and_stop_at_the_capacity),
        cmocka_unit_test(readers_see_each_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
