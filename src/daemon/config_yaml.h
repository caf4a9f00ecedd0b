/* SPDX-License-Identifier: Apache-2.0
 * The YAML file of pilliond. */
#pragma once

#include "daemon/config.h"

/* Applies the file to *config; adds a line to *problems for each mistake. */
void pil_config_read_yaml(struct pil_config *config, const char *path, struct pil_text *problems);
