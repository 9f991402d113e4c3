#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The one entry to the repository: installs what is missing, builds, tests, shows. Every sub-command is idempotent, has
# its own --help, and works from any directory. What it makes goes to out/ (and the bin/ and obj/ of the projects):
#
#   out/native/libdpshim.so        the C shim, compiled against this machine's DPDK
#   out/engine/dataplane-engine    the engine process, compiled ahead of time
#   out/control/dataplane          the control process and the CLI
#   out/*.log                      the full output of every step
#
# A step is skipped while the fingerprint (path, size, time) of what it reads is the one its last success left.
set -euo pipefail

root=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
out=$root/out
sdk_home=${HOME:-/root}/.dotnet

case $(uname -m) in
  x86_64) rid=linux-x64 ;;
  aarch64) rid=linux-arm64 ;;
  *) rid=linux-$(uname -m) ;;
esac

# No build server outlives the command that wanted it, and nothing is sent anywhere.
export MSBUILDDISABLENODEREUSE=1 DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1

say() { printf '%s\n' "$*" >&2; }
die() { say "build.sh: $*"; exit 1; }

# ---- system packages ------------------------------------------------------------------------------------------------

# need <package> <command...>: the package is missing unless the command succeeds. Asking for the thing rather than for
# the package leaves a DPDK or an iperf3 from another source alone. Names are the same in Debian 12, 13, Ubuntu 24.04.
need() { "${@:2}" >/dev/null 2>&1 || missing+=("$1"); }

needs_build() {
  need gcc command -v gcc
  need libc6-dev test -e /usr/include/stdio.h
  need cmake command -v cmake
  need make command -v make
  need pkgconf command -v pkg-config
  need libdpdk-dev pkg-config --exists libdpdk
}

needs_demo() {
  need iproute2 command -v ip
  need iputils-ping command -v ping
  need iperf3 command -v iperf3
  need curl command -v curl
}

needs_test() {
  needs_demo
  need iputils-arping iputils_arping  # the package `arping` has another program of that name
  need tcpdump command -v tcpdump
  need ethtool command -v ethtool
  need tshark command -v tshark
  need util-linux command -v setpriv
  need mount command -v mount
  need etcd-server command -v etcd
  need nftables nft_command
  need nginx nginx_command
  need wrk command -v wrk
  need netcat-openbsd openbsd_netcat
  need lksctp-tools command -v sctp_test
  need python3 command -v python3
  need openvswitch-switch command -v ovs-vswitchd
}
nft_command() { command -v nft || test -x /usr/sbin/nft; }
nginx_command() { command -v nginx || test -x /usr/sbin/nginx; }
openbsd_netcat() { nc -h 2>&1 | grep OpenBSD; }
iputils_arping() { arping -V | grep iputils; }

needs_vm() {
  need qemu-system-x86 command -v qemu-system-x86_64
  need busybox-static command -v busybox
  need cpio command -v cpio
  need kmod test -x /usr/sbin/depmod
  need iproute2 command -v ip
  need ethtool command -v ethtool
}

needs_bench() {
  need dpdk-dev command -v dpdk-testpmd
  need openvswitch-switch command -v ovs-vswitchd
  need openvswitch-switch-dpdk ovs_with_dpdk
  needs_demo
  need ethtool command -v ethtool
  need util-linux command -v unshare
  need nftables nft_command
  need valgrind command -v valgrind
  need binutils command -v objcopy
}

ovs_with_dpdk() {  # where Debian puts it beside the one without, or that one itself
  test -x /usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk || ovs-vswitchd --version | grep DPDK
}

# The SDK that global.json asks for, from PATH, DOTNET_ROOT or where dotnet-install.sh puts it.
find_dotnet() {
  local place
  for place in "$(command -v dotnet || true)" "${DOTNET_ROOT:-}/dotnet" "$sdk_home/dotnet"; do
    if [[ -x $place ]] && (cd -- "$root" && "$place" --version >/dev/null 2>&1); then
      dotnet=$place
      # What runs from here looks for the runtime here too. The command may be a script or a link to something else (snap, mise).
      DOTNET_ROOT=$("$place" --list-runtimes | sed -n 's:^Microsoft\.NETCore\.App .*\[\(.*\)/shared/.*:\1:p' | tail -n 1)
      export DOTNET_ROOT
      return
    fi
  done
  return 1
}

