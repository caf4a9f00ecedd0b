/* SPDX-License-Identifier: Apache-2.0 */
#include "embed/embed.h"

#include <stdio.h>
#include <unistd.h>

/* Closes nothing: the exit handlers of libraries would find objects half made. */
void embed_fail(const char *what, const char *why) {
    fprintf(stderr, "pillion-embed: %s: %s\n", what, why);
    fflush(NULL);
    _exit(1);
}
