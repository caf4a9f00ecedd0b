# bash completion of pillion; written by `pillion completion bash`

# "dir:PATH" and "unix:PATH". Readline breaks words at ':', so what it gave us may begin behind it.
_pillion_scheme() {
    local word=$1 scheme=$2
    compopt -o nospace
    if [[ ${COMP_WORDS[COMP_CWORD]} == : || ${COMP_WORDS[COMP_CWORD-1]} == : ]]; then
        [[ $word == : ]] && word=
        compopt -o filenames
        COMPREPLY=($(compgen -f -- "$word"))
    else
        COMPREPLY=($(compgen -W "$scheme" -- "$word"))
    fi
}

# What the store of the line, or $PILLION_STORE, holds. Readline may break the word at '@', too.
_pillion_words() {
    local word=${COMP_LINE:0:COMP_POINT} store=()
    word=${word##* }
    [[ $COMP_LINE =~ --store[=\ ]+([^\ ]+) ]] && store=(--store "${BASH_REMATCH[1]}")
    COMPREPLY=($(compgen -W "$(pillion completion "$1" "${store[@]}" 2>/dev/null)" -- "$word"))
    [[ $word == *@* && $COMP_WORDBREAKS == *@* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%@*}@"}")
}

_pillion() {
    local command=${COMP_WORDS[1]} before=$3 i
    for ((i = COMP_CWORD - 1; i > 0; i--)); do
        [[ ${COMP_WORDS[i]} == : || ${COMP_WORDS[i]} == *: || " dir: unix: " == *" ${COMP_WORDS[i]}: "* ]] || break
    done
    ((COMP_CWORD > 1)) && before=${COMP_WORDS[i]}
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "init check apply build releases promote rollback pin unpin inspect verify gc get status doctor hist top slowlog completion help --help --version" -- "$2"))
        return
    fi
    case $before in
    --store) _pillion_scheme "$2" "dir:"; return ;;
    --channel) _pillion_words channels; return ;;
    --socket) _pillion_scheme "$2" unix:; return ;;
    --admin) _pillion_scheme "$2" unix:; return ;;
    --features) COMPREPLY=(); return ;;
    --view) COMPREPLY=(); return ;;
    --entity) COMPREPLY=(); return ;;
    --timestamp) COMPREPLY=(); return ;;
    --project) COMPREPLY=(); return ;;
    --ttl) COMPREPLY=(); return ;;
    --out) compopt -o filenames; COMPREPLY=($(compgen -f -- "$2")); return ;;
    --keep) COMPREPLY=(); return ;;
    --grace) COMPREPLY=(); return ;;
    --rows) COMPREPLY=(); return ;;
    --as-of) COMPREPLY=(); return ;;
    --promote) _pillion_words channels; return ;;
    --sort) COMPREPLY=($(compgen -W "rate p99 name hits" -- "$2")); return ;;
    --memory-limit) COMPREPLY=(); return ;;
    --on-bad-row) COMPREPLY=($(compgen -W "fail skip" -- "$2")); return ;;
    --max-bad-rows) COMPREPLY=(); return ;;
    --on-conflict) COMPREPLY=($(compgen -W "fail resolve" -- "$2")); return ;;
    --tmp) compopt -o filenames; COMPREPLY=($(compgen -f -- "$2")); return ;;
    esac
    case $command in
    init)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --view --entity --timestamp --project --ttl --out --force --json --help" -- "$2"))
        else
            compopt -o filenames; COMPREPLY=($(compgen -f -- "$2"))
        fi ;;
    check)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--json --help" -- "$2"))
        else
            compopt -o filenames; COMPREPLY=($(compgen -f -- "$2"))
        fi ;;
    apply)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --force --json --help" -- "$2"))
        else
            compopt -o filenames; COMPREPLY=($(compgen -f -- "$2"))
        fi ;;
    build)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --view --as-of --promote --memory-limit --on-bad-row --max-bad-rows --on-conflict --tmp --dry-run --json --help" -- "$2"))
        else
            compopt -o filenames; COMPREPLY=($(compgen -f -- "$2"))
        fi ;;
    releases)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --json --help" -- "$2"))
        else
            _pillion_words views
        fi ;;
    promote)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --channel --force --all --json --help" -- "$2"))
        else
            _pillion_words releases
        fi ;;
    rollback)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --channel --force --json --help" -- "$2"))
        else
            _pillion_words views
        fi ;;
    pin)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --channel --force --json --help" -- "$2"))
        else
            _pillion_words releases
        fi ;;
    unpin)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --channel --force --json --help" -- "$2"))
        else
            _pillion_words views
        fi ;;
    inspect)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --rows --json --help" -- "$2"))
        else
            compopt -o filenames; COMPREPLY=($(compgen -f -- "$2"))
        fi ;;
    verify)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --json --help" -- "$2"))
        else
            compopt -o filenames; COMPREPLY=($(compgen -f -- "$2"))
        fi ;;
    gc)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --keep --grace --dry-run --json --help" -- "$2"))
        else
            COMPREPLY=()
        fi ;;
    get)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--socket --features --json --help" -- "$2"))
        else
            _pillion_words views
        fi ;;
    status)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--admin --mapped --json --help" -- "$2"))
        else
            COMPREPLY=()
        fi ;;
    doctor)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--admin --json --help" -- "$2"))
        else
            COMPREPLY=()
        fi ;;
    hist)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--admin --view --sort --once --json --help" -- "$2"))
        else
            COMPREPLY=()
        fi ;;
    top)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--admin --view --sort --once --json --help" -- "$2"))
        else
            COMPREPLY=()
        fi ;;
    slowlog)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--admin --json --help" -- "$2"))
        else
            COMPREPLY=()
        fi ;;
    completion)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --help" -- "$2"))
        else
            COMPREPLY=($(compgen -W "bash zsh fish" -- "$2"))
        fi ;;
    esac
}
complete -F _pillion pillion
