/* SPDX-License-Identifier: Apache-2.0
 * Shifts the wall clock of a process that runs with this library preloaded, by as many seconds as the first eight bytes
 * of the file named by PIL_CLOCK_FILE say (int64, little-endian); a test changes them while the process runs. The
 * monotonic clock stays as it is, as when somebody sets the clock of a machine. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static const _Atomic int64_t *shift;

__attribute__((constructor)) static void map_shift(void) {
    const char *path = getenv("PIL_CLOCK_FILE");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = fd >= 0 ? mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (page == MAP_FAILED) {
        abort(); /* a test that shifts nothing would pass */
    }
    shift = page;
    close(fd);
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *ret_time) {
    long result = syscall(SYS_clock_gettime, clock, ret_time);
    if (result == 0 && shift != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        ret_time->tv_sec += atomic_load_explicit(shift, memory_order_relaxed);
    }
    return (int)result;
}

EXPORT int gettimeofday(struct timeval *restrict ret_time, void *restrict zone) {
    struct timespec time = {0};
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &time);
    *ret_time = (struct timeval){.tv_sec = time.tv_sec, .tv_usec = time.tv_nsec / 1000};
    return result;
}

EXPORT time_t time(time_t *ret_time) {
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (ret_time != NULL) {
        *ret_time = now.tv_sec;
    }
    return now.tv_sec;
}
