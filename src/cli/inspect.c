/* SPDX-License-Identifier: Apache-2.0
 * The command inspect: shows the content of a shard or a release. Rows are shown only from verified shards; for a
 * release, from the first shard that has rows. Values of features with the tag "pii" are not shown. */
#include "base/clock.h"
#include "base/utf8.h"
#include "cli/command.h"
#include "cli/lineage_view.h"
#include "cli/profile_view.h"
#include "cli/reference.h"
#include "cli/shard_file.h"
#include "cli/table.h"
#include "cli/value_text.h"
#include "schema/json_text.h"
#include "schema/view_json.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS_DEFAULT = 5, ROWS_MAX = 100000, FEATURES_SHOWN = 12, VALUE_COLUMNS = 28, TAGS_COLUMNS = 60 };

static const char *const section_names[PIL_SECTION_COUNT] = {[PIL_SECTION_SCHEMA] = "schema",
                                                             [PIL_SECTION_PILOTS] = "pilots",
                                                             [PIL_SECTION_ROWS] = "rows",
                                                             [PIL_SECTION_HEAP] = "heap",
                                                             [PIL_SECTION_BLOCK_SUMS] = "block_sums",
                                                             [PIL_SECTION_RANGE_HASHES] = "range_hashes"};

/* The shard or release that is shown. manifest NULL: a loose shard. shard.view NULL: there is no row to show. */
struct subject {
    const char *name;
    struct pil_manifest *manifest;
    struct pil_shard_file file;
    struct pil_shard shard;
    const struct pil_view *view; /* of the manifest or the shard */
    uint64_t section_bytes[PIL_SECTION_COUNT];
    uint64_t row_count, slot_count, bytes;
    uint32_t rows_max; /* how many sample rows to show */
};

static void subject_deinit(struct subject *subject) {
    if (subject->shard.view != NULL) {
        pil_shard_close(&subject->shard);
    }
    pil_shard_file_deinit(&subject->file);
    pil_manifest_destroy(&subject->manifest);
}

/* ---- Loading */

static void add_sections(struct subject *subject, const struct pil_superblock *superblock) {
    for (int i = 0; i < PIL_SECTION_COUNT; i++) {
        subject->section_bytes[i] += superblock->sections[i].bytes;
    }
    subject->slot_count += superblock->slot_count;
}

static pil_status load_file(struct subject *subject, struct pil_error *error) {
    const struct pil_verify_options options = {0};
    PIL_TRY(pil_shard_file_read(subject->name, &subject->file, error));
    struct pil_bytes file = pil_bytes_from(subject->file.data, subject->file.bytes);
    pil_status status = pil_verify(file, &options, error);
    if (status == PIL_STATUS_OK) {
        status = pil_shard_open(file, &subject->shard, error);
    }
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(error, status, "%s", subject->name);
    }
    subject->view = subject->shard.view;
    subject->row_count = subject->shard.superblock->row_count;
    subject->bytes = subject->file.bytes;
    add_sections(subject, subject->shard.superblock);
    return PIL_STATUS_OK;
}

/* Sums up the sizes of all shards; reads only their superblocks. */
static pil_status load_superblocks(struct subject *subject, struct pil_store *store, struct pil_error *error) {
    for (uint32_t i = 0; i < subject->manifest->shard_count; i++) {
        struct pil_superblock superblock;
        char name[PIL_STORE_NAME_BYTES];
        size_t len;
        pil_layout_shard(&subject->manifest->shards[i].id, name);
        PIL_TRY(pil_store_get_range(
            store, &(struct pil_store_range){name, 0, (uint8_t *)&superblock, sizeof superblock}, &len, error));
        struct pil_bytes summed = pil_bytes_from(&superblock, offsetof(struct pil_superblock, checksum));
        if (len != sizeof superblock || memcmp(superblock.magic, PIL_FORMAT_MAGIC, sizeof superblock.magic) != 0 ||
            superblock.checksum != pil_hash_block(summed)) {
            return pil_fail(error, PIL_STATUS_CORRUPT, "%s has no sound superblock; `pillion verify` says more", name);
        }
        add_sections(subject, &superblock);
    }
    return PIL_STATUS_OK;
}

