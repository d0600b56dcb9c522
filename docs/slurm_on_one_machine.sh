#!/usr/bin/env bash
# A Slurm cluster on one machine, with Debian's packages, and a grid of milsurv on it:
#
#     apt-get install -y slurmctld slurmd munge
#     docs/slurm_on_one_machine.sh                       # bring it up, and run a small grid
#     docs/slurm_on_one_machine.sh up                    # bring it up
#     docs/slurm_on_one_machine.sh down
#
# As root, since daemons of Slurm start jobs as other users. It is a cluster to try things on: the daemons believe what
# anybody on this machine says.
set -euo pipefail

place=/var/spool/milsurv-slurm
config=/etc/slurm/slurm.conf

up() {
    mkdir -p "$place" /etc/slurm /run/munge /etc/munge
    [ -s /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1 count=1024 status=none
    chown -R munge: /etc/munge /run/munge /var/log/munge /var/lib/munge && chmod 400 /etc/munge/munge.key
    chmod 755 /run/munge
    pgrep -x munged > /dev/null || runuser -u munge -- munged
    cat > "$config" <<CONF
ClusterName=one-machine
SlurmctldHost=$(hostname -s)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SlurmctldPidFile=$place/slurmctld.pid
SlurmdPidFile=$place/slurmd.pid
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
SlurmctldLogFile=$place/slurmctld.log
SlurmdLogFile=$place/slurmd.log
MinJobAge=60
KillWait=30
NodeName=$(hostname -s) CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    slurmctld
    slurmd
    for _ in $(seq 30); do
        sinfo --noheader --states=idle,mixed,allocated 2> /dev/null | grep -q main && break
        sleep 1
    done
    sinfo
}

down() {
    scancel --user=root 2> /dev/null || true
    for daemon in slurmctld slurmd; do
        [ -s "$place/$daemon.pid" ] && kill "$(cat "$place/$daemon.pid")" || true
    done
}

case "${1:-try}" in
    up) up ;;
    down) down ;;
    try)
        trap down EXIT
        up
        results=$(mktemp -d)/results
        bench ablate --model meanpool,abmil,clinical-cox --cohort blca --features synthetic --patients 60 --folds 3 \
            --epochs 2 --out "$results" --tracking none --engine slurm --jobs 2 --slurm time=10
        bench status "$results"
        ;;
esac
