/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "schema/view.h"

#include <jansson.h>

/* Draws the column profile of a manifest ("profile") on stdout, with the features in the view's order. Members that do
 * not have the builder's format are left out. */
void pil_profile_view_print(const json_t *profile, const struct pil_view *view);
