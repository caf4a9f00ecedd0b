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

/* The number of bytes of the character or the escape sequence (of a style) that `text` begins with. */
static size_t part_len(const char *text) {
    return text[0] == '\033' ? strcspn(text, "m") + 1 : character_len((unsigned char)text[0]);
}

/* Prints a line without its end in at most `columns`. Escape sequences take no column. */
static void print_cut(const char *line, size_t len, size_t columns) {
    size_t column = 0, width = 0;
    for (size_t at = 0; at < len; at += part_len(line + at)) {
        width += line[at] != '\033';
    }
    for (size_t at = 0; at < len;) {
        size_t part = part_len(line + at);
        if (line[at] != '\033' && ++column == columns && width > columns) {
            printf("…%s", pil_report_style(PIL_STYLE_PLAIN));
            break;
        }
        fwrite(line + at, 1, part < len - at ? part : len - at, stdout);
        at += part;
    }
}

size_t pil_screen_rows(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_row : 0;
}

/* Prints at most `rows` lines of the picture. */
static void print_lines(size_t rows, size_t columns) {
    size_t count = 0;
    for (size_t i = 0; i < collected.len; i++) {
        count += collected.text[i] == '\n';
    }
    size_t shown = count <= rows ? count : rows - 1;
    const char *line = collected.text;
    for (size_t i = 0; i < shown; i++) {
        size_t len = strcspn(line, "\n");
        print_cut(line, len, columns);
        printf("\n");
        line += len + 1;
    }
    if (shown < count) {
        char rest[128];
        int len = snprintf(rest, sizeof rest, "… %zu more lines; a taller window shows them, --view NAME shows less",
                           count - shown);
        print_cut(rest, (size_t)len, columns);
        printf("\n");
    }
}

void pil_screen_end(const char *footer) {
    fclose(stdout);
    stdout = collected.to;
    pil_report_need(collected.text);
    size_t rows = pil_screen_rows(), columns = pil_report_columns();
    rows = rows > 2 && columns > 0 ? rows : SIZE_MAX;
    columns = columns > 0 ? columns : SIZE_MAX;
    printf("\033[H\033[2J");
    print_lines(rows - 1, columns);
    print_cut(footer, strlen(footer), columns); /* without a line end, which would scroll a full window */
    fflush(stdout);
    free(collected.text);
    collected.text = NULL;
}
