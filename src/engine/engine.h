/* SPDX-License-Identifier: Apache-2.0
 * One event loop per worker thread, two back ends with the same meaning: io_uring (multishot accept and receive,
 * provided buffers, one enter per turn) and epoll. In a turn, pil_engine_wait hands out all pending events; the owner
 * handles them together, queues sends, and waits again, which submits everything at once.
 *
 * Ownership: the engine owns connected descriptors from pil_engine_attach until it reports PIL_EVENT_CLOSED.
 * Thread: everything but pil_engine_wake and pil_engine_probe belongs to the owner thread, the one that runs the loop,
 * including pil_engine_create and pil_engine_destroy (asserted; the kernel ties a ring to the thread that made it).
 * Allocation: none after create, except that the connection table grows up to connections_max and that received bytes
 * of a paused connection are copied to the heap.
 *
 * Order, per handle: RECEIVE in the order of the bytes; END once, after the last RECEIVE, and never while paused; SENT
 * once per send, unless CLOSED comes first; after pil_engine_close only one CLOSED (the owner must skip events of the
 * handle that were handed out earlier in the same turn). Events of different handles have no order. Calls with a handle
 * that is closing or closed do nothing. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"

#include <stdbool.h>
#include <sys/uio.h>

typedef enum pil_engine_kind { PIL_ENGINE_IO_URING, PIL_ENGINE_EPOLL } pil_engine_kind;
const char *pil_engine_kind_text(pil_engine_kind kind);

enum { PIL_ENGINE_REASON_BYTES = 160 };
struct pil_engine_options {
    pil_engine_kind kind;
    uint32_t connections_max;  /* connections accepted beyond this limit are closed at once and counted */
    uint32_t submit_entries;   /* 0: 1024; tests use smaller values */
    uint32_t complete_entries; /* 0: 4 x connections_max, at least 4096; the kernel clamps it to 65536 */
    uint32_t buffer_count;     /* receive buffers, a power of two; 0: 256 */
    uint32_t buffer_bytes;     /* 0: 16 KiB */
    /* Fairness: once a connection has received this many bytes in a turn, it gets no further buffer. 0: 64 KiB */
    uint32_t receive_bytes_per_turn_max;
    /* Called on the owner thread just before it blocks in the kernel and just after: the worker goes offline for
     * reclamation in between. May be NULL. */
    void (*on_park)(void *context);
    void (*on_unpark)(void *context);
    void *context;
};

/* Tries each operation that the io_uring back end needs (a NOP, multishot receive with a buffer ring, send, cancel,
 * poll, multishot accept), on a ring of the size that an engine with these options has: the kernel counts its memory
 * against the user's RLIMIT_MEMLOCK. So call it as the user who will create the engines, after capabilities were given
 * up. *ret_reason gives the reason for the result in a few words, for the log and the info metric. Any thread. Blocks
 * for half a second when locked memory is short. */
pil_engine_kind pil_engine_probe(const struct pil_engine_options *options, char ret_reason[PIL_ENGINE_REASON_BYTES]);

struct pil_engine;

/* Handle of a connection, listener or watch: index and generation, so that a late completion never reaches the next
 * owner of the slot. 0 is not a handle. */
typedef uint64_t pil_engine_handle;

