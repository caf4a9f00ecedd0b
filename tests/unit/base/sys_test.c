/* SPDX-License-Identifier: Apache-2.0
 * Goal: files are read whole or refused; a sealed memfd cannot be changed by anybody any more.
 * Method: a folder under the temporary folder; each way of changing a memfd, tried after sealing. */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/pil-sys-XXXXXX";

static const char *in_folder(const char *name) {
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, const void *data, size_t len) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pil_sys_write_all(fd, pil_bytes_from(data, len), NULL), PIL_STATUS_OK);
    pil_sys_close(&fd);
    assert_int_equal(fd, -1);
    pil_sys_close(&fd);
}

static void files_are_read_whole(void **state) {
    (void)state;
    size_t len = 200000;
    uint8_t *data = malloc(len);
    for (size_t i = 0; i < len; i++) {
        data[i] = (uint8_t)(i * 31);
    }
    write_file(in_folder("file"), data, len);
    struct pil_text text = {0};
    struct pil_error error = {{0}};
    assert_int_equal(pil_sys_read_file(in_folder("file"), len, &text, &error), PIL_STATUS_OK);
    assert_int_equal(text.len, len);
    assert_memory_equal(text.data, data, len);
    pil_text_deinit(&text);
    assert_int_equal(pil_sys_read_file(in_folder("file"), len - 1, &text, &error), PIL_STATUS_TOO_LARGE);
    assert_non_null(strstr(error.text, "larger than 199999 bytes"));
    assert_null(text.data);
    write_file(in_folder("empty"), "", 0);
    assert_int_equal(pil_sys_read_file(in_folder("empty"), 0, &text, &error), PIL_STATUS_OK);
    assert_string_equal(text.data, "");
    pil_text_deinit(&text);
    free(data);
}

static void what_cannot_be_read_is_named(void **state) {
    (void)state;
    struct pil_text text = {0};
    struct pil_error error = {{0}};
    assert_int_equal(pil_sys_read_file(in_folder("missing"), 10, &text, &error), PIL_STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "/missing: No such file"));
    assert_int_equal(pil_sys_read_file(folder, 10, &text, &error), PIL_STATUS_SYSTEM); /* EISDIR */
    assert_non_null(strstr(error.text, folder));
    int fd = open(in_folder("read-only"), O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(pil_sys_write_all(fd, pil_bytes_from("x", 1), &error), PIL_STATUS_SYSTEM); /* EBADF */
    assert_int_equal(pil_sys_write_all(fd, pil_bytes_from(NULL, 0), &error), PIL_STATUS_OK);
    pil_sys_close(&fd);
}

static void folders_are_made_with_their_parents(void **state) {
    (void)state;
    struct pil_error error = {{0}};
    struct stat info;
    assert_int_equal(pil_sys_make_dirs(in_folder("a/b/c"), &error), PIL_STATUS_OK);
    assert_int_equal(pil_sys_make_dirs(in_folder("a/b/c"), &error), PIL_STATUS_OK);
    assert_int_equal(pil_sys_make_dirs(in_folder("a//b/d/"), &error), PIL_STATUS_OK);
    assert_int_equal(stat(in_folder("a/b/d"), &info), 0);
    assert_true(S_ISDIR(info.st_mode));
    assert_int_equal(pil_sys_make_dirs("", &error), PIL_STATUS_INVALID);
    write_file(in_folder("plain"), "x", 1);
    assert_int_equal(pil_sys_make_dirs(in_folder("plain/e"), &error), PIL_STATUS_NOT_FOUND); /* ENOTDIR */
    char *endless = malloc(PATH_MAX + 10);
    memset(endless, 'x', PATH_MAX + 9);
    endless[PATH_MAX + 9] = '\0';
    assert_int_equal(pil_sys_make_dirs(endless, &error), PIL_STATUS_INVALID);
    free(endless);
}

static void sealed_memory_stays_as_it_is(void **state) {
    (void)state;
    int fd = -1;
    struct pil_error error = {{0}};
    assert_int_equal(pil_sys_memfd_create("test", &fd, &error), PIL_STATUS_OK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(pil_sys_write_all(fd, pil_bytes_from("0123456789", 10), &error), PIL_STATUS_OK);
    assert_false(pil_sys_memfd_is_sealed(fd));
    void *writable = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(writable != MAP_FAILED);
    assert_int_equal(pil_sys_memfd_seal(fd, &error), PIL_STATUS_BUSY); /* a writable mapping is left */
    assert_false(pil_sys_memfd_is_sealed(fd));
    assert_int_equal(munmap(writable, 10), 0);
    assert_int_equal(pil_sys_memfd_seal(fd, &error), PIL_STATUS_OK);
    assert_true(pil_sys_memfd_is_sealed(fd));
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 5), -1);
    assert_int_equal(ftruncate(fd, 50), -1);
    assert_ptr_equal(mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    char text[10];
    assert_int_equal(pread(fd, text, 10, 0), 10);
    size_t bytes = 0;
    assert_int_equal(pil_sys_memfd_size(fd, &bytes, &error), PIL_STATUS_OK);
    assert_int_equal(bytes, 10);
    assert_memory_equal(text, "0123456789", 10);
    pil_sys_close(&fd);
}

