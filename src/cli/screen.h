/* SPDX-License-Identifier: Apache-2.0
 * What stdout can show: a window of some lines and columns, and the characters of the locale. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

/* If the locale's characters are not UTF-8, everything that is printed to stdout from now on is ASCII: lines, shades,
 * signs and units have one character that stands for each; any other character is '?'. */
void pil_screen_follow_locale(void);

/* Between the two calls stdout collects text; the end prints as much of it as the terminal has room for. Lines that are
 * too long are cut; a last line says how many are left out. So what must be seen comes first. Without a terminal
 * everything is printed. */
void pil_screen_begin(void);
void pil_screen_end(void);
