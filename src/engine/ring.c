/* SPDX-License-Identifier: Apache-2.0
 * One io_uring with a provided-buffer ring. */
#include "engine/ring.h"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>

enum { INIT_ATTEMPTS = 100, INIT_PAUSE_NS = 5 * 1000 * 1000 };

const char *pil_ring_hint(int error_number) {
    switch (error_number) {
    case EPERM: return " (refused by seccomp or by the sysctl kernel.io_uring_disabled)";
    case ENOSYS: return " (the kernel was built without it, or a sandbox hides it)";
    case EINVAL: return " (the kernel is older than 6.1)";
    case ENOMEM: return " (RLIMIT_MEMLOCK or the memory limit)";
    case EMFILE:
    case ENFILE: return " (the limit of open files)";
    default: return "";
    }
}

static size_t buffer_ring_bytes(const struct pil_ring *ring) {
    return ring->buffer_count * sizeof(struct io_uring_buf);
}

static int register_buffers(struct pil_ring *ring) {
    void *memory = mmap(NULL, buffer_ring_bytes(ring), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return -ENOMEM;
    }
    ring->buffers = memory;
    io_uring_buf_ring_init(ring->buffers);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)memory,
        .ring_entries = ring->buffer_count,
        .bgid = PIL_RING_BUFFER_GROUP,
    };
    return io_uring_register_buf_ring(&ring->uring, &registration, 0);
}

static int init_once(struct pil_ring *ring, uint32_t submit_entries, uint32_t complete_entries, uint32_t buffer_count) {
    *ring = (struct pil_ring){.buffer_count = buffer_count};
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
        .cq_entries = complete_entries,
    };
    int result = io_uring_queue_init_params(submit_entries < complete_entries ? submit_entries : complete_entries,
                                            &ring->uring, &params);
    if (result < 0) {
        return result;
    }
    const uint32_t needed =
        IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG;
    result = (params.features & needed) == needed ? register_buffers(ring) : -EOPNOTSUPP;
    if (result == 0) {
        result = io_uring_register_ring_fd(&ring->uring); /* saves a file lookup at each enter */
        result = result == 1 ? 0 : result < 0 ? result : -EOPNOTSUPP;
    }
    if (result < 0) {
        pil_ring_deinit(ring);
    }
    return result;
}

/* The kernel frees the memory of a ring some time after its process closed it, and until then counts it against the
 * user's limit of locked memory: a restarted server may have to wait for the memory of its predecessor. */
int pil_ring_init(struct pil_ring *ring, uint32_t submit_entries, uint32_t complete_entries, uint32_t buffer_count) {
    int result = -ENOMEM;
    for (int attempt = 0; result == -ENOMEM && attempt < INIT_ATTEMPTS; attempt++) {
        if (attempt > 0) {
            nanosleep(&(struct timespec){.tv_nsec = INIT_PAUSE_NS}, NULL);
        }
        result = init_once(ring, submit_entries, complete_entries, buffer_count);
    }
    return result;
}

void pil_ring_deinit(struct pil_ring *ring) {
    io_uring_queue_exit(&ring->uring);
    if (ring->buffers != NULL) {
        munmap(ring->buffers, buffer_ring_bytes(ring));
    }
    *ring = (struct pil_ring){0};
}

void pil_ring_provide(struct pil_ring *ring, void *data, uint32_t bytes, uint16_t number) {
    io_uring_buf_ring_add(ring->buffers, data, bytes, number, (int)ring->buffer_count - 1, 0);
    io_uring_buf_ring_advance(ring->buffers, 1);
}

void pil_ring_prepare_receive(struct io_uring_sqe *sqe, int fd) {
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = PIL_RING_BUFFER_GROUP;
}

void pil_ring_prepare_receive_once(struct io_uring_sqe *sqe, int fd, uint32_t bytes) {
    io_uring_prep_recv(sqe, fd, NULL, bytes, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = PIL_RING_BUFFER_GROUP;
}

bool pil_ring_next(struct pil_ring *ring, struct io_uring_cqe *ret_completion) {
    unsigned head;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&ring->uring, head, cqe) {
        *ret_completion = *cqe;
        io_uring_cq_advance(&ring->uring, 1);
        return true;
    }
    return false;
}

bool pil_ring_needs_enter(const struct pil_ring *ring) {
    return (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

bool pil_ring_has_overflowed(const struct pil_ring *ring) {
    return (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0;
}
