#!/usr/bin/env bash
# A Ray cluster of two nodes on one machine, and a grid of milsurv on it:
#
#     pip install 'milsurv[ray]'
#     docs/ray_on_one_machine.sh                         # bring it up, run a small grid, take it down
#     docs/ray_on_one_machine.sh up                      # bring it up, and say how to use it
#     docs/ray_on_one_machine.sh down                    # stop every Ray of this user
#
# Ray listens on all addresses of a machine, and whoever reaches it can run code there: a token keeps others out.
set -euo pipefail

address=127.0.0.1:6399
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(python -c "import secrets; print(secrets.token_hex(32))")}

up() {
    ray start --head --port "${address#*:}" --num-cpus 1 --include-dashboard false > /dev/null
    ray start --address "$address" --num-cpus 1 > /dev/null
}

down() {
    ray stop > /dev/null 2>&1
}

case "${1:-try}" in
    up)
        up
        echo "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$RAY_AUTH_TOKEN; then add --engine ray --address $address"
        ;;
    down) down ;;
    try)
        trap down EXIT
        up
        results=$(mktemp -d)/results
        bench ablate --model meanpool,abmil,clinical-cox --cohort blca --features synthetic --patients 60 --folds 3 \
            --epochs 2 --out "$results" --tracking none --engine ray --address "$address"
        bench status "$results"
        ;;
esac
