/* SPDX-License-Identifier: Apache-2.0
 * One event loop per worker thread, two back ends with the same meaning: io_uring (multishot accept and receive,
 * provided buffers, one enter a turn) and epoll. A turn: pil_engine_wait hands out all events that are there; the owner
 * works on them together, queues sends, and waits again, which submits everything at once.
 *
 * Ownership: the engine owns connected descriptors from pil_engine_attach until it reports PIL_EVENT_CLOSED.
 * Thread: everything but pil_engine_wake and pil_engine_probe is for the one thread that runs the loop,
 * pil_engine_create and pil_engine_destroy included (asserted; the kernel ties a ring to the thread that made it).
 * Allocation: none after create, but for the connection table growing up to connections_max and for a copy of what was
 * in flight when a connection is paused.
 *
 * Order, per handle: RECEIVE as the bytes came; END once, after the last RECEIVE, and none while paused; SENT once per
 * send, unless CLOSED comes first; after pil_engine_close nothing but one CLOSED (events that were handed out before
 * it, in the same turn, are the owner's to skip). Between handles there is no order. Calls with the handle of something
 * that is closing or closed do nothing. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"

#include <stdbool.h>
#include <sys/uio.h>

typedef enum pil_engine_kind { PIL_ENGINE_IO_URING, PIL_ENGINE_EPOLL } pil_engine_kind;
const char *pil_engine_kind_text(pil_engine_kind kind);

enum { PIL_ENGINE_REASON_BYTES = 160 };
/* Does real work with each operation that the io_uring back end needs (a NOP, a socket pair with multishot receive,
 * buffer ring, send, cancel). *ret_reason says in a few words why the answer is what it is, for the log and the info
 * metric. */
pil_engine_kind pil_engine_probe(char ret_reason[PIL_ENGINE_REASON_BYTES]);

struct pil_engine_options {
    pil_engine_kind kind;
    uint32_t connections_max;  /* accepts beyond it are closed at once and counted */
    uint32_t submit_entries;   /* 0: 1024. Tests use small ones */
    uint32_t complete_entries; /* 0: 4 x connections_max, at least 4096; the kernel clamps it to 65536 */
    uint32_t buffer_count;     /* receive buffers, a power of two; 0: 256 */
    uint32_t buffer_bytes;     /* 0: 16 KiB */
    /* Fairness, per connection and turn: no further buffer is handed out from here on. 0: 64 KiB */
    uint32_t receive_bytes_per_turn_max;
    /* Called on the loop's thread just before it blocks in the kernel and just after: the worker goes offline for
     * reclamation. May be NULL. */
    void (*on_park)(void *context);
    void (*on_unpark)(void *context);
    void *context;
};

struct pil_engine;

/* A connection's or listener's handle: index and generation, so that a late completion never reaches the next owner of
 * the slot. 0 is none. */
typedef uint64_t pil_engine_handle;

typedef enum pil_event_kind {
    PIL_EVENT_ACCEPT,   /* listener `owner` accepted `fd`: attach it or close it */
    PIL_EVENT_RECEIVE,  /* `data`, valid until the next pil_engine_wait */
    PIL_EVENT_END,      /* the peer sends no more (half-close) or the connection failed (`failed`); comes once */
    PIL_EVENT_SENT,     /* the send in flight is done: all of it (`bytes`), or failed */
    PIL_EVENT_CLOSED,   /* last event of a handle; the owner may be freed. No operation refers to it any more */
    PIL_EVENT_READABLE, /* a watched descriptor (pil_engine_watch) is readable; level-triggered */
    PIL_EVENT_WAKE,     /* somebody called pil_engine_wake */
} pil_event_kind;

struct pil_event {
    pil_event_kind kind;
    pil_engine_handle handle; /* 0 for WAKE */
    void *owner;              /* as given to listen / attach / watch */
    int fd;                   /* ACCEPT */
    bool failed;              /* END, SENT */
    size_t bytes;             /* SENT */
    struct pil_bytes data;    /* RECEIVE */
};

pil_status pil_engine_create(const struct pil_engine_options *options, struct pil_engine **ret_engine,
                             struct pil_error *ret_error) PIL_CHECKED;
