/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const char show[] = "\033[?1049h\033[?25l", hide[] = "\033[0m\033[?25h\033[?1049l";

/* Signals that end the process, by the user or by a fault. SIGINT is not one of them: it ends the loop. */
static const int deadly[] = {SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
enum { DEADLY_COUNT = sizeof deadly / sizeof deadly[0] };

static struct {
    volatile sig_atomic_t is_entered, is_interrupted;
    bool has_keys; /* stdin is a terminal */
    struct termios before;
    struct sigaction deadly_before[DEADLY_COUNT];
} terminal;

static void put(const char *text, size_t len) {
    ssize_t put = write(STDOUT_FILENO, text, len);
    (void)put; /* a terminal that is gone needs nothing */
}

static void set_up(void) {
    if (terminal.has_keys) {
        struct termios raw = terminal.before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    put(show, sizeof show - 1);
    terminal.is_entered = 1;
}

void pil_terminal_leave(void) {
    if (terminal.is_entered) {
        terminal.is_entered = 0;
        put(hide, sizeof hide - 1);
        if (terminal.has_keys) {
            tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
        }
    }
}

/* ---- Signals */

static void on_interrupt(int number) {
    (void)number;
    terminal.is_interrupted = 1;
}

/* Ends poll, so that the window is drawn again. */
static void on_change(int number) {
    (void)number;
}

/* Ctrl-Z: the shell gets its terminal as it was. SIGSTOP returns when the shell continues the process. */
static void on_stop(int number) {
    int saved = errno;
    (void)number;
    pil_terminal_leave();
    raise(SIGSTOP);
    set_up();
    errno = saved;
}

static void on_death(int number) {
    pil_terminal_leave();
    for (int i = 0; i < DEADLY_COUNT; i++) {
        if (deadly[i] == number) {
            sigaction(number, &terminal.deadly_before[i], NULL);
        }
    }
    raise(number); /* delivered on return, to whoever had this signal before */
}

static void handle(int number, void (*handler)(int), struct sigaction *ret_before) {
    struct sigaction action = {.sa_handler = handler};
    sigaction(number, NULL, ret_before);
    if (ret_before->sa_handler != SIG_IGN) { /* nohup */
        sigaction(number, &action, NULL);
    }
}

/* ---- */

void pil_terminal_enter(void) {
    struct sigaction ignored;
    terminal.has_keys = tcgetattr(STDIN_FILENO, &terminal.before) == 0;
    for (int i = 0; i < DEADLY_COUNT; i++) {
        handle(deadly[i], on_death, &terminal.deadly_before[i]);
    }
    handle(SIGINT, on_interrupt, &ignored);
    handle(SIGTSTP, on_stop, &ignored);
    handle(SIGWINCH, on_change, &ignored);
    atexit(pil_terminal_leave);
    set_up();
}

int pil_terminal_key(int timeout_ms) {
    struct pollfd input = {.fd = terminal.has_keys ? STDIN_FILENO : -1, .events = POLLIN};
    char key = 0;
    if (!terminal.is_interrupted && poll(&input, 1, timeout_ms) > 0) {
        ssize_t got = read(STDIN_FILENO, &key, 1);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            return PIL_KEY_END;
        }
    }
    return terminal.is_interrupted ? PIL_KEY_END : key;
}
