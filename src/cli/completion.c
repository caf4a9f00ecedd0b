/* SPDX-License-Identifier: Apache-2.0
 * The command completion: scripts for three shells, made from the table of commands. */
#include "cli/command.h"
#include "cli/report.h"

#include <stdio.h>
#include <string.h>

static const char channels[] = "production staging canary";
static const char shells[] = "bash zsh fish";
static const char bad_row[] = "fail skip";
static const char conflict[] = "fail resolve";

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
    case PIL_FOLLOWS_CHANNEL: return "COMPREPLY=($(compgen -W \"production staging canary\" -- \"$2\"))";
    case PIL_FOLLOWS_SHELL: return "COMPREPLY=($(compgen -W \"bash zsh fish\" -- \"$2\"))";
    case PIL_FOLLOWS_BAD_ROW: return "COMPREPLY=($(compgen -W \"fail skip\" -- \"$2\"))";
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
    case PIL_FOLLOWS_CHANNEL: printf("(%s)", channels); return;
    case PIL_FOLLOWS_SHELL: printf("(%s)", shells); return;
    case PIL_FOLLOWS_BAD_ROW: printf("(%s)", bad_row); return;
    case PIL_FOLLOWS_CONFLICT: printf("(%s)", conflict); return;
    case PIL_FOLLOWS_NONE: printf(" "); return;
    }
}

static void print_zsh(const struct pil_invocation *invocation) {
    printf("#compdef pillion\n# zsh completion of pillion; written by `pillion completion zsh`\n\n"
           "_pillion_store() {\n    compset -P '(" PIL_STORE_PREFIXES_ZSH
           ")' && _files -/ || compadd -S '' " PIL_STORE_PREFIXES "\n}\n\n"
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
    case PIL_FOLLOWS_FILE: printf(" -F"); return;
    case PIL_FOLLOWS_STORE: print_fish_stores(); return;
    case PIL_FOLLOWS_SOCKET: printf(" -a '(__pillion_scheme unix:)'"); return;
    case PIL_FOLLOWS_CHANNEL: printf(" -a '%s'", channels); return;
    case PIL_FOLLOWS_SHELL: printf(" -a '%s'", shells); return;
    case PIL_FOLLOWS_BAD_ROW: printf(" -a '%s'", bad_row); return;
    case PIL_FOLLOWS_CONFLICT: printf(" -a '%s'", conflict); return;
    case PIL_FOLLOWS_NONE: return;
    }
}

static void print_fish(const struct pil_invocation *invocation) {
    printf("# fish completion of pillion; written by `pillion completion fish`\n\n"
           "function __pillion_scheme\n"
           "    set -l path (string replace -- $argv[1] '' (commandline -ct | string replace -r '^--[a-z-]*=' ''))\n"
           "    printf '%%s\\n' $argv[1](__fish_complete_path $path | string replace -r '\\t.*' '')\n"
           "end\n\ncomplete -c pillion -f\n");
    for (uint32_t i = 0; i < invocation->command_count; i++) {
        const struct pil_command *command = &invocation->commands[i];
        printf("complete -c pillion -n __fish_use_subcommand -a %s -d ", command->name);
        print_fish_text(command->summary);
        printf("\n");
        if (command->arg_follows != PIL_FOLLOWS_NONE) {
            printf("complete -c pillion -n '__fish_seen_subcommand_from %s'", command->name);
            print_fish_follows(command->arg_follows);
            printf("\n");
        }
        for (pil_option option = 0; option < PIL_OPTION_COUNT; option++) {
            const struct pil_option_row *row = &pil_options[option];
            if ((command->options & 1u << option) == 0) {
                continue;
            }
            printf("complete -c pillion -n '__fish_seen_subcommand_from %s' -l %s%s -d ", command->name, row->name,
                   row->value != NULL ? " -x" : "");
            print_fish_text(row->help);
            print_fish_follows(row->value != NULL ? row->follows : PIL_FOLLOWS_NONE);
            printf("\n");
        }
    }
}

int pil_cli_completion(const struct pil_invocation *invocation) {
    const char *shell = invocation->args[0];
    if (strcmp(shell, "bash") == 0) {
        print_bash(invocation);
    } else if (strcmp(shell, "zsh") == 0) {
        print_zsh(invocation);
    } else if (strcmp(shell, "fish") == 0) {
        print_fish(invocation);
    } else {
        return pil_report_usage("there are completions for %s, not for '%s'", shells, shell);
    }
    return PIL_EXIT_OK;
}
