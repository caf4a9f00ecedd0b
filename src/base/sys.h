/* SPDX-License-Identifier: Apache-2.0
 * System calls for the control plane: whole-file reads, complete writes, folders, sealed memfds, huge pages,
 * scheduling. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "base/text.h"

/* Reads a whole file of at most bytes_max. The caller owns *ret_text (pil_text_deinit). */
pil_status pil_sys_read_file(const char *path, size_t bytes_max, struct pil_text *ret_text,
                             struct pil_error *ret_error) PIL_CHECKED;

/* Writes all bytes; continues after EINTR and short writes. Does not fsync. */
pil_status pil_sys_write_all(int fd, struct pil_bytes data, struct pil_error *ret_error) PIL_CHECKED;

/* Creates `path` and its missing parents. */
pil_status pil_sys_make_dirs(const char *path, struct pil_error *ret_error) PIL_CHECKED;

/* Creates an unsealed, empty, close-on-exec memfd, not executable from Linux 6.3 on. */
pil_status pil_sys_memfd_create(const char *name, int *ret_fd, struct pil_error *ret_error) PIL_CHECKED;

/* Sets the seals write, shrink, grow and seal. There must be no writable mapping left. */
pil_status pil_sys_memfd_seal(int fd, struct pil_error *ret_error) PIL_CHECKED;

/* F_SEAL_FUTURE_WRITE, Linux 5.1: no new writable mapping, no write. Defined here for C libraries that lack it. */
enum { PIL_SYS_SEAL_FUTURE_WRITE = 0x0010 };

/* Whether all four seals are set, so that no process can change content or size any more. */
bool pil_sys_memfd_is_sealed(int fd);
/* The size, above 0, of a sealed memfd that another process sent. DENIED: a seal is missing, or it is not a memfd.
 * CORRUPT: it is empty. NO_MEMORY: `fd` is -1, because there was no descriptor left to receive it. SYSTEM: the kernel
 * could not tell, which says nothing about the memfd. */
pil_status pil_sys_memfd_size(int fd, size_t *ret_bytes, struct pil_error *ret_error) PIL_CHECKED;

enum { PIL_SYS_HUGE_PAGE_BYTES = 2 << 20 };

/* Maps a file for reading at a multiple of PIL_SYS_HUGE_PAGE_BYTES, as the mapping of whole huge pages requires. Unmap
 * it with munmap. */
pil_status pil_sys_map_aligned(int fd, size_t bytes, void **ret_data, struct pil_error *ret_error) PIL_CHECKED;

/* Moves the memory of a memfd, mapped by pil_sys_map_aligned, into huge pages, for all processes that map it
 * (MADV_COLLAPSE, Linux 6.1; it works on sealed memfds, without privilege, and with shmem_enabled = never). Returns the
 * number of bytes that are in huge pages now; the rest, on an older kernel everything, stays usable as before. Cost:
 * copies each page, 0.3 to 3 s per GiB. */
uint64_t pil_sys_collapse(void *data, size_t bytes);

/* Makes the calling thread yield to threads that run promptly (SCHED_BATCH, nice 5 unless it is nicer already): it has
 * a third of the weight of other threads and does not preempt them. Needs no privilege, but cannot be undone without
 * one. */
pil_status pil_sys_run_in_background(struct pil_error *ret_error) PIL_CHECKED;
/* Requests short time slices (0.1 ms) for the calling thread, so that it preempts threads with longer slices as soon as
 * it wakes up (EEVDF, Linux 6.12). No effect on older kernels. */
void pil_sys_run_promptly(void);
/* Returns to the kernel what the calling thread has freed and the allocator keeps. May take milliseconds. */
void pil_sys_return_memory(void);

/* Opens /dev/null for those of the descriptors 0 to 2 that are closed, so that no socket or file gets such a number and
 * with it the log. Call it before anything else is opened. */
void pil_sys_open_stdio(void);
/* Closes all descriptors above 2 but `kept` (-1: none): those that the caller of this program left open. */
void pil_sys_close_inherited(int kept);
/* Closes *fd if it is open, and sets it to -1. */
void pil_sys_close(int *fd);