typedef enum pil_event_kind {
    PIL_EVENT_ACCEPT,   /* listener `owner` accepted `fd`: attach it or close it */
    PIL_EVENT_RECEIVE,  /* `data`, valid until the next pil_engine_wait, or pil_engine_give_back */
    PIL_EVENT_END,      /* the peer sends no more (half-close) or the connection failed (`failed`); comes once */
    PIL_EVENT_SENT,     /* the send in flight is complete (`bytes`) or has failed (`failed`) */
    PIL_EVENT_CLOSED,   /* last event of a handle: no operation refers to the owner any more, it may be freed */
    PIL_EVENT_READABLE, /* a watched descriptor (pil_engine_watch) is readable; level-triggered */
    PIL_EVENT_WAKE,     /* pil_engine_wake was called */
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
/* Cancels all operations, closes the descriptors that the engine owns, frees the engine and NULLs the pointer.
 * Descriptors given to pil_engine_listen and pil_engine_watch stay open. */
void pil_engine_destroy(struct pil_engine **engine);

/* Accepts on a listening descriptor that the caller keeps; sets O_NONBLOCK on it. Other engines may share the
 * descriptor. Accepted sockets are close-on-exec and non-blocking and inherit TCP_NODELAY and buffer sizes from the
 * listener. When descriptors run out, waiting clients are accepted and closed (accept_failures). TOO_LARGE: there are
 * 64 listeners and watches already. */
pil_status pil_engine_listen(struct pil_engine *engine, int fd, void *owner, pil_engine_handle *ret_handle) PIL_CHECKED;
/* Starts receiving on a connected stream socket; the engine owns fd from here on and closes it on failure. TOO_LARGE:
 * connections_max is reached. */
pil_status pil_engine_attach(struct pil_engine *engine, int fd, void *owner, pil_engine_handle *ret_handle) PIL_CHECKED;
/* Reports PIL_EVENT_READABLE for a descriptor that the caller keeps (control sockets, eventfd). */
pil_status pil_engine_watch(struct pil_engine *engine, int fd, void *owner, pil_engine_handle *ret_handle) PIL_CHECKED;

enum { PIL_ENGINE_SEND_PARTS_MAX = 16 };
/* Sends all parts, in order, as one operation; the engine continues after short writes. One send may be in flight per
 * connection (asserted); memory and contents of the parts must stay unchanged until PIL_EVENT_SENT or PIL_EVENT_CLOSED.
 * The epoll back end sends at once, so the event may come in the next turn without blocking. */
void pil_engine_send(struct pil_engine *engine, pil_engine_handle handle, const struct iovec *parts,
                     uint32_t part_count);
/* Bytes that were given to pil_engine_send and that the peer has not taken: those that the kernel has not accepted, and
 * those that lie in the socket's queue (SIOCOUTQ; approximate for Unix sockets, where the kernel counts buffers). They
 * change when a peer takes some of them, long before SENT. Cost: a system call. */
uint64_t pil_engine_untaken(struct pil_engine *engine, pil_engine_handle handle);
/* Stops receiving until resume: back-pressure against a peer that reads slowly. While paused, the connection gets no
 * event but SENT; bytes that were in flight are kept and handed out first after resume. */
void pil_engine_pause(struct pil_engine *engine, pil_engine_handle handle);
void pil_engine_resume(struct pil_engine *engine, pil_engine_handle handle);
/* Cancels all operations and closes the connection; PIL_EVENT_CLOSED follows in a later turn, and no other event of
 * this handle. Also for listeners and watches, whose descriptors stay open. Calling it twice is harmless. */
void pil_engine_close(struct pil_engine *engine, pil_engine_handle handle);

/* Submits queued operations, takes back the buffers of the last turn, and waits for events: first spinning up to
 * spin_ns, then blocking up to timeout_ns (UINT64_MAX: no limit; 0: does not block; epoll rounds up to a millisecond).
 * Events that do not fit in `events` come in the next turn. *ret_count may be 0: after a timeout, a signal, or internal
 * work. SYSTEM when the ring is beyond repair (a lost completion): the process must restart. */
pil_status pil_engine_wait(struct pil_engine *engine, struct pil_event *events, uint32_t event_capacity,
                           uint64_t spin_ns, uint64_t timeout_ns, uint32_t *ret_count) PIL_CHECKED;
/* Keeps the received bytes that lie around `at` valid beyond the next pil_engine_wait: adds the buffer to the list
 * *kept (NULL: empty). Does nothing when `at` lies in no buffer of this turn, or in one that is kept already. A buffer
 * that is kept is missing for receiving. Cost: a step for each RECEIVE of the turn. */
struct pil_piece;
void pil_engine_keep(struct pil_engine *engine, const uint8_t *at, struct pil_piece **kept);
/* Takes the buffers of such a list back, and makes it empty. */
void pil_engine_give_back(struct pil_engine *engine, struct pil_piece **kept);
/* Submits queued sends without waiting: call it every few replies, so that the first answers of a large batch are not
 * held back by the last. */
void pil_engine_flush(struct pil_engine *engine);

/* Makes pil_engine_wait return with PIL_EVENT_WAKE (several wakes may become one event). Any thread; async-signal-safe.
 */
void pil_engine_wake(struct pil_engine *engine);

/* Counters since create, for metrics and tests. */
struct pil_engine_stats {
    uint64_t turns, enters, parks, spins_hit;   /* enters: system calls that submit or wait; spins_hit: spins that found
                                                 * an event and so avoided a park */
    uint64_t accepts, accept_failures, refused; /* accept_failures includes connections that were shed; refused: over
                                                 * connections_max */
    uint64_t receives, receive_bytes, sends, send_bytes;
    uint64_t buffers_empty;      /* ENOBUFS: receives that had to wait for buffers to come back */
    uint64_t multishot_ended;    /* multishot operations that ended while still wanted, and were re-armed */
    uint64_t complete_overflows; /* the completion ring was full and was flushed */
    uint32_t connections;        /* attached now */
};
void pil_engine_stats(const struct pil_engine *engine, struct pil_engine_stats *ret_stats);
/* Two of them, for each turn. */
uint64_t pil_engine_parks(const struct pil_engine *engine);
uint64_t pil_engine_spins_hit(const struct pil_engine *engine);
