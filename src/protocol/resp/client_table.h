/* SPDX-License-Identifier: Apache-2.0
 * The facts that CLIENT LIST shows about a worker's connections, for all workers to read without a lock. Each slot
 * holds two copies: the owner fills the one that is not published and then publishes it, so that a reader never waits
 * for an interrupted writer. Thread: the worker that owns the table, unless stated otherwise. */
#pragma once

#include "server/connection.h"

#include <stdint.h>

enum { PIL_CLIENT_NAME_BYTES = 64 };

struct pil_client {
    uint64_t id; /* never 0 */
    uint64_t created_ns, active_ns;
    const struct pil_listener_settings *listener; /* points into the settings, which outlive the table */
    const char *command;                          /* the last command; a constant */
    uint32_t resp;
    int32_t queued; /* requests of the open transaction; -1: none is open */
    bool is_tracking;
    uint32_t input_bytes, output_bytes; /* that wait in the server */
    char name[PIL_CLIENT_NAME_BYTES];
    char library[PIL_CLIENT_NAME_BYTES], library_version[PIL_CLIENT_NAME_BYTES];
    char peer[PIL_PEER_ADDRESS_BYTES];
};

struct pil_client_table;
/* NULL when memory is short. */
struct pil_client_table *pil_client_table_create(uint32_t capacity);
/* No reader may use the table any more. */
void pil_client_table_destroy(struct pil_client_table **table);

/* A slot for a new connection, which readers see once it is written. Allocates when a chunk is full. TOO_LARGE,
 * NO_MEMORY. */
pil_status pil_client_table_acquire(struct pil_client_table *table, uint32_t *ret_slot) PIL_CHECKED;
void pil_client_table_write(struct pil_client_table *table, uint32_t slot, const struct pil_client *client);
void pil_client_table_release(struct pil_client_table *table, uint32_t slot);

/* Any thread. Only slots below this number may hold a connection. */
uint32_t pil_client_table_size(const struct pil_client_table *table);
/* Any thread. Returns false when the slot holds no connection. */
bool pil_client_table_read(const struct pil_client_table *table, uint32_t slot, struct pil_client *ret_client);
