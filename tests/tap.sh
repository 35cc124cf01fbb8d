# The lines of a test that is a script, which begins with: . "$(dirname "$0")/../tap.sh"
# It is given a folder of its own, $dir; $n counts the lines, and $failed is 1 once one of them is not ok.
n=0 failed=0
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

# name, then a command, which may be a function. When it fails, it is shown with what it said and what lies in $dir/out and $dir/err.
succeeds() {
    name=$1
    shift
    n=$((n + 1))
    if "$@" >"$dir/said" 2>&1; then
        echo "ok $n - $name"
    else
        failed=1
        echo "not ok $n - $name"
        { printf '%s\n' "$*"; cat "$dir/said" "$dir/out" "$dir/err" 2>/dev/null; } | sed 's/^/# /'
    fi
}

# name, then arguments of test
check() {
    name=$1
    shift
    succeeds "$name" test "$@"
}

# name, why
skip() {
    n=$((n + 1))
    echo "ok $n - $1 # SKIP $2"
}
