/* SPDX-License-Identifier: Apache-2.0
 * Manifests: parses hostile JSON into checked structs, and formats them. */
#include "release/manifest.h"

#include "release/document.h"
#include "schema/json_text.h"
#include "schema/view_json.h"
#include "schema/view_read.h"

#include <stdlib.h>

/* A shard has at most 2 M rows of 1 MiB. The size in a manifest is input and needs a bound of its own. */
static const uint64_t shard_bytes_max = 1ull << 42;

/* ---- Identity */

static void update_line(struct pil_sha256_stream *stream, const char *line) {
    pil_sha256_stream_update(stream, pil_bytes_from_text(line));
    pil_sha256_stream_update(stream, pil_bytes_from_text("\n"));
}

static void shard_hex(const struct pil_sha256 *id, char ret_hex[PIL_SHA256_HEX_CHARS + 1]) {
    pil_hex_encode(pil_bytes_from(id->bytes, sizeof id->bytes), ret_hex);
}

static void identify(const struct pil_view *view, const struct pil_text *schema,
                     const struct pil_manifest_shard *shards, uint32_t shard_count,
                     char ret_release[PIL_RELEASE_ID_CHARS + 1]) {
    struct pil_sha256_stream stream;
    pil_sha256_stream_init(&stream);
    pil_sha256_stream_update(&stream, pil_bytes_from_text(view->project));
    pil_sha256_stream_update(&stream, pil_bytes_from_text("/"));
    update_line(&stream, view->name);
    update_line(&stream, schema->data);
    for (uint32_t i = 0; i < shard_count; i++) {
        char hex[PIL_SHA256_HEX_CHARS + 1];
        shard_hex(&shards[i].id, hex);
        update_line(&stream, hex);
    }
    struct pil_sha256 digest = pil_sha256_stream_finish(&stream);
    pil_hex_encode(pil_bytes_from(digest.bytes, PIL_RELEASE_ID_CHARS / 2), ret_release);
}

pil_status pil_manifest_identify(const struct pil_view *view, const struct pil_manifest_shard *shards,
                                 uint32_t shard_count, char ret_release[PIL_RELEASE_ID_CHARS + 1],
                                 struct pil_error *ret_error) {
    struct pil_text schema;
    PIL_TRY(pil_document_format(pil_view_to_json(view), &schema, ret_error));
    identify(view, &schema, shards, shard_count, ret_release);
    pil_text_deinit(&schema);
    return PIL_STATUS_OK;
}

/* ---- Writing */

json_t *pil_manifest_to_json(const struct pil_manifest *manifest, const json_t *extra) {
    json_t *document = extra != NULL ? pil_json_copy(extra) : json_object(), *shards = json_array();
    for (uint32_t i = 0; i < manifest->shard_count; i++) {
        const struct pil_manifest_shard *shard = &manifest->shards[i];
        char hex[PIL_SHA256_HEX_CHARS + 1];
        shard_hex(&shard->id, hex);
        pil_json_append(&shards, json_pack("{s:s, s:I, s:I}", "id", hex, "bytes", (json_int_t)shard->bytes, "row_count",
                                           (json_int_t)shard->row_count));
    }
    pil_json_set(&document, "format", json_integer(PIL_DOCUMENT_FORMAT));
    pil_json_set(&document, "project", json_string(manifest->ref.project));
    pil_json_set(&document, "view", json_string(manifest->ref.view));
    pil_json_set(&document, "release", json_string(manifest->ref.release));
    pil_json_set(&document, "created_us", json_integer(manifest->created_us));
    pil_json_set(&document, "previous", pil_document_optional(manifest->previous));
    pil_json_set(&document, "schema", pil_view_to_json(manifest->view));
    pil_json_set(&document, "shards", shards);
    pil_json_set(&document, "row_count", json_integer((json_int_t)manifest->row_count));
    pil_json_set(&document, "bytes", json_integer((json_int_t)manifest->bytes));
    return document;
}

/* ---- Reading */

static pil_status parse_shard(const json_t *json, struct pil_manifest_shard *shard, struct pil_error *error) {
    char hex[PIL_SHA256_HEX_CHARS + 1], again[PIL_SHA256_HEX_CHARS + 1];
    PIL_TRY(pil_document_string(json, "id", false, hex, sizeof hex, error));
    PIL_TRY(pil_document_u64(json, "bytes", shard_bytes_max, &shard->bytes, error));
    PIL_TRY(pil_document_u64(json, "row_count", PIL_SHARD_ROWS_MAX, &shard->row_count, error));
    bool decoded = pil_hex_decode(pil_bytes_from_text(hex), shard->id.bytes, sizeof shard->id.bytes);
    if (decoded) {
        shard_hex(&shard->id, again);
    }
    if (!decoded || strcmp(hex, again) != 0) { /* only one spelling: ids are part of object names */
        return pil_fail(error, PIL_STATUS_CORRUPT, "\"id\" must be %d lower-case hex digits", PIL_SHA256_HEX_CHARS);
    }
    return PIL_STATUS_OK;
}

