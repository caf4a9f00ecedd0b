/* SPDX-License-Identifier: Apache-2.0
 * The rules for changes of a project while a view is in use. */
#pragma once

#include "base/text.h"
#include "schema/project.h"

/* Appends a line for each incompatible change from `before` to `after` of views for which in_use returns true: keys
 * changed, a feature removed, its type changed, the view removed, a service's feature removed. Additions are
 * compatible, and so are changes of defaults, ttl, descriptions, tags and sources. Returns the number of changes; if
 * *lines has failed, it holds none of them. */
uint32_t pil_project_breaking_changes(const struct pil_project *before, const struct pil_project *after,
                                      bool (*in_use)(void *context, const char *view_name), void *context,
                                      struct pil_text *lines);
