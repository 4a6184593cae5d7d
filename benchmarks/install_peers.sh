#!/bin/sh
# Install the peers that are Python packages, each into an environment of its own under DIR.
#
#   benchmarks/install_peers.sh DIR [PEER ...]     PYTHON=python3.12 chooses the interpreter
#
# What does not install is named at the end, its log is DIR/NAME.log, and the table of the benchmark says that it is
# missing. The R packages come from the system: on Debian, r-bioc-glmgampoi r-bioc-edger r-bioc-deseq2.
set -u
dir=${1:?"usage: install_peers.sh DIR [PEER ...]"}
shift
[ $# -gt 0 ] || set -- pydeseq2 inmoose edgepython crispyx delnx
limit=${INSTALL_SECONDS:-600}
failed=
mkdir -p "$dir"
for peer in "$@"; do
    echo "$peer ..."
    case $peer in
        delnx) packages="delnx scipy<1.16 jax" ;; # it asks for scipy below 1.16; jax alone is its CPU build
        crispyx) packages="crispyx psutil" ;;     # without psutil it guesses how much memory there is
        *) packages=$peer ;;
    esac
    # shellcheck disable=SC2086
    { "${PYTHON:-python3}" -m venv "$dir/$peer" &&
        timeout "$limit" "$dir/$peer/bin/python" -m pip install $packages; } >"$dir/$peer.log" 2>&1 ||
        { failed="$failed $peer" && rm -rf "${dir:?}/$peer"; }
done
[ -z "$failed" ] || echo "not installed:$failed (see $dir/NAME.log)" >&2
