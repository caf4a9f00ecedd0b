/* SPDX-License-Identifier: Apache-2.0
 * The part of the event loop that both back ends share: handles, events and their order, shares, pauses, limits. */
#include "engine/internal.h"
#include "engine/options.h"

#include "base/clock.h"
#include "base/panic.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    OTHERS_MAX = 64,             /* listeners and watches, beside the connections */
    SHED_MAX = 1024,             /* connections accepted and closed per attempt when descriptors run out */
    REST_NS = 100 * 1000 * 1000, /* back-off of a failing listener */
};

const char *pil_engine_kind_text(pil_engine_kind kind) {
    return kind == PIL_ENGINE_IO_URING ? "io_uring" : "epoll";
}

static void assert_thread(const struct pil_engine *engine) {
    PIL_ASSERT(pthread_equal(engine->thread, pthread_self()));
}

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- events ---- */

static struct pil_event *emit(struct pil_engine *engine, const struct pil_slot *slot, pil_event_kind kind) {
    PIL_ASSERT(pil_engine_has_room(engine));
    struct pil_event *event = &engine->events[engine->count++];
    *event = (struct pil_event){.kind = kind, .fd = -1};
    if (slot != NULL) {
        event->handle = pil_slot_handle(slot);
        event->owner = slot->owner;
    }
    return event;
}

static void make_ready(struct pil_engine *engine, struct pil_slot *slot) {
    pil_slot_list_add(&engine->ready, PIL_SLOT_LINK(ready), slot);
}

static void discard(struct pil_engine *engine, struct pil_piece *piece) {
    if (piece->buffer >= 0) {
        engine->ops->give_back(engine, piece);
    } else {
        free(piece);
    }
}

static void discard_all(struct pil_engine *engine, struct pil_piece **pieces) {
    while (*pieces != NULL) {
        struct pil_piece *piece = *pieces;
        *pieces = piece->next;
        discard(engine, piece);
    }
}

void pil_engine_keep(struct pil_engine *engine, const uint8_t *at, struct pil_piece **kept) {
    assert_thread(engine);
    for (struct pil_piece **link = &engine->lent; *link != NULL; link = &(*link)->next) {
        struct pil_piece *piece = *link;
        if (at >= piece->data && at < piece->data + piece->len) {
            *link = piece->next;
            piece->next = *kept;
            piece->is_kept = true;
            *kept = piece;
            return;
        }
    }
}

void pil_engine_give_back(struct pil_engine *engine, struct pil_piece **kept) {
    assert_thread(engine);
    for (struct pil_piece *piece = *kept; piece != NULL; piece = piece->next) {
        piece->is_kept = false;
    }
    discard_all(engine, kept);
}

static void lend(struct pil_engine *engine, struct pil_slot *slot, struct pil_piece *piece) {
    emit(engine, slot, PIL_EVENT_RECEIVE)->data = pil_bytes_from(piece->data, piece->len);
    piece->next = engine->lent;
    engine->lent = piece;
    if (slot->received_turn != engine->turn) {
        slot->received_turn = engine->turn;
        slot->received_bytes = 0;
    }
    slot->received_bytes += piece->len;
    engine->stats.receives++;
    engine->stats.receive_bytes += piece->len;
}

/* A connection may stay paused for long and must not hold shared buffers meanwhile. Returns the piece itself when
 * memory is short. */
static struct pil_piece *move_to_heap(struct pil_engine *engine, struct pil_piece *piece) {
    struct pil_piece *copy = piece->buffer >= 0 ? malloc(sizeof *copy + piece->len) : NULL;
    if (copy == NULL) {
        return piece;
    }
    *copy =
        (struct pil_piece){.next = piece->next, .data = (const uint8_t *)(copy + 1), .len = piece->len, .buffer = -1};
    memcpy(copy + 1, piece->data, piece->len);
    engine->ops->give_back(engine, piece);
    return copy;
}

static void hold(struct pil_engine *engine, struct pil_slot *slot, struct pil_piece *piece) {
    piece->next = NULL;
    if (slot->is_paused) {
        piece = move_to_heap(engine, piece);
    } else {
        make_ready(engine, slot);
    }
    if (slot->held_last != NULL) {
        slot->held_last->next = piece;
    } else {
        slot->held_first = piece;
    }
    slot->held_last = piece;
}

