/* SPDX-License-Identifier: Apache-2.0
 * The YAML file of pilliond. */
#pragma once

#include "daemon/config.h"

/* Adds what the file says; a line of *problems for each mistake. */
void pil_config_read_yaml(struct pil_config *config, const char *path, struct pil_text *problems);
