/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "schema/view.h"

#include <jansson.h>

/* Draws the column profile of a manifest ("profile") on stdout, features in the view's order. What is not as the
 * builder writes it is left out. */
void pil_profile_view_print(const json_t *profile, const struct pil_view *view);
