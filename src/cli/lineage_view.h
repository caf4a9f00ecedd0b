/* SPDX-License-Identifier: Apache-2.0
 * What a release was made of: the counts of rows and the sources that the builder put into the manifest. */
#pragma once

#include <jansson.h>

/* Prints what the manifest says of it; nothing if it says nothing. */
void pil_lineage_view_print(const json_t *manifest);
