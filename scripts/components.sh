# shellcheck shell=sh
# Sourced by scripts/test after environment.sh: what real-component tests need from the system.

# install_components: a browser, Redis and nginx from the package manager, where we may ask it. Tests
# without their component are skipped with a reason, or fail under CI=true.
install_components() {
    missing=
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null ||
        command -v google-chrome >/dev/null || missing="chromium "
    command -v redis-server >/dev/null || missing="${missing}redis-server "
    command -v nginx >/dev/null || missing="${missing}nginx-light "
    # Asked once: the answer does not change with every run of a test.
    if [ -z "$missing" ] || [ "$(cat .venv/components-asked-for 2>/dev/null)" = "$missing" ]; then
        return
    fi
    echo "$missing" >.venv/components-asked-for
    if command -v apt-get >/dev/null && root=$(as_root); then
        echo "Installing ${missing}for the tests."
        mkdir -p var
        # shellcheck disable=SC2086  # a list of packages, and sudo or nothing
        { $root apt-get update && $root env DEBIAN_FRONTEND=noninteractive \
            apt-get install --yes --no-install-recommends $missing; } >var/apt.log 2>&1 && return
        echo "The package manager refused (var/apt.log says why)."
    fi
    echo "Without ${missing}some tests are skipped, and fail under CI=true."
}

# Prints what to put before a command that root must run; fails where we are not allowed to.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        return
    fi
    sudo -n true 2>/dev/null && echo "sudo -n"
}

# Prints a Python on the other side of 3.12, where the locks change to another Django; or nothing.
find_other_python() {
    if .venv/bin/python -c "import sys; sys.exit(sys.version_info >= (3, 12))"; then
        names="python3.13 python3.12" versions="3.13* 3.12*"
    else
        names="python3.11" versions="3.11*"
    fi
    for name in $names; do
        if is_python "$name"; then
            command -v "$name"
            return
        fi
    done
    for version in $versions; do
        for candidate in "$HOME"/.pyenv/versions/$version/bin/python; do
            if is_python "$candidate"; then
                echo "$candidate"
                return
            fi
        done
    done
}
