/* SPDX-License-Identifier: Apache-2.0
 * Files and descriptors for the control plane: whole-file reads, durable writes, sealed memfds. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "base/text.h"

/* Reads a whole file of at most bytes_max. Owns: *ret_text is the caller's (pil_text_deinit). */
pil_status pil_sys_read_file(const char *path, size_t bytes_max, struct pil_text *ret_text,
                             struct pil_error *ret_error) PIL_CHECKED;

/* Writes all bytes, through EINTR and short writes. */
pil_status pil_sys_write_all(int fd, struct pil_bytes data, struct pil_error *ret_error) PIL_CHECKED;

/* Creates `path` and its missing parents. */
pil_status pil_sys_make_dirs(const char *path, struct pil_error *ret_error) PIL_CHECKED;

/* An unsealed, empty, close-on-exec, non-executable memfd. */
pil_status pil_sys_memfd_create(const char *name, int *ret_fd, struct pil_error *ret_error) PIL_CHECKED;

/* Write, shrink, grow and seal are sealed. There must be no writable mapping left. */
pil_status pil_sys_memfd_seal(int fd, struct pil_error *ret_error) PIL_CHECKED;

/* F_SEAL_FUTURE_WRITE, Linux 5.1: no new writable mapping, no write. glibc hides it behind another header. */
enum { PIL_SYS_SEAL_FUTURE_WRITE = 0x0010 };

/* OK: all four seals are set, nobody can change the content or the size any more. DENIED: they are not, or it is no
 * memfd. SYSTEM: the kernel did not say; nothing is known of it. */
pil_status pil_sys_memfd_check(int fd) PIL_CHECKED;
static inline bool pil_sys_memfd_is_sealed(int fd) {
    return pil_sys_memfd_check(fd) == PIL_STATUS_OK;
}

enum { PIL_SYS_HUGE_PAGE_BYTES = 2 << 20 };

/* Maps a file for reading at a multiple of PIL_SYS_HUGE_PAGE_BYTES: only there can huge pages of the file be mapped
 * whole. munmap as usual. */
pil_status pil_sys_map_aligned(int fd, size_t bytes, void **ret_data, struct pil_error *ret_error) PIL_CHECKED;

/* Moves what lies behind such a mapping of a memfd into huge pages, for whoever maps it (MADV_COLLAPSE, Linux 6.1; it
 * works on sealed memfds, without privilege, and with shmem_enabled = never). Returns how many bytes are in huge pages
 * now; the rest, and all of it on an older kernel, is as good as before. Cost: copies each page, 0.3 to 3 s a GiB. */
uint64_t pil_sys_collapse(void *data, size_t bytes);

/* The calling thread gives way to those that run promptly (SCHED_BATCH, nice 5): it has a third of the weight of others
 * and does not interrupt them. No privilege is needed, and there is no way back without. */
pil_status pil_sys_run_in_background(struct pil_error *ret_error) PIL_CHECKED;
/* The calling thread asks for short slices of the processor (0.1 ms), so that the kernel lets it interrupt those with
 * longer ones as soon as it wakes up (EEVDF, Linux 6.12). Elsewhere nothing happens. */
void pil_sys_run_promptly(void);

/* Closes *fd when it is open and sets it to -1. */
void pil_sys_close(int *fd);
