/* SPDX-License-Identifier: Apache-2.0
 * Goal: the stores that other tests rely on do what every store must: the one in memory, and the one that injects
 * faults as long as it injects none; and it fails exactly the call that it is told to. Method: the conformance tests;
 * then each call of a sequence is failed in turn, before and after its effect. */
#include "support/fault_store.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/memory_store.h"
#include "unit/store/conformance.h"

static struct fault_plan plan;

static int setup_memory(void **state) {
    *state = memory_store_open();
    return 0;
}

static int setup_fault(void **state) {
    plan = FAULT_PLAN_NONE;
    *state = fault_store_open(memory_store_open(), &plan);
    return 0;
}

static int teardown(void **state) {
    struct pil_store *store = *state;
    pil_store_close(&store);
    return 0;
}

/* Three calls; returns the first failure. */
static pil_status use(struct pil_store *store) {
    struct pil_store_tag tag;
    struct pil_bytes one = pil_bytes_from_text("1"), two = pil_bytes_from_text("2");
    PIL_TRY(pil_store_put(store, "a", one, pil_store_if_absent(), &tag, NULL));
    PIL_TRY(pil_store_put(store, "a", two, pil_store_if_match(&tag), NULL, NULL));
    return pil_store_remove(store, "a", pil_store_always(), NULL);
}

static void exactly_the_nth_call_fails_before_or_after(void **state) {
    (void)state;
    static const char *const left[2][3] = {{NULL, "1", "2"}, {"1", "2", NULL}}; /* what is there then */
    for (int after = 0; after < 2; after++) {
        for (uint64_t n = 0; n < 4; n++) {
            plan = FAULT_PLAN_NONE;
            struct pil_store *store = fault_store_open(memory_store_open(), &plan);
            plan.fail_at = n;
            plan.fault = (struct fault){.status = PIL_STATUS_IO, .after = after != 0};
            assert_int_equal(use(store), n < 3 ? PIL_STATUS_IO : PIL_STATUS_OK);
            assert_int_equal(plan.calls, n < 3 ? n + 1 : 3);
            plan.fail_at = UINT64_MAX;
            if (n < 3 && left[after][n] != NULL) {
                expect_text(store, "a", left[after][n]);
            } else {
                uint64_t bytes;
                assert_int_equal(pil_store_stat(store, "a", &bytes, NULL, NULL), PIL_STATUS_NOT_FOUND);
            }
            pil_store_close(&store);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        STORE_CONFORMANCE_TESTS(setup_memory, teardown),
        STORE_CONFORMANCE_TESTS(setup_fault, teardown),
        cmocka_unit_test(exactly_the_nth_call_fails_before_or_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