# The distribution's package of the SDK, or where there is none Microsoft's own into the home directory.
install_dotnet() {
  # Package lists that were never fetched (a container image) know no package at all.
  if ! apt-cache show gcc >/dev/null 2>&1; then as_root apt-get update >/dev/null 2>&1 || true; fi
  if apt-cache show dotnet-sdk-10.0 >/dev/null 2>&1; then
    missing=(dotnet-sdk-10.0)
    apt_install
    return
  fi
  missing=()
  need curl command -v curl
  need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
  need libicu-dev icu  # the library's own package has another name in each release
  apt_install
  local script=$out/dotnet-install.sh log=$out/setup.log
  mkdir -p "$out"
  say "Installing: Microsoft's .NET 10 SDK, into $sdk_home"
  if ! { curl -fsSL -o "$script" https://dot.net/v1/dotnet-install.sh &&
    bash "$script" --channel 10.0 --install-dir "$sdk_home" --no-path; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "could not install the .NET 10 SDK. See https://learn.microsoft.com/dotnet/core/install/linux for other ways"
  fi
}
icu() { compgen -G '/usr/lib/*/libicuuc.so.*' || compgen -G '/usr/lib*/libicuuc.so.*'; }

as_root() {
  if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# install_missing <group...>: silent when there is nothing to do.
install_missing() {
  local group missing=()
  for group in "$@"; do "needs_$group"; done
  apt_install
  if [[ " $* " == *" build "* ]] && ! find_dotnet; then
    install_dotnet
    find_dotnet || die "the .NET 10 SDK is installed, yet 'dotnet --version' fails in $root"
  fi
}

# Installs what is in `missing`.
apt_install() {
  [[ ${#missing[@]} -gt 0 ]] || return 0
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  local apt=(apt-get install -y --no-install-recommends "${missing[@]}") log=$out/setup.log
  local install=(env DEBIAN_FRONTEND=noninteractive "${apt[@]}")
  command -v apt-get >/dev/null || die "missing: ${missing[*]} (Debian's names); install them, then run this again"
  [[ $EUID -eq 0 ]] || command -v sudo >/dev/null || die "missing: ${missing[*]}. As root: ${apt[*]}"
  mkdir -p "$out"
  say "Installing: ${missing[*]}"
  # The programs are wanted, not the services that Debian would start with them (etcd, Open vSwitch).
  local policy=/usr/sbin/policy-rc.d ours=
  if [[ ! -e $policy ]]; then
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
    ours=1
  fi
  # The package lists may be absent or stale: refresh them when the first try fails.
  local failed=
  if ! as_root "${install[@]}" >"$log" 2>&1 &&
    ! { as_root apt-get update && as_root "${install[@]}"; } >>"$log" 2>&1; then
    failed=1
  fi
  [[ -z $ours ]] || as_root rm -f "$policy"
  if [[ -n $failed ]]; then
    tail -n 20 "$log" >&2
    die "could not install them. As root: ${apt[*]}"
  fi
  hash -r
}

# ---- steps ----------------------------------------------------------------------------------------------------------

# fingerprint <path...>: changes when a file under one of the paths (relative to the root) is added, edited or removed.
fingerprint() {
  (cd -- "$root" && find "$@" \( -name bin -o -name obj -o -name TestResults -o -name BenchmarkDotNet.Artifacts \) \
    -prune -o -type f -printf '%p %s %T@\n' | LC_ALL=C sort; pkg-config --modversion libdpdk; "$dotnet" --version) |
    sha256sum
}

# step <name> <text> <result> <function> <path...>: runs the function, its output in out/<name>.log, unless the result
# is there and the paths are unchanged since the function last succeeded.
step() {
  local name=$1 text=$2 result=$3 function=$4 log=$out/$1.log stamp=$out/.$1.stamp started=$SECONDS print
  print=$(fingerprint build.sh "${@:5}")
  [[ -e $result && -e $stamp && $(<"$stamp") == "$print" ]] && return
  rm -f "$stamp"
  # What runs beside another step says all it has to say at its end.
  printf -v text '%-64s' "$text"
  if [[ $BASHPID -eq $$ ]]; then printf '%s' "$text" >&2 && text=; fi
  # A subshell of its own keeps `set -e` in force inside the function, which an `if` would switch off.
  set +e
  (set -e; cd -- "$root"; "$function") >"$log" 2>&1 9>&-
  local failed=$?
  set -e
  if [[ $failed -ne 0 ]]; then
    say "${text}failed"
    tail -n 40 "$log" >&2
    die "$name failed; its whole output is in $log"
  fi
  say "$text$((SECONDS - started)) s"
  printf '%s\n' "$print" >"$stamp"
}

managed=(global.json Directory.Build.props Directory.Packages.props .editorconfig interop dataplane)

do_native() {
  cmake -S native -B out/obj/native -DCMAKE_BUILD_TYPE=Release -DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$out/native"
  cmake --build out/obj/native --parallel
}

do_solution() { "$dotnet" build Dataplane.sln -c Release -v:m -p:UseSharedCompilation=false; }

# gcc links as well as clang does, and is needed for the shim anyway.
do_engine() {
  local options=(-p:CppCompilerAndLinker=gcc)
  [[ $rid == linux-x64 ]] || options+=(-p:IlcInstructionSet=)  # the project names an x86-64 level
  rm -rf out/engine
  "$dotnet" publish dataplane/host/EngineHost.csproj -c Release -r "$rid" -o out/engine -v:m \
    -p:UseSharedCompilation=false "${options[@]}"
  cp out/native/libdpshim.so out/engine/
}

publish_control() {
  "$dotnet" publish control/Control.csproj -c Release -r "$rid" -v:m -p:UseSharedCompilation=false \
    -p:PublishReadyToRun=true "$@"
}
do_control() {
  local options=(--self-contained false -o "$out/control")
  # The program finds a runtime in the home directory too, also under sudo, where nothing tells it of one.
  case $DOTNET_ROOT in
    /usr/share/dotnet | /usr/lib/dotnet) ;;
    *) options+=(-p:AppHostRelativeDotNet="$(realpath --relative-to="$out/control" "$DOTNET_ROOT")") ;;
  esac
  rm -rf out/control
  publish_control "${options[@]}"
}

do_guest() { tests/vm/guest.sh "$out/vm" linux-image-amd64; }

do_publish() {
  local stage=out/publish/$package
  rm -rf out/publish
  mkdir -p "$stage/engine"
  publish_control --self-contained true -o "$stage/control"
  rm -f "$stage"/control/*.pdb
  cp out/engine/dataplane-engine out/engine/libdpshim.so "$stage/engine/"
  cp -r native docs README.md LICENSE "$stage/"
  tar -C out/publish --sort=name --owner=0 --group=0 --numeric-owner -czf "out/$package.tar.gz" "$package"
  rm -rf out/publish
}

# One build at a time per clone: two would write the same obj/ directories. Steps do not inherit the descriptor.
lock() { mkdir -p "$out"; exec 9>"$out/.lock"; flock 9; }
unlock() { exec 9>&-; }

build_native() {
  step native "C shim (DPDK $(pkg-config --modversion libdpdk))" "$out/native/libdpshim.so" do_native native
}
build_engine() {
  step engine "Engine, ahead of time for $rid" "$out/engine/dataplane-engine" do_engine native "${managed[@]}"
}
build_control() {
  step control "Control program and CLI" "$out/control/dataplane" do_control "${managed[@]}" control
}
build_solution() {
  step solution "Solution: libraries, tests, benchmarks" "$root/tests/unit/bin/Release" do_solution \
    Dataplane.sln "${managed[@]}" control tests bench
}

build_programs() {
  build_native
  build_engine
  build_control
}

# The two programs side by side: the solution has built the libraries that both are made of.
build_all() {
  lock
  build_native
  build_solution
  build_engine &
  local engine=$!
  build_control &
  wait "$!"
  wait "$engine"
  unlock
}

# ---- sub-commands ---------------------------------------------------------------------------------------------------

declare -A usage

usage[setup]='Usage: ./build.sh setup [build] [demo] [test] [vm] [bench]

Installs the system packages that are missing, and says which; silent when nothing is. Without a name: build and test.
  build  gcc, cmake, make, pkgconf, libdpdk-dev, the .NET 10 SDK (of the distribution, or of Microsoft into ~/.dotnet)
  demo   iproute2, iputils-ping, iperf3, curl
  test   those of the demo, iputils-arping, tcpdump, ethtool, tshark, etcd-server, nftables, nginx, wrk,
         netcat-openbsd, lksctp-tools, python3, openvswitch-switch, util-linux, mount
  vm     qemu-system-x86, busybox-static, cpio, kmod, iproute2, ethtool
  bench  those of the demo, dpdk-dev (dpdk-testpmd) and openvswitch-switch(-dpdk), which the benchmarks compare with,
         ethtool, util-linux, nftables, valgrind, binutils'
cmd_setup() {
  local group
  for group in "$@"; do [[ $group =~ ^(build|demo|test|vm|bench)$ ]] || usage_error setup "$group"; done
  [[ $# -gt 0 ]] || set -- build test
  install_missing "$@"
}

usage[build]='Usage: ./build.sh build

Builds everything: the C shim, the solution with its tests, the engine (ahead of time) and the control program, into
out/. What is up to date is skipped. The full output of each step is in out/*.log.'
cmd_build() {
  [[ $# -eq 0 ]] || usage_error build "$1"
  install_missing build
  build_all
}

# Runs the tests of $project, of $kind. A test that hangs is named and ended, so that a whole run has an end too. What a script runs in the
# background ignores Ctrl-C, and all that it starts: tests that press it would wait for ever.
run_tests() {
  local patience=3m
  [[ $kind != vm ]] || patience=15m
  rm -f "$out/tests/$kind/results.trx"
  env --default-signal=INT,QUIT "$dotnet" test "$project" -c Release --no-build --nologo --logger "console;verbosity=minimal" \
    --logger "trx;LogFileName=results.trx" --blame-hang-timeout $patience --blame-hang-dump-type none --results-directory "$out/tests/$kind" "$@"
}

# Names of the tests that failed in the last run; none when it was broken off.
failed_tests() {
  local results=$out/tests/$kind/results.trx
  [[ -f $results ]] && ! grep -q 'Test Run was aborted' "$results" || return 0
  { grep -o '<UnitTestResult [^>]*outcome="Failed"' "$results" || true; } | sed -E 's/.* testName="([^"(]*).*/\1/' | sort -u | tr '\n' ' ' | sed 's/ $//'
}

# run_kinds <kind...>: their tests with $options, one kind after the other. Succeeds when all passed; says what did not.
run_kinds() {
  local kind project again failed=()
  for kind in "$@"; do
    project=$root/tests/$kind/${kind^}Tests.csproj
    say "Tests: $kind"
    run_tests "${options[@]}" || {
      # Real programs on a machine that others use too: what fails once is run again by itself, and named. It must pass then.
      again=$(failed_tests)
      mv -f "$out/tests/$kind/results.trx" "$out/tests/$kind/first.trx" 2>/dev/null || true
      say "Failed, and run once more: ${again:-all of $kind, which did not come to its end}"
      if [[ -n $again ]]; then run_tests --filter "FullyQualifiedName~${again// /|FullyQualifiedName~}"; else run_tests "${options[@]}"; fi &&
        say "Unsteady, passed the second time: ${again:-$kind}" || failed+=("$kind")
    }
  done
  [[ ${#failed[@]} -eq 0 ]] || say "build.sh: failed: ${failed[*]}"
  return ${#failed[@]}
}

usage[test]='Usage: ./build.sh test [unit] [packet] [system] [vm] [--filter <expression>]

Builds, then runs the tests; without a name the first three kinds. The others run beside those of system, on what these leave of the
processors. What fails is run a second time and named: other work on the machine can spoil a test of real programs once, a fault
spoils it again.
  unit    tables, parsers, layouts: no root, no DPDK port
  packet  whole stages on memory ports: no root, no hugepages
  system  both processes, network namespaces, ping, iperf3, tcpdump: as root, otherwise skipped
  vm      network cards that QEMU emulates, taken from a virtual machine'"'"'s kernel and given back: no root. Downloads Debian'"'"'s
          kernel (70 MB, unpacked into out/vm, not installed); some minutes, since without KVM the processors are emulated too
  --filter  an expression of dotnet test, for example FullyQualifiedName~MacTable'
cmd_test() {
  local kinds=() options=()
  while [[ $# -gt 0 ]]; do
    case $1 in
      unit | packet | system | vm) kinds+=("$1") ;;
      --filter) [[ $# -gt 1 ]] || usage_error test "$1 without an expression"; options+=(--filter "$2"); shift ;;
      --filter=*) options+=(--filter "${1#*=}") ;;
      *) usage_error test "$1" ;;
    esac
    shift
  done
  if [[ $EUID -ne 0 && " ${kinds[*]} " == *" system "* ]]; then
    die "the system tests need root: sudo $0 test system"
  fi
  if [[ ${#kinds[@]} -eq 0 ]]; then
    kinds=(unit packet system)
    if [[ $EUID -ne 0 ]]; then
      kinds=(unit packet)
      say "Not root: the system tests are left out (they make network namespaces and TAP devices)."
    fi
  fi
  install_missing build test
  if [[ " ${kinds[*]} " == *" vm "* ]]; then
    [[ $rid == linux-x64 ]] || die "the virtual machine is one of x86-64, and runs the programs that are built here"
    install_missing vm
  fi
  build_all
  if [[ " ${kinds[*]} " == *" vm "* ]]; then
    lock
    step guest "Virtual machine: kernel and RAM disk" "$out/vm/initramfs" do_guest tests/vm/guest.sh tests/vm/init native "${managed[@]}" control
    unlock
    export DATAPLANE_VM=$out/vm
  fi
  run_all "${kinds[@]}"
}

# run_all <kind...>: as run_kinds. System tests wait a lot, for other programs and for times that must pass: the other kinds have what
# they leave of the processors meanwhile, and nothing but that.
run_all() {
  local others=() kind beside log=$out/tests/beside.log
  for kind in "$@"; do [[ $kind == system ]] || others+=("$kind"); done
  if [[ $# -eq ${#others[@]} || ${#others[@]} -eq 0 ]]; then
    run_kinds "$@"
    return
  fi
  mkdir -p "$out/tests"
  say "Tests: ${others[*]}, beside those of system"
  (chrt --idle --pid 0 "$BASHPID" || true; run_kinds "${others[@]}") >"$log" 2>&1 &
  beside=$!
  trap 'kill "$beside" 2>/dev/null' EXIT
  local result=0
  run_kinds system || result=1
  wait "$beside" || result=1
  trap - EXIT
  cat "$log"
  return $result
}

usage[demo]='Usage: ./build.sh demo [cluster|services] [--once] [options of dataplane demo]

Installs and builds what is missing, then starts both processes, three containers (network namespaces) on one bridge
network and the port of the host, and shows them at work until Ctrl-C, which removes every trace.
  cluster     two nodes instead, each with a switch and a container, and a VXLAN overlay between them; all in namespaces
  services    a service instead, with backends that come and go while a client asks, a published port, masquerade; all in namespaces
  --once      one line per check instead; exits 0 only when all hold
  --isolated  keeps the port of the host in a namespace of its own: the network of this machine is not touched
out/control/dataplane demo --help lists the other options.'
cmd_demo() {
  install_missing build demo
  lock
  build_programs
  unlock
  local program=("$out/control/dataplane" demo "$@")
  if [[ $EUID -ne 0 ]]; then
    command -v sudo >/dev/null || die "the demo makes network namespaces and TAP devices: run it as root"
    program=(sudo env "DOTNET_ROOT=$DOTNET_ROOT" "${program[@]}")
  fi
  exec "${program[@]}"
}

usage[bench]='Usage: ./build.sh bench [<what>] [options]

Measures how fast the switch is beside others, run by run in turn, and writes one report: tables in the terminal, and in
out/bench/ a page with plots (.html) and all figures (.json). Without a name: everything but micro. --quick is short.
VPP takes part in bridge, overlay and service if a `vpp` with its plugins dpdk, vxlan, nat and cnat is on the path; setup does
not install it.
  bridge  packets per second and clocks per packet of a learning bridge between two DPDK ports, beside dpdk-testpmd,
          Open vSwitch and VPP: numbers of addresses, sizes of packets, bursts, workers
  latency the rate without loss by bisection (RFC 2544), and latency at shares of it, from a generator over memif, or by network
          cards (--port, --generator)
  updates the bridge while static addresses are committed as fast as can be
  tap     two containers: TCP, small UDP packets, round trips, idle CPU, beside Linux bridge + veth and Open vSwitch in
          user space (as root)
  instructions  executed per packet in the stages, counted by callgrind over a fixed run
  overlay as the bridge, of routing (up to a million prefixes, and what they take in memory), and of VXLAN encapsulation and
          decapsulation beside Open vSwitch with DPDK (as root); VPP beside all of it
  service the same of services: addresses and ports rewritten both ways, at up to a million connections; new connections in a full
          table and in an emptied one; beside Open vSwitch with DPDK and ct(nat), VPP with NAT44 and with cnat, and Linux with
          nftables (as root); and with a bridge only, a service, a service over VXLAN
  control updates per second through the API (durable or not, visible to a worker), time until visible, memory; packets
          lost while a million entries are pushed (as root); the same load on Open vSwitch
  services  100,000 services of 10 backends each in one batch, then one backend changed: time, memory, until it is visible
  micro   BenchmarkDotNet: MAC look-ups, single and batched. Options go to BenchmarkDotNet (--filter "*Batch*")
./build.sh bench <what> --help lists the options.'
cmd_bench() {
  case ${1:-} in
    micro)
      shift
      install_missing build
      build_all
      # BenchmarkDotNet builds projects of its own, with the SDK on PATH, and leaves its reports where it runs.
      mkdir -p "$out/bench"
      cd "$out/bench"
      PATH=$DOTNET_ROOT:$PATH exec "$root/bench/micro/bin/Release/net10.0/MicroBench" "$@"
      ;;
    '' | -* | bridge | latency | updates | tap | instructions | overlay | service | services | control)
      install_missing build bench
      build_all
      exec "$root/bench/throughput/bin/Release/net10.0/throughput-bench" "$@"
      ;;
    *) usage_error bench "$1" ;;
  esac
}

usage[generate]='Usage: ./build.sh generate

Generates the C# bindings again from the C headers, with ClangSharp (.config/dotnet-tools.json). Needed only after a
header of native/ changed: the result is committed. CLANGSHARP=<program> names another build of the generator.'
cmd_generate() {
  [[ $# -eq 0 ]] || usage_error generate "$1"
  install_missing build
  PATH=$DOTNET_ROOT:$PATH exec "$root/native/generate.sh"
}

usage[publish]='Usage: ./build.sh publish

Makes out/dataplane-<version>-<platform>.tar.gz: the engine, the control program with the .NET runtime inside, the
documents, and the shim with its source. On a machine with another release of DPDK, compile the shim there:
  cmake -S native -B shim && cmake --build shim && cp shim/libdpshim.so engine/'
cmd_publish() {
  [[ $# -eq 0 ]] || usage_error publish "$1"
  install_missing build
  lock
  build_programs
  local version package  # package is for do_publish
  version=$(sed -n 's:.*<Version>\(.*\)</Version>.*:\1:p' "$root/Directory.Build.props")
  package=dataplane-$version-$rid
  step publish "Tarball" "$out/$package.tar.gz" do_publish native "${managed[@]}" control docs README.md LICENSE
  unlock
  say "$out/$package.tar.gz"
}

usage[clean]='Usage: ./build.sh clean

Removes out/ and the bin/ and obj/ of every project.'
cmd_clean() {
  [[ $# -eq 0 ]] || usage_error clean "$1"
  local project
  while IFS= read -r project; do
    (cd -- "$(dirname -- "$project")" && rm -rf bin obj)
  done < <(find "$root" -name '*.csproj' -not -path "$out/*")
  rm -rf "$out"
}

help_text='Usage: ./build.sh <command> [options]      (./build.sh <command> --help tells more)

  setup      install the system packages that are missing
  build      build everything into out/
  test       build, then run the unit, packet and system tests
  demo       three containers talking through the switch, live (--once: as a list of checks)
  bench      measure, beside other switches
  generate   make the C# bindings again from the C headers
  publish    make a tarball to run elsewhere
  clean      remove everything that was built
  help       this text'

usage_error() { # <command> <what is wrong>
  say "build.sh $1: not understood: $2"
  say "${usage[$1]}"
  exit 2
}

main() {
  local name=${1:-help}
  [[ $# -eq 0 ]] || shift
  case $name in
    setup | build | test | demo | bench | generate | publish | clean)
      if [[ ${1:-} == --help || ${1:-} == -h ]]; then printf '%s\n' "${usage[$name]}"; else "cmd_$name" "$@"; fi
      ;;
    help | --help | -h) printf '%s\n' "$help_text" ;;
    *)
      say "build.sh: no such command: $name"
      say "$help_text"
      exit 2
      ;;
  esac
}

main "$@"
