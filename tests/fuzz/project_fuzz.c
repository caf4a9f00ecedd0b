/* SPDX-License-Identifier: Apache-2.0
 * Any bytes as a project file, as the JSON of a project, and as the JSON of a view. Whatever is taken must come back
 * the same from its canonical form; whatever is refused must say why; and bytes that are a key's text must survive
 * encoding. */
#include "base/panic.h"
#include "schema/project_read.h"
#include "schema/view_json.h"
#include "schema/view_read.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *dump(json_t *json) {
    char *text = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(json);
    PIL_ASSERT(text != NULL);
    return text;
}

static void check_same(char *a, char *b) {
    PIL_ASSERT(strcmp(a, b) == 0);
    free(a);
    free(b);
}

/* Text → key → text → key ends where it began. */
static void check_key(const struct pil_view *view, struct pil_bytes text) {
    uint8_t key[512], again[512];
    char formatted[2048];
    size_t len, again_len;
    uint32_t entity;
    PIL_ASSERT(pil_view_key_format(view, text, formatted, sizeof formatted) > 0 || view->entity_count == 1);
    if (pil_view_key_encode_text(view, text, key, sizeof key, &len, &entity) != PIL_STATUS_OK) {
        return;
    }
    size_t formatted_len = pil_view_key_format(view, pil_bytes_from(key, len), formatted, sizeof formatted);
    PIL_ASSERT(formatted_len <= sizeof formatted);
    PIL_ASSERT(pil_view_key_encode_text(view, pil_bytes_from(formatted, formatted_len), again, sizeof again, &again_len,
                                        &entity) == PIL_STATUS_OK);
    PIL_ASSERT(pil_bytes_equal(pil_bytes_from(key, len), pil_bytes_from(again, again_len)));
}

static void check_view(const struct pil_view *view, struct pil_bytes input) {
    struct pil_view *back = NULL;
    struct pil_error error;
    char *text = dump(pil_view_to_json(view));
    PIL_ASSERT(pil_view_from_json_bytes(pil_bytes_from_text(text), &back, &error) == PIL_STATUS_OK);
    check_same(text, dump(pil_view_to_json(back)));
    pil_view_destroy(&back);
    check_key(view, input);
}

static void check_project(const struct pil_project *project, struct pil_bytes input) {
    struct pil_project *back = NULL;
    struct pil_error error;
    json_t *json = pil_project_to_json(project);
    PIL_ASSERT(pil_project_from_json(json, &back, &error) == PIL_STATUS_OK);
    check_same(dump(json), dump(pil_project_to_json(back)));
    for (uint32_t i = 0; i < project->view_count; i++) {
        check_view(project->views[i].view, input);
    }
    pil_project_destroy(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct pil_bytes input = pil_bytes_from(data, size);
    struct pil_project *project = NULL;
    struct pil_view *view = NULL;
    struct pil_text problems = {0};
    struct pil_error error = {{0}};
    if (pil_project_parse_yaml(input, "f", &project, &problems) == PIL_STATUS_OK) {
        check_project(project, input);
        pil_project_destroy(&project);
    } else {
        PIL_ASSERT(problems.len > 0 && problems.data[problems.len - 1] == '\n');
    }
    pil_text_deinit(&problems);
    json_t *json = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
    if (json != NULL && pil_project_from_json(json, &project, &error) == PIL_STATUS_OK) {
        check_project(project, input);
        pil_project_destroy(&project);
    }
    json_decref(json);
    if (pil_view_from_json_bytes(input, &view, &error) == PIL_STATUS_OK) {
        check_view(view, input);
        pil_view_destroy(&view);
    } else {
        PIL_ASSERT(error.text[0] != '\0');
    }
    return 0;
}