static pil_status load_release(struct subject *subject, struct pil_store *store, const struct pil_release_ref *ref,
                               struct pil_error *error) {
    PIL_TRY(pil_manifest_read(store, ref, &subject->manifest, error));
    subject->view = subject->manifest->view;
    subject->row_count = subject->manifest->row_count;
    subject->bytes = subject->manifest->bytes;
    PIL_TRY(load_superblocks(subject, store, error));
    for (uint32_t i = 0; i < subject->manifest->shard_count && subject->rows_max > 0; i++) {
        if (subject->manifest->shards[i].row_count > 0) {
            PIL_TRY(pil_shard_file_fetch_verified(store, subject->manifest, i, &subject->file, error));
            return pil_shard_open(pil_bytes_from(subject->file.data, subject->file.bytes), &subject->shard, error);
        }
    }
    return PIL_STATUS_OK;
}

/* ---- Sample rows */

/* The next row at or after *slot; NULL: there are no more. */
static const uint8_t *next_row(const struct pil_shard *shard, uint64_t *slot) {
    while (*slot < shard->slot_count) {
        const uint8_t *row = pil_shard_row_at(shard, (*slot)++);
        if (row != NULL) {
            return row;
        }
    }
    return NULL;
}

static json_t *row_to_json(const struct pil_shard *shard, const uint8_t *row) {
    json_t *values = json_object();
    struct pil_text key = {0};
    char time[PIL_CLOCK_TEXT_BYTES];
    pil_value_key_append(&key, shard, row);
    pil_clock_format_us(pil_row_event_ts_us(shard->view, row), time); /* null in JSON if the row has none */
    for (uint32_t i = 0; i < shard->view->feature_count; i++) {
        const struct pil_feature *feature = &shard->view->features[i];
        pil_json_set(&values, feature->name,
                     pil_view_feature_is_pii(feature) ? json_string("(pii)") : pil_value_to_json(shard, row, i));
    }
    (void)pil_report_text(&key);
    bool is_utf8 = pil_utf8_is_valid(pil_text_bytes(&key));
    json_t *json =
        json_pack("{s:o, s:s?, s:o}", "key", is_utf8 ? json_stringn(pil_text_chars(&key), key.len) : json_null(),
                  "event_timestamp", shard->view->is_static ? NULL : time, "features", values);
    pil_text_deinit(&key);
    return json;
}

static void add_printable(struct pil_table *table, pil_style style, const struct pil_text *raw) {
    struct pil_text text = {0};
    (void)pil_report_text(raw);
    pil_text_append_printable(&text, pil_text_bytes(raw), VALUE_COLUMNS);
    pil_table_add(table, style, pil_report_text(&text));
    pil_text_deinit(&text);
}

static void add_row(struct pil_table *table, const struct pil_shard *shard, const uint8_t *row, uint32_t features) {
    struct pil_text text = {0};
    char time[PIL_CLOCK_TEXT_BYTES];
    pil_value_key_append(&text, shard, row);
    add_printable(table, PIL_STYLE_PLAIN, &text);
    if (!shard->view->is_static) {
        pil_clock_format_us(pil_row_event_ts_us(shard->view, row), time);
        pil_table_add(table, PIL_STYLE_PLAIN, time);
    }
    for (uint32_t i = 0; i < features; i++) {
        bool dim = pil_view_feature_is_pii(&shard->view->features[i]) || pil_row_is_null(shard->view, row, i);
        pil_text_clear(&text);
        if (pil_view_feature_is_pii(&shard->view->features[i])) {
            pil_text_format(&text, "(pii)");
        } else {
            pil_value_text_append(&text, shard, row, i);
        }
        add_printable(table, dim ? PIL_STYLE_DIM : PIL_STYLE_PLAIN, &text);
    }
    pil_text_deinit(&text);
}

static void print_rows(const struct subject *subject) {
    const struct pil_shard *shard = &subject->shard;
    struct pil_table table;
    uint64_t slot = 0;
    const uint8_t *row;
    if (shard->view == NULL || subject->rows_max == 0 || subject->row_count == 0) {
        return;
    }
    uint32_t features = shard->view->feature_count < FEATURES_SHOWN ? shard->view->feature_count : FEATURES_SHOWN;
    pil_table_init(&table, features + (shard->view->is_static ? 1 : 2), 0);
    pil_table_add(&table, PIL_STYLE_BOLD, "KEY");
    if (!shard->view->is_static) {
        pil_table_add(&table, PIL_STYLE_BOLD, "EVENT TIMESTAMP");
    }
    for (uint32_t i = 0; i < features; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, shard->view->features[i].name);
    }
    for (uint32_t i = 0; i < subject->rows_max && (row = next_row(shard, &slot)) != NULL; i++) {
        add_row(&table, shard, row, features);
    }
    printf("\nrows\n");
    pil_table_print(&table, 2);
    pil_table_deinit(&table);
    if (features < shard->view->feature_count) {
        printf("  … and %u more features; --json shows them\n", shard->view->feature_count - features);
    }
}

