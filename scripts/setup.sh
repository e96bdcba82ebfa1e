#!/bin/sh
# Installs what the tests and the benchmark need, and nothing that is there already.
set -eu
cd "$(dirname "$0")/.."
. scripts/lib.sh
need_tools
echo "ready: scripts/test runs all tests, scripts/bench the benchmark"
