/* SPDX-License-Identifier: Apache-2.0
 * pillion-embed: measures a reader in its own process, or fills its data. */
#include "embed/run.h"

#ifndef EMBED_HAS_LMDB
const struct embed_reader embed_reader_lmdb = {.name = "lmdb", .missing = "liblmdb-dev"};
#endif
#ifndef EMBED_HAS_ROCKSDB
const struct embed_reader embed_reader_rocksdb = {.name = "rocksdb", .missing = "librocksdb-dev"};
#endif

const struct embed_reader *const embed_readers[] = {&embed_reader_mapped,    &embed_reader_socket,  &embed_reader_array,
                                                    &embed_reader_lmdb,      &embed_reader_rocksdb, &embed_reader_redis,
                                                    &embed_reader_memcached, &embed_reader_null};
const size_t embed_reader_count = sizeof embed_readers / sizeof embed_readers[0];

int main(int argc, char **argv) {
    struct embed_options options = embed_options_parse(argc, argv);
    if (options.reader->missing != NULL) {
        char why[128];
        snprintf(why, sizeof why, "this program was built without it; install %s and build again",
                 options.reader->missing);
        embed_fail(options.reader->name, why);
    }
    if (options.is_fill) {
        options.reader->fill(&options);
        return 0;
    }
    return embed_report(&options, embed_run(&options));
}
