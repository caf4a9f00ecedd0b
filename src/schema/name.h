/* SPDX-License-Identifier: Apache-2.0
 * Names of projects, entities, join keys, views, features, services and channels. They are used as labels of metrics
 * and as parts of file names and Redis keys: a letter or '_', then letters, digits, '_', '-'; at most
 * PIL_NAME_BYTES_MAX bytes. */
#pragma once

#include "base/bytes.h"

bool pil_name_is_valid(struct pil_bytes name);
