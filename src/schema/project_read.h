/* SPDX-License-Identifier: Apache-2.0
 * Reads a project from YAML, reporting all mistakes at once, or from its JSON form. */
#pragma once

#include "base/text.h"
#include "schema/project.h"

/* Reads the text of a project file. INVALID: the file has mistakes, and *problems holds one line for each,
 * "file:line:column: what; what to do\n", in file order. NO_MEMORY: the file was not checked to the end, and *problems
 * may have failed. `file_name` is only for the messages. */
pil_status pil_project_parse_yaml(struct pil_bytes text, const char *file_name, struct pil_project **ret_project,
                                  struct pil_text *problems) PIL_CHECKED;
/* The same from a file. If the file cannot be read, *problems holds one line, and the status says why (NOT_FOUND,
 * DENIED, TOO_LARGE over 8 MiB, …). */
pil_status pil_project_load_yaml(const char *path, struct pil_project **ret_project,
                                 struct pil_text *problems) PIL_CHECKED;

/* Reads a project from its JSON form. CORRUPT: the message is the first problem. NO_MEMORY. */
pil_status pil_project_from_json(const json_t *json, struct pil_project **ret_project,
                                 struct pil_error *ret_error) PIL_CHECKED;
