/* SPDX-License-Identifier: Apache-2.0
 * The ways of a project into memory: YAML, every mistake reported at once, or its JSON form. */
#pragma once

#include "base/text.h"
#include "schema/project.h"

/* Reads a project file. On mistakes: INVALID, and *problems holds one line for each,
 * "file:line:column: what; what to do\n", in file order. NO_MEMORY: nothing is known of the file, and *problems may
 * have failed. `file_name` is only for the messages. */
pil_status pil_project_parse_yaml(struct pil_bytes text, const char *file_name, struct pil_project **ret_project,
                                  struct pil_text *problems) PIL_CHECKED;
/* The same from a file; a file that cannot be read is one problem line, too, and the status says why (NOT_FOUND,
 * DENIED, TOO_LARGE over 8 MiB…). */
pil_status pil_project_load_yaml(const char *path, struct pil_project **ret_project,
                                 struct pil_text *problems) PIL_CHECKED;

/* CORRUPT with the first problem; NO_MEMORY. */
pil_status pil_project_from_json(const json_t *json, struct pil_project **ret_project,
                                 struct pil_error *ret_error) PIL_CHECKED;
