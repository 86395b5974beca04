#!/usr/bin/env bash
# Runs the C++ suite on an emulated processor with AVX-512 VNNI: Bochs, a whole PC in software, boots Debian's kernel
# with an initramfs whose /init is the suite. For machines that lack these instructions; QEMU emulates none of them.
#   scripts/emulate-avx512.sh pointsman_test [arguments of the suite]
# The suite must be linked statically. It must find POINTSMAN_TEST_ISA=avx512vnni, or it fails.
# Needs Debian's packages bochs bochs-term busybox-static cpio genisoimage isolinux syslinux-common, and apt-get to
# download (not install) linux-image-cloud-amd64. Exit: the suite's; 124 when it takes longer than EMULATE_LIMIT_S.
set -euo pipefail
suite=$(realpath "$1")
shift
limit=${EMULATE_LIMIT_S:-480}
work=$(mktemp -d)
bochs=
stop() {
  if [ -n "$bochs" ]; then
    kill -KILL "$bochs" 2>/dev/null || true
    wait "$bochs" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap stop EXIT
cd "$work"

# ---- the disk: a kernel, and the suite as its first program ----
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
apt-get download "$kernel" >/dev/null 2>&1
dpkg-deb --extract "$kernel"_*.deb kernel
mkdir -p root/bin root/tmp disk
cp /bin/busybox root/bin/sh
cp "$suite" root/pointsman_test
cat >root/init <<INIT
#!/bin/sh
export POINTSMAN_TEST_ISA=avx512vnni POINTSMAN_TEST_MAX_ROWS=${POINTSMAN_TEST_MAX_ROWS:-100}
/pointsman_test --no-colors $(printf '%q ' "$@")
echo "exit status: \$?"
read -r wait_to_be_killed
INIT
chmod +x root/init
(cd root && find . | cpio --create --format=newc --quiet) >disk/initrd
cp kernel/boot/vmlinuz-* disk/vmlinuz
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 disk
# Bochs 2.7 tells wrong sizes of the protection keys' and of the compacted state, upon which Linux would turn off all
# vector registers; and it has fsrm without erms, with which Linux 6.1 copies past the end of short moves.
cat >disk/isolinux.cfg <<'CFG'
default suite
label suite
kernel vmlinuz
append initrd=initrd console=ttyS0,115200 quiet mitigations=off nokaslr tsc=reliable lsm= clearcpuid=pku,ospke,aperfmperf,xsaves,xsavec,fsrm
CFG
genisoimage -quiet -o disk.iso -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table disk

# ---- the machine ----
cat >bochsrc <<'RC'
display_library: term
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
cpu: model=corei7_icelake_u, ips=20000000
memory: guest=512, host=512
ata0-master: type=cdrom, path=disk.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=serial.txt
log: bochs.log
panic: action=fatal
RC
echo continue >debugger # Debian builds Bochs with its debugger, which waits for this
touch serial.txt
TERM=vt100 bochs -f bochsrc -rc debugger </dev/null >screen.txt 2>&1 &
bochs=$!

# ---- what it says, until the status ----
start=$SECONDS
until grep -q '^exit status: [0-9]*' serial.txt; do
  if ! kill -0 "$bochs" 2>/dev/null || [ $((SECONDS - start)) -ge "$limit" ]; then
    tail -n 200 serial.txt
    tail -n 10 bochs.log
    echo "no result after $((SECONDS - start)) s"
    exit 124
  fi
  sleep 1
done
tr -d '\r' <serial.txt | sed -n '/doctest version/,/^exit status/p'
echo "emulated in $((SECONDS - start)) s"
exit "$(tr -d '\r' <serial.txt | sed -n 's/^exit status: //p' | head -n 1)"
