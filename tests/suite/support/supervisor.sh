# Runs the tests' private PostgreSQL for as long as any test process is alive, and half a minute longer.
bin=$1 dir=$2 pids=$3 state=$4 port=$5 user=$6
trap '' HUP INT

as_user() {
    if [ -n "$user" ]; then runuser -u "$user" -- "$@"; else "$@"; fi
}

is_used() {
    used=1
    for file in "$pids"/*; do
        pid=${file##*/}
        case $pid in *[!0-9]* | '') continue ;; esac
        if kill -0 "$pid" 2>/dev/null; then used=0; else rm -f "$file"; fi
    done
    return $used
}

cd "$dir" || exit 1
as_user "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 \
    -c max_connections=200 -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
    -c wal_level=minimal -c max_wal_senders=0 >"$dir/log" 2>&1 &
server=$!

idle=0
while kill -0 "$server" 2>/dev/null; do
    sleep 2
    if is_used; then idle=0; else idle=$((idle + 1)); fi
    if [ "$idle" -ge 15 ]; then
        # Whoever looks from now on starts a cluster of its own; whoever looked before is in `pids`.
        if grep -q "^$port$" "$state" 2>/dev/null; then rm -f "$state"; fi
        sleep 1
        if is_used; then idle=0; else break; fi
    fi
done
if [ -f "$dir/data/postmaster.pid" ]; then kill -INT "$(head -n 1 "$dir/data/postmaster.pid")"; fi
wait "$server"
rm -rf "$dir"
