/* SPDX-License-Identifier: Apache-2.0
 * Goal: a folder behaves as every store must, and what is special about it holds: links lead nowhere, disks that are
 * full, read-only or broken lose nothing, and messages name the file. Method: the conformance tests; then attacks and
 * faults on a real folder. fsync and readdir are replaced by ones that can fail.
 */
#include "store/scheme.h"
#include "unit/store/child.h"
#include "unit/store/conformance.h"
#include "unit/store/folder.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

/* ---- fsync that fails when it is told to */

static int fsync_calls, fsync_fails_at;

int fsync(int fd) {
    fsync_calls++;
    if (fsync_calls == fsync_fails_at) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

/* ---- readdir that fails when it is told to */

static bool readdir_fails;

struct dirent *readdir(DIR *list) {
    static struct dirent *(*real)(DIR * list);
    if (real == NULL) {
        void *found = dlsym(RTLD_NEXT, "readdir");
        memcpy(&real, &found, sizeof real);
    }
    if (readdir_fails) {
        errno = EIO;
        return NULL;
    }
    return real(list);
}

static void a_listing_is_whole_or_fails(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    struct pil_text names = {0};
    put_text(store, "views/a", "1");
    readdir_fails = true;
    pil_status status = pil_store_list(store, "views/", visit_name, &names, &error);
    readdir_fails = false;
    assert_int_equal(status, PIL_STATUS_IO);
    assert_non_null(strstr(error.text, "views/: Input/output error"));
    pil_text_deinit(&names);
}

static void a_failed_fsync_is_reported_and_never_retried(void **state) {
    struct pil_store *store = *state;
    put_text(store, "pointer", "old");
    struct pil_store_tag tag = expect_text(store, "pointer", "old");
    int calls = 0;
    for (int fail_at = 1;; fail_at++) {
        struct pil_error error = {0};
        fsync_calls = 0;
        fsync_fails_at = fail_at;
        pil_status status =
            pil_store_put(store, "pointer", pil_bytes_from_text("new"), pil_store_if_match(&tag), NULL, &error);
        calls = fsync_calls;
        fsync_fails_at = 0;
        assert_int_equal(temporary_count(), 0);
        if (status == PIL_STATUS_OK) {
            break;
        }
        assert_int_equal(status, PIL_STATUS_IO);
        assert_int_equal(calls, fail_at); /* nothing was fsynced after the failure */
        assert_non_null(strstr(error.text, "pointer"));
        struct pil_text content = {0};
        assert_int_equal(pil_store_get(store, "pointer", 10, &content, &tag, NULL), PIL_STATUS_OK);
        assert_true(strcmp(content.data, "old") == 0 || strcmp(content.data, "new") == 0);
        assert_true(fail_at > 1 || strcmp(content.data, "old") == 0); /* the file's own fsync comes before the rename */
        pil_text_deinit(&content);
    }
    assert_true(calls >= 2); /* the file and its folder */
}

/* ---- Links, and other kinds of files */

static void links_lead_nowhere(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    struct pil_text content = {0};
    struct pil_bytes x = pil_bytes_from_text("x");
    put_text(store, "real/object", "inside");
    assert_int_equal(symlink("/etc", in_folder("folder")), 0);
    assert_int_equal(symlink("/etc/passwd", in_folder("file")), 0);
    assert_int_equal(symlink("real/object", in_folder("inner")), 0);
    const char *const names[] = {"folder/passwd", "file", "inner"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pil_store_get(store, names[i], 1 << 20, &content, NULL, &error), PIL_STATUS_DENIED);
        assert_non_null(strstr(error.text, "symbolic link"));
    }
    assert_int_equal(pil_store_put(store, "folder/pillion", x, pil_store_if_absent(), NULL, &error), PIL_STATUS_DENIED);
    assert_non_null(strstr(error.text, "symbolic link"));
    assert_int_equal(access("/etc/pillion", F_OK), -1);
    assert_int_equal(pil_store_put(store, "file", x, pil_store_if_absent(), NULL, &error), PIL_STATUS_EXISTS);
    struct pil_store_tag tag = {.text = "0"};
    assert_int_equal(pil_store_put(store, "file", x, pil_store_if_match(&tag), NULL, &error), PIL_STATUS_DENIED);
    struct pil_text names_text = {0};
    assert_int_equal(pil_store_list(store, "", visit_name, &names_text, &error), PIL_STATUS_DENIED);
    assert_non_null(strstr(error.text, "symbolic link"));
    assert_int_equal(pil_store_list(store, "real/", visit_name, &names_text, NULL), PIL_STATUS_OK);
    assert_string_equal(names_text.data, "real/object 6\n");
    pil_text_deinit(&names_text);
    /* The store's own files are not followed either. */
    assert_int_equal(unlink(in_folder(".lock")), 0);
    assert_int_equal(symlink("/etc/passwd", in_folder(".lock")), 0);
    assert_int_equal(pil_store_put(store, "more", x, pil_store_if_absent(), NULL, &error), PIL_STATUS_DENIED);
}

