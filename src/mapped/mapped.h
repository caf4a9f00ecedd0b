/* SPDX-License-Identifier: Apache-2.0
 * The mapped listener: passes sealed releases to clients that read them in their own memory (schemas/mapped.md). It
 * decides which peers may map which view, counts which generations clients hold, and writes the control page that
 * announces new releases. A client that keeps an old generation mapped pins its memory, so a generation is counted
 * until every holder has dropped it or closed its socket. Thread: control, which creates the listener; functions that
 * change state assert it. */
#pragma once

#include "base/text.h"
#include "server/server.h"

struct pil_mapped;

/* Creates the module without listeners. `server` is borrowed and must outlive the result. SYSTEM, NO_MEMORY: the
 * control page or the epoll set cannot be made. */
pil_status pil_mapped_create(struct pil_server *server, struct pil_mapped **ret_mapped,
                             struct pil_error *ret_error) PIL_CHECKED;
/* Tells clients to reconnect (state CLOSING) and closes every session. Accepts NULL; NULLs the pointer. */
void pil_mapped_destroy(struct pil_mapped **mapped);

/* Accepts on a listening SOCK_SEQPACKET socket that the caller keeps. */
pil_status pil_mapped_listen(struct pil_mapped *mapped, int fd) PIL_CHECKED;
/* Readable when pil_mapped_turn has something to do. */
int pil_mapped_descriptor(const struct pil_mapped *mapped);
/* Accepts connections and answers packets, at most a bounded number; never blocks. */
void pil_mapped_turn(struct pil_mapped *mapped);
/* Call at least twice a second: writes the heartbeat, updates gauges, closes sessions that send no HELLO. */
void pil_mapped_tick(struct pil_mapped *mapped);

/* A release was published: ACQUIRE grants it from now on. Takes the descriptors (not the array). When memory is short,
 * clients get no grant for the view until its next release, and read over the socket. */
void pil_mapped_publish(struct pil_mapped *mapped, uint32_t view_index, const struct pil_release *release, int *fds,
                        uint32_t shard_count);
/* The settings have more views, views that were removed, or other rules: announces a new catalog. Clients keep the
 * generations that they hold. */
void pil_mapped_views_changed(struct pil_mapped *mapped);
/* The channel of a view was read at this wall-clock time. */
void pil_mapped_checked(struct pil_mapped *mapped, uint32_t view_index, int64_t checked_us);
/* Sets an applied project, which the caller keeps: the catalog shows its views and services, and its tags say which
 * views are regulated. */
void pil_mapped_set_project(struct pil_mapped *mapped, const struct pil_project *project);
/* The project of a view is not known: the view counts as regulated until it is, unless it was found for another view of
 * the project that none was ever applied. */
void pil_mapped_miss_project(struct pil_mapped *mapped, uint32_t view_index);
/* No project of a view was ever applied, so that nothing says that its views are regulated. */
void pil_mapped_no_project(struct pil_mapped *mapped, uint32_t view_index);
/* Whether a client still holds this generation of a view. */
bool pil_mapped_is_held(const struct pil_mapped *mapped, uint32_t view_index, uint64_t generation);

/* One view mapped by one client. */
struct pil_mapped_holder {
    int32_t pid; /* PID at the time of the connect */
    uint32_t uid, gid;
    const char *name, *cgroup; /* borrowed until the next turn */
    uint32_t view_index;
    uint64_t generation;
    const char *release;
    uint64_t bytes;
    int64_t since_us; /* wall clock */
    bool is_live;     /* the generation is the live one */
};
/* Calls visit for each hold of each session. */
void pil_mapped_visit(const struct pil_mapped *mapped,
                      void (*visit)(void *context, const struct pil_mapped_holder *holder), void *context);
/* Panics if the state is inconsistent. Walks all sessions and generations. */
void pil_mapped_validate(const struct pil_mapped *mapped);
