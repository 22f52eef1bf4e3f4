#!/bin/sh
# Makes the checkout runnable: system libraries, .venv, Python packages.
#
#   sh scripts/setup.sh live|train|test    set up for playing, for training, for the tests
#   sh scripts/setup.sh packages           print the system packages of every known platform
#
# System packages are installed only as root on Debian and its children; elsewhere the list is printed
# and the work goes on, since most desktops have them already. Nothing installed is ever removed.
# PYTHON chooses the interpreter of a new .venv.
set -eu
cd "$(dirname "$0")/.."

# What wheels do not bring: PortAudio, and what Qt's platform plugins link against. docs/install.md repeats these lists.
DEBIAN_LIVE="libportaudio2 libegl1 libgl1 libgl1-mesa-dri libopengl0 libglib2.0-0 libdbus-1-3 libfontconfig1 libfreetype6
libgssapi-krb5-2 libx11-xcb1 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0
libxcb-shape0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0 libxcb-xinerama0 libxcb-xkb1 libxkbcommon-x11-0 libzstd1
libwayland-cursor0 libwayland-egl1 fonts-dejavu-core"
DEBIAN_TEST="pulseaudio pulseaudio-utils libasound2-plugins xvfb liblo-tools puredata-core curl imagemagick"
# Fedora and Arch: the PulseAudio daemon itself would replace PipeWire's, so it stays out; its tests then skip.
FEDORA_LIVE="portaudio mesa-libEGL mesa-libGL mesa-dri-drivers libglvnd-opengl dbus-libs fontconfig libxkbcommon-x11
libwayland-cursor libwayland-egl xcb-util-cursor xcb-util-image xcb-util-keysyms xcb-util-renderutil xcb-util-wm dejavu-sans-fonts"
FEDORA_TEST="pulseaudio-utils alsa-plugins-pulseaudio xorg-x11-server-Xvfb liblo ImageMagick"
ARCH_LIVE="portaudio libglvnd mesa dbus fontconfig libxkbcommon-x11 xcb-util-cursor xcb-util-image xcb-util-keysyms
xcb-util-renderutil xcb-util-wm wayland ttf-dejavu"
ARCH_TEST="libpulse alsa-plugins xorg-server-xvfb liblo imagemagick"
MACOS_TEST="liblo imagemagick"

say() { echo "cymatic: $*" >&2; }
fail() { say "$*"; exit 2; }
one_line() { echo $*; }
have() { command -v "$1" >/dev/null 2>&1; }
debian_root() { [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && have apt-get; }

# packages_for PLATFORM KIND: the names on one line
packages_for() {
    case "$1-$2" in
        debian-test) one_line $DEBIAN_LIVE $DEBIAN_TEST ;;
        debian-*) one_line $DEBIAN_LIVE ;;
        fedora-test) one_line $FEDORA_LIVE $FEDORA_TEST ;;
        fedora-*) one_line $FEDORA_LIVE ;;
        arch-test) one_line $ARCH_LIVE $ARCH_TEST ;;
        arch-*) one_line $ARCH_LIVE ;;
        macos-test) one_line $MACOS_TEST ;;
        macos-*) ;; # the wheels bring everything
    esac
}

platform() {
    if [ "$(uname -s)" = Darwin ]; then echo macos
    elif [ -e /etc/debian_version ]; then echo debian
    elif have dnf; then echo fedora
    elif have pacman; then echo arch
    else echo unknown
    fi
}

# print_packages PLATFORM KIND: the command that installs them
print_packages() {
    names=$(packages_for "$1" "$2")
    case "$1" in
        debian) echo "Debian, Ubuntu: sudo apt-get install --no-install-recommends --no-remove $names" ;;
        fedora) echo "Fedora: sudo dnf install $names" ;;
        arch) echo "Arch: sudo pacman -S --needed $names" ;;
        macos) [ -z "$names" ] || echo "macOS: brew install $names" ;;
        *) for each in debian fedora arch macos; do print_packages "$each" "$2"; done ;;
    esac
}

# missing NAME...: those that dpkg does not know as installed
missing() {
    for name in "$@"; do
        dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || echo "$name"
    done
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends --no-remove \
        -o DPkg::Lock::Timeout=120 "$@" </dev/null >>"$log" 2>&1
}

# One package that cannot be had (a name of another release, a conflict with the sound server in use: --no-remove
# refuses it) must not take the others with it, so after a failure each is tried alone.
install_on_debian() {
    wanted=$(one_line $(missing "$@"))
    [ -n "$wanted" ] || return 0
    say "installing system packages: $wanted"
    log=$(mktemp)
    apt-get update -qq </dev/null >>"$log" 2>&1 || true
    apt_install $wanted || for name in $wanted; do apt_install "$name" || refused="${refused:-} $name"; done
    if [ -n "${refused:-}" ]; then
        grep '^E:' "$log" | sort -u >&2 || true
        say "could not install:$refused; going on without"
        unset refused
    fi
    rm -f "$log"
}

system_packages() {
    if debian_root; then
        install_on_debian $(packages_for debian "$1")
    elif [ "$(platform)" = debian ] && [ -z "$(missing $(packages_for debian "$1"))" ]; then
        return 0
    else
        list=$(print_packages "$(platform)" "$1")
        [ -z "$list" ] || { say "needs these system packages (going on, in case they are there):"; echo "$list" >&2; }
    fi
}

new_enough() { have "$1" && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if new_enough "$candidate"; then echo "$candidate"; return; fi
    done
    fail "needs Python 3.11 or newer (PYTHON=/path/to/python3 chooses one)"
}

# A .venv that an interrupted run left without pip is made again.
virtual_environment() {
    .venv/bin/python -m pip --version >/dev/null 2>&1 && return
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if debian_root; then install_on_debian python3-venv; fi
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            fail "$python has no venv module; install it (Debian, Ubuntu: sudo apt-get install python3-venv)"
    fi
    "$python" -m venv --clear .venv
}

# Without an NVIDIA driver the constraint keeps torch at a release that has a build for the CPU alone.
python_packages() {
    case "$1" in
        live) extras="" ;;
        train) extras="[train]" ;;
        test) extras="[train,test]" ;;
    esac
    constraint=""
    if [ "$1" != live ] && ! have nvidia-smi; then constraint="-c constraints-cpu.txt"; fi
    say "installing Python packages into .venv (the first time takes minutes)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check $constraint -e ".$extras"
}

# What is ready for the tests is ready for training, and that for playing.
mark_ready() {
    touch .venv/.ready-live
    if [ "$1" != live ]; then touch .venv/.ready-train; fi
    if [ "$1" = test ]; then touch .venv/.ready-test; fi
}

case "${1:-}" in
    packages) print_packages unknown test ;;
    live | train | test)
        system_packages "$1"
        virtual_environment
        python_packages "$1"
        mark_ready "$1"
        ;;
    *) fail "usage: sh scripts/setup.sh live|train|test|packages" ;;
esac