static pil_status parse_shards(const json_t *list, struct pil_manifest *manifest, struct pil_error *error) {
    size_t count = json_array_size(list);
    if (count == 0 || count > 1u << PIL_SHARD_BITS_MAX || (count & (count - 1)) != 0) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "\"shards\" must be a list of 1, 2, 4 … %u shards; it has %zu",
                        1u << PIL_SHARD_BITS_MAX, count);
    }
    manifest->shards = calloc(count, sizeof *manifest->shards);
    if (manifest->shards == NULL) {
        return pil_fail(error, PIL_STATUS_NO_MEMORY, "no memory for %zu shards", count);
    }
    manifest->shard_count = (uint32_t)count;
    uint64_t rows = 0, bytes = 0; /* neither sum can overflow: 2^16 x 2^42 */
    for (uint32_t i = 0; i < count; i++) {
        struct pil_manifest_shard *shard = &manifest->shards[i];
        pil_status status = parse_shard(json_array_get(list, i), shard, error);
        if (status != PIL_STATUS_OK) {
            return pil_fail_in(error, status, "\"shards\"[%u]", i);
        }
        rows += shard->row_count;
        bytes += shard->bytes;
    }
    if (rows != manifest->row_count || bytes != manifest->bytes) {
        return pil_fail(error, PIL_STATUS_CORRUPT,
                        "the shards sum up to %llu rows and %llu bytes, not to %llu and %llu", (unsigned long long)rows,
                        (unsigned long long)bytes, (unsigned long long)manifest->row_count,
                        (unsigned long long)manifest->bytes);
    }
    return PIL_STATUS_OK;
}

static pil_status parse_document(struct pil_manifest *manifest, struct pil_error *error) {
    const json_t *document = manifest->document;
    struct pil_release_ref *ref = &manifest->ref;
    uint64_t created_us;
    char release[PIL_RELEASE_ID_CHARS + 1];
    PIL_TRY(pil_document_string(document, "project", false, ref->project, sizeof ref->project, error));
    PIL_TRY(pil_document_string(document, "view", false, ref->view, sizeof ref->view, error));
    if (!pil_release_name_ok(ref->project) || !pil_release_name_ok(ref->view)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "\"project\" or \"view\" is not a name");
    }
    PIL_TRY(pil_document_release(document, "release", false, ref->release, error));
    PIL_TRY(pil_document_release(document, "previous", true, manifest->previous, error));
    PIL_TRY(pil_document_u64(document, "created_us", INT64_MAX, &created_us, error));
    PIL_TRY(pil_document_u64(document, "row_count", INT64_MAX, &manifest->row_count, error));
    PIL_TRY(pil_document_u64(document, "bytes", INT64_MAX, &manifest->bytes, error));
    manifest->created_us = (int64_t)created_us;
    PIL_TRY(parse_shards(json_object_get(document, "shards"), manifest, error));

    /* Keep the schema's text, with members that this version does not know: it is part of the release id. */
    json_t *schema = json_object_get(document, "schema");
    if (!json_is_object(schema)) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "\"schema\" must be an object");
    }
    PIL_TRY(pil_document_format(json_incref(schema), &manifest->schema, error));
    pil_status status = pil_view_from_json_bytes(pil_text_bytes(&manifest->schema), &manifest->view, error);
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(error, status, "\"schema\"");
    }
    if (strcmp(manifest->view->project, ref->project) != 0 || strcmp(manifest->view->name, ref->view) != 0) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "the schema is that of %s/%s", manifest->view->project,
                        manifest->view->name);
    }
    identify(manifest->view, &manifest->schema, manifest->shards, manifest->shard_count, release);
    if (strcmp(release, ref->release) != 0) {
        return pil_fail(error, PIL_STATUS_CORRUPT, "schema and shards are those of release %s, not of %s", release,
                        ref->release);
    }
    return PIL_STATUS_OK;
}

pil_status pil_manifest_parse(struct pil_bytes text, struct pil_manifest **ret_manifest, struct pil_error *ret_error) {
    struct pil_manifest *manifest = calloc(1, sizeof *manifest);
    if (manifest == NULL) {
        return pil_fail(ret_error, PIL_STATUS_NO_MEMORY, "no memory for a manifest");
    }
    pil_status status = pil_document_parse(text, &manifest->document, ret_error);
    if (status == PIL_STATUS_OK) {
        status = parse_document(manifest, ret_error);
    }
    if (status != PIL_STATUS_OK) {
        pil_manifest_destroy(&manifest);
        return status;
    }
    *ret_manifest = manifest;
    return PIL_STATUS_OK;
}

void pil_manifest_destroy(struct pil_manifest **manifest) {
    if (*manifest == NULL) {
        return;
    }
    pil_view_destroy(&(*manifest)->view);
    free((*manifest)->shards);
    pil_text_deinit(&(*manifest)->schema);
    json_decref((*manifest)->document);
    free(*manifest);
    *manifest = NULL;
}

