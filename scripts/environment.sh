# shellcheck shell=sh
# Sourced by the other scripts, in the project's folder: creates Python environments and installs
# the locks into them, again only when a lock has changed.

fail() {
    echo "$*" >&2
    exit 1
}

# is_python COMMAND: whether it runs (a version manager's shim may not) and is new enough.
is_python() {
    "$1" -c "import sys; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1
}

has_pip() {
    "$1" -m pip --version >/dev/null 2>&1
}

has_uv() {
    command -v uv >/dev/null
}

# Prints the first Python that is new enough.
find_python() {
    for candidate in python3 python3.13 python3.12 python3.11; do
        if is_python "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    found=$(python3 --version 2>/dev/null) || found="no python3 that works"
    fail "Python 3.11 or newer is needed, and here is $found: install one, or put it on the PATH."
}

# make_environment FOLDER PYTHON
make_environment() {
    rm -rf "$1"
    if has_uv; then
        uv venv --quiet --python "$2" "$1" && return
    elif "$2" -m venv "$1" >/dev/null 2>&1; then
        return
    # Debian has the pip for new environments in a separate package; the pip of Python works too.
    elif has_pip "$2" && "$2" -m venv --without-pip "$1" >/dev/null 2>&1; then
        return
    fi
    rm -rf "$1"
    fail "$("$2" --version) cannot make a virtual environment, because its venv module is missing or" \
        "incomplete: install it (on Debian and Ubuntu: apt install python3-venv)."
}

# install FOLDER PYTHON LOCK: installs what the lock pins and checks the hashes.
install() {
    if has_uv; then
        # Compiled, as pip does it, or the first start of each command takes seconds.
        uv pip install --compile-bytecode --python "$1/bin/python" --require-hashes -r "$3"
        return
    fi
    # POSIX has no pipefail, so a file says whether pip succeeded.
    { pip_install "$@" && : >"$1/.pip-succeeded"; } | show_progress "$3"
    rm "$1/.pip-succeeded" 2>/dev/null
}

pip_install() {
    if has_pip "$1/bin/python"; then
        set -- "$3" "$1/bin/python" -m pip
    else
        set -- "$3" "$2" -m pip --python "$1/bin/python"
    fi
    lock=$1
    shift
    "$@" install --disable-pip-version-check --progress-bar off --require-hashes -r "$lock"
}

# show_progress LOCK: reduces pip's output to a count. Errors go to stderr.
show_progress() {
    packages=$(grep -v "win32'" "$1" | sed -n 's/==.*//p' | sort -u | wc -l)
    count=0
    while read -r word _; do
        case $word in
        Collecting | Processing | Requirement) count=$((count + 1)) ;;
        Installing) echo "  unpacking $count packages" && continue ;;
        *) continue ;;
        esac
        if [ -t 1 ]; then
            printf '  %s of about %s packages\r' "$count" "$packages"
        elif [ $((count % 20)) = 0 ]; then
            echo "  $count of about $packages packages"
        fi
    done
}

# environment FOLDER PYTHON LOCK...: creates or updates an environment with what the locks pin. An
# empty PYTHON stands for the first that is new enough.
environment() {
    folder=$1
    python=$2
    shift 2
    for lock; do
        # The stamp is the lock as it was installed.
        stamp="$folder/$(echo "$lock" | tr / -).installed"
        if is_python "$folder/bin/python" && cmp -s "$lock" "$stamp"; then
            continue
        fi
        [ -n "$python" ] || python=$(find_python)
        if ! is_python "$folder/bin/python" || ! { has_uv || has_pip "$folder/bin/python" || has_pip "$python"; }; then
            make_environment "$folder" "$python"
        fi
        echo "Installing $lock into $folder with $("$folder/bin/python" --version): once, until it changes."
        install "$folder" "$python" "$lock" ||
            fail "Installing $lock failed, for the reason above. If that is the network (or a proxy" \
                "that pip does not know of), start again once packages can be fetched."
        cp "$lock" "$stamp"
    done
}
