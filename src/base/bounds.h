/* SPDX-License-Identifier: Apache-2.0
 * Limits that formats and programs share, with their reasons. Limits that an operator may change have their default in
 * the table of src/daemon/config_option.c. */
#pragma once

enum {
    PIL_NAME_BYTES_MAX = 128,        /* project, entity, view, feature, service, channel names: labels and file names */
    PIL_FEATURES_MAX = 4096,         /* per view; the documentation promises 4,000 */
    PIL_ENTITIES_MAX = 8,            /* join keys of one view */
    PIL_VIEWS_MAX = 256,             /* per project */
    PIL_SERVED_VIEWS_MAX = 64,       /* slots of one node: one 64-bit set, one control page for mapped reads */
    PIL_SERVICES_MAX = 1024,         /* per project */
    PIL_SERVICE_FEATURES_MAX = 4096, /* features of one service */
    PIL_KEY_BYTES_MAX = 65536,       /* canonical key bytes */
    PIL_VALUE_BYTES_MAX = 16 << 20,  /* one string, bytes or list value */
    PIL_VECTOR_DIMENSION_MAX = 16384,   /* elements of a fixed-size vector */
    PIL_ROW_STRIDE_MAX = 1 << 20,       /* 4,000 features of 8 bytes and many embeddings fit */
    PIL_SHARD_BITS_MAX = 16,            /* 65,536 shards of one release */
    PIL_SHARD_ROWS_MAX = 2000000,       /* rows of one shard file */
    PIL_SHARD_BYTES_TARGET = 256 << 20, /* a shard is split before it grows past this */
    PIL_RELEASE_ID_CHARS = 16,          /* hex digits of a release id */
};
