/* SPDX-License-Identifier: Apache-2.0
 * The table of all options. */
#include "cli/command.h"

const struct pil_option_row pil_options[PIL_OPTION_COUNT] = {
#define X(id, name, value, follows, help) {name, value, PIL_FOLLOWS_##follows, help},
    PIL_OPTION_TABLE(X)
#undef X
};
