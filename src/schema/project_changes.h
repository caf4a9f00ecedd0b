/* SPDX-License-Identifier: Apache-2.0
 * The rules for changes of a project while a view is in use, and for releases that are to answer for a project. */
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

/* Appends a line, which begins with `prefix`, for each way in which a release with the schema `release` does not answer
 * the project: it has other keys than the view of its name, lacks a feature, or has it with another type. A line says
 * which feature services need the feature. A view that the project does not have is answered: no service reads it.
 * Features that only the release has, and other defaults or ttl, are compatible. Returns the number of lines; if *lines
 * has failed, it holds none of them. */
uint32_t pil_project_unanswered(const struct pil_project *project, const struct pil_view *release, const char *prefix,
                                struct pil_text *lines);
