/* SPDX-License-Identifier: Apache-2.0
 * Goal: chores share slices of time: none of them holds the control thread for longer than a slice and one step, the
 * first comes first, one that has nothing to do holds nobody up, and a large release is made ready, unmapped and
 * counted that way. Method: a clock that each step moves. */
#include "node/huge_pages.h"

#include "base/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t time_ns;

static uint64_t monotonic_ns(void *context) {
    (void)context;
    return time_ns;
}

static int64_t wall_us(void *context) {
    (void)context;
    return (int64_t)(time_ns / 1000);
}

static const struct pil_clock virtual_clock = {monotonic_ns, wall_us, NULL};

struct job {
    struct pil_chore chore;
    char name;
    uint32_t steps_left;
    uint64_t step_ns;
    bool waits, is_done;
    struct job *cancels; /* in its first step */
};

static char journal[256]; /* the name of each step's job */

static pil_chore_progress step(struct pil_chore *chore) {
    struct job *job = PIL_LIST_ENTRY(struct job, chore, chore);
    size_t len = strlen(journal);
    snprintf(journal + len, sizeof journal - len, "%c", job->name);
    time_ns += job->step_ns;
    if (job->cancels != NULL) {
        pil_chores_cancel(&job->cancels->chore);
    }
    if (job->waits) {
        return PIL_CHORE_WAIT;
    }
    return --job->steps_left > 0 ? PIL_CHORE_MORE : PIL_CHORE_DONE;
}

static void done(struct pil_chore *chore) {
    struct job *job = PIL_LIST_ENTRY(struct job, chore, chore);
    assert_false(pil_list_is_linked(&chore->link));
    job->is_done = true;
}

static struct job make(char name, uint32_t steps, uint64_t step_us) {
    return (struct job){
        .chore = {.step = step, .done = done}, .name = name, .steps_left = steps, .step_ns = step_us * 1000};
}

static struct pil_chores make_chores(void) {
    struct pil_chores chores;
    memset(&chores, 0, sizeof chores);
    journal[0] = '\0';
    return chores;
}

static void a_slice_ends_after_the_step_that_fills_it(void **state) {
    struct pil_chores chores = make_chores();
    struct job job = make('a', 10, 300);
    (void)state;
    pil_chores_init(&chores, &virtual_clock);
    assert_false(pil_chores_run(&chores, PIL_CHORES_SLICE_NS)); /* nothing to do */
    pil_chores_add(&chores, &job.chore);
    for (int slice = 0; slice < 2; slice++) {
        uint64_t before_ns = time_ns;
        assert_true(pil_chores_run(&chores, PIL_CHORES_SLICE_NS));
        assert_true(time_ns - before_ns >= PIL_CHORES_SLICE_NS);
        assert_true(time_ns - before_ns < PIL_CHORES_SLICE_NS + job.step_ns);
    }
    assert_string_equal(journal, "aaaaaaaa");
    assert_false(pil_chores_run(&chores, PIL_CHORES_SLICE_NS));
    assert_true(job.is_done);
}

static void the_first_comes_first(void **state) {
    struct pil_chores chores = make_chores();
    struct job a = make('a', 3, 100), b = make('b', 2, 100);
    (void)state;
    pil_chores_init(&chores, &virtual_clock);
    pil_chores_add(&chores, &a.chore);
    pil_chores_add(&chores, &b.chore);
    assert_false(pil_chores_run(&chores, PIL_CHORES_SLICE_NS));
    assert_string_equal(journal, "aaabb");
    assert_true(a.is_done && b.is_done);
}

static void one_that_waits_holds_nobody_up_and_keeps_its_place(void **state) {
    struct pil_chores chores = make_chores();
    struct job a = make('a', 2, 1), b = make('b', 5, 400), c = make('c', 1, 1);
    (void)state;
    a.waits = c.waits = true;
    pil_chores_init(&chores, &virtual_clock);
    pil_chores_add(&chores, &a.chore);
    pil_chores_add(&chores, &b.chore);
    pil_chores_add(&chores, &c.chore);
    assert_true(pil_chores_run(&chores, PIL_CHORES_SLICE_NS));
    assert_string_equal(journal, "abbb");
    assert_false(pil_chores_run(&chores, PIL_CHORES_SLICE_NS)); /* asked again in the next slice, once */
    assert_string_equal(journal, "abbbabbc");
    a.waits = false;
    assert_false(pil_chores_run(&chores, PIL_CHORES_SLICE_NS));
    assert_true(a.is_done);
    assert_string_equal(journal, "abbbabbcaac");
}