/* ---- The rest */

static void print_head(const struct subject *subject) {
    char count[PIL_REPORT_THINGS_BYTES], bytes[PIL_REPORT_NUMBER_BYTES], time[PIL_CLOCK_TEXT_BYTES];
    const struct pil_manifest *manifest = subject->manifest;
    struct pil_text name = {0};
    printf("%s%s%s\n", pil_report_style(PIL_STYLE_BOLD), pil_report_printable(subject->name, &name),
           pil_report_style(PIL_STYLE_PLAIN));
    pil_text_deinit(&name);
    printf("  %s, %s", pil_report_things(subject->row_count, "row", count), pil_report_bytes(subject->bytes, bytes));
    if (manifest != NULL) {
        pil_clock_format_us(manifest->created_us / 1000000 * 1000000, time);
        printf(", %s, release %s, created %s, previous %s", pil_report_things(manifest->shard_count, "shard", count),
               manifest->ref.release, time, manifest->previous[0] != '\0' ? manifest->previous : "none");
    } else {
        const struct pil_superblock *superblock = subject->shard.superblock;
        printf(", shard %u of %u, view %s/%s", superblock->shard_index, 1u << superblock->shard_bits,
               subject->view->project, subject->view->name);
    }
    printf("\n");
}

/* Formats a ttl in the largest exact unit, as in project files. */
static const char *ttl_text(int64_t ttl_us, char ret_text[32]) {
    static const struct {
        int64_t us;
        const char *name;
    } units[] = {{86400000000, "d"}, {3600000000, "h"}, {60000000, "m"}, {1000000, "s"}, {1, "us"}};
    size_t unit = 0;
    while (ttl_us % units[unit].us != 0) {
        unit++;
    }
    snprintf(ret_text, 32, "%lld%s", (long long)(ttl_us / units[unit].us), units[unit].name);
    return ttl_us == 0 ? "none" : ret_text;
}

static void print_schema(const struct pil_view *view) {
    struct pil_table table;
    char ttl[32];
    printf("\nschema: %s", view->entity_count > 0 ? "key" : "no key");
    for (uint32_t i = 0; i < view->entity_count; i++) {
        printf("%s %s %s", i > 0 ? "," : "", view->entities[i].join_key, pil_scalar_text(view->entities[i].type));
    }
    printf("; row %u bytes; %s%s\n", view->layout.stride, view->is_static ? "" : "ttl ",
           view->is_static ? "static" : ttl_text(view->ttl_us, ttl));
    pil_table_init(&table, 4, 1 << 2);
    const char *const head[] = {"FEATURE", "TYPE", "OFFSET", "TAGS"};
    for (size_t i = 0; i < 4; i++) {
        pil_table_add(&table, PIL_STYLE_BOLD, head[i]);
    }
    for (uint32_t i = 0; i < view->feature_count; i++) {
        const struct pil_feature *feature = &view->features[i];
        struct pil_text tags = {0}, shown = {0};
        char type[PIL_TYPE_TEXT_BYTES];
        pil_type_format(feature->type, type);
        for (uint32_t t = 0; t < feature->tag_count; t++) {
            pil_text_format(&tags, "%s%s", t > 0 ? ", " : "", feature->tags[t]);
        }
        pil_text_append_printable(&shown, pil_bytes_from_text(pil_report_text(&tags)), TAGS_COLUMNS);
        pil_table_add(&table, PIL_STYLE_PLAIN, feature->name);
        pil_table_add(&table, PIL_STYLE_PLAIN, type);
        pil_table_format(&table, "%u", feature->offset);
        pil_table_add(&table, PIL_STYLE_DIM, pil_report_text(&shown));
        pil_text_deinit(&tags);
        pil_text_deinit(&shown);
    }
    pil_table_print(&table, 2);
    pil_table_deinit(&table);
}

