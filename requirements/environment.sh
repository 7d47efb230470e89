# Sourced by run.sh and test.sh from the checkout's root: makes the Python environment and sets $python to its
# interpreter. The first time it installs requirements/local.txt, every file checked against its hash; as long as that
# lock stays the same, later times touch no network. MAINSTEM_PYTHON names an interpreter, MAINSTEM_VENV the directory.

venv=${MAINSTEM_VENV:-.venv}
python=$venv/bin/python

die() { printf 'error: %s\n' "$*" >&2; exit 1; }
say() { printf '%s\n' "$*" >&2; }

# suitable COMMAND: whether it is a CPython from 3.11 to 3.13
suitable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

find_python() {
    local candidate
    if [ -n "${MAINSTEM_PYTHON:-}" ]; then
        suitable "$MAINSTEM_PYTHON" || die "MAINSTEM_PYTHON ($MAINSTEM_PYTHON) is no Python 3.11, 3.12 or 3.13"
        echo "$MAINSTEM_PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[123].*/bin/python; do
        if suitable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    die "Python 3.11, 3.12 or 3.13 is needed and none was found: install one (Debian, Ubuntu: 'sudo apt install" \
        "python3 python3-venv'), or name yours in MAINSTEM_PYTHON"
}

# make_venv PYTHON: an empty environment; sets the array pip to the command that installs into it
make_venv() {
    if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ]; then
        die "$venv exists and is no Python environment: move it away, or name another directory in MAINSTEM_VENV"
    fi
    rm -rf "$venv"
    if "$1" -c 'import ensurepip' >/dev/null 2>&1; then
        "$1" -m venv "$venv" || die "'$1 -m venv $venv' failed; is the disk full?"
    elif "$1" -m pip --version >/dev/null 2>&1; then
        "$1" -m venv --without-pip "$venv" # Debian without python3-venv, but with a pip of its own
    else
        die "this Python ($1) has neither venv's ensurepip nor pip: 'sudo apt install python3-venv' brings them"
    fi
}

make_environment() {
    local wanted base
    wanted=$(cat requirements/local.txt pyproject.toml | sha256sum | cut -d' ' -f1)
    [ "$(cat "$venv/.mainstem-lock" 2>/dev/null)" = "$wanted" ] && suitable "$python" && return

    if command -v flock >/dev/null; then # two starts at once: the second waits for the first
        exec 9>"$(dirname "$venv")/.venv.lock"
        flock 9
        [ "$(cat "$venv/.mainstem-lock" 2>/dev/null)" = "$wanted" ] && suitable "$python" && exec 9>&- && return
    fi
    suitable "$python" || { base=$(find_python) && make_venv "$base"; } || exit 1
    pip=("$python" -m pip)
    "${pip[@]}" --version >/dev/null 2>&1 || pip=("${base:-$(find_python)}" -m pip --python "$python")

    say "Installing Mainstem's Python packages into $venv: once, about 1 GB to download, some minutes"
    "${pip[@]}" install --disable-pip-version-check --require-hashes --no-deps --only-binary :all: --progress-bar on \
        --requirement requirements/local.txt >&2 ||
        die "the packages could not be installed; the reason is above. Start again when it is mended: nothing is lost"
    "${pip[@]}" install --disable-pip-version-check --quiet --no-deps --no-build-isolation --no-index --editable . >&2 ||
        die "Mainstem itself could not be installed into $venv; the reason is above"
    echo "$wanted" >"$venv/.mainstem-lock"
    exec 9>&-
}
