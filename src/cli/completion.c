/* SPDX-License-Identifier: Apache-2.0
 * The command completion: scripts for three shells, made from the table of commands. What a store holds the scripts
 * ask for with `pillion completion views|releases|channels`, which prints one word on each line. */
#include "cli/command.h"
#include "cli/report.h"
#include "release/catalog.h"

#include <stdio.h>
#include <string.h>

static const char shells[] = "bash zsh fish";
static const char bad_row[] = "fail skip";
static const char conflict[] = "fail resolve";
static const char order[] = "rate p99 name hits";

/* ---- bash */

static void bash_words(const struct pil_command *command) {
    for (pil_option option = 0; option < PIL_OPTION_COUNT; option++) {
        if ((command->options & 1u << option) != 0) {
            printf("--%s ", pil_options[option].name);
        }
    }
    printf("--help");
}

/* In the script `$2` is the word that is being completed. */
static const char *bash_reply(pil_follows follows) {
    switch (follows) {
    case PIL_FOLLOWS_FILE: return "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$2\"))";
    case PIL_FOLLOWS_STORE: return "_pillion_scheme \"$2\" \"" PIL_STORE_PREFIXES "\"";
    case PIL_FOLLOWS_SOCKET: return "_pillion_scheme \"$2\" unix:";
    case PIL_FOLLOWS_CHANNEL: return "_pillion_words channels";
    case PIL_FOLLOWS_VIEW: return "_pillion_words views";
    case PIL_FOLLOWS_RELEASE: return "_pillion_words releases";
    case PIL_FOLLOWS_SHELL: return "COMPREPLY=($(compgen -W \"bash zsh fish\" -- \"$2\"))";
    case PIL_FOLLOWS_BAD_ROW: return "COMPREPLY=($(compgen -W \"fail skip\" -- \"$2\"))";
    case PIL_FOLLOWS_ORDER: return "COMPREPLY=($(compgen -W \"rate p99 name hits\" -- \"$2\"))";
    case PIL_FOLLOWS_CONFLICT: return "COMPREPLY=($(compgen -W \"fail resolve\" -- \"$2\"))";
    case PIL_FOLLOWS_NONE: break;
    }
    return "COMPREPLY=()";
}

static void print_bash(const struct pil_invocation *invocation) {
    printf("# bash completion of pillion; written by `pillion completion bash`\n\n"
           "# \"dir:PATH\" and \"unix:PATH\". Readline breaks words at ':', so what it gave us may begin behind it.\n"
           "_pillion_scheme() {\n"
           "    local word=$1 scheme=$2\n"
           "    compopt -o nospace\n"
           "    if [[ ${COMP_WORDS[COMP_CWORD]} == : || ${COMP_WORDS[COMP_CWORD-1]} == : ]]; then\n"
           "        [[ $word == : ]] && word=\n"
           "        compopt -o filenames\n"
           "        COMPREPLY=($(compgen -f -- \"$word\"))\n"
           "    else\n"
           "        COMPREPLY=($(compgen -W \"$scheme\" -- \"$word\"))\n"
           "    fi\n"
           "}\n\n"
           "# What the store of the line, or $PILLION_STORE, holds. Readline may break the word at '@', too.\n"
           "_pillion_words() {\n"
           "    local word=${COMP_LINE:0:COMP_POINT} store=()\n"
           "    word=${word##* }\n"
           "    [[ $COMP_LINE =~ --store[=\\ ]+([^\\ ]+) ]] && store=(--store \"${BASH_REMATCH[1]}\")\n"
           "    COMPREPLY=($(compgen -W \"$(pillion completion \"$1\" \"${store[@]}\" 2>/dev/null)\" -- \"$word\"))\n"
           "    [[ $word == *@* && $COMP_WORDBREAKS == *@* ]] && COMPREPLY=(\"${COMPREPLY[@]#\"${word%%@*}@\"}\")\n"
           "}\n\n"
           "_pillion() {\n"
           "    local command=${COMP_WORDS[1]} before=$3 i\n"
           "    for ((i = COMP_CWORD - 1; i > 0; i--)); do\n"
           "        [[ ${COMP_WORDS[i]} == : || ${COMP_WORDS[i]} == *: || \" " PIL_STORE_PREFIXES " unix: \" == "
           "*\" ${COMP_WORDS[i]}: \"* ]] || break\n"
           "    done\n"
           "    ((COMP_CWORD > 1)) && before=${COMP_WORDS[i]}\n"
           "    if ((COMP_CWORD == 1)); then\n"
           "        COMPREPLY=($(compgen -W \"");
    for (uint32_t i = 0; i < invocation->command_count; i++) {
        printf("%s ", invocation->commands[i].name);
    }
    printf("help --help --version\" -- \"$2\"))\n        return\n    fi\n    case $before in\n");
    for (pil_option option = 0; option < PIL_OPTION_COUNT; option++) {
        if (pil_options[option].value != NULL) {
            printf("    --%s) %s; return ;;\n", pil_options[option].name, bash_reply(pil_options[option].follows));
        }
    }
    printf("    esac\n    case $command in\n");
    for (uint32_t i = 0; i < invocation->command_count; i++) {
        printf("    %s)\n        if [[ $2 == -* ]]; then\n            COMPREPLY=($(compgen -W \"",
               invocation->commands[i].name);
        bash_words(&invocation->commands[i]);
        printf("\" -- \"$2\"))\n        else\n            %s\n        fi ;;\n",
               bash_reply(invocation->commands[i].arg_follows));
    }
    printf("    esac\n}\ncomplete -F _pillion pillion\n");
}

