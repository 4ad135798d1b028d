#!/usr/bin/env python3
"""Packs a rig's bundle anew, smaller: without what no worker loads, and with a filter for machine code.

    bench/real/bundle.py GPU_FOLDER TARGET_FOLDER

Copies to machines are limited in size, and the bundle is most of what travels. The manifest follows; scripts stay as they are.
"""

import hashlib
import io
import json
import lzma
import pathlib
import sys
import tarfile

# A second build of zstandard that CPython doesn't take, sources of a library. (tvm_ffi loads its library of tests.)
LEFT_OUT = ("deps/zstandard/_cffi", "deps/tvm_ffi/3rdparty/libbacktrace")
FILTERS = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": 192 << 20}]


def main():
    source, target = map(pathlib.Path, sys.argv[1:])
    manifest = json.loads((source / "manifest.json").read_text())
    for info in manifest["archives"].values():
        whole = b"".join((source / part["name"]).read_bytes() for part in info["parts"])
        packed, name = lzma.compress(smaller(lzma.decompress(whole)), filters=FILTERS), info["parts"][0]["name"]
        for part in info["parts"]:
            (target / part["name"]).unlink(missing_ok=True)
        (target / name).write_bytes(packed)
        info |= {"sha256": hashlib.sha256(packed).hexdigest(), "bytes": len(packed)}
        info["parts"] = [{"name": name, "bytes": len(packed)}]
    (target / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def smaller(data):
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive, tarfile.open(fileobj=made, mode="w") as kept:
        for member in archive:
            if not member.name.startswith(LEFT_OUT):
                kept.addfile(member, archive.extractfile(member) if member.isreg() else None)
    return made.getvalue()


if __name__ == "__main__":
    main()
