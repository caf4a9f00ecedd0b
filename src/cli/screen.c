/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/screen.h"

#include "cli/report.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- Locale */

/* The characters that this program draws with, each followed by the one that stands for it. */
static const struct {
    const char *text;
    char ascii;
} drawn[] = {{"░", '.'}, {"▒", ':'}, {"▓", '+'}, {"█", '#'}, {"▏", ' '}, {"▎", ' '}, {"▍", ' '},
             {"▌", '#'}, {"▋", '#'}, {"▊", '#'}, {"▉", '#'}, {"│", '|'}, {"─", '-'}, {"≤", '<'},
             {"→", '>'}, {"…", '~'}, {"µ", 'u'}, {"×", 'x'}, {"–", '-'}, {"▁", '_'}, {"▂", '_'},
             {"▃", '.'}, {"▄", ':'}, {"▅", ':'}, {"▆", '+'}, {"▇", '#'}, {"·", '.'}};

/* A character of which only the beginning was written yet. */
struct ascii {
    FILE *to;
    char part[8];
    size_t part_len;
};

static size_t character_len(unsigned char first) {
    return first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
}

static char ascii_of(const char *character, size_t len) {
    for (size_t i = 0; i < sizeof drawn / sizeof drawn[0]; i++) {
        if (strlen(drawn[i].text) == len && memcmp(drawn[i].text, character, len) == 0) {
            return drawn[i].ascii;
        }
    }
    return len == 1 && (unsigned char)character[0] < 0x80 ? character[0] : '?';
}

static ssize_t write_ascii(void *cookie, const char *text, size_t len) {
    struct ascii *ascii = cookie;
    for (size_t i = 0; i < len; i++) {
        ascii->part[ascii->part_len++] = text[i];
        if (ascii->part_len >= character_len((unsigned char)ascii->part[0])) {
            putc(ascii_of(ascii->part, ascii->part_len), ascii->to);
            ascii->part_len = 0;
        }
    }
    return fflush(ascii->to) == 0 ? (ssize_t)len : 0;
}

void pil_screen_follow_locale(void) {
    static struct ascii ascii;
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") == 0) {
        return;
    }
    ascii.to = stdout;
    stdout = pil_report_need(fopencookie(&ascii, "w", (cookie_io_functions_t){.write = write_ascii}));
}

/* ---- Window */

static struct {
    FILE *to; /* stdout as it was */
    char *text;
    size_t len;
} collected;

void pil_screen_begin(void) {
    collected.to = stdout;
    stdout = pil_report_need(open_memstream(&collected.text, &collected.len));
}

/* Prints a line in at most `columns`. Escape sequences take no column. */
static void print_cut(const char *line, size_t len, size_t columns) {
    size_t column = 0;
    for (size_t at = 0; at < len;) {
        size_t part = line[at] == '\033' ? strcspn(line + at, "m") + 1 : character_len((unsigned char)line[at]);
        if (line[at] != '\033' && ++column > columns) {
            printf("%s", pil_report_style(PIL_STYLE_PLAIN));
            break;
        }
        fwrite(line + at, 1, part < len - at ? part : len - at, stdout);
        at += part;
    }
    printf("\n");
}

void pil_screen_end(void) {
    struct winsize size = {0};
    size_t count = 0, shown;
    fclose(stdout);
    stdout = collected.to;
    pil_report_need(collected.text);
    for (size_t i = 0; i < collected.len; i++) {
        count += collected.text[i] == '\n';
    }
    bool has_window = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 2 && size.ws_col > 0;
    /* The cursor takes the last line of a window. */
    shown = !has_window || count < size.ws_row ? count : (size_t)size.ws_row - 2;
    const char *line = collected.text;
    for (size_t i = 0; i < shown; i++) {
        size_t len = strcspn(line, "\n");
        print_cut(line, len, has_window ? size.ws_col : SIZE_MAX);
        line += len + 1;
    }
    if (shown < count) {
        printf("… %zu more lines; a taller window shows them, --view NAME shows less\n", count - shown);
    }
    free(collected.text);
    collected.text = NULL;
}
