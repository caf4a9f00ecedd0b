/* SPDX-License-Identifier: Apache-2.0
 * Goal: every later version reads the files of this one, and the same rows give the same bytes on every machine and
 * compiler. Method: schemas/golden/shard-1.0 holds the samples as they were once written
 * (tests/support/shard_samples.c); they must verify and hold the rows that the samples are made of. Runs in the root of
 * the source tree. */
#include "base/sys.h"
#include "support/shard_random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct pil_error error;

static struct pil_text read_golden(const char *name) {
    char path[256];
    struct pil_text text = {0};
    snprintf(path, sizeof path, "schemas/golden/shard-1.0/%s.pilshard", name);
    if (pil_sys_read_file(path, 1 << 20, &text, &error) != PIL_STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return text;
}

static void files_of_version_1_0_are_read(void **state) {
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct pil_text text = read_golden(samples[i].name);
        struct fixture_table table = sample_table(&samples[i]);
        struct pil_verify_options options = {0};
        struct pil_shard shard;
        if (pil_verify(pil_text_bytes(&text), &options, &error) != PIL_STATUS_OK) {
            fail_msg("%s: %s", samples[i].name, error.text);
        }
        assert_int_equal(pil_shard_open(pil_text_bytes(&text), &shard, &error), PIL_STATUS_OK);
        assert_true(fixture_table_agrees(&shard, &table));
        pil_shard_close(&shard);
        fixture_table_deinit(&table);
        pil_text_deinit(&text);
    }
}

static void the_writer_still_makes_these_bytes(void **state) {
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        struct pil_text text = read_golden(samples[i].name);
        struct fixture_table table = sample_table(&samples[i]);
        struct pil_writer_options options = sample_options(&samples[i]);
        struct pil_writer_result result;
        assert_int_equal(fixture_table_write(&table, &options, &result, &error), PIL_STATUS_OK);
        assert_true(pil_bytes_equal(pil_text_bytes(&text), fixture_result_bytes(&result)));
        pil_writer_result_deinit(&result);
        fixture_table_deinit(&table);
        pil_text_deinit(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_version_1_0_are_read),
        cmocka_unit_test(the_writer_still_makes_these_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