static void drop_held(struct pil_engine *engine, struct pil_slot *slot) {
    discard_all(engine, &slot->held_first);
    slot->held_last = NULL;
}

static bool has_end(const struct pil_slot *slot) {
    return slot->end == PIL_SLOT_ENDED || slot->end == PIL_SLOT_FAILED;
}

static void release(struct pil_engine *engine, struct pil_slot *slot) {
    if (slot->kind == PIL_SLOT_CONNECTION) {
        engine->stats.connections--;
    } else {
        engine->others--;
    }
    pil_slot_release(&engine->table, slot);
}

/* Hands out the slot's pending events as long as there is room; returns true if some are left. */
static bool hand_out(struct pil_engine *engine, struct pil_slot *slot) {
    if (slot->is_closing) {
        if (slot->is_closed) {
            emit(engine, slot, PIL_EVENT_CLOSED);
            release(engine, slot);
        }
        return false;
    }
    if (slot->is_sent) {
        struct pil_event *event = emit(engine, slot, PIL_EVENT_SENT);
        event->failed = slot->send_failed;
        event->bytes = slot->send_bytes;
        slot->is_sent = slot->is_sending = false;
    }
    if (slot->is_paused) {
        return false;
    }
    bool had = slot->held_first != NULL;
    while (slot->held_first != NULL && pil_engine_has_room(engine) && pil_engine_share(engine, slot) > 0) {
        struct pil_piece *piece = slot->held_first;
        slot->held_first = piece->next;
        lend(engine, slot, piece);
    }
    if (slot->held_first != NULL) {
        return true;
    }
    slot->held_last = NULL;
    if (has_end(slot)) {
        if (!pil_engine_has_room(engine)) {
            return true;
        }
        emit(engine, slot, PIL_EVENT_END)->failed = slot->end == PIL_SLOT_FAILED;
        slot->end = PIL_SLOT_TOLD;
    } else if (had) {
        engine->ops->update(engine, slot);
    }
    return false;
}

static void hand_out_ready(struct pil_engine *engine) {
    for (uint32_t left = engine->ready.count; left > 0 && pil_engine_has_room(engine); left--) {
        struct pil_slot *slot = engine->ready.first;
        pil_slot_list_remove(&engine->ready, PIL_SLOT_LINK(ready), slot);
        if (hand_out(engine, slot)) {
            make_ready(engine, slot);
        }
    }
}

/* ---- called by the back ends ---- */

bool pil_engine_wants(const struct pil_slot *slot) {
    if (slot->is_closing) {
        return false;
    }
    switch (slot->kind) {
    case PIL_SLOT_CONNECTION: return !slot->is_paused && slot->end == PIL_SLOT_OPEN && slot->held_first == NULL;
    case PIL_SLOT_LISTENER: return slot->rest_until_ns == 0;
    case PIL_SLOT_WATCH: return true;
    case PIL_SLOT_FREE: return false;
    }
    PIL_UNREACHABLE("slot kind");
}

uint64_t pil_engine_share(const struct pil_engine *engine, const struct pil_slot *slot) {
    uint64_t max = engine->options.receive_bytes_per_turn_max;
    uint64_t had = slot->received_turn == engine->turn ? slot->received_bytes : 0;
    return had < max ? max - had : 0;
}

void pil_engine_woken(struct pil_engine *engine) {
    uint64_t count;
    if (read(engine->wake_fd, &count, sizeof count) == sizeof count) {
        emit(engine, NULL, PIL_EVENT_WAKE);
    }
}

void pil_engine_readable(struct pil_engine *engine, struct pil_slot *slot) {
    emit(engine, slot, PIL_EVENT_READABLE);
}

void pil_engine_accepted(struct pil_engine *engine, struct pil_slot *slot, int fd) {
    if (engine->stats.connections + engine->accepted >= engine->options.connections_max) {
        engine->stats.refused++;
        close(fd);
        return;
    }
    engine->accepted++;
    engine->stats.accepts++;
    emit(engine, slot, PIL_EVENT_ACCEPT)->fd = fd;
}

