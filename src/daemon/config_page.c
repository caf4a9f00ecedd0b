/* SPDX-License-Identifier: Apache-2.0
 * What pilliond prints about its configuration: the reference page, the example (deploy/pilliond.yaml) and the usage.
 * All three follow from the table of options and the table of keys of lists below. */
#include "daemon/config_option.h"
#include "store/scheme.h"

#define UNITS \
    "Bytes may be written with K, M or G (powers of 1024), durations with ms, s, m, h or d, spin and slowlog with " \
    "us, " \
    "ms or s."
#define STORE_EXAMPLE "dir:/srv/pillion"

enum { COMMENT_COLUMNS = 100 };

/* A key of the entries of a list. */
struct entry_key {
    const char *key, *allowed, *default_text;
    const char *value; /* in the example; a key with a default stands there as a comment */
    const char *help;
};

#define RULE "none, or {uids: [...], gids: [...], cgroups: [...]}"
static const struct entry_key serve_keys[] = {
    {"view", "PROJECT/VIEW", NULL, "my_project/my_view", "The feature view."},
    {"channel", "a name", NULL, "production", "The channel whose release is served."},
    {"read", RULE, "every process that may connect", "{uids: [1000], gids: [1000], cgroups: [\"/ml.slice/*\"]}",
     "Who may read the view, over every protocol."},
    {"map", RULE,
     "every process that may read it, but none if the view is regulated: it has the tag `regulated`, not `false`, or a "
     "feature has the tag `regulated`, or its project is not known yet or cannot be used",
     "{uids: [1000]}", "Who may map it (listener `mapped`); requires the right to read it, too."},
};
static const struct entry_key listen_keys[] = {
    {"protocol", "resp, feast, oip, admin or mapped", NULL, "resp", "The protocol of the listener; never guessed."},
    {"address", "unix:/PATH, tcp:HOST:PORT", NULL, "unix:/run/pillion/resp.sock",
     "TCP hosts must be loopback addresses unless `public` says so."},
    {"mode", "octal, 0 to 0777", "\"0660\"", NULL, "Permissions of a Unix socket."},
    {"group", "a name", "\"\"", NULL, "Group of a Unix socket."},
    {"public", "true or false", "false", NULL, "Allows a TCP address that is not loopback."},
    {"statuses", "strict, feast-python or feast-go", "strict", NULL, "How feast answers show feature statuses."},
    {"expired", "serve or hide", "serve", NULL,
     "Rows older than the ttl: served (with status OUTSIDE_MAX_AGE where there are statuses) or as if missing."},
};
enum {
    SERVE_KEYS = sizeof serve_keys / sizeof serve_keys[0],
    LISTEN_KEYS = sizeof listen_keys / sizeof listen_keys[0],
};

/* ---- The reference page */

static void describe_keys(struct pil_text *page, const struct entry_key *keys, size_t count) {
    pil_text_format(page, "\n| key | allowed | default | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        pil_text_format(page, "| %s | %s | %s | %s |\n", keys[i].key, keys[i].allowed,
                        keys[i].default_text != NULL ? keys[i].default_text : "", keys[i].help);
    }
}

static void describe_lists(struct pil_text *page) {
    pil_text_format(
        page,
        "\n## serve\n\nA list of `{view: PROJECT/VIEW, channel: CHANNEL}`; flag `--serve PROJECT/VIEW@CHANNEL`, once "
        "for each. At most %d. Views are added and removed with SIGHUP, without a restart; another channel or rule for "
        "a view that is served needs one, or two reloads: without the view, then with it.\n\n"
        "`read` and `map` say who may do what with the view, by what the kernel tells of the process that connected: "
        "`none` allows no process, `{uids: [...], gids: [...], cgroups: [...]}` allows each that a list names. "
        "gids are those of primary and supplementary groups; cgroups are globs over the path in the unified hierarchy. "
        "Of a client that connects over TCP within the machine, only the user is known; of one from elsewhere "
        "nothing is known, and no list matches it.\n",
        PIL_SETTINGS_VIEWS_MAX);
    describe_keys(page, serve_keys, SERVE_KEYS);
    pil_text_format(page, "\n## listen\n\nA list; flag `--listen PROTOCOL=ADDRESS`, once for each. At most %d.\n",
                    PIL_SETTINGS_LISTENERS_MAX);
    describe_keys(page, listen_keys, LISTEN_KEYS);
}

void pil_config_describe(struct pil_text *page) {
    const struct pil_config_option *option;
    pil_text_format(page, "# Configuration of pilliond\n\nPrinted by `pilliond --describe config`. Each option is a "
                          "key of the YAML file and a flag `--KEY VALUE`; flags win. Options marked reloadable follow "
                          "SIGHUP. " UNITS " `deploy/pilliond.yaml` has all of them; `pilliond --describe example` "
                          "prints it.\n\n"
                          "| key | type | default | allowed | reloadable | meaning |\n|---|---|---|---|---|---|\n");
    for (uint32_t i = 0; (option = pil_config_option_at(i)) != NULL; i++) {
        pil_text_format(page, "| %s | %s | %s | ", option->key, pil_config_option_type(option), option->default_text);
        pil_config_option_append_allowed(page, option);
        pil_text_format(page, " | %s | %s |\n", option->is_reloadable ? "yes" : "no", option->help);
    }
    describe_lists(page);
}

/* ---- The example */

