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

_pillion() {
    local command=${COMP_WORDS[1]} before=$3 i
    for ((i = COMP_CWORD - 1; i > 0; i--)); do
        [[ ${COMP_WORDS[i]} == : || ${COMP_WORDS[i]} == *: || " dir: unix: " == *" ${COMP_WORDS[i]}: "* ]] || break
    done
    ((COMP_CWORD > 1)) && before=${COMP_WORDS[i]}
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "check apply build releases promote rollback pin unpin inspect verify gc get status doctor hist top slowlog completion help --help --version" -- "$2"))
        return
    fi
    case $before in
    --store) _pillion_scheme "$2" "dir:"; return ;;
    --channel) COMPREPLY=($(compgen -W "production staging canary" -- "$2")); return ;;
    --socket) _pillion_scheme "$2" unix:; return ;;
    --admin) _pillion_scheme "$2" unix:; return ;;
    --features) COMPREPLY=(); return ;;
    --view) COMPREPLY=(); return ;;
    --keep) COMPREPLY=(); return ;;
    --grace) COMPREPLY=(); return ;;
    --rows) COMPREPLY=(); return ;;
    --as-of) COMPREPLY=(); return ;;
    --memory-limit) COMPREPLY=(); return ;;
    --on-bad-row) COMPREPLY=($(compgen -W "fail skip" -- "$2")); return ;;
    --max-bad-rows) COMPREPLY=(); return ;;
    --on-conflict) COMPREPLY=($(compgen -W "fail resolve" -- "$2")); return ;;
    --tmp) compopt -o filenames; COMPREPLY=($(compgen -f -- "$2")); return ;;
    esac
    case $command in
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
            COMPREPLY=($(compgen -W "--store --view --as-of --memory-limit --on-bad-row --max-bad-rows --on-conflict --tmp --dry-run --json --help" -- "$2"))
        else
            compopt -o filenames; COMPREPLY=($(compgen -f -- "$2"))
        fi ;;
    releases)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --json --help" -- "$2"))
        else
            COMPREPLY=()
        fi ;;
    promote)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --channel --json --help" -- "$2"))
        else
            COMPREPLY=()
        fi ;;
    rollback)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --channel --json --help" -- "$2"))
        else
            COMPREPLY=()
        fi ;;
    pin)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --channel --json --help" -- "$2"))
        else
            COMPREPLY=()
        fi ;;
    unpin)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--store --channel --json --help" -- "$2"))
        else
            COMPREPLY=()
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
            COMPREPLY=()
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
            COMPREPLY=($(compgen -W "--admin --once --json --help" -- "$2"))
        else
            COMPREPLY=()
        fi ;;
    top)
        if [[ $2 == -* ]]; then
            COMPREPLY=($(compgen -W "--admin --once --json --help" -- "$2"))
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
            COMPREPLY=($(compgen -W "--help" -- "$2"))
        else
            COMPREPLY=($(compgen -W "bash zsh fish" -- "$2"))
        fi ;;
    esac
}
complete -F _pillion pillion