static void rest(struct pil_engine *engine, struct pil_slot *slot) {
    slot->rest_until_ns = pil_clock_monotonic_ns() + REST_NS;
    pil_slot_list_add(&engine->rearm[PIL_SLOT_LISTENER], PIL_SLOT_LINK(rearm), slot);
}

static void open_reserve(struct pil_engine *engine) {
    if (engine->reserve_fd < 0) {
        engine->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

/* Clients in the accept queue would otherwise wait for ever: closing the reserve descriptor frees a number, with which
 * each client is accepted and closed, so that it sees end of file. */
static uint32_t shed(struct pil_engine *engine, int listener_fd) {
    uint32_t count = 0;
    pil_sys_close(&engine->reserve_fd);
    for (int fd; count < SHED_MAX && (fd = accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0; count++) {
        close(fd);
    }
    open_reserve(engine);
    return count;
}

void pil_engine_accept_failed(struct pil_engine *engine, struct pil_slot *slot, int error_number) {
    if (error_number == EMFILE || error_number == ENFILE) {
        uint32_t count = shed(engine, slot->fd);
        engine->stats.accept_failures += count;
        if (count == 0) {
            rest(engine, slot);
        }
        return;
    }
    engine->stats.accept_failures++;
    if (error_number != ECONNABORTED && error_number != EINTR && error_number != ECANCELED) {
        rest(engine, slot);
    }
}

void pil_engine_received(struct pil_engine *engine, struct pil_slot *slot, struct pil_piece *piece) {
    if (slot->is_closing) {
        discard(engine, piece);
    } else if (slot->is_paused || slot->held_first != NULL || !pil_engine_has_room(engine) ||
               pil_engine_share(engine, slot) == 0) {
        hold(engine, slot, piece);
    } else {
        lend(engine, slot, piece);
    }
}

void pil_engine_ended(struct pil_engine *engine, struct pil_slot *slot, bool failed) {
    if (slot->is_closing || slot->end != PIL_SLOT_OPEN) {
        return;
    }
    slot->end = failed ? PIL_SLOT_FAILED : PIL_SLOT_ENDED;
    make_ready(engine, slot);
}

bool pil_engine_sent(struct pil_engine *engine, struct pil_slot *slot, size_t bytes) {
    slot->send_bytes += bytes;
    engine->stats.send_bytes += bytes;
    struct msghdr *message = &slot->message;
    while (message->msg_iovlen > 0 && bytes >= message->msg_iov->iov_len) {
        bytes -= message->msg_iov->iov_len;
        message->msg_iov++;
        message->msg_iovlen--;
    }
    if (message->msg_iovlen > 0) {
        message->msg_iov->iov_base = (char *)message->msg_iov->iov_base + bytes;
        message->msg_iov->iov_len -= bytes;
        return false;
    }
    slot->is_sent = true;
    engine->stats.sends++;
    make_ready(engine, slot);
    return true;
}

void pil_engine_send_failed(struct pil_engine *engine, struct pil_slot *slot) {
    slot->is_sent = slot->send_failed = true;
    make_ready(engine, slot);
}

void pil_engine_closed(struct pil_engine *engine, struct pil_slot *slot) {
    PIL_ASSERT(slot->is_closing && !slot->is_closed && slot->in_flight == 0);
    if (slot->kind == PIL_SLOT_CONNECTION) {
        pil_sys_close(&slot->fd);
    }
    slot->is_closed = true;
    make_ready(engine, slot);
}

/* ---- create and destroy ---- */

static size_t pool_bytes(const struct pil_engine *engine) {
    return (size_t)engine->options.buffer_count * engine->options.buffer_bytes;
}

static pil_status create_pool(struct pil_engine *engine) {
    uint32_t count = engine->options.buffer_count;
    engine->pieces = calloc(count, sizeof *engine->pieces);
    void *pool = mmap(NULL, pool_bytes(engine), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pool == MAP_FAILED) {
        return PIL_STATUS_NO_MEMORY;
    }
    engine->pool = pool;
    if (engine->pieces == NULL) {
        return PIL_STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        engine->pieces[i].data = engine->pool + (size_t)i * engine->options.buffer_bytes;
        engine->pieces[i].buffer = (int32_t)i;
    }
    return PIL_STATUS_OK;
}

static void free_common(struct pil_engine *engine) {
    if (engine->pool != NULL) {
        munmap(engine->pool, pool_bytes(engine));
    }
    free(engine->pieces);
    pil_slot_table_deinit(&engine->table);
    pil_sys_close(&engine->wake_fd);
    pil_sys_close(&engine->reserve_fd);
    free(engine);
}

static pil_status create_common(struct pil_engine *engine, struct pil_error *ret_error) {
    if (pil_slot_table_init(&engine->table, engine->options.connections_max + OTHERS_MAX) != PIL_STATUS_OK ||
        create_pool(engine) != PIL_STATUS_OK) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for %u connections and %u buffers of %u bytes",
                        engine->options.connections_max, engine->options.buffer_count, engine->options.buffer_bytes);
    }
    engine->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    open_reserve(engine);
    if (engine->wake_fd < 0 || engine->reserve_fd < 0) {
        return pil_fail(ret_error, pil_status_from_errno(errno), "open an eventfd and /dev/null: %s", strerror(errno));
    }
    return PIL_STATUS_OK;
}

pil_status pil_engine_create(const struct pil_engine_options *options, struct pil_engine **ret_engine,
                             struct pil_error *ret_error) {
    struct pil_engine_options filled;
    PIL_TRY(pil_engine_options_fill(options, &filled, ret_error));
    struct pil_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for an event loop");
    }
    engine->options = filled;
    engine->ops = filled.kind == PIL_ENGINE_IO_URING ? &pil_uring_ops : &pil_epoll_ops;
    engine->thread = pthread_self();
    engine->wake_fd = engine->reserve_fd = -1;
    pil_status status = create_common(engine, ret_error);
    if (status == PIL_STATUS_OK) {
        status = engine->ops->create(engine, ret_error);
    }
    if (status != PIL_STATUS_OK) {
        free_common(engine);
        return status;
    }
    *ret_engine = engine;
    return PIL_STATUS_OK;
}

