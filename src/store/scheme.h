/* SPDX-License-Identifier: Apache-2.0
 * The kinds of stores, one row each. Opening, help texts, completion and documentation come from this table. */
#pragma once

#include "store/store.h"

/* X(prefix, value, help, open, may_put), joined by OR. */
#define PIL_STORE_SCHEME_TABLE(X, OR) X("dir:", "PATH", "a folder", pil_directory_open, pil_directory_may_put)

/* "dir:PATH", as a string literal for sentences: "a store is " PIL_STORE_FORMS. */
#define PIL_STORE_FORM_(prefix, value, help, open, may_put) prefix value
#define PIL_STORE_FORMS PIL_STORE_SCHEME_TABLE(PIL_STORE_FORM_, " or ")
/* The same for usage lines, where '|' separates alternatives. */
#define PIL_STORE_FORMS_USAGE PIL_STORE_SCHEME_TABLE(PIL_STORE_FORM_, "|")

/* The prefixes alone, for shells. */
#define PIL_STORE_PREFIX_(prefix, value, help, open, may_put) prefix
#define PIL_STORE_PREFIXES PIL_STORE_SCHEME_TABLE(PIL_STORE_PREFIX_, " ")
#define PIL_STORE_PREFIXES_ZSH PIL_STORE_SCHEME_TABLE(PIL_STORE_PREFIX_, "|")

struct pil_store_scheme {
    const char *prefix; /* with its ':' */
    const char *value;  /* what follows the prefix, for help texts */
    const char *help;
    /* `rest` is the URL after the prefix, not empty. */
    pil_status (*open)(const char *rest, bool create, struct pil_store **ret_store, struct pil_error *ret_error);
    pil_status (*may_put)(const char *rest, const char *name, struct pil_error *ret_error);
};
extern const struct pil_store_scheme pil_store_schemes[];
extern const uint32_t pil_store_scheme_count;

/* The scheme of a URL, or NULL. */
const struct pil_store_scheme *pil_store_scheme_find(const char *url);
