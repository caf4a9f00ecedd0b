/* SPDX-License-Identifier: Apache-2.0
 * Small views for the tests of this module, made from lists of type names. */
#pragma once

#include "schema/view.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAMPLE_ENTITIES_MAX = PIL_ENTITIES_MAX, SAMPLE_FEATURES_MAX = PIL_FEATURES_MAX };

static inline struct pil_type sample_type(const char *text) {
    struct pil_type type = {0};
    assert_int_equal(pil_type_parse(pil_bytes_from_text(text), &type, NULL), PIL_STATUS_OK);
    return type;
}

/* View p/v with entities e0, e1… (join keys k0, k1…) and features f0, f1…; lists end with NULL. Not laid out. */
static inline struct pil_view *sample_view_raw(const char *const *entities, const char *const *features) {
    struct pil_view *view = calloc(1, sizeof *view);
    char name[16];
    assert_non_null(view);
    view->project = strdup("p");
    view->name = strdup("v");
    view->entities = calloc(SAMPLE_ENTITIES_MAX, sizeof *view->entities);
    view->features = calloc(SAMPLE_FEATURES_MAX, sizeof *view->features);
    for (uint32_t i = 0; entities[i] != NULL; i++, view->entity_count++) {
        snprintf(name, sizeof name, "e%u", i);
        view->entities[i].name = strdup(name);
        snprintf(name, sizeof name, "k%u", i);
        view->entities[i].join_key = strdup(name);
        view->entities[i].type = sample_type(entities[i]).scalar;
    }
    for (uint32_t i = 0; features[i] != NULL; i++, view->feature_count++) {
        snprintf(name, sizeof name, "f%u", i);
        view->features[i].name = strdup(name);
        view->features[i].description = strdup("");
        view->features[i].type = sample_type(features[i]);
    }
    return view;
}

static inline void sample_default(struct pil_feature *feature, const char *json) {
    struct pil_error error = {{0}};
    assert_int_equal(pil_default_parse(feature->type, pil_bytes_from_text(json), &feature->default_value, &error),
                     PIL_STATUS_OK);
}

/* Whether the default says exactly this, as JSON without blanks. */
static inline void sample_assert_default(const struct pil_feature *feature, const char *json) {
    struct pil_bytes text = pil_default_text(feature->default_value);
    assert_int_equal(text.len, strlen(json));
    assert_memory_equal(text.data, json, text.len);
}

/* The same, laid out and with its name table. */
static inline struct pil_view *sample_view(const char *const *entities, const char *const *features) {
    struct pil_view *raw = sample_view_raw(entities, features);
    assert_int_equal(pil_view_layout(raw, NULL), PIL_STATUS_OK);
    struct pil_view *view = pil_view_clone(raw);
    pil_view_destroy(&raw);
    return view;
}

#define SAMPLE_LIST(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
