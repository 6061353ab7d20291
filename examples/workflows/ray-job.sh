#!/usr/bin/env bash
# The same on a Ray cluster: the exit code of the job is that of the evaluation, so that a scheduler halts on it.
# RAY_ADDRESS is the dashboard's, such as http://127.0.0.1:8265.
set -euo pipefail
ray job submit --working-dir . -- python -m jobs.evaluate nightly --profile conf/C1.yaml --json
ray job submit --working-dir . -- python -m jobs.evaluate release --profile conf/C1.yaml --json