static void other_kinds_of_files_are_named(void **state) {
    struct pil_store *store = *state;
    struct pil_error error = {0};
    struct pil_text content = {0};
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0); /* opening it must not wait for a writer */
    assert_int_equal(mkdir(in_folder("folder"), 0700), 0);
    assert_int_equal(pil_store_get(store, "fifo", 10, &content, NULL, &error), PIL_STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "fifo is not a regular file"));
    assert_int_equal(pil_store_get(store, "folder", 10, &content, NULL, &error), PIL_STATUS_CORRUPT);
    assert_int_equal(pil_store_put(store, "folder", pil_bytes_from_text("x"), pil_store_if_absent(), NULL, NULL),
                     PIL_STATUS_EXISTS);
    assert_int_equal(temporary_count(), 0);
}

static void foreign_files_are_left_alone(void **state) {
    struct pil_store *store = *state;
    struct pil_text names = {0};
    const char *const foreign[] = {"a file~ with blanks", ".hidden", "name:colon"};
    for (size_t i = 0; i < 3; i++) {
        int fd = open(in_folder(foreign[i]), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
    }
    put_text(store, "ours", "1");
    assert_int_equal(pil_store_list(store, "", visit_name, &names, NULL), PIL_STATUS_OK);
    assert_string_equal(names.data, "ours 1\n");
    pil_text_deinit(&names);
}

static void a_watch_survives_the_folder(void **state) {
    struct pil_store *store = *state;
    put_text(store, "views/c/x", "1");
    int fd = pil_store_watch(store, "views/c/");
    assert_true(fd >= 0);
    assert_int_equal(nftw(in_folder("views"), remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    assert_true(becomes_readable(fd));
    pil_store_changed(store);
    put_text(store, "views/c/x", "2");
    assert_true(becomes_readable(fd));
    pil_store_changed(store);
    struct pil_store_tag tag = expect_text(store, "views/c/x", "2");
    assert_int_equal(pil_store_put(store, "views/c/x", pil_bytes_from_text("3"), pil_store_if_match(&tag), NULL, NULL),
                     PIL_STATUS_OK);
    assert_true(becomes_readable(fd));
}

/* A link in the path is turned to another store, as deployments do; then it leads nowhere; then back. */
static void a_path_that_leads_elsewhere_is_followed_by_renew(void **state) {
    struct pil_store *store = NULL, *first = NULL, *second = NULL;
    struct pil_error error = {0};
    struct pil_text content = {0};
    char url[3][PATH_MAX + 8];
    (void)state;
    snprintf(url[0], sizeof url[0], "dir:%s", in_folder("one"));
    snprintf(url[1], sizeof url[1], "dir:%s", in_folder("two"));
    snprintf(url[2], sizeof url[2], "dir:%s", in_folder("link"));
    assert_int_equal(pil_store_open(url[0], true, &first, NULL), PIL_STATUS_OK);
    assert_int_equal(pil_store_open(url[1], true, &second, NULL), PIL_STATUS_OK);
    put_text(first, "views/c/x", "first");
    put_text(second, "views/c/x", "second");
    assert_int_equal(symlink("one", in_folder("link")), 0);
    assert_int_equal(pil_store_open(url[2], false, &store, NULL), PIL_STATUS_OK);
    int fd = pil_store_watch(store, "views/c/");
    assert_true(fd >= 0);
    assert_int_equal(unlink(in_folder("link")), 0);
    assert_int_equal(symlink("two", in_folder("link")), 0);
    expect_text(store, "views/c/x", "first"); /* not in the middle of a piece of work */
    assert_int_equal(pil_store_renew(store, NULL), PIL_STATUS_OK);
    expect_text(store, "views/c/x", "second");
    pil_store_changed(store);
    put_text(first, "views/c/y", "1");
    assert_false(is_readable(fd));
    put_text(second, "views/c/y", "1");
    assert_true(becomes_readable(fd)); /* the same descriptor */
    assert_int_equal(unlink(in_folder("link")), 0);
    assert_int_equal(pil_store_renew(store, &error), PIL_STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, in_folder("link")));
    assert_int_equal(pil_store_get(store, "views/c/x", 10, &content, NULL, NULL), PIL_STATUS_OK); /* the old one */
    pil_text_deinit(&content);
    assert_int_equal(symlink("one", in_folder("link")), 0);
    assert_int_equal(pil_store_renew(store, NULL), PIL_STATUS_OK);
    expect_text(store, "views/c/x", "first");
    pil_store_close(&store);
    pil_store_close(&first);
    pil_store_close(&second);
}

static void a_path_without_folders_is_the_working_folders(void **state) {
    struct pil_store *store = NULL;
    char before[PATH_MAX];
    (void)state;
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(pil_store_open("dir:relative", true, &store, NULL), PIL_STATUS_OK);
    put_text(store, "x", "1");
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(pil_store_renew(store, NULL), PIL_STATUS_OK);
    expect_text(store, "x", "1");
    assert_int_equal(access(in_folder("relative/x"), F_OK), 0);
    pil_store_close(&store);
    assert_int_equal(chdir(before), 0);
}

static void the_table_of_schemes_explains_itself(void **state) {
    (void)state;
    assert_true(pil_store_scheme_count >= 1);
    for (uint32_t i = 0; i < pil_store_scheme_count; i++) {
        const struct pil_store_scheme *scheme = &pil_store_schemes[i];
        assert_int_equal(scheme->prefix[strlen(scheme->prefix) - 1], ':');
        assert_non_null(strstr(PIL_STORE_FORMS, scheme->prefix));
        assert_true(strlen(scheme->value) > 0 && strlen(scheme->help) > 0);
        assert_ptr_equal(pil_store_scheme_find(scheme->prefix), scheme);
    }
    assert_null(pil_store_scheme_find("rides/drivers@production"));
}

/* ---- Opening */

static void urls_and_missing_folders_are_explained(void **state) {
    (void)state;
    struct pil_store *store = NULL;
    struct pil_error error = {0};
    char url[PATH_MAX + 8];
    assert_int_equal(pil_store_open("s3://bucket", true, &store, &error), PIL_STATUS_INVALID);
    assert_non_null(strstr(error.text, "dir:PATH"));
    assert_int_equal(pil_store_open("dir:", true, &store, &error), PIL_STATUS_INVALID);
    for (size_t i = 0; i < 4; i++) {
        const char *const not_expanded[] = {"dir:~", "dir:~/x", "dir:$HOME/x", "dir:${HOME}"};
        assert_int_equal(pil_store_open(not_expanded[i], true, &store, &error), PIL_STATUS_INVALID);
        assert_non_null(strstr(error.text, "not expanded here; write the whole path, or ./"));
    }
    snprintf(url, sizeof url, "dir:%s", in_folder("new/deep/store"));
    assert_int_equal(pil_store_open(url, false, &store, &error), PIL_STATUS_NOT_FOUND);
    assert_non_null(strstr(error.text, "new/deep/store"));
    assert_null(store);
    assert_int_equal(pil_store_open(url, true, &store, &error), PIL_STATUS_OK);
    assert_string_equal(pil_store_url(store), url);
    put_text(store, "x", "1");
    pil_store_close(&store);
    assert_null(store);
    pil_store_close(&store);
    snprintf(url, sizeof url, "dir:%s", in_folder("new/deep/store/x"));
    assert_int_equal(pil_store_open(url, true, &store, &error), PIL_STATUS_INVALID);
    assert_non_null(strstr(error.text, "Not a directory"));
}

/* ---- Faults; each in a child that gives up its rights or has its own mounts */

static int use_as_nobody(void) {
    struct pil_store *store;
    struct pil_error error = {0};
    struct pil_text content = {0};
    if (!become_nobody()) {
        return CHILD_SKIPPED;
    }
    CHILD_EXPECT(pil_store_may_put(folder_url, "new", &error) == PIL_STATUS_DENIED);
    CHILD_EXPECT(strstr(error.text, folder) != NULL && strstr(error.text, "Permission denied") != NULL);
    CHILD_EXPECT(pil_store_open(folder_url, false, &store, &error) == PIL_STATUS_OK);
    CHILD_EXPECT(pil_store_get(store, "readable", 10, &content, NULL, &error) == PIL_STATUS_OK);
    CHILD_EXPECT(pil_store_get(store, "unreadable", 10, &content, NULL, &error) == PIL_STATUS_DENIED);
    CHILD_EXPECT(strstr(error.text, "unreadable: Permission denied") != NULL);
    CHILD_EXPECT(pil_store_list(store, "names-only/", visit_name, &content, &error) == PIL_STATUS_DENIED);
    CHILD_EXPECT(strstr(error.text, "names-only/object: Permission denied") != NULL);
    pil_text_deinit(&content);
    CHILD_EXPECT(pil_store_put(store, "new", pil_bytes_from_text("x"), pil_store_if_absent(), NULL, &error) ==
                 PIL_STATUS_DENIED);
    CHILD_EXPECT(strstr(error.text, folder) != NULL && strstr(error.text, "Permission denied") != NULL);
    CHILD_EXPECT(pil_store_remove(store, "readable", pil_store_always(), &error) == PIL_STATUS_DENIED);
    pil_store_close(&store);
    return 0;
}

static void a_store_that_we_may_only_read_is_read(void **state) {
    struct pil_store *store = *state;
    need_root();
    put_text(store, "readable", "1");
    put_text(store, "unreadable", "1");
    put_text(store, "names-only/object", "1");
    assert_int_equal(chmod(in_folder("names-only"), 0744), 0);
    assert_int_equal(chmod(in_folder("unreadable"), 0), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    assert_int_equal(chmod(in_folder(".tmp"), 0555), 0);
    expect_child(use_as_nobody);
    assert_int_equal(chmod(folder, 0755), 0);
    expect_text(store, "readable", "1");
}

static int mount_here(const char *options, unsigned long flags) {
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", folder, "tmpfs", flags, options) != 0) {
        return CHILD_SKIPPED;
    }
    return 0;
}

static int fill_the_disk(void) {
    struct pil_store *store;
    struct pil_error error = {0};
    static char block[100000];
    int skipped = mount_here("size=1m", 0);
    if (skipped != 0) {
        return skipped;
    }
    CHILD_EXPECT(pil_store_open(folder_url, true, &store, &error) == PIL_STATUS_OK);
    pil_status status = PIL_STATUS_OK;
    int put = 0;
    char name[32];
    for (; status == PIL_STATUS_OK && put < 100; put++) {
        snprintf(name, sizeof name, "blocks/%d", put);
        status = pil_store_put(store, name, pil_bytes_from(block, sizeof block), pil_store_if_absent(), NULL, &error);
    }
    CHILD_EXPECT(status == PIL_STATUS_NO_SPACE);
    CHILD_EXPECT(strstr(error.text, name) != NULL && strstr(error.text, "No space left") != NULL);
    CHILD_EXPECT(temporary_count() == 0);
    uint64_t bytes;
    for (int i = 0; i < put - 1; i++) { /* what was put before is whole, what failed is not there */
        snprintf(name, sizeof name, "blocks/%d", i);
        CHILD_EXPECT(pil_store_stat(store, name, &bytes, NULL, NULL) == PIL_STATUS_OK && bytes == sizeof block);
    }
    snprintf(name, sizeof name, "blocks/%d", put - 1);
    CHILD_EXPECT(pil_store_stat(store, name, &bytes, NULL, NULL) == PIL_STATUS_NOT_FOUND);
    CHILD_EXPECT(pil_store_remove(store, "blocks/0", pil_store_always(), &error) == PIL_STATUS_OK);
    CHILD_EXPECT(pil_store_put(store, name, pil_bytes_from(block, 50000), pil_store_if_absent(), NULL, &error) ==
                 PIL_STATUS_OK);
    pil_store_close(&store);
    return 0;
}

static void a_full_disk_loses_nothing(void **state) {
    (void)state;
    expect_child(fill_the_disk);
}

static int use_read_only(void) {
    struct pil_store *store;
    struct pil_error error = {0};
    struct pil_bytes x = pil_bytes_from_text("x");
    int skipped = mount_here("size=1m", 0);
    if (skipped != 0) {
        return skipped;
    }
    CHILD_EXPECT(pil_store_open(folder_url, true, &store, &error) == PIL_STATUS_OK);
    CHILD_EXPECT(pil_store_put(store, "before", x, pil_store_if_absent(), NULL, &error) == PIL_STATUS_OK);
    CHILD_EXPECT(pil_store_may_put(folder_url, "new", &error) == PIL_STATUS_OK);
    CHILD_EXPECT(mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    CHILD_EXPECT(pil_store_may_put(folder_url, "new", &error) == PIL_STATUS_DENIED);
    CHILD_EXPECT(pil_store_put(store, "after", x, pil_store_if_absent(), NULL, &error) == PIL_STATUS_DENIED);
    CHILD_EXPECT(strstr(error.text, "Read-only file system") != NULL);
    CHILD_EXPECT(pil_store_remove(store, "before", pil_store_always(), &error) == PIL_STATUS_DENIED);
    CHILD_EXPECT(pil_store_put(store, "before", x, pil_store_if_absent(), NULL, &error) == PIL_STATUS_EXISTS);
    pil_store_close(&store);
    return 0;
}

static void a_read_only_file_system_says_so(void **state) {
    (void)state;
    expect_child(use_read_only);
}

/* A file that has not changed for a while is not read again: its stamp is enough, whatever the tag says. */
static void an_unchanged_file_is_not_read_again(void **state) {
    struct pil_store *store = *state;
    struct pil_store_tag tag = {0};
    struct pil_store_content content;
    char path[PATH_MAX];
    put_text(store, "polled", "1");
    while (tag.stamp.changed_ns == 0) { /* a file that was changed just now could change again at the same time */
        assert_int_equal(pil_store_get_if_changed(store, "polled", 10, &tag, &content, NULL), PIL_STATUS_OK);
        tag = content.tag;
        pil_text_deinit(&content.text);
    }
    tag.text[0] = 'x'; /* no content has this tag */
    assert_int_equal(pil_store_get_if_changed(store, "polled", 10, &tag, &content, NULL), PIL_STATUS_OK);
    assert_true(content.is_unchanged);
    assert_string_equal(content.tag.text, tag.text);
    snprintf(path, sizeof path, "%s", in_folder("polled"));
    int fd = open(path, O_WRONLY | O_CLOEXEC); /* in place, and of the same size */
    assert_int_equal(write(fd, "2", 1), 1);
    close(fd);
    assert_int_equal(pil_store_get_if_changed(store, "polled", 10, &tag, &content, NULL), PIL_STATUS_OK);
    assert_false(content.is_unchanged);
    assert_string_equal(pil_text_chars(&content.text), "2");
    pil_text_deinit(&content.text);
    assert_int_equal(pil_store_get_if_changed(store, "polled", 0, NULL, &content, NULL), PIL_STATUS_TOO_LARGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_CONFORMANCE_TESTS(folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_failed_fsync_is_reported_and_never_retried, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_listing_is_whole_or_fails, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(links_lead_nowhere, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(an_unchanged_file_is_not_read_again, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(other_kinds_of_files_are_named, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(foreign_files_are_left_alone, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_watch_survives_the_folder, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_path_that_leads_elsewhere_is_followed_by_renew, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(a_path_without_folders_is_the_working_folders, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(the_table_of_schemes_explains_itself, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(urls_and_missing_folders_are_explained, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_store_that_we_may_only_read_is_read, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_loses_nothing, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_read_only_file_system_says_so, folder_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
