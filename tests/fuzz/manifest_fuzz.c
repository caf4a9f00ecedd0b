/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a manifest, as a channel, as the document of a project, as a reference and as the name of an object.
 * Whatever is taken must mean the same when it is written again; whatever is refused must say why. */
#include "base/panic.h"
#include "release/channel.h"
#include "release/document.h"
#include "release/manifest.h"
#include "release/project.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_manifest(struct pil_bytes text) {
    struct pil_manifest *manifest = NULL, *again = NULL;
    struct pil_error error = {0};
    struct pil_text written;
    if (pil_manifest_parse(text, &manifest, &error) != PIL_STATUS_OK) {
        PIL_ASSERT(manifest == NULL && error.text[0] != '\0');
        return;
    }
    json_t *document = pil_manifest_to_json(manifest, manifest->document);
    PIL_ASSERT(pil_document_format(json_incref(document), &written, &error) == PIL_STATUS_OK);
    PIL_ASSERT(pil_manifest_parse(pil_text_bytes(&written), &again, &error) == PIL_STATUS_OK);
    PIL_ASSERT(strcmp(manifest->ref.release, again->ref.release) == 0);
    PIL_ASSERT(json_equal(document, again->document));
    json_decref(document);
    pil_text_deinit(&written);
    pil_manifest_destroy(&manifest);
    pil_manifest_destroy(&again);
}

static void check_channel(struct pil_bytes text) {
    static const struct pil_release_ref ref = {.project = "rides", .view = "drivers"};
    struct pil_channel channel = {.sequence = 77};
    struct pil_error error = {0};
    char previous[PIL_RELEASE_ID_CHARS + 1];
    if (pil_channel_parse(text, &ref, "production", &channel, &error) != PIL_STATUS_OK) {
        PIL_ASSERT(channel.sequence == 77 && error.text[0] != '\0');
        return;
    }
    PIL_ASSERT(pil_release_id_ok(pil_channel_effective(&channel)) && channel.history_count > 0);
    pil_channel_previous(&channel, previous);
    PIL_ASSERT(previous[0] == '\0' || pil_release_id_ok(previous));
}

static void check_names(struct pil_bytes text) {
    char name[PIL_STORE_NAME_BYTES] = "";
    struct pil_layout_object object;
    struct pil_release_ref ref;
    memcpy(name, text.len > 0 ? (const char *)text.data : "", text.len < 256 ? text.len : 255);
    pil_layout_parse(name, &object);
    PIL_ASSERT(object.kind == PIL_LAYOUT_FOREIGN || pil_store_name_ok(name));
    if (pil_release_ref_parse(name, &ref, NULL) == PIL_STATUS_OK && pil_release_id_ok(ref.release)) {
        pil_layout_manifest(&ref, name);
        pil_layout_parse(name, &object);
        PIL_ASSERT(object.kind == PIL_LAYOUT_MANIFEST && pil_store_name_ok(name));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct pil_bytes text = pil_bytes_from(data, size);
    struct pil_project *project = NULL;
    struct pil_error error = {0};
    check_manifest(text);
    check_channel(text);
    check_names(text);
    if (pil_project_document_parse(text, &project, &error) != PIL_STATUS_OK) {
        PIL_ASSERT(project == NULL && error.text[0] != '\0');
    }
    pil_project_destroy(&project);
    return 0;
}