static void start_close(struct pil_engine *engine, struct pil_slot *slot) {
    if (slot->is_closing) {
        return;
    }
    slot->is_closing = true;
    drop_held(engine, slot);
    pil_slot_list_remove(&engine->rearm[slot->kind], PIL_SLOT_LINK(rearm), slot);
    engine->ops->close(engine, slot);
}

void pil_engine_destroy(struct pil_engine **engine) {
    if (*engine == NULL) {
        return;
    }
    struct pil_engine *old = *engine;
    *engine = NULL;
    assert_thread(old);
    discard_all(old, &old->lent);
    for (uint32_t i = 0; i < old->table.slots_made; i++) {
        struct pil_slot *slot = pil_slot_at(&old->table, i);
        if (slot->kind != PIL_SLOT_FREE) {
            start_close(old, slot);
        }
    }
    old->ops->destroy(old);
    free_common(old);
}

/* ---- called by the owner ---- */

static pil_status start(struct pil_engine *engine, int fd, pil_slot_kind kind, void *owner,
                        struct pil_slot **ret_slot) {
    assert_thread(engine);
    bool is_connection = kind == PIL_SLOT_CONNECTION;
    if (is_connection ? engine->stats.connections == engine->options.connections_max : engine->others == OTHERS_MAX) {
        return PIL_STATUS_TOO_LARGE;
    }
    struct pil_slot *slot;
    PIL_TRY(pil_slot_acquire(&engine->table, &slot));
    slot->kind = kind;
    slot->fd = fd;
    slot->owner = owner;
    *(is_connection ? &engine->stats.connections : &engine->others) += 1;
    *ret_slot = slot;
    return PIL_STATUS_OK;
}

static pil_status start_lent(struct pil_engine *engine, int fd, pil_slot_kind kind, void *owner,
                             pil_engine_handle *ret_handle) {
    struct pil_slot *slot;
    PIL_TRY(start(engine, fd, kind, owner, &slot));
    if (!engine->ops->update(engine, slot)) {
        release(engine, slot);
        return PIL_STATUS_SYSTEM;
    }
    *ret_handle = pil_slot_handle(slot);
    return PIL_STATUS_OK;
}

pil_status pil_engine_listen(struct pil_engine *engine, int fd, void *owner, pil_engine_handle *ret_handle) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        return PIL_STATUS_SYSTEM;
    }
    return start_lent(engine, fd, PIL_SLOT_LISTENER, owner, ret_handle);
}

