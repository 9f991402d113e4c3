#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes what the virtual machine of the tests boots: Debian's kernel, unpacked and not installed, and an initial RAM disk of this
# machine's own files: the engine, the control program with its runtime, DPDK with the drivers of emulated cards, a shell.
#
#   guest.sh <out> <kernel package>     leaves <out>/vmlinuz and <out>/initramfs
#
# out/engine and out/control must have been built; DOTNET_ROOT is where `dotnet` is.
set -euo pipefail
PATH=$PATH:/usr/sbin

here=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
built=$(readlink -f -- "$here/../../out")
out=$1
package=$2
tree=$out/tree

# Emulated cards, what drives them, and a port that is none.
pmds=(bus_pci bus_vdev mempool_ring net_e1000 net_virtio net_null)
modules=(e1000 e1000e igb igbvf virtio_net virtio_pci vfio-pci vfio_iommu_type1 uio_pci_generic tun)

# unpack_kernel: from the package that the metapackage stands for now; kept until there is another.
unpack_kernel() {
  local real
  real=$(apt-cache depends "$package" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
  [[ -n $real ]] || { echo "$package names no kernel; run apt-get update" >&2; exit 1; }
  [[ -e $out/kernel/boot/vmlinuz-${real#linux-image-} ]] || {
    rm -rf "$out/kernel" "$out/package"
    mkdir -p "$out/package"
    (cd -- "$out/package" && apt-get -o APT::Sandbox::User=root download "$real")
    dpkg-deb -x "$out/package/"*.deb "$out/kernel"
    rm -rf "$out/package"
  }
  release=${real#linux-image-}
}

# add <path...>: each file at its own path, with what the dynamic linker will want for it.
add() {
  local file library
  for file in "$@"; do
    copy "$file"
    while IFS= read -r library; do copy "$library"; done < <(ldd "$file" 2>/dev/null | grep -o '/[^ ]*' || true)
  done
}
# Links stay links: a driver of DPDK that is met under two names is loaded twice, and refuses that.
copy() {
  [[ ! -e $tree$1 ]] || return 0
  mkdir -p "$tree$(dirname -- "$1")"
  cp -P -- "$1" "$tree$1"
  [[ -L $1 ]] || return 0
  local target
  target=$(readlink -- "$1")
  [[ $target == /* ]] || target=$(dirname -- "$1")/$target
  copy "$(realpath -s -- "$target")"
}

add_runtime() {
  local version framework home
  # The command may be a script that leads to the runtime.
  home=$("$DOTNET_ROOT/dotnet" --list-runtimes | sed -n 's:^Microsoft\.NETCore\.App .*\[\(.*\)/shared/.*:\1:p' | tail -n 1)
  mkdir -p "$tree/usr/share/dotnet/shared"
  cp -r "$home/host" "$tree/usr/share/dotnet/"
  for framework in Microsoft.NETCore.App Microsoft.AspNetCore.App; do
    version=$(ls "$home/shared/$framework" | sort -V | tail -n 1)
    mkdir -p "$tree/usr/share/dotnet/shared/$framework"
    cp -r "$home/shared/$framework/$version" "$tree/usr/share/dotnet/shared/$framework/"
  done
  local library
  while IFS= read -r library; do add "$library"; done < <(find "$home/shared/Microsoft.NETCore.App/$version" -name '*.so' \
    -exec ldd {} + 2>/dev/null | grep -o '=> /[^ ]*' | cut -c 4- | grep -v "^$home" | sort -u)
  # The runtime looks for this one by name.
  while IFS= read -r library; do add "$library"; done < <(ldconfig -p | grep -o '/[^ ]*/libssl\.so\.[0-9.]*$')
}

add_dpdk() {
  local library directory pmd
  while IFS= read -r library; do copy "$library"; done < <(ldd "$built/engine/libdpshim.so" | grep -o '/[^ ]*')
  directory=$(dirname -- "$(ls -d "$(pkg-config --variable=libdir libdpdk)"/dpdk/pmds-*/librte_bus_pci.so)")
  for pmd in "${pmds[@]}"; do
    for library in "$directory/librte_$pmd.so."*; do add "$library"; done
  done
}

# add_modules: those named, with those that they need.
add_modules() {
  local from=$out/kernel/lib/modules/$release module file
  depmod -b "$out/kernel" "$release"
  for module in "${modules[@]}"; do
    while IFS= read -r file; do
      file=/lib/modules/$release/${file#*"/lib/modules/$release/"}
      mkdir -p "$tree$(dirname -- "$file")"
      cp -- "$out/kernel$file" "$tree$file"
    done < <(modprobe -d "$out/kernel" -S "$release" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p')
  done
  cp -- "$from/modules.order" "$from/modules.builtin" "$from/modules.builtin.modinfo" "$tree/lib/modules/$release/"
  depmod -b "$tree" "$release"
}

unpack_kernel
rm -rf "$tree"
mkdir -p "$tree"/{dev,proc,sys,run,tmp,etc,root,var}
ln -s ../run "$tree/var/run"
for directory in bin sbin lib lib64; do
  mkdir -p "$tree/usr/$directory"
  if [[ -L /$directory ]]; then ln -s "usr/$directory" "$tree/$directory"; else mkdir -p "$tree/$directory"; fi
done
echo dataplane-vm >"$tree/etc/hostname"
install -m 755 "$here/init" "$tree/init"
install -m 755 "$(command -v busybox)" "$tree/bin/busybox"
add /bin/sh "$(command -v ip)" "$(command -v ethtool)"
add_runtime
add_dpdk
add_modules
mkdir -p "$tree/opt/dataplane"
cp -r "$built/engine" "$built/control" "$tree/opt/dataplane/"
rm -f "$tree"/opt/dataplane/*/*.pdb "$tree"/opt/dataplane/engine/*.dbg
(cd -- "$tree" && find . -print0 | cpio --null --create --format=newc --quiet) >"$out/initramfs"
cp -- "$out/kernel/boot/vmlinuz-$release" "$out/vmlinuz"
rm -rf "$tree"
