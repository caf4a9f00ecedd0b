/* SPDX-License-Identifier: Apache-2.0
 * The YAML file of pilliond. */
#pragma once

#include "daemon/config.h"

/* Applies the file to *config; adds a line to *problems for each mistake. The error of reading the file, which is a
 * line, too. */
pil_status pil_config_read_yaml(struct pil_config *config, const char *path, struct pil_text *problems);