static void a_step_may_cancel_others(void **state) {
    struct pil_chores chores = make_chores();
    struct job a = make('a', 2, 1), b = make('b', 2, 1), c = make('c', 2, 1);
    (void)state;
    a.waits = true;
    b.cancels = &a;
    pil_chores_init(&chores, &virtual_clock);
    pil_chores_add(&chores, &a.chore);
    pil_chores_add(&chores, &b.chore);
    pil_chores_add(&chores, &c.chore);
    pil_chores_cancel(&c.chore);
    pil_chores_cancel(&c.chore); /* on no list: fine */
    assert_false(pil_chores_run(&chores, PIL_CHORES_SLICE_NS));
    assert_false(pil_chores_run(&chores, PIL_CHORES_SLICE_NS));
    assert_string_equal(journal, "abb");
    assert_false(a.is_done);
}

/* ---- Counting huge pages. */

static uint64_t counted_bytes;
static int counts;

static void counted(void *context, uint64_t bytes) {
    (void)context;
    counted_bytes = bytes;
    counts++;
}

/* A file as the kernel writes it: so many mappings, every other one with 4 MiB by huge pages. */
static int write_smaps(uint32_t mappings) {
    struct pil_text text = {0};
    struct pil_error error;
    int fd = -1;
    for (uint32_t i = 0; i < mappings; i++) {
        pil_text_format(&text,
                        "7f%06x000-7f%06x000 r--s 00000000 00:01 %u    /memfd:pillion-0123456789abcdef-%u (deleted)\n"
                        "Rss:                4096 kB\nShmemPmdMapped:  %8u kB\nFilePmdMapped:          8 kB\n"
                        "VmFlags: rd mr mw me ms sd\n",
                        i, i + 1, i, i, i % 2 == 0 ? 4096 : 0);
    }
    assert_int_equal(pil_sys_memfd_create("smaps", &fd, &error), PIL_STATUS_OK);
    assert_int_equal(pil_sys_write_all(fd, pil_text_bytes(&text), &error), PIL_STATUS_OK);
    pil_text_deinit(&text);
    return fd;
}

static void huge_pages_are_counted_a_little_at_a_time(void **state) {
    struct pil_chores chores = make_chores();
    struct pil_huge_pages pages;
    int smaps = write_smaps(100), steps = 0;
    (void)state;
    counts = 0;
    pil_chores_init(&chores, &virtual_clock);
    pil_huge_pages_init(&pages, &virtual_clock, smaps, counted, NULL);
    pil_chores_add(&chores, &pages.chore);
    assert_false(pil_chores_run(&chores, PIL_CHORES_SLICE_NS));
    pil_huge_pages_changed(&pages);
    assert_false(pil_chores_run(&chores, PIL_CHORES_SLICE_NS)); /* not at once: clients come first */
    assert_int_equal(counts, 0);
    time_ns += 100000000;
    while (pil_chores_run(&chores, 0)) { /* one step a slice */
        steps++;
    }
    assert_true(steps > 5);
    assert_int_equal(counts, 1);
    assert_int_equal(counted_bytes, 50ull * 4096 * 1024);
    time_ns += 1000000000;
    assert_false(pil_chores_run(&chores, PIL_CHORES_SLICE_NS)); /* nothing has changed since */
    assert_int_equal(counts, 1);
    pil_huge_pages_changed(&pages);
    time_ns += 100000000;
    assert_false(pil_chores_run(&chores, PIL_CHORES_SLICE_NS));
    assert_int_equal(counts, 2);
    assert_int_equal(counted_bytes, 50ull * 4096 * 1024); /* not added to the count before */
    close(smaps);
}

static void without_the_file_nothing_is_counted(void **state) {
    struct pil_chores chores = make_chores();
    struct pil_huge_pages pages;
    (void)state;
    counts = 0;
    pil_chores_init(&chores, &virtual_clock);
    pil_huge_pages_init(&pages, &virtual_clock, -1, counted, NULL);
    pil_chores_add(&chores, &pages.chore);
    pil_huge_pages_changed(&pages);
    time_ns += 100000000;
    assert_false(pil_chores_run(&chores, PIL_CHORES_SLICE_NS));
    assert_int_equal(counts, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_ends_after_the_step_that_fills_it),
        cmocka_unit_test(the_first_comes_first),
        cmocka_unit_test(one_that_waits_holds_nobody_up_and_keeps_its_place),
        cmocka_unit_test(a_step_may_cancel_others),
        cmocka_unit_test(huge_pages_are_counted_a_little_at_a_time),
        cmocka_unit_test(without_the_file_nothing_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
