#!/bin/sh
# Makes a Python environment with what requirements.txt names: venv.sh DIRECTORY.
#
# Debian splits venv's pip off into python3-venv. Without it, any other pip will do: the system's, uv, virtualenv.
set -eu
dir=$1
here=$(dirname "$0")
python=${PYTHON:-python3}

command -v "$python" >/dev/null || { echo "There is no $python: install Python 3.10 or newer (apt install python3 python3-venv)." >&2; exit 1; }
rm -rf "$dir"
if "$python" -m venv "$dir" 2>/dev/null; then
    pip="$dir/bin/python -m pip"
elif "$python" -m pip --version >/dev/null 2>&1 && "$python" -m venv --clear --without-pip "$dir"; then
    pip="$python -m pip --python $dir/bin/python"
elif command -v uv >/dev/null && uv venv --quiet --clear --python "$python" "$dir"; then
    pip="uv pip --python $dir/bin/python"
elif command -v virtualenv >/dev/null && virtualenv --quiet --python "$python" "$dir"; then
    pip="$dir/bin/python -m pip"
else
    rm -rf "$dir"
    echo "$python can make no environment with pip in it: apt install python3-venv (or python3-pip, uv, virtualenv)." >&2
    exit 1
fi
case $pip in
    uv*) uv pip install --quiet --python "$dir/bin/python" -r "$here/requirements.txt" ;;
    *) $pip install --quiet --disable-pip-version-check -r "$here/requirements.txt" ;;
esac
"$dir/bin/python" -c 'import BTrees, ZEO, ZODB, msgpack, zope.testing'
touch "$dir/done"
