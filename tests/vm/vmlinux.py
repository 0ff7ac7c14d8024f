#!/usr/bin/env python3
"""The ELF that is packed in a kernel image: qemu boots it without the image's own unpacking,
which takes seconds where the processor is emulated.
usage: vmlinux.py VMLINUZ VMLINUX"""
import gzip
import lzma
import struct
import subprocess
import sys

# Documentation/arch/x86/boot.rst: where the header says that the payload is.
SETUP_SECTS, MAGIC, PAYLOAD = 0x1F1, 0x202, 0x248

with open(sys.argv[1], "rb") as f:
    image = f.read()
if image[MAGIC:MAGIC + 4] != b"HdrS":
    sys.exit(f"{sys.argv[1]}: not a kernel image")
offset, length = struct.unpack_from("<II", image, PAYLOAD)
start = ((image[SETUP_SECTS] or 4) + 1) * 512 + offset
payload = image[start:start + length]

# All but gzip's are followed by the length of what they hold.
if payload.startswith(b"\xfd7zXZ\0"):
    elf = lzma.LZMADecompressor().decompress(payload)
elif payload.startswith(b"\x28\xb5\x2f\xfd"):
    elf = subprocess.run(["zstd", "-qdc"], input=payload[:-4], stdout=subprocess.PIPE, check=True).stdout
elif payload.startswith(b"\x1f\x8b"):
    elf = gzip.decompress(payload)
else:
    sys.exit(f"{sys.argv[1]}: unknown compression")
if not elf.startswith(b"\x7fELF"):
    sys.exit(f"{sys.argv[1]}: no ELF inside")
with open(sys.argv[2], "wb") as f:
    f.write(elf)