/* Writes sentences as comments, in lines of at most COMMENT_COLUMNS. */
static void append_comment(struct pil_text *page, const char *indent, const char *text) {
    size_t column = 0;
    for (const char *word = text; *word != '\0';) {
        size_t len = strcspn(word, " ");
        if (column == 0 || column + 1 + len > COMMENT_COLUMNS) {
            pil_text_format(page, "%s%s#", column == 0 ? "" : "\n", indent);
            column = strlen(indent) + 1;
        }
        pil_text_format(page, " %.*s", (int)len, word);
        column += 1 + len;
        word += len + (word[len] == ' ');
    }
    pil_text_format(page, "\n");
}

static void append_option(struct pil_text *page, const struct pil_config_option *option) {
    const char *dot = strchr(option->key, '.'), *indent = dot != NULL ? "  " : "";
    bool is_store = strcmp(option->key, "store") == 0, has_default = option->default_text[0] != '\0';
    struct pil_text comment = {0};
    pil_text_format(page, "\n");
    append_comment(page, indent, option->help);
    pil_text_format(&comment, "Type: %s, ", pil_config_option_type(option));
    pil_config_option_append_allowed(&comment, option);
    pil_text_format(&comment, ". Default: %s.%s", has_default ? option->default_text : "none",
                    option->is_reloadable ? " Reloadable." : "");
    append_comment(page, indent, pil_text_chars(&comment));
    page->failed = page->failed || comment.failed;
    pil_text_deinit(&comment);
    pil_text_format(page, "%s%s%s: %s\n", indent, is_store ? "" : "#", dot != NULL ? dot + 1 : option->key,
                    is_store      ? STORE_EXAMPLE
                    : has_default ? option->default_text
                                  : "\"\"");
}

static void append_entry(struct pil_text *page, const struct entry_key *keys, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct entry_key *key = &keys[i];
        struct pil_text comment = {0};
        pil_text_format(&comment, "%s Allowed: %s.", key->help, key->allowed);
        if (key->default_text != NULL) {
            pil_text_format(&comment, " Default: %s.", key->default_text);
        }
        if (key->default_text != NULL && key->value != NULL) { /* the default cannot be written */
            pil_text_format(&comment, " For example %s: %s", key->key, key->value);
        }
        append_comment(page, "    ", pil_text_chars(&comment));
        page->failed = page->failed || comment.failed;
        pil_text_deinit(&comment);
        if (key->default_text == NULL) {
            pil_text_format(page, "  %s %s: %s\n", i == 0 ? "-" : " ", key->key, key->value);
        } else if (key->value == NULL) {
            pil_text_format(page, "    #%s: %s\n", key->key, key->default_text);
        }
    }
}

void pil_config_example(struct pil_text *page) {
    const struct pil_config_option *option;
    append_comment(page, "",
                   "Configuration of pilliond with every key: what it does, what is possible, its default. Set store, "
                   "serve and listen; for what else you want to change, remove the # before the key. " UNITS
                   " A flag --KEY VALUE wins over this file. SIGHUP reads serve and the keys marked reloadable again.");
    append_comment(page, "",
                   "pilliond --describe example prints this file; pilliond --config FILE --check-config tries it.");
    append_option(page, pil_config_option_at(0)); /* store */
    pil_text_format(page, "\n# What is served: at most %d views.\nserve:\n", PIL_SETTINGS_VIEWS_MAX);
    append_entry(page, serve_keys, SERVE_KEYS);
    pil_text_format(page, "\n# Where: at most %d listeners.\nlisten:\n", PIL_SETTINGS_LISTENERS_MAX);
    append_entry(page, listen_keys, LISTEN_KEYS);
    bool in_limits = false;
    for (uint32_t i = 1; (option = pil_config_option_at(i)) != NULL; i++) {
        if (strchr(option->key, '.') != NULL && !in_limits) {
            in_limits = true;
            pil_text_format(page, "\nlimits:");
        }
        append_option(page, option);
    }
}

/* ---- The usage */

void pil_config_usage(struct pil_text *page) {
    const struct pil_config_option *option;
    pil_text_format(
        page,
        "pilliond %s: serves feature vectors on localhost from immutable releases\n\n"
        "usage: pilliond [--config FILE] [--store " PIL_STORE_FORMS "] [--serve PROJECT/VIEW@CHANNEL]… [--listen "
        "PROTOCOL=ADDRESS]… [--KEY VALUE]…\n\n"
        "  --config FILE        YAML file; flags win over it\n"
        "  --serve V@C          serve the release that channel C of view V points to; once for each view\n"
        "  --listen P=A         resp, feast, oip, admin or mapped on unix:/PATH or tcp:HOST:PORT; each adds a "
        "listener\n"
        "  --check-config       try everything that a start needs, start nothing; exit code 1 for mistakes, 3 where a\n"
        "                       start fails or would have to wait for a store, a channel or a release\n"
        "  --describe TABLE     print a reference page (config, metrics, commands), or example: a file with every key\n"
        "  --ready-fd N         write \"ready\\n\" to descriptor N when every served view is ready\n"
        "  --version, --help\n\noptions (YAML keys, too):\n",
        PIL_VERSION);
    for (uint32_t i = 0; (option = pil_config_option_at(i)) != NULL; i++) {
        pil_text_format(page, "  --%-28s %s (", option->key, option->help);
        pil_config_option_append_allowed(page, option);
        pil_text_format(page, ") [%s]\n", option->default_text);
    }
}
