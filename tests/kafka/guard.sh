#!/usr/bin/env bash
# Keeps one broker for a test process, and never outlives it.
#
#   guard.sh DIR PORT CONTROLLER_PORT [SASL_PORT SSL_PORT]
#
# Takes orders on its standard input, one a line, and answers each with one line:
#   start  run the broker (start.sh, log in DIR/broker.log)      -> started PID
#   kill   end it as a power cut would (SIGKILL)                 -> ended
#   stop   end it in order (SIGTERM)                             -> ended
#   alive  does it run?                                          -> yes | no
#   mount SIZE  lay a tmpfs of this size under the broker's data  -> mounted | no
# When the input closes, for whatever reason and be it the test process's own SIGKILL, the broker is killed and
# DIR removed (kept with TIDEGATE_TEST_KEEP set).
set -m # every job is a process group of its own, so that Maven ends with start.sh
trap '' INT TERM HUP
dir=$1
ports=("${@:2}")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pid=

end() { # SIGNAL
    [ -n "$pid" ] || return
    kill "-$1" -- "-$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    pid=
}

while read -r order size; do
    case $order in
    start)
        end KILL
        (trap - INT TERM HUP; exec "$here/start.sh" "$dir/data" "${ports[@]}") </dev/null >>"$dir/broker.log" 2>&1 &
        pid=$!
        echo "started $pid"
        ;;
    kill) end KILL; echo ended ;;
    stop) end TERM; echo ended ;;
    alive) if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then echo yes; else echo no; fi ;;
    mount)
        mkdir -p "$dir/data"
        if mount -t tmpfs -o "size=$size" tmpfs "$dir/data" 2>/dev/null; then echo mounted; else echo no; fi
        ;;
    esac
done
end KILL
if mountpoint -q "$dir/data" 2>/dev/null; then umount -l "$dir/data"; fi
[ -n "${TIDEGATE_TEST_KEEP:-}" ] || rm -rf "$dir"
