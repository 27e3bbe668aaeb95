#!/usr/bin/env bash
# Installs what Pinpoint needs and is missing: system packages, .venv, the pinned Python packages.
# Safe to repeat; takes a second when all is there. Starts no server and touches none that runs.
# With `--for-tests` also what only the tests need: exiftool, which they compare with.
set -euo pipefail
for_tests=""
if [ "${1:-}" = --for-tests ]; then for_tests=yes; fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# --- what is there ------------------------------------------------------------------------------

find_python() {
    local name
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null 2>&1 &&
            "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}
have_venv() { "$1" -c 'import venv, ensurepip' >/dev/null 2>&1; }
newest_server() {
    compgen -G '/usr/lib/postgresql/*/bin/postgres' | cut -d/ -f5 | sort -n | tail -n 1 || true
}
have_postgis() {
    compgen -G '/usr/share/postgresql/*/extension/postgis.control' >/dev/null && [ -n "$(newest_server)" ] && return
    command -v pg_config >/dev/null 2>&1 && [ -x "$(pg_config --bindir)/initdb" ] &&
        [ -e "$(pg_config --sharedir)/extension/postgis.control" ]
}
have_redis() { command -v redis-server >/dev/null 2>&1 || command -v valkey-server >/dev/null 2>&1; }

# --- system packages ----------------------------------------------------------------------------

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo ${SUDO_FLAGS:-} "$@"; fi
}
apt_install() { as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends "$@" </dev/null >&2; }

without_starting_servers() {
    # Debian starts a server as soon as it is installed, and makes a PostgreSQL cluster; we use
    # neither. Both switches are put back whatever happens.
    local policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.conf
    undo=()
    trap undo_switches EXIT
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        undo+=("rm -f $policy")
    fi
    if [ -n "$want_postgres" ]; then
        apt_install postgresql-common
        as_root cp -p "$cluster" "$cluster.pinpoint"
        undo+=("mv -f $cluster.pinpoint $cluster")
        as_root sed -i -E 's/^#?\s*create_main_cluster.*/create_main_cluster = false/' "$cluster"
    fi
    apt_install "$@"
    if [ -n "$want_redis" ] && command -v systemctl >/dev/null 2>&1; then
        as_root systemctl disable redis-server >/dev/null 2>&1 ||
            say "note: redis-server was installed and may start at the next boot; Pinpoint does not use that one"
    fi
    undo_switches
    trap - EXIT
}
undo_switches() {
    local step
    for step in "${undo[@]}"; do as_root $step; done
    undo=()
}

install_system_packages() {
    local python packages=() want_postgres="" want_redis="" version=""
    python=$(find_python || true)
    if [ -z "$python" ]; then packages+=(python3 python3-venv); elif ! have_venv "$python"; then
        packages+=("$(basename "$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')")-venv")
    fi
    have_postgis || want_postgres=yes
    have_redis || want_redis=yes
    if [ -n "$want_redis" ]; then packages+=(redis-server); fi
    if [ -n "$for_tests" ] && ! command -v exiftool >/dev/null 2>&1; then packages+=(libimage-exiftool-perl); fi
    if [ -z "${packages[*]}$want_postgres" ]; then return; fi

    local list="Python 3.11 to 3.13 with venv; PostgreSQL 14 or newer with PostGIS 3; Redis 6.2 or newer (or Valkey); make; for the tests exiftool"
    command -v apt-get >/dev/null 2>&1 ||
        die "There is no apt-get here. Install these yourself and run this again: $list"
    if [ "$(id -u)" -ne 0 ]; then
        [ -t 0 ] || SUDO_FLAGS=-n
        { command -v sudo >/dev/null 2>&1 && sudo ${SUDO_FLAGS:-} true; } ||
            die "Not root, and sudo does not let us. As root: apt-get install ${packages[*]} ${want_postgres:+postgresql postgresql-NN-postgis-3} (or: $list)"
    fi
    say "Installing system packages (apt)"
    as_root apt-get update -q </dev/null >&2
    if [ -n "$want_postgres" ]; then
        version=$(newest_server)
        # The release's own version: what its meta package `postgresql` depends on.
        [ -n "$version" ] || version=$(apt-cache depends postgresql | sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p' || true)
        [ -n "$version" ] || die "apt knows no package postgresql; install these yourself: $list"
        packages+=("postgresql-$version" "postgresql-$version-postgis-3")
    fi
    if [ -z "$python" ] && [[ ! $(apt-cache show python3) =~ Version:\ 3\.1[1-3] ]]; then
        packages=("${packages[@]/#python3/python3.11}") # Ubuntu 22.04 has it next to its 3.10
    fi
    without_starting_servers "${packages[@]}"
    have_postgis || die "PostGIS is still missing after the installation; install these yourself: $list"
    have_redis || die "Redis is still missing after the installation; install these yourself: $list"
}

# --- Python packages ----------------------------------------------------------------------------

fingerprint() { cat pyproject.toml clients/python/pyproject.toml constraints.txt deploy/install.sh | sha256sum | cut -d' ' -f1; }

install_python_packages() {
    local stamp=.venv/setup.stamp wanted python cpu=https://download.pytorch.org/whl/cpu cpu_build=()
    wanted=$(fingerprint)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted $PWD" ] && .venv/bin/python -c '' 2>/dev/null; then return; fi
    python=$(find_python) || die "No Python from 3.11 to 3.13; install one, or name it: PYTHON=/path/to/python make setup"
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        say "Making .venv with $python"
        rm -rf .venv
        "$python" -m venv .venv
    fi
    rm -f "$stamp"
    local pip=(.venv/bin/python -m pip --disable-pip-version-check --no-input)
    say "Installing Python packages (pip)"
    "${pip[@]}" install -q 'pip>=25.1' # knows dependency groups
    # Without an NVIDIA card the build without CUDA does, at a tenth of the size. Asked without
    # pip's own configuration, whose other sources would answer in that index's name.
    if ! command -v nvidia-smi >/dev/null 2>&1 && ! .venv/bin/python -c 'import torch' 2>/dev/null &&
        PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS="" PIP_EXTRA_INDEX_URL="" \
            "${pip[@]}" --timeout 5 --retries 0 index versions torch --index-url "$cpu" >/dev/null 2>&1; then
        cpu_build=(--extra-index-url "$cpu" torchvision==0.28.0)
    fi
    "${pip[@]}" install -q -c constraints.txt "${cpu_build[@]}" torch==2.13.0 >&2
    "${pip[@]}" install -q -c constraints.txt -e clients/python -e . --group dev >&2
    # The reference of the parity tests, and a source of weights. Without its dependencies: they
    # clash with ours, and reading its files needs none of them.
    "${pip[@]}" install -q --no-deps -c constraints.txt geoclip >&2
    printf '%s %s\n' "$wanted" "$PWD" >"$stamp"
}

install_system_packages
install_python_packages
