/* SPDX-License-Identifier: Apache-2.0
 * Goal: Prometheus' own checker parses a page with a series of every family and has nothing to say.
 * Method: `promtool check metrics` with the page on its standard input; exit 77 where promtool is not installed. */
#include "metric/exposition.h"

#include "base/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void make_page(struct pil_text *page) {
    struct pil_metric_registry *registry = NULL;
    assert_int_equal(pil_metric_registry_create(2, &(struct pil_metric_bounds){4, 2}, &registry), PIL_STATUS_OK);
    for (uint32_t f = 0; f < PIL_METRIC_FAMILY_COUNT; f++) {
        const char *const values[] = {"first", "a \"quoted\" \\ value\n", "third", NULL};
        pil_metric_series series;
        assert_int_equal(pil_metric_series_get(registry, (pil_metric)f, values, &series), PIL_STATUS_OK);
        if (pil_metric_family((pil_metric)f)->type == PIL_METRIC_HISTOGRAM) {
            for (uint64_t value = 1; value < (uint64_t)1 << 40; value *= 3) {
                pil_metric_record_owner(registry, value % 2, series, value, 1);
            }
        }
    }
    pil_metric_expose(registry, PIL_EXPOSITION_TEXT, page);
    pil_metric_registry_destroy(&registry);
}

/* Exit status of promtool, its output in *ret_said. */
static int check(const struct pil_text *page, struct pil_text *ret_said) {
    int in[2], out[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(out[1], 2);
        close(in[0]), close(in[1]), close(out[0]), close(out[1]);
        execlp("promtool", "promtool", "check", "metrics", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    struct pil_error error;
    assert_int_equal(pil_sys_write_all(in[1], pil_text_bytes(page), &error), PIL_STATUS_OK);
    close(in[1]);
    char buffer[4096];
    for (ssize_t got; (got = read(out[0], buffer, sizeof buffer)) > 0;) {
        pil_text_append(ret_said, buffer, (size_t)got);
    }
    close(out[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void promtool_accepts_every_family(void **state) {
    (void)state;
    struct pil_text page = {0}, said = {0};
    make_page(&page);
    int status = check(&page, &said);
    if (status != 0 || said.len != 0) {
        fail_msg("promtool: exit %d, %s", status, pil_text_chars(&said));
    }
    pil_text_deinit(&page);
    pil_text_deinit(&said);
}

static void promtool_would_have_complained(void **state) {
    (void)state;
    struct pil_text page = {0}, said = {0};
    pil_text_format(&page, "# TYPE pillion_x counter\npillion_x{a=\"unclosed} 1\n");
    assert_int_not_equal(check(&page, &said), 0);
    pil_text_deinit(&page);
    pil_text_deinit(&said);
}

static bool promtool_is_installed(void) {
    char path[4096];
    const char *search = getenv("PATH");
    for (const char *at = search != NULL ? search : "/usr/bin"; *at != '\0';) {
        size_t len = strcspn(at, ":");
        snprintf(path, sizeof path, "%.*s/promtool", (int)len, at);
        if (access(path, X_OK) == 0) {
            return true;
        }
        at += len + (at[len] == ':');
    }
    return false;
}

int main(void) {
    if (!promtool_is_installed()) {
        printf("skip: promtool is not on PATH (Debian: apt install prometheus)\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(promtool_accepts_every_family),
        cmocka_unit_test(promtool_would_have_complained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
