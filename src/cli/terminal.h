/* SPDX-License-Identifier: Apache-2.0
 * The terminal of a command that redraws a window until a key ends it. One per process. */
#pragma once

enum { PIL_KEY_NONE = 0, PIL_KEY_END = -1 };

/* Shows the alternate screen, so that what was on the terminal comes back later, and reads keys without Enter and
 * without echo. Exit, every signal that ends the process, and Ctrl-Z undo this; Ctrl-C (SIGINT) makes the next
 * pil_terminal_key return END. */
void pil_terminal_enter(void);
/* Puts everything back as it was; does nothing without enter. Async-signal-safe. */
void pil_terminal_leave(void);
/* Waits for a key for at most timeout_ms. NONE: the time passed, or the window changed its size. END: SIGINT, or the
 * terminal is gone. */
int pil_terminal_key(int timeout_ms);
