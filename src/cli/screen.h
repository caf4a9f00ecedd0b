/* SPDX-License-Identifier: Apache-2.0
 * What stdout can show: a window of some lines and columns, and the characters of the locale. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

/* If the locale's characters are not UTF-8, everything that is printed to stdout from now on is ASCII: lines, shades,
 * signs and units have one character that stands for each; any other character is '?'. */
void pil_screen_follow_locale(void);

/* The height of the terminal on stdout; 0: stdout is not a terminal. */
size_t pil_screen_rows(void);

/* Between the two calls stdout collects a picture; the end clears the window and shows as much of the picture as there
 * is room for, and the footer. Lines that are too long are cut; a last line says how many are left out. So what must be
 * seen comes first. */
void pil_screen_begin(void);
void pil_screen_end(const char *footer);
