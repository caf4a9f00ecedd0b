/* SPDX-License-Identifier: Apache-2.0
 * The mapped listener: hands sealed releases to clients that read them themselves (schemas/mapped.md). It decides who
 * may map which view, counts which generations clients hold, and writes the control page that tells them of swaps. A
 * client that keeps an old generation mapped pins its memory, so generations are counted until every holder has dropped
 * them or closed its socket. Thread: the one that creates it (control); the functions that change something check it.
 */
#pragma once

#include "base/text.h"
#include "server/server.h"

struct pil_mapped;

/* Nothing is accepted yet. `server` is borrowed and must outlive it. SYSTEM, NO_MEMORY: no control page or no epoll. */
pil_status pil_mapped_create(struct pil_server *server, struct pil_mapped **ret_mapped,
                             struct pil_error *ret_error) PIL_CHECKED;
/* Tells clients to connect anew (state CLOSING), closes every session. NULL is fine; NULLs the pointer. */
void pil_mapped_destroy(struct pil_mapped **mapped);

/* Accepts on a listening SOCK_SEQPACKET socket that stays the caller's. */
pil_status pil_mapped_listen(struct pil_mapped *mapped, int fd) PIL_CHECKED;
/* Readable when pil_mapped_turn has something to do. */
int pil_mapped_descriptor(const struct pil_mapped *mapped);
/* Accepts and answers what has come, a bounded amount; never blocks. */
void pil_mapped_turn(struct pil_mapped *mapped);
/* At least twice a second: heartbeat, gauges, sessions that never begin. */
void pil_mapped_tick(struct pil_mapped *mapped);

/* A release was published: ACQUIRE grants it from now on. Takes the descriptors (not the array). Without memory for it
 * clients are granted nothing of the view until the next one, and read over the socket. */
void pil_mapped_publish(struct pil_mapped *mapped, uint32_t view_index, const struct pil_release *release, int *fds,
                        uint32_t shard_count);
/* The settings have more views, views that were removed, or other rules: tells clients by a new catalog. Generations
 * that a client holds stay with it. */
void pil_mapped_views_changed(struct pil_mapped *mapped);
/* The channel of a view was read, at this wall clock time. */
void pil_mapped_checked(struct pil_mapped *mapped, uint32_t view_index, int64_t checked_us);
/* The applied project, which stays the caller's: the catalog tells its views and services, its tags say which views are
 * regulated. */
void pil_mapped_set_project(struct pil_mapped *mapped, const struct pil_project *project);
/* The project of a view cannot be read: unless one could before, its views count as regulated until one can. */
void pil_mapped_miss_project(struct pil_mapped *mapped, uint32_t view_index);
/* Whether a client still holds this generation of a view. */
bool pil_mapped_is_held(const struct pil_mapped *mapped, uint32_t view_index, uint64_t generation);

/* One view mapped by one client. */
struct pil_mapped_holder {
    int32_t pid; /* as it connected */
    uint32_t uid, gid;
    const char *name, *cgroup; /* borrowed until the next turn */
    uint32_t view_index;
    uint64_t generation;
    const char *release;
    uint64_t bytes;
    int64_t since_us; /* wall clock */
    bool is_live;     /* the generation is the one that is served */
};
/* Calls visit for each. */
void pil_mapped_visit(const struct pil_mapped *mapped,
                      void (*visit)(void *context, const struct pil_mapped_holder *holder), void *context);
/* Panics when the state contradicts itself. Walks all sessions and generations. */
void pil_mapped_validate(const struct pil_mapped *mapped);