/* Cancels what is in flight, closes all descriptors that it owns, frees. Listeners that were lent (pil_engine_listen)
 * are not closed. NULLs the pointer. */
void pil_engine_destroy(struct pil_engine **engine);

/* Accepts on a listening descriptor that stays the caller's; sets O_NONBLOCK on it. It may be shared with other
 * engines. Accepted sockets are close-on-exec and non-blocking and inherit TCP_NODELAY and buffer sizes from the
 * listener. When descriptors run out, waiting clients are accepted and closed (accept_failures). There may be 64
 * listeners and watches in all: TOO_LARGE. */
pil_status pil_engine_listen(struct pil_engine *engine, int fd, void *owner, pil_engine_handle *ret_handle) PIL_CHECKED;
/* Starts receiving on a connected stream socket; the engine owns fd from here (also on failure: it is closed).
 * TOO_LARGE: connections_max. */
pil_status pil_engine_attach(struct pil_engine *engine, int fd, void *owner, pil_engine_handle *ret_handle) PIL_CHECKED;
/* Reports PIL_EVENT_READABLE for a descriptor that stays the caller's (control sockets, eventfd). */
pil_status pil_engine_watch(struct pil_engine *engine, int fd, void *owner, pil_engine_handle *ret_handle) PIL_CHECKED;

enum { PIL_ENGINE_SEND_PARTS_MAX = 16 };
/* Sends all parts, in order, as one operation; the engine goes on after short writes by itself. One send may be in
 * flight per connection (asserted); memory and contents of the parts must stay until PIL_EVENT_SENT or
 * PIL_EVENT_CLOSED. The epoll back end tries at once, so that the event may be in the very next turn without a wait. */
void pil_engine_send(struct pil_engine *engine, pil_engine_handle handle, const struct iovec *parts,
                     uint32_t part_count);
/* Stops receiving until resume: the slow reader's back-pressure. Nothing of this connection's but SENT comes in
 * between; what was in flight is kept and comes first after it. */
void pil_engine_pause(struct pil_engine *engine, pil_engine_handle handle);
void pil_engine_resume(struct pil_engine *engine, pil_engine_handle handle);
/* Cancels everything in flight and closes; PIL_EVENT_CLOSED follows in a later turn, and nothing else of this handle
 * does. Also for listeners (accepting stops; the descriptor is not closed) and watches. Twice is fine. */
void pil_engine_close(struct pil_engine *engine, pil_engine_handle handle);

/* Submits what was queued, returns the buffers of the last turn, and waits for events: first spinning up to spin_ns,
 * then blocking up to timeout_ns (UINT64_MAX: for ever; 0: never; epoll rounds up to a millisecond). What finds no room
 * in `events` comes in the next turn. *ret_count may be 0: after a timeout, a signal, or work of the engine's own.
 * SYSTEM when the ring is beyond repair (a lost completion): the process must restart. */
pil_status pil_engine_wait(struct pil_engine *engine, struct pil_event *events, uint32_t event_capacity,
                           uint64_t spin_ns, uint64_t timeout_ns, uint32_t *ret_count) PIL_CHECKED;
/* Submits queued sends without waiting: call it every few replies, so that the first answers of a large batch are not
 * held back by the last. */
void pil_engine_flush(struct pil_engine *engine);

/* Any thread, async-signal-safe: makes wait return with PIL_EVENT_WAKE (several wakes may become one). */
void pil_engine_wake(struct pil_engine *engine);

/* Counters since create, for metrics and tests. */
struct pil_engine_stats {
    uint64_t turns, enters, parks, spins_hit;   /* enters: system calls that submit or wait; spins_hit: spared a park */
    uint64_t accepts, accept_failures, refused; /* failures: those shed, too; refused: over connections_max */
    uint64_t receives, receive_bytes, sends, send_bytes;
    uint64_t buffers_empty;      /* ENOBUFS: receives that had to be armed again when buffers came back */
    uint64_t multishot_ended;    /* re-armed without an error */
    uint64_t complete_overflows; /* the completion ring was full and was flushed */
    uint32_t connections;        /* attached now */
};
void pil_engine_stats(const struct pil_engine *engine, struct pil_engine_stats *ret_stats);
