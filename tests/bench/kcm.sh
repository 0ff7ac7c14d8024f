#!/usr/bin/env bash
# mux beside AF_KCM: one guest with a stock kernel that has the module runs both, in alternated
# rounds. Table on stdout, kcm.json in build/bench.
# Arguments (or $BENCH_ARGS, for make) go to bench_kcm: --quick, --part NAME, --help.
# environment: KCM_KERNEL (6.1: a name of tests/vm/kernels.txt), KCM_CPUS (of the guest: 2 with KVM;
#   1 where it is emulated, which makes figures independent of the host's load)
set -euo pipefail
cd "$(dirname "$0")/../.."
BUILD=$(realpath -m "${BUILD:-build}")
out=$BUILD/bench
name=${KCM_KERNEL:-6.1}
read -ra args <<<"${BENCH_ARGS:-}"
args+=("$@")

tests/deps tests/vm/packages.txt
kernel=$(tests/vm/kernel "$name")
processor=$(tests/vm/accel "$kernel" | grep -oE 'kvm|tcg')
run=$out/kcm
rm -rf "$run"
mkdir -p "$run"

command=$(printf 'modprobe kcm && %q --out /run/vmtest' "$out/bench_kcm")
for arg in "${args[@]}"; do command+=$(printf ' %q' "$arg"); done
# Both sides read clocks: one that is a register, as on real machines.
export VM_TSC=reliable
if [[ $processor == kvm ]]; then
	export VM_CPUS=${KCM_CPUS:-2}
	clock="its CPUs are real"
elif [[ ${KCM_CPUS:-1} == 1 ]]; then
	# Eight nanoseconds an instruction, and idle time is skipped: what else the host does changes
	# nothing. "rep movsb" would count each byte as one; without erms the kernel copies by words.
	export VM_CPUS=1 VM_ACCEL='-accel tcg,thread=single -icount shift=3,sleep=off -cpu max,-erms,-fsrm'
	clock="EMULATED, 8 ns an instruction, caches and waiting for memory cost nothing"
else
	export VM_CPUS=$KCM_CPUS VM_ACCEL='-accel tcg,thread=multi -cpu max'
	clock="EMULATED in real time: what else the host does is in the figures"
fi
echo "One guest for both sides: kernel $(<"$kernel/release"), CPUs: $VM_CPUS."
[[ $processor == kvm ]] || {
	echo "There is no /dev/kvm that works: $clock."
	echo "It is so for both sides. Times mean nothing by themselves; ratios do, with care."
}
status=0
VM_SECONDS=${VM_SECONDS:-7200} VM_BOOT_SECONDS=${VM_BOOT_SECONDS:-300} setpriv --pdeathsig KILL \
	tests/vm/boot "$kernel" "$run" "$command" || status=$?
cat "$run/out"
rm -f "$run/initrd"
if [[ -e $run/why ]]; then
	echo "bench-kcm: $(<"$run/why"); see $run" >&2
	exit 1
fi
tests/vm/dmesg "$run/dmesg" "$run/console" || {
	echo "bench-kcm: the guest's kernel says that something is wrong, see above" >&2
	status=1
}
[[ ! -s $run/mux.json ]] || jq --arg processor "$processor" --arg clock "$clock" \
	'map(. + { processor: $processor, clock: $clock })' \
	"$run/mux.json" >"$out/kcm.json"
exit "$status"
