/* SPDX-License-Identifier: Apache-2.0
 * Goal: a list keeps the order in which it was told to hold its elements, also while they are removed. */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

struct element {
    struct pil_list_link link;
    int number;
};

static int digits(const struct pil_list *list) {
    int all = 0;
    PIL_LIST_EACH(struct element, link, at, list) {
        all = all * 10 + at->number;
    }
    return all;
}

static void keeps_order(void **state) {
    (void)state;
    struct pil_list list;
    struct element elements[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
    pil_list_init(&list);
    assert_true(pil_list_is_empty(&list));
    assert_null(pil_list_first(&list));
    pil_list_append(&list, &elements[1].link);
    pil_list_append(&list, &elements[2].link);
    pil_list_prepend(&list, &elements[0].link);
    pil_list_append(&list, &elements[3].link);
    assert_int_equal(digits(&list), 1234);
    assert_ptr_equal(pil_list_first(&list), &elements[0].link);
    pil_list_remove(&elements[1].link);
    assert_false(pil_list_is_linked(&elements[1].link));
    assert_int_equal(digits(&list), 134);
    pil_list_append(&list, &elements[1].link);
    assert_int_equal(digits(&list), 1342);
}

static void elements_may_go_while_they_are_visited(void **state) {
    (void)state;
    struct pil_list list;
    struct element elements[5] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}, {.number = 5}};
    pil_list_init(&list);
    for (int i = 0; i < 5; i++) {
        pil_list_append(&list, &elements[i].link);
    }
    PIL_LIST_EACH(struct element, link, at, &list) {
        if (at->number % 2 == 1) {
            pil_list_remove(&at->link);
        }
    }
    assert_int_equal(digits(&list), 24);
    PIL_LIST_EACH(struct element, link, at, &list) {
        pil_list_remove(&at->link);
    }
    assert_true(pil_list_is_empty(&list));
}

static void all_elements_move(void **state) {
    (void)state;
    struct pil_list from, to;
    struct element elements[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
    pil_list_init(&from);
    pil_list_move(&from, &to);
    assert_true(pil_list_is_empty(&to));
    for (int i = 0; i < 3; i++) {
        pil_list_append(&from, &elements[i].link);
    }
    pil_list_move(&from, &to);
    assert_true(pil_list_is_empty(&from));
    assert_int_equal(digits(&to), 123);
    pil_list_remove(&elements[2].link);
    pil_list_append(&from, &elements[2].link);
    assert_int_equal(digits(&to), 12);
    assert_int_equal(digits(&from), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order),
        cmocka_unit_test(elements_may_go_while_they_are_visited),
        cmocka_unit_test(all_elements_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