pil_status pil_engine_watch(struct pil_engine *engine, int fd, void *owner, pil_engine_handle *ret_handle) {
    return start_lent(engine, fd, PIL_SLOT_WATCH, owner, ret_handle);
}

pil_status pil_engine_attach(struct pil_engine *engine, int fd, void *owner, pil_engine_handle *ret_handle) {
    struct pil_slot *slot;
    pil_status status = start(engine, fd, PIL_SLOT_CONNECTION, owner, &slot);
    if (status != PIL_STATUS_OK) {
        pil_sys_close(&fd);
        return status;
    }
    if (!engine->ops->update(engine, slot)) {
        pil_engine_ended(engine, slot, true);
    }
    *ret_handle = pil_slot_handle(slot);
    return PIL_STATUS_OK;
}

/* NULL when the handle is closing or closed. */
static struct pil_slot *live(struct pil_engine *engine, pil_engine_handle handle) {
    assert_thread(engine);
    struct pil_slot *slot = pil_slot_find(&engine->table, handle);
    return slot != NULL && !slot->is_closing ? slot : NULL;
}

void pil_engine_send(struct pil_engine *engine, pil_engine_handle handle, const struct iovec *parts,
                     uint32_t part_count) {
    struct pil_slot *slot = live(engine, handle);
    if (slot == NULL) {
        return;
    }
    PIL_ASSERT(slot->kind == PIL_SLOT_CONNECTION && !slot->is_sending && part_count <= PIL_ENGINE_SEND_PARTS_MAX);
    slot->is_sending = true;
    slot->send_failed = false;
    slot->send_bytes = 0;
    memcpy(slot->parts, parts, part_count * sizeof *parts);
    slot->message = (struct msghdr){.msg_iov = slot->parts, .msg_iovlen = part_count};
    if (!pil_engine_sent(engine, slot, 0)) { /* skips empty parts; a send of only empty parts is complete */
        engine->ops->send(engine, slot);
    }
}

uint64_t pil_engine_untaken(struct pil_engine *engine, pil_engine_handle handle) {
    const struct pil_slot *slot = live(engine, handle);
    int queued = 0;
    uint64_t bytes = 0;
    PIL_ASSERT(slot == NULL || slot->message.msg_iovlen <= PIL_ENGINE_SEND_PARTS_MAX);
    if (slot == NULL || slot->kind != PIL_SLOT_CONNECTION) {
        return 0;
    }
    for (size_t i = 0; slot->is_sending && i < slot->message.msg_iovlen; i++) {
        bytes += slot->message.msg_iov[i].iov_len;
    }
    return ioctl(slot->fd, SIOCOUTQ, &queued) == 0 && queued > 0 ? bytes + (uint64_t)queued : bytes;
}

void pil_engine_pause(struct pil_engine *engine, pil_engine_handle handle) {
    struct pil_slot *slot = live(engine, handle);
    if (slot == NULL || slot->is_paused) {
        return;
    }
    slot->is_paused = true;
    struct pil_piece **link = &slot->held_first;
    while (*link != NULL) {
        *link = slot->held_last = move_to_heap(engine, *link);
        link = &(*link)->next;
    }
    engine->ops->update(engine, slot);
}

void pil_engine_resume(struct pil_engine *engine, pil_engine_handle handle) {
    struct pil_slot *slot = live(engine, handle);
    if (slot == NULL || !slot->is_paused) {
        return;
    }
    slot->is_paused = false;
    if (slot->held_first != NULL || has_end(slot)) {
        make_ready(engine, slot);
    } else if (!engine->ops->update(engine, slot)) {
        pil_engine_ended(engine, slot, true);
    }
}

void pil_engine_close(struct pil_engine *engine, pil_engine_handle handle) {
    struct pil_slot *slot = live(engine, handle);
    if (slot != NULL) {
        start_close(engine, slot);
    }
}

void pil_engine_flush(struct pil_engine *engine) {
    assert_thread(engine);
    engine->ops->flush(engine);
}

void pil_engine_wake(struct pil_engine *engine) {
    int saved = errno;
    uint64_t one = 1;
    ssize_t wrote = write(engine->wake_fd, &one, sizeof one);
    (void)wrote; /* EAGAIN: the counter is full, so a wake is pending anyway */
    errno = saved;
}