/* ---- zsh */

/* Escapes brackets, colons, backslashes and quotes, which are special in the specifications of _arguments. */
static void print_zsh_text(const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            printf("'\\''");
        } else {
            printf(strchr("[]:\\", *text) != NULL ? "\\%c" : "%c", *text);
        }
    }
}

static void print_zsh_action(pil_follows follows) {
    switch (follows) {
    case PIL_FOLLOWS_FILE: printf("_files"); return;
    case PIL_FOLLOWS_STORE: printf("_pillion_store"); return;
    case PIL_FOLLOWS_SOCKET: printf("_pillion_socket"); return;
    case PIL_FOLLOWS_CHANNEL: printf("{_pillion_words channels}"); return;
    case PIL_FOLLOWS_VIEW: printf("{_pillion_words views}"); return;
    case PIL_FOLLOWS_RELEASE: printf("{_pillion_words releases}"); return;
    case PIL_FOLLOWS_SHELL: printf("(%s)", shells); return;
    case PIL_FOLLOWS_BAD_ROW: printf("(%s)", bad_row); return;
    case PIL_FOLLOWS_CONFLICT: printf("(%s)", conflict); return;
    case PIL_FOLLOWS_ORDER: printf("(%s)", order); return;
    case PIL_FOLLOWS_NONE: printf(" "); return;
    }
}

static void print_zsh(const struct pil_invocation *invocation) {
    printf("#compdef pillion\n# zsh completion of pillion; written by `pillion completion zsh`\n\n"
           "_pillion_store() {\n    compset -P '(" PIL_STORE_PREFIXES_ZSH
           ")' && _files -/ || compadd -S '' " PIL_STORE_PREFIXES "\n}\n\n"
           "# What the store of the line, or $PILLION_STORE, holds.\n"
           "_pillion_words() {\n    local -a store held\n    local at=${words[(I)--store]}\n"
           "    ((at > 0)) && store=(--store ${words[at + 1]})\n"
           "    [[ -n ${words[(r)--store=*]} ]] && store=(--store ${${words[(r)--store=*]}#--store=})\n"
           "    held=(${(f)\"$(pillion completion $1 $store 2>/dev/null)\"})\n    compadd -a held\n}\n\n"
           "_pillion_socket() {\n    compset -P 'unix:' && _files || compadd -S '' unix: tcp:\n}\n\n"
           "_pillion() {\n    local context state line\n    local -a commands\n    commands=(\n");
    for (uint32_t i = 0; i < invocation->command_count; i++) {
        printf("        '%s:", invocation->commands[i].name);
        print_zsh_text(invocation->commands[i].summary);
        printf("'\n");
    }
    printf(
        "        'help:the help of every command'\n    )\n"
        "    _arguments -C '1:command:->command' '*::argument:->argument'\n"
        "    case $state in\n    command) _describe command commands ;;\n    argument)\n        case ${words[1]} in\n");
    for (uint32_t i = 0; i < invocation->command_count; i++) {
        const struct pil_command *command = &invocation->commands[i];
        printf("        %s) _arguments", command->name);
        for (pil_option option = 0; option < PIL_OPTION_COUNT; option++) {
            const struct pil_option_row *row = &pil_options[option];
            if ((command->options & 1u << option) == 0) {
                continue;
            }
            printf(" \\\n            '--%s%s[", row->name, row->value != NULL ? "=" : "");
            print_zsh_text(row->help);
            printf("]");
            if (row->value != NULL) {
                printf(":");
                print_zsh_text(row->value);
                printf(":");
                print_zsh_action(row->follows);
            }
            printf("'");
        }
        printf(" \\\n            '--help[help]' '*: :");
        print_zsh_action(command->arg_follows);
        printf("' ;;\n");
    }
    printf("        esac ;;\n    esac\n}\n\n_pillion \"$@\"\n");
}

