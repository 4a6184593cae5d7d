#!/bin/sh
# From an AnnData file to tables and a report, in a batch job; what is there already is not made again.
#
#     sh examples/batch_job.sh cells.h5ad results "~ condition"        or        sbatch examples/batch_job.sh ...
#
# The cells of each donor are summed (columns donor and condition of obs; raw counts in the layer counts). Each
# step writes its output whole or not at all, so a job that was stopped is simply started again.
#SBATCH --job-name=xdelnx
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=01:00:00
set -eu
source=$1 out=$2 design=$3
xdelnx=${XDELNX:-xdelnx}
mkdir -p "$out"

step() { # OUTPUT COMMAND...: run it unless its output is there
    if [ ! -e "$1" ]; then
        shift
        $xdelnx "$@"
    fi
}
step "$out/cells.zarr" convert "$source" "$out/cells.zarr" --layer counts
step "$out/counts.zarr" pseudobulk "$out/cells.zarr" "$out/counts.zarr" --by donor --by condition
step "$out/fit.zarr" fit "$out/counts.zarr" "$out/fit.zarr" --design "$design" --table "$out/genes.csv"
step "$out/report.html" report "$out/fit.zarr" "$out/report.html" --data "$out/counts.zarr"
echo "done: $out/report.html and $out/genes.csv"