void pil_engine_stats(const struct pil_engine *engine, struct pil_engine_stats *ret_stats) {
    *ret_stats = engine->stats;
}

uint64_t pil_engine_parks(const struct pil_engine *engine) {
    return engine->stats.parks;
}

uint64_t pil_engine_spins_hit(const struct pil_engine *engine) {
    return engine->stats.spins_hit;
}

/* ---- a turn ---- */

/* Restarts listeners whose back-off is over; returns timeout_ns, or less when a listener is still resting. */
static uint64_t wake_rested(struct pil_engine *engine, uint64_t timeout_ns) {
    struct pil_slot_list *resting = &engine->rearm[PIL_SLOT_LISTENER];
    if (resting->count == 0) {
        return timeout_ns;
    }
    uint64_t now_ns = pil_clock_monotonic_ns();
    open_reserve(engine);
    for (uint32_t left = resting->count; left > 0; left--) {
        struct pil_slot *slot = resting->first;
        pil_slot_list_remove(resting, PIL_SLOT_LINK(rearm), slot);
        if (now_ns < slot->rest_until_ns) {
            uint64_t rest_ns = slot->rest_until_ns - now_ns;
            timeout_ns = rest_ns < timeout_ns ? rest_ns : timeout_ns;
            pil_slot_list_add(resting, PIL_SLOT_LINK(rearm), slot);
            continue;
        }
        slot->rest_until_ns = 0;
        if (!engine->ops->update(engine, slot)) {
            rest(engine, slot);
        }
    }
    return timeout_ns;
}

static bool has_something(const struct pil_engine *engine) {
    return engine->count > 0 || engine->ready.count > 0 || engine->has_more;
}

static pil_status spin(struct pil_engine *engine, uint64_t spin_ns) {
    uint64_t start_ns = pil_clock_monotonic_ns();
    do {
        relax();
        PIL_TRY(engine->ops->turn(engine, 0));
        if (has_something(engine)) {
            engine->stats.spins_hit++;
            return PIL_STATUS_OK;
        }
    } while (pil_clock_monotonic_ns() - start_ns < spin_ns);
    return PIL_STATUS_OK;
}

static pil_status park(struct pil_engine *engine, uint64_t timeout_ns) {
    const struct pil_engine_options *options = &engine->options;
    engine->stats.parks++;
    if (options->on_park != NULL) {
        options->on_park(options->context);
    }
    pil_status status = engine->ops->turn(engine, timeout_ns);
    if (options->on_unpark != NULL) {
        options->on_unpark(options->context);
    }
    return status;
}

static pil_status gather(struct pil_engine *engine, uint64_t spin_ns, uint64_t timeout_ns) {
    if (timeout_ns == 0 || spin_ns > 0 || engine->has_sends) {
        PIL_TRY(engine->ops->turn(engine, 0));
    }
    if (timeout_ns == 0 || has_something(engine)) {
        return PIL_STATUS_OK;
    }
    if (spin_ns > 0) {
        PIL_TRY(spin(engine, spin_ns));
        if (has_something(engine)) {
            return PIL_STATUS_OK;
        }
    }
    return park(engine, timeout_ns);
}

pil_status pil_engine_wait(struct pil_engine *engine, struct pil_event *events, uint32_t event_capacity,
                           uint64_t spin_ns, uint64_t timeout_ns, uint32_t *ret_count) {
    assert_thread(engine);
    PIL_ASSERT(event_capacity > 0);
    engine->events = events;
    engine->capacity = event_capacity;
    engine->count = engine->accepted = 0;
    engine->turn++;
    engine->stats.turns++;
    discard_all(engine, &engine->lent);
    timeout_ns = wake_rested(engine, timeout_ns);
    bool has_work = engine->ops->begin(engine) || engine->has_more;
    hand_out_ready(engine);
    if (has_work || has_something(engine)) {
        timeout_ns = 0;
    }
    PIL_TRY(gather(engine, spin_ns < timeout_ns ? spin_ns : timeout_ns, timeout_ns));
    hand_out_ready(engine);
    *ret_count = engine->count;
    return PIL_STATUS_OK;
}