/* ---- fish */

static void print_fish_text(const char *text) {
    printf("'");
    for (; *text != '\0'; text++) {
        printf(*text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
    }
    printf("'");
}

static void print_fish_stores(void) {
    printf(" -a '");
    for (uint32_t i = 0; i < pil_store_scheme_count; i++) {
        printf("%s(__pillion_scheme %s)", i > 0 ? " " : "", pil_store_schemes[i].prefix);
    }
    printf("'");
}

static void print_fish_follows(pil_follows follows) {
    switch (follows) {
    case PIL_FOLLOWS_FILE: return; /* the caller says -F */
    case PIL_FOLLOWS_STORE: print_fish_stores(); return;
    case PIL_FOLLOWS_SOCKET: printf(" -a '(__pillion_scheme unix:)'"); return;
    case PIL_FOLLOWS_CHANNEL: printf(" -a '(__pillion_words channels)'"); return;
    case PIL_FOLLOWS_VIEW: printf(" -a '(__pillion_words views)'"); return;
    case PIL_FOLLOWS_RELEASE: printf(" -a '(__pillion_words releases)'"); return;
    case PIL_FOLLOWS_SHELL: printf(" -a '%s'", shells); return;
    case PIL_FOLLOWS_BAD_ROW: printf(" -a '%s'", bad_row); return;
    case PIL_FOLLOWS_CONFLICT: printf(" -a '%s'", conflict); return;
    case PIL_FOLLOWS_ORDER: printf(" -a '%s'", order); return;
    case PIL_FOLLOWS_NONE: return;
    }
}

static void print_fish(const struct pil_invocation *invocation) {
    printf("# fish completion of pillion; written by `pillion completion fish`\n\n"
           "function __pillion_scheme\n"
           "    set -l path (string replace -- $argv[1] '' (commandline -ct | string replace -r '^--[a-z-]*=' ''))\n"
           "    printf '%%s\\n' $argv[1](__fish_complete_path $path | string replace -r '\\t.*' '')\n"
           "end\n\n"
           "# What the store of the line, or $PILLION_STORE, holds.\n"
           "function __pillion_words\n"
           "    set -l line (commandline -opc)\n"
           "    set -l store (string replace -rf -- '^--store=(.*)' '$1' $line)\n"
           "    set -l at (contains -i -- --store $line); and set store $line[(math $at + 1)]\n"
           "    test -n \"$store\"; and set store --store $store[1]\n"
           "    pillion completion $argv[1] $store 2>/dev/null\n"
           "end\n\ncomplete -c pillion -f\n");
    for (uint32_t i = 0; i < invocation->command_count; i++) {
        const struct pil_command *command = &invocation->commands[i];
        printf("complete -c pillion -n __fish_use_subcommand -a %s -d ", command->name);
        print_fish_text(command->summary);
        printf("\n");
        if (command->arg_follows != PIL_FOLLOWS_NONE) {
            printf("complete -c pillion -n '__fish_seen_subcommand_from %s'%s", command->name,
                   command->arg_follows == PIL_FOLLOWS_FILE ? " -F" : "");
            print_fish_follows(command->arg_follows);
            printf("\n");
        }
        for (pil_option option = 0; option < PIL_OPTION_COUNT; option++) {
            const struct pil_option_row *row = &pil_options[option];
            if ((command->options & 1u << option) == 0) {
                continue;
            }
            printf("complete -c pillion -n '__fish_seen_subcommand_from %s' -l %s%s -d ", command->name, row->name,
                   row->value == NULL                 ? ""
                   : row->follows == PIL_FOLLOWS_FILE ? " -r -F" /* -x would exclude files */
                                                      : " -x");
            print_fish_text(row->help);
            print_fish_follows(row->value != NULL ? row->follows : PIL_FOLLOWS_NONE);
            printf("\n");
        }
    }
}

/* ---- Words of a store */

static const char words[] = "views releases channels";
static const char *const usual_channels[] = {"production", "staging", "canary"};

static void print_channels(const struct pil_catalog *catalog) {
    enum { USUAL = sizeof usual_channels / sizeof usual_channels[0] };
    for (size_t i = 0; i < USUAL; i++) {
        printf("%s\n", usual_channels[i]);
    }
    for (size_t i = 0; i < catalog->channel_count; i++) {
        const char *name = catalog->channels[i].channel.name;
        bool is_new = true;
        for (size_t k = 0; k < USUAL; k++) {
            is_new = is_new && strcmp(name, usual_channels[k]) != 0;
        }
        for (size_t k = 0; k < i; k++) {
            is_new = is_new && strcmp(name, catalog->channels[k].channel.name) != 0;
        }
        if (is_new) {
            printf("%s\n", name);
        }
    }
}

static void print_views(const struct pil_catalog *catalog, bool with_releases) {
    for (size_t i = 0; i < catalog->release_count; i++) {
        const struct pil_release_ref *ref = &catalog->releases[i].ref;
        if (i == 0 || !pil_catalog_same_view(ref, &catalog->releases[i - 1].ref)) {
            printf("%s/%s%s\n", ref->project, ref->view, with_releases ? "@latest" : "");
        }
        if (with_releases) {
            printf("%s/%s@%s\n", ref->project, ref->view, ref->release);
        }
    }
    for (size_t i = 0; i < catalog->channel_count && with_releases; i++) {
        const struct pil_catalog_channel *channel = &catalog->channels[i];
        printf("%s/%s@%s\n", channel->ref.project, channel->ref.view, channel->channel.name);
    }
}

/* Without a store, or with one that cannot be read, there are no words: a shell has no place for a message. */
static int print_words(const struct pil_invocation *invocation, const char *what) {
    struct pil_store *store = NULL;
    struct pil_catalog catalog = {0};
    const char *url = invocation->values[PIL_OPTION_STORE];
    if (url != NULL && pil_store_open(url, false, &store, NULL) == PIL_STATUS_OK) {
        pil_ignore(pil_catalog_read(store, "", "", &catalog, NULL), "the list is empty then");
    }
    if (strcmp(what, "channels") == 0) {
        print_channels(&catalog);
    } else {
        print_views(&catalog, strcmp(what, "releases") == 0);
    }
    pil_catalog_deinit(&catalog);
    pil_store_close(&store);
    return PIL_EXIT_OK;
}

int pil_cli_completion(const struct pil_invocation *invocation) {
    const char *shell = invocation->args[0];
    if (strcmp(shell, "bash") == 0) {
        print_bash(invocation);
    } else if (strcmp(shell, "zsh") == 0) {
        print_zsh(invocation);
    } else if (strcmp(shell, "fish") == 0) {
        print_fish(invocation);
    } else if (strcmp(shell, "views") == 0 || strcmp(shell, "releases") == 0 || strcmp(shell, "channels") == 0) {
        return print_words(invocation, shell);
    } else {
        return pil_report_usage("there are completions for %s, and lists of %s, not '%s'", shells, words, shell);
    }
    return PIL_EXIT_OK;
}