/* ---- The store */

pil_status pil_manifest_read(struct pil_store *store, const struct pil_release_ref *ref,
                             struct pil_manifest **ret_manifest, struct pil_error *ret_error) {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_text text = {0};
    struct pil_manifest *manifest = NULL;
    pil_layout_manifest(ref, name);
    pil_status status = pil_store_get(store, name, PIL_DOCUMENT_BYTES_MAX, &text, NULL, ret_error);
    if (status == PIL_STATUS_NOT_FOUND) {
        return pil_fail(ret_error, status, "there is no release %s of %s/%s in %s", ref->release, ref->project,
                        ref->view, pil_store_url(store));
    }
    PIL_TRY(status);
    status = pil_manifest_parse(pil_text_bytes(&text), &manifest, ret_error);
    pil_text_deinit(&text);
    if (status != PIL_STATUS_OK) {
        return pil_fail_in(ret_error, status, "%s", name);
    }
    const struct pil_release_ref *found = &manifest->ref;
    if (strcmp(found->release, ref->release) != 0 || strcmp(found->view, ref->view) != 0 ||
        strcmp(found->project, ref->project) != 0) {
        status = pil_fail(ret_error, PIL_STATUS_CORRUPT, "%s is the manifest of %s/%s@%s", name, found->project,
                          found->view, found->release);
        pil_manifest_destroy(&manifest);
        return status;
    }
    *ret_manifest = manifest;
    return PIL_STATUS_OK;
}

struct pil_verify_place pil_manifest_place(const struct pil_manifest *manifest, uint32_t shard_index) {
    return (struct pil_verify_place){.shard_index = shard_index,
                                     .shard_count = manifest->shard_count,
                                     .row_count = manifest->shards[shard_index].row_count};
}

/* Reads the beginning of a shard whose size is known to be right. */
static pil_status check_place(struct pil_store *store, const char *name, const struct pil_manifest *manifest,
                              uint32_t shard_index, struct pil_error *error) {
    uint8_t head[PIL_FORMAT_SUPERBLOCK_BYTES] = {0};
    const struct pil_verify_place place = pil_manifest_place(manifest, shard_index);
    size_t len = 0;
    struct pil_store_range range = {.name = name, .buffer = head, .bytes = sizeof head};
    PIL_TRY(pil_store_get_range(store, &range, &len, error));
    uint64_t bytes = len < sizeof head ? len : manifest->shards[shard_index].bytes;
    pil_status status = pil_verify_place(head, bytes, &place, error);
    return status == PIL_STATUS_OK ? status : pil_fail_in(error, status, "%s in %s", name, pil_store_url(store));
}

pil_status pil_manifest_check_shards(struct pil_store *store, const struct pil_manifest *manifest,
                                     struct pil_error *ret_error) {
    for (uint32_t i = 0; i < manifest->shard_count; i++) {
        char name[PIL_STORE_NAME_BYTES];
        uint64_t bytes = 0;
        pil_layout_shard(&manifest->shards[i].id, name);
        pil_status status = pil_store_stat(store, name, &bytes, NULL, ret_error);
        if (status == PIL_STATUS_NOT_FOUND) {
            return pil_fail(ret_error, PIL_STATUS_IO,
                            "%s, shard %u of release %s, is not in %s; build the release again", name, i,
                            manifest->ref.release, pil_store_url(store));
        }
        PIL_TRY(status);
        if (bytes != manifest->shards[i].bytes) {
            return pil_fail(ret_error, PIL_STATUS_IO, "%s in %s has %llu bytes, not %llu; remove it and build again",
                            name, pil_store_url(store), (unsigned long long)bytes,
                            (unsigned long long)manifest->shards[i].bytes);
        }
        PIL_TRY(check_place(store, name, manifest, i, ret_error));
    }
    return PIL_STATUS_OK;
}

pil_status pil_manifest_publish(struct pil_store *store, const struct pil_manifest *manifest,
                                struct pil_error *ret_error) {
    char name[PIL_STORE_NAME_BYTES];
    struct pil_text text;
    struct pil_manifest *parsed = NULL;
    PIL_TRY(pil_manifest_check_shards(store, manifest, ret_error));
    json_t *document =
        manifest->document != NULL ? json_incref(manifest->document) : pil_manifest_to_json(manifest, NULL);
    PIL_TRY(pil_document_format(document, &text, ret_error));
    /* Do not publish a manifest that cannot be read back. */
    pil_status status = pil_manifest_parse(pil_text_bytes(&text), &parsed, ret_error);
    if (status == PIL_STATUS_OK) {
        pil_manifest_destroy(&parsed);
        pil_layout_manifest(&manifest->ref, name);
        status = pil_store_put(store, name, pil_text_bytes(&text), pil_store_if_absent(), NULL, ret_error);
    }
    pil_text_deinit(&text);
    return status;
}
