# fish completion of pillion; written by `pillion completion fish`

function __pillion_scheme
    set -l path (string replace -- $argv[1] '' (commandline -ct | string replace -r '^--[a-z-]*=' ''))
    printf '%s\n' $argv[1](__fish_complete_path $path | string replace -r '\t.*' '')
end

# What the store of the line, or $PILLION_STORE, holds.
function __pillion_words
    set -l line (commandline -opc)
    set -l store (string replace -rf -- '^--store=(.*)' '$1' $line)
    set -l at (contains -i -- --store $line); and set store $line[(math $at + 1)]
    test -n "$store"; and set store --store $store[1]
    pillion completion $argv[1] $store 2>/dev/null
end

complete -c pillion -f
complete -c pillion -n __fish_use_subcommand -a check -d 'look for mistakes in a project file'
complete -c pillion -n '__fish_seen_subcommand_from check' -F
complete -c pillion -n '__fish_seen_subcommand_from check' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a apply -d 'make a project file the project of a store'
complete -c pillion -n '__fish_seen_subcommand_from apply' -F
complete -c pillion -n '__fish_seen_subcommand_from apply' -l store -x -d 'where releases live: dir:PATH; $PILLION_STORE when it is not given' -a '(__pillion_scheme dir:)'
complete -c pillion -n '__fish_seen_subcommand_from apply' -l force -d 'do it, whatever breaks, and say what does'
complete -c pillion -n '__fish_seen_subcommand_from apply' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a build -d 'build releases from a project\'s sources'
complete -c pillion -n '__fish_seen_subcommand_from build' -F
complete -c pillion -n '__fish_seen_subcommand_from build' -l store -x -d 'where releases live: dir:PATH; $PILLION_STORE when it is not given' -a '(__pillion_scheme dir:)'
complete -c pillion -n '__fish_seen_subcommand_from build' -l view -x -d 'only this feature view'
complete -c pillion -n '__fish_seen_subcommand_from build' -l as-of -x -d 'leave out rows with a later event timestamp; static views have none'
complete -c pillion -n '__fish_seen_subcommand_from build' -l promote -x -d 'point the channel to what was built, once every view is' -a '(__pillion_words channels)'
complete -c pillion -n '__fish_seen_subcommand_from build' -l memory-limit -x -d 'cap of the resident memory, like 512M (default: half of what the cgroup allows)'
complete -c pillion -n '__fish_seen_subcommand_from build' -l on-bad-row -x -d 'fail or skip (default fail)' -a 'fail skip'
complete -c pillion -n '__fish_seen_subcommand_from build' -l max-bad-rows -x -d 'with --on-bad-row=skip: fail when there are more (default 1000)'
complete -c pillion -n '__fish_seen_subcommand_from build' -l on-conflict -x -d 'rows of one key and time with different values: fail or resolve (default resolve: greater values win)' -a 'fail resolve'
complete -c pillion -n '__fish_seen_subcommand_from build' -l tmp -r -F -d 'folder for what memory cannot hold (default $TMPDIR or /var/tmp)'
complete -c pillion -n '__fish_seen_subcommand_from build' -l dry-run -d 'say what would be done, change nothing'
complete -c pillion -n '__fish_seen_subcommand_from build' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a releases -d 'list releases and the channels that point to them'
complete -c pillion -n '__fish_seen_subcommand_from releases' -a '(__pillion_words views)'
complete -c pillion -n '__fish_seen_subcommand_from releases' -l store -x -d 'where releases live: dir:PATH; $PILLION_STORE when it is not given' -a '(__pillion_scheme dir:)'
complete -c pillion -n '__fish_seen_subcommand_from releases' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a promote -d 'point a channel to a release'
complete -c pillion -n '__fish_seen_subcommand_from promote' -a '(__pillion_words releases)'
complete -c pillion -n '__fish_seen_subcommand_from promote' -l store -x -d 'where releases live: dir:PATH; $PILLION_STORE when it is not given' -a '(__pillion_scheme dir:)'
complete -c pillion -n '__fish_seen_subcommand_from promote' -l channel -x -d 'the channel: production, staging, canary or any other name' -a '(__pillion_words channels)'
complete -c pillion -n '__fish_seen_subcommand_from promote' -l force -d 'do it, whatever breaks, and say what does'
complete -c pillion -n '__fish_seen_subcommand_from promote' -l all -d 'every view of a project'
complete -c pillion -n '__fish_seen_subcommand_from promote' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a rollback -d 'point a channel to the release it had before'
complete -c pillion -n '__fish_seen_subcommand_from rollback' -a '(__pillion_words views)'
complete -c pillion -n '__fish_seen_subcommand_from rollback' -l store -x -d 'where releases live: dir:PATH; $PILLION_STORE when it is not given' -a '(__pillion_scheme dir:)'
complete -c pillion -n '__fish_seen_subcommand_from rollback' -l channel -x -d 'the channel: production, staging, canary or any other name' -a '(__pillion_words channels)'
complete -c pillion -n '__fish_seen_subcommand_from rollback' -l force -d 'do it, whatever breaks, and say what does'
complete -c pillion -n '__fish_seen_subcommand_from rollback' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a pin -d 'hold a channel at a release, whatever is promoted'
complete -c pillion -n '__fish_seen_subcommand_from pin' -a '(__pillion_words releases)'
complete -c pillion -n '__fish_seen_subcommand_from pin' -l store -x -d 'where releases live: dir:PATH; $PILLION_STORE when it is not given' -a '(__pillion_scheme dir:)'
complete -c pillion -n '__fish_seen_subcommand_from pin' -l channel -x -d 'the channel: production, staging, canary or any other name' -a '(__pillion_words channels)'
complete -c pillion -n '__fish_seen_subcommand_from pin' -l force -d 'do it, whatever breaks, and say what does'
complete -c pillion -n '__fish_seen_subcommand_from pin' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a unpin -d 'let a channel follow promotions again'
complete -c pillion -n '__fish_seen_subcommand_from unpin' -a '(__pillion_words views)'
complete -c pillion -n '__fish_seen_subcommand_from unpin' -l store -x -d 'where releases live: dir:PATH; $PILLION_STORE when it is not given' -a '(__pillion_scheme dir:)'
complete -c pillion -n '__fish_seen_subcommand_from unpin' -l channel -x -d 'the channel: production, staging, canary or any other name' -a '(__pillion_words channels)'
complete -c pillion -n '__fish_seen_subcommand_from unpin' -l force -d 'do it, whatever breaks, and say what does'
complete -c pillion -n '__fish_seen_subcommand_from unpin' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a inspect -d 'show schema, sizes, profile and sample rows'
complete -c pillion -n '__fish_seen_subcommand_from inspect' -F
complete -c pillion -n '__fish_seen_subcommand_from inspect' -l store -x -d 'where releases live: dir:PATH; $PILLION_STORE when it is not given' -a '(__pillion_scheme dir:)'
complete -c pillion -n '__fish_seen_subcommand_from inspect' -l rows -x -d 'how many sample rows are shown (default 5)'
complete -c pillion -n '__fish_seen_subcommand_from inspect' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a verify -d 'check every byte of a shard, a release or a whole store'
complete -c pillion -n '__fish_seen_subcommand_from verify' -F
complete -c pillion -n '__fish_seen_subcommand_from verify' -l store -x -d 'where releases live: dir:PATH; $PILLION_STORE when it is not given' -a '(__pillion_scheme dir:)'
complete -c pillion -n '__fish_seen_subcommand_from verify' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a gc -d 'remove releases and shards that are no longer needed'
complete -c pillion -n '__fish_seen_subcommand_from gc' -l store -x -d 'where releases live: dir:PATH; $PILLION_STORE when it is not given' -a '(__pillion_scheme dir:)'
complete -c pillion -n '__fish_seen_subcommand_from gc' -l keep -x -d 'how many of the newest releases of each view stay anyway'
complete -c pillion -n '__fish_seen_subcommand_from gc' -l grace -x -d 'what is younger stays, too: builds may be under way (default 3600)'
complete -c pillion -n '__fish_seen_subcommand_from gc' -l dry-run -d 'say what would be done, change nothing'
complete -c pillion -n '__fish_seen_subcommand_from gc' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a get -d 'ask a running pilliond for features'
complete -c pillion -n '__fish_seen_subcommand_from get' -a '(__pillion_words views)'
complete -c pillion -n '__fish_seen_subcommand_from get' -l socket -x -d 'where pilliond listens for resp: unix:PATH or tcp:HOST:PORT' -a '(__pillion_scheme unix:)'
complete -c pillion -n '__fish_seen_subcommand_from get' -l features -x -d 'only these features, in this order'
complete -c pillion -n '__fish_seen_subcommand_from get' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a status -d 'what a running pilliond serves, and whether it is ready'
complete -c pillion -n '__fish_seen_subcommand_from status' -l admin -x -d 'where pilliond listens for admin (default tcp:127.0.0.1:9466)' -a '(__pillion_scheme unix:)'
complete -c pillion -n '__fish_seen_subcommand_from status' -l mapped -d 'the clients that map releases, and which'
complete -c pillion -n '__fish_seen_subcommand_from status' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a doctor -d 'what this machine gives to Pillion, and what to do about each shortfall'
complete -c pillion -n '__fish_seen_subcommand_from doctor' -l admin -x -d 'where pilliond listens for admin (default tcp:127.0.0.1:9466)' -a '(__pillion_scheme unix:)'
complete -c pillion -n '__fish_seen_subcommand_from doctor' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a hist -d 'draw the latency histograms of a running pilliond, by stage'
complete -c pillion -n '__fish_seen_subcommand_from hist' -l admin -x -d 'where pilliond listens for admin (default tcp:127.0.0.1:9466)' -a '(__pillion_scheme unix:)'
complete -c pillion -n '__fish_seen_subcommand_from hist' -l view -x -d 'only this feature view'
complete -c pillion -n '__fish_seen_subcommand_from hist' -l sort -x -d 'rate, p99, name, or hits: the fewest first (default rate)' -a 'rate p99 name hits'
complete -c pillion -n '__fish_seen_subcommand_from hist' -l once -d 'draw once and end, also on a terminal'
complete -c pillion -n '__fish_seen_subcommand_from hist' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a top -d 'watch a running pilliond: readiness, what is wrong, and the requests of each view'
complete -c pillion -n '__fish_seen_subcommand_from top' -l admin -x -d 'where pilliond listens for admin (default tcp:127.0.0.1:9466)' -a '(__pillion_scheme unix:)'
complete -c pillion -n '__fish_seen_subcommand_from top' -l view -x -d 'only this feature view'
complete -c pillion -n '__fish_seen_subcommand_from top' -l sort -x -d 'rate, p99, name, or hits: the fewest first (default rate)' -a 'rate p99 name hits'
complete -c pillion -n '__fish_seen_subcommand_from top' -l once -d 'draw once and end, also on a terminal'
complete -c pillion -n '__fish_seen_subcommand_from top' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a slowlog -d 'list the slow requests of a running pilliond'
complete -c pillion -n '__fish_seen_subcommand_from slowlog' -l admin -x -d 'where pilliond listens for admin (default tcp:127.0.0.1:9466)' -a '(__pillion_scheme unix:)'
complete -c pillion -n '__fish_seen_subcommand_from slowlog' -l json -d 'print JSON for programs'
complete -c pillion -n __fish_use_subcommand -a completion -d 'print completions for a shell'
complete -c pillion -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'
complete -c pillion -n '__fish_seen_subcommand_from completion' -l store -x -d 'where releases live: dir:PATH; $PILLION_STORE when it is not given' -a '(__pillion_scheme dir:)'