static void print_sections(const struct subject *subject) {
    struct pil_table table;
    char bytes[PIL_REPORT_NUMBER_BYTES];
    uint64_t rest = subject->bytes;
    double share = 100.0 / (subject->bytes > 0 ? (double)subject->bytes : 1);
    pil_table_init(&table, 3, 1 << 1 | 1 << 2);
    pil_table_add(&table, PIL_STYLE_BOLD, "SECTION");
    pil_table_add(&table, PIL_STYLE_BOLD, "BYTES");
    pil_table_add(&table, PIL_STYLE_BOLD, "SHARE");
    for (int i = 0; i < PIL_SECTION_COUNT; i++) {
        rest -= subject->section_bytes[i];
        pil_table_add(&table, PIL_STYLE_PLAIN, section_names[i]);
        pil_table_add(&table, PIL_STYLE_PLAIN, pil_report_bytes(subject->section_bytes[i], bytes));
        pil_table_format(&table, "%.1f %%", (double)subject->section_bytes[i] * share);
    }
    pil_table_add(&table, PIL_STYLE_PLAIN, "superblock, alignment");
    pil_table_add(&table, PIL_STYLE_PLAIN, pil_report_bytes(rest, bytes));
    pil_table_format(&table, "%.1f %%", (double)rest * share);
    printf("\nsizes");
    if (subject->row_count > 0) {
        printf(": %.2f bits of index a row",
               (double)subject->section_bytes[PIL_SECTION_PILOTS] * 8 / (double)subject->row_count);
    }
    printf("\n");
    pil_table_print(&table, 2);
    pil_table_deinit(&table);
}

static void print_json(const struct subject *subject) {
    json_t *sections = json_object(), *rows = json_array();
    uint64_t slot = 0;
    const uint8_t *row;
    for (int i = 0; i < PIL_SECTION_COUNT; i++) {
        pil_json_set(&sections, section_names[i], json_integer((json_int_t)subject->section_bytes[i]));
    }
    for (uint32_t i = 0; subject->shard.view != NULL && i < subject->rows_max; i++) {
        if ((row = next_row(&subject->shard, &slot)) == NULL) {
            break;
        }
        pil_json_append(&rows, row_to_json(&subject->shard, row));
    }
    pil_report_json(json_pack("{s:s, s:I, s:I, s:o, s:o, s:O?, s:o}", "name", subject->name, "rows",
                              (json_int_t)subject->row_count, "bytes", (json_int_t)subject->bytes, "schema",
                              pil_view_to_json(subject->view), "sections", sections, "manifest",
                              subject->manifest != NULL ? subject->manifest->document : NULL, "sample", rows));
}

static void print_subject(const struct pil_invocation *invocation, const struct subject *subject) {
    if (pil_invocation_has(invocation, PIL_OPTION_JSON)) {
        print_json(subject);
        return;
    }
    print_head(subject);
    print_schema(subject->view);
    print_sections(subject);
    if (subject->manifest != NULL) {
        pil_lineage_view_print(subject->manifest->document);
        pil_profile_view_print(json_object_get(subject->manifest->document, "profile"), subject->view);
    }
    print_rows(subject);
}

static int inspect_release(const struct pil_invocation *invocation, struct subject *subject) {
    struct pil_store *store = NULL;
    struct pil_release_ref ref;
    struct pil_error error = {0};
    int exit_code = pil_reference_store(invocation, &store);
    if (exit_code == PIL_EXIT_OK) {
        exit_code = pil_reference_resolve(store, subject->name, PIL_REFERENCE_RELEASE, NULL, &ref);
    }
    if (exit_code == PIL_EXIT_OK) {
        pil_status status = load_release(subject, store, &ref, &error);
        exit_code = status == PIL_STATUS_OK ? PIL_EXIT_OK : pil_report_failure(status, &error);
    }
    pil_store_close(&store);
    return exit_code;
}

int pil_cli_inspect(const struct pil_invocation *invocation) {
    struct subject subject = {.name = invocation->args[0], .rows_max = ROWS_DEFAULT};
    struct pil_error error = {0};
    const char *rows = invocation->values[PIL_OPTION_ROWS];
    uint64_t rows_max;
    int exit_code = PIL_EXIT_OK;
    if (rows != NULL) {
        if (!pil_reference_number(rows, ROWS_MAX, &rows_max)) {
            return pil_report_usage("--rows %s: a number of at most %d", rows, ROWS_MAX);
        }
        subject.rows_max = (uint32_t)rows_max;
    }
    if (pil_reference_is_release(subject.name)) {
        exit_code = inspect_release(invocation, &subject);
    } else {
        pil_status status = load_file(&subject, &error);
        exit_code = status == PIL_STATUS_OK ? PIL_EXIT_OK : pil_report_unreadable(status, &error);
    }
    if (exit_code == PIL_EXIT_OK) {
        print_subject(invocation, &subject);
    }
    subject_deinit(&subject);
    return exit_code;
}