static void a_memfd_that_is_empty_or_lost_has_no_size(void **state) {
    (void)state;
    int fd = -1;
    size_t bytes = 0;
    struct pil_error error = {{0}};
    assert_int_equal(pil_sys_memfd_create("empty", &fd, &error), PIL_STATUS_OK);
    assert_int_equal(pil_sys_memfd_size(fd, &bytes, &error), PIL_STATUS_DENIED);
    assert_int_equal(pil_sys_memfd_seal(fd, &error), PIL_STATUS_OK);
    assert_int_equal(pil_sys_memfd_size(fd, &bytes, &error), PIL_STATUS_CORRUPT);
    assert_string_equal(error.text, "the descriptor has no content");
    int closed = fd;
    pil_sys_close(&fd);
    assert_int_equal(pil_sys_memfd_size(closed, &bytes, &error), PIL_STATUS_SYSTEM); /* nothing is known of it */
    assert_int_equal(pil_sys_memfd_size(-1, &bytes, &error), PIL_STATUS_NO_MEMORY);
    assert_int_equal(bytes, 0);
}

static void files_are_not_sealed(void **state) {
    (void)state;
    struct pil_error error = {{0}};
    int fd = open(in_folder("loose"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_false(pil_sys_memfd_is_sealed(fd));
    assert_int_not_equal(pil_sys_memfd_seal(fd, &error), PIL_STATUS_OK);
    assert_non_null(strstr(error.text, "seal"));
    size_t bytes = 0;
    assert_int_equal(pil_sys_memfd_size(fd, &bytes, &error), PIL_STATUS_DENIED);
    assert_string_equal(error.text, "the descriptor is not a sealed memfd");
    pil_sys_close(&fd);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info, (void)kind, (void)place;
    return remove(path);
}

static int remove_folder(void **state) {
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Bytes of the mapping at `data` that are mapped by huge pages. */
static uint64_t huge_bytes_at(const void *data) {
    char line[512];
    uint64_t kib = 0;
    bool is_ours = false;
    FILE *file = fopen("/proc/self/smaps", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long begin = 0, end = 0, found = 0;
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2) {
            is_ours = begin == (uintptr_t)data;
        } else if (is_ours && sscanf(line, "ShmemPmdMapped: %lu kB", &found) == 1) {
            kib = found;
        }
    }
    fclose(file);
    return kib * 1024;
}

static void sealed_memory_moves_into_huge_pages(void **state) {
    (void)state;
    enum { BYTES = 3 * PIL_SYS_HUGE_PAGE_BYTES + 12345 };
    void *data[2];
    uint8_t *content = malloc(BYTES);
    int fd = -1;
    assert_non_null(content);
    for (size_t i = 0; i < BYTES; i++) {
        content[i] = (uint8_t)(i * 2654435761u >> 13);
    }
    assert_int_equal(pil_sys_memfd_create("huge", &fd, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_sys_write_all(fd, pil_bytes_from(content, BYTES), NULL), PIL_STATUS_OK);
    assert_int_equal(pil_sys_memfd_seal(fd, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_sys_map_aligned(fd, BYTES, &data[0], NULL), PIL_STATUS_OK);
    uint64_t huge = pil_sys_collapse(data[0], BYTES);
    assert_true(huge % PIL_SYS_HUGE_PAGE_BYTES == 0 && huge <= BYTES);
    assert_int_equal(pil_sys_map_aligned(fd, BYTES, &data[1], NULL), PIL_STATUS_OK);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal((uintptr_t)data[i] % PIL_SYS_HUGE_PAGE_BYTES, 0);
        assert_memory_equal(data[i], content, BYTES);
        assert_int_equal(huge_bytes_at(data[i]), huge);
        munmap(data[i], BYTES);
    }
    pil_sys_close(&fd);
    free(content);
    if (huge == 0) {
        print_message("this kernel does not collapse sealed memory: only the ordinary pages were tested\n");
    }
}

/* Runs in a child, whose descriptors may be changed. */
static int exit_code_of(int (*run)(void)) {
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(run());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

static int close_all_but_7(void) {
    for (int fd = 3; fd < 20; fd++) {
        dup2(0, fd);
    }
    dup2(0, 900);
    pil_sys_close_inherited(7);
    for (int fd = 3; fd < 1000; fd++) {
        if (is_open(fd) != (fd == 7)) {
            return fd < 20 ? fd : 20;
        }
    }
    return is_open(0) && is_open(1) && is_open(2) ? 0 : 21;
}

static int close_all(void) {
    dup2(0, 3);
    dup2(0, 900);
    pil_sys_close_inherited(-1);
    return is_open(3) || is_open(900) || !is_open(2);
}

static int open_what_is_closed(void) {
    close(0);
    close(2);
    pil_sys_open_stdio();
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    bool is_above = next > 2;
    pil_sys_close(&next);
    return is_open(0) && is_open(1) && is_open(2) && is_above ? 0 : 1;
}

static void inherited_descriptors_are_closed_but_the_kept_one(void **state) {
    (void)state;
    assert_int_equal(exit_code_of(close_all_but_7), 0);
    assert_int_equal(exit_code_of(close_all), 0);
}

static void stdio_is_open_afterwards(void **state) {
    (void)state;
    assert_int_equal(exit_code_of(open_what_is_closed), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_read_whole),
        cmocka_unit_test(what_cannot_be_read_is_named),
        cmocka_unit_test(folders_are_made_with_their_parents),
        cmocka_unit_test(sealed_memory_stays_as_it_is),
        cmocka_unit_test(a_memfd_that_is_empty_or_lost_has_no_size),
        cmocka_unit_test(files_are_not_sealed),
        cmocka_unit_test(inherited_descriptors_are_closed_but_the_kept_one),
        cmocka_unit_test(stdio_is_open_afterwards),
        cmocka_unit_test(sealed_memory_moves_into_huge_pages),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
