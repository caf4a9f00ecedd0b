/* SPDX-License-Identifier: Apache-2.0
 * Goal: mimalloc is live in a program that is linked as ours are, for our own calls and for those of libraries.
 * Method: the allocator is asked whether it owns the blocks. The programs themselves: tests/system/test_mimalloc.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef PIL_TEST_MIMALLOC
#include <mimalloc.h>
#include <openssl/crypto.h>

static void assert_owned(void *block) {
    assert_non_null(block);
    assert_true(mi_is_in_heap_region(block));
}

static void our_own_blocks_are_its_own(void **state) {
    (void)state;
    void *small = malloc(8), *zeroed = calloc(3, 100), *aligned = NULL;
    assert_owned(small);
    small = realloc(small, 4 << 20);
    assert_owned(small);
    assert_owned(zeroed);
    assert_int_equal(posix_memalign(&aligned, 64, 640), 0);
    assert_owned(aligned);
    free(small);
    free(zeroed);
    free(aligned);
}

static void blocks_of_libc_and_of_libraries_are_its_own(void **state) {
    (void)state;
    char *text = strdup("text");
    void *block = OPENSSL_malloc(100);
    assert_owned(text);
    assert_owned(block);
    free(text);
    OPENSSL_free(block);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_blocks_are_its_own),
        cmocka_unit_test(blocks_of_libc_and_of_libraries_are_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) {
    printf("skipped: this build keeps the C library's allocator (PIL_MIMALLOC=OFF)\n");
    return 77;
}
#endif
