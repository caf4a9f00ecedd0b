/* SPDX-License-Identifier: Apache-2.0
 * Goal: each change that breaks readers of a view in use is one line; nothing else is.
 * Method: one project, and edits of its text. */
#include "schema/project_changes.h"
#include "schema/project_read.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const base = "project: rides\n"
                                "entities: [{name: driver, type: int64}, {name: city, type: string}]\n"
                                "feature_views:\n"
                                "  - {name: a, entities: [driver], ttl: 7d, source: {type: csv, path: p, "
                                "timestamp_field: ts}, features: [{name: x, type: int32}, {name: y, type: bool}]}\n"
                                "  - {name: b, entities: [driver, city], source: {type: csv, path: p, timestamp_field: "
                                "ts}, features: [{name: z, type: int32}]}\n"
                                "feature_services:\n"
                                "  - {name: s, features: [\"a:x\", \"b:z\"]}\n"
                                "  - {name: only_b, features: [b]}\n";

static struct pil_project *project_with(const char *from, const char *to) {
    char text[2048];
    struct pil_project *project = NULL;
    struct pil_text problems = {0};
    const char *at = strstr(base, from);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - base), base, to, at + strlen(from));
    if (pil_project_parse_yaml(pil_bytes_from_text(text), "f", &project, &problems) != PIL_STATUS_OK) {
        fail_msg("%s", pil_text_chars(&problems));
    }
    return project;
}

static bool only_named(void *context, const char *view_name) {
    return strchr(context, view_name[0]) != NULL;
}

/* The lines that going from base to the edited project gives, while the views in `in_use` ("ab") are used. */
static void assert_breaks(const char *from, const char *to, const char *in_use, const char *want) {
    struct pil_project *before = project_with("", ""), *after = project_with(from, to);
    struct pil_text lines = {0};
    uint32_t count = pil_project_breaking_changes(before, after, only_named, (void *)(uintptr_t)in_use, &lines);
    assert_string_equal(pil_text_chars(&lines), want);
    for (const char *at = want; (at = strchr(at, '\n')) != NULL; at++) {
        count--;
    }
    assert_int_equal(count, 0);
    pil_text_deinit(&lines);
    pil_project_destroy(&before);
    pil_project_destroy(&after);
}

static void adding_and_describing_break_nothing(void **state) {
    (void)state;
    assert_breaks("", "", "ab", "");
    assert_breaks("{name: y, type: bool}", "{name: w, type: bool}, {name: y, type: bool, default: true, tags: [pii]}",
                  "ab", "");
    assert_breaks("ttl: 7d", "ttl: 1d", "ab", "");
    assert_breaks("type: csv, path: p", "type: sql, query: q", "ab", "");
    assert_breaks("[\"a:x\", \"b:z\"]", "[\"b:z\", \"a:y\", \"a:x\"]", "ab", "");
    assert_breaks("[{name: driver,", "[{name: rider, type: int64}, {name: driver,", "ab", "");
}

static void each_break_is_a_line(void **state) {
    (void)state;
    assert_breaks(", {name: y, type: bool}", "", "ab", "feature view a: feature y is removed\n");
    assert_breaks("{name: y, type: bool}", "{name: y, type: list<bool>}", "ab",
                  "feature view a: feature y changes its type from bool to list<bool>\n");
    assert_breaks("[driver, city]", "[city, driver]", "ab",
                  "feature view b: its keys change from (driver int64, city string) to (city string, driver int64)\n");
    assert_breaks("driver, type: int64", "driver, type: int32", "ab",
                  "feature view a: its keys change from (driver int64) to (driver int32)\n"
                  "feature view b: its keys change from (driver int64, city string) to (driver int32, city string)\n");
    assert_breaks("driver, type", "driver, join_key: id, type", "a",
                  "feature view a: its keys change from (driver int64) to (id int64)\n");
    assert_breaks("ttl: 7d, source: {type: csv, path: p, timestamp_field: ts}",
                  "static: true, source: {type: csv, "
                  "path: p}",
                  "ab", "feature view a: it becomes static: its rows lose their event times\n");
    assert_breaks("[\"a:x\", \"b:z\"]", "[\"b:z\"]", "ab", "feature service s: a:x is removed\n");
    assert_breaks("  - {name: only_b, features: [b]}\n", "", "ab", "feature service only_b is removed\n");
    assert_breaks("{name: x, type: int32}, {name: y, type: bool}]}\n  - {name: b, entities: [driver, city], source: "
                  "{type: csv, path: p, "
                  "timestamp_field: ts}, features: [{name: z, type: int32}]}\nfeature_services:\n  - {name: s, "
                  "features: [\"a:x\", \"b:z\"]}\n"
                  "  - {name: only_b, features: [b]}\n",
                  "{name: x, type: int64}]}\n", "ab",
                  "feature view a: feature x changes its type from int32 to int64\n"
                  "feature view a: feature y is removed\n"
                  "feature view b is removed\n"
                  "feature service s is removed\n"
                  "feature service only_b is removed\n");
}

static void views_not_in_use_may_change(void **state) {
    (void)state;
    assert_breaks(", {name: y, type: bool}", "", "b", "");
    assert_breaks("[\"a:x\", \"b:z\"]", "[\"b:z\"]", "b", "");
    assert_breaks("  - {name: only_b, features: [b]}\n", "", "a", "");
    assert_breaks("[driver, city]", "[city]", "", "");
}

/* What a release of view a, as an edited project builds it, does not give to the project. */
static void assert_unanswered(const char *from, const char *to, const char *want) {
    struct pil_project *project = project_with("", ""), *other = project_with(from, to);
    struct pil_text lines = {0};
    uint32_t count = pil_project_unanswered(project, other->views[0].view, "", &lines);
    assert_int_equal(count, want[0] != '\0');
    assert_string_equal(pil_text_chars(&lines), want);
    pil_text_deinit(&lines);
    pil_project_destroy(&project);
    pil_project_destroy(&other);
}

static void a_release_without_times_is_not_one_with_them(void **state) {
    (void)state;
    assert_unanswered("ttl: 7d", "ttl: 1d", "");
    assert_unanswered("ttl: 7d, source: {type: csv, path: p, timestamp_field: ts}",
                      "static: true, source: {type: csv, path: p}", "a is static, and not in the project\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adding_and_describing_break_nothing),
        cmocka_unit_test(each_break_is_a_line),
        cmocka_unit_test(views_not_in_use_may_change),
        cmocka_unit_test(a_release_without_times_is_not_one_with_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
