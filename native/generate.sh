#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes interop/Dpdk/Generated/*.g.cs from native/dpshim.h and DPDK's packet buffer header. The result is committed:
# only a change of dpshim.h (or of native/clangsharp/) asks for a new run, never a build.
#
# The generator is the .NET tool named in .config/dotnet-tools.json; CLANGSHARP=/path/to/generator names another build.
set -euo pipefail
cd "$(dirname "$0")"
output=../interop/Dpdk/Generated

fail() { echo "generate: $*" >&2; exit 1; }

if [ -n "${CLANGSHARP:-}" ]; then
  command -v "$CLANGSHARP" >/dev/null || fail "CLANGSHARP=$CLANGSHARP is not an executable"
  generator=("$CLANGSHARP")
else
  # A tool run reports a missing tool in many ways; restore has one.
  restore=$(dotnet tool restore 2>&1) || fail "the binding generator cannot be installed:
$restore
Install it with 'dotnet tool restore', or build ClangSharp (https://github.com/dotnet/ClangSharp) at the version in
.config/dotnet-tools.json and run CLANGSHARP=/path/to/ClangSharpPInvokeGenerator native/generate.sh"
  generator=(dotnet tool run ClangSharpPInvokeGenerator --)
fi

pkg-config --exists libdpdk || fail "DPDK's headers are missing: apt-get install libdpdk-dev"
includes=()
for flag in $(pkg-config --cflags-only-I libdpdk); do
  includes+=("$(realpath "${flag#-I}")")
done

# The path of a header as the generator will see it.
header() {
  local directory
  for directory in "${includes[@]}"; do
    if [ -e "$directory/$1" ]; then echo "$directory/$1"; return; fi
  done
  fail "no $1 in ${includes[*]}"
}

traverse=("$PWD/dpshim.h")
# The headroom is in rte_config.h, from 24.11 on in rte_build_config.h.
for name in rte_mbuf_core.h rte_mbuf_ptype.h rte_config.h rte_build_config.h; do
  path=$(header "$name")
  traverse+=("$path")
done

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
for part in shim mbuf; do
  # The exit code counts warnings (alignments and macros that have no C# equivalent), so the log decides.
  "${generator[@]}" @clangsharp/common.rsp "@clangsharp/$part.rsp" --include-directory "${includes[@]}" --traverse "${traverse[@]}" \
    --additional -include clangsharp/prelude.h -funsigned-char -Wno-everything --output "$temporary/${part^}.g.cs" \
    >"$temporary/log" 2>&1 || true
  if grep -E 'Error|error:|Skipping' "$temporary/log" || [ ! -s "$temporary/${part^}.g.cs" ]; then
    cat "$temporary/log" >&2
    fail "the generator failed on $part.rsp"
  fi
done
mkdir -p "$output"
cp "$temporary"/*.g.cs "$output/"
