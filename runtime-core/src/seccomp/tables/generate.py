#!/usr/bin/env python3
"""Writes the system call tables beside this script from the kernel's headers.

Usage: generate.py [NEW.deb OLD.deb]

The headers come from Debian's linux-libc-dev, which holds those of every architecture. Without
arguments the newest one of the unstable suite is downloaded with apt, and that of trixie for the
31-bit calls of s390, which newer kernels do not have any more; through private lists and the
archive that the machine's own apt sources name. Nothing is installed.
"""

import datetime
import glob
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
UAPI = "usr/lib/linux/uapi"
X32_BIT = 0x40000000
ARM_PRIVATE = 0x0F0000

MIPS = "mips/asm/unistd_{}.h"
# (architecture, headers, the values of the bases that the headers add). A header that begins
# with "old:" is of the older package.
TABLES = [
    ("X86_64", ["x86/asm/unistd_64.h"], {}),
    ("X86", ["x86/asm/unistd_32.h"], {}),
    ("X32", ["x86/asm/unistd_x32.h"], {"__X32_SYSCALL_BIT": X32_BIT}),
    ("Aarch64", ["arm64/asm/unistd_64.h"], {}),
    (
        "Arm",
        ["arm/asm/unistd-eabi.h", "arm/asm/unistd.h"],
        {"__NR_SYSCALL_BASE": 0, "__ARM_NR_BASE": ARM_PRIVATE},
    ),
    ("Mips", [MIPS.format("o32")], {"__NR_Linux": 4000}),
    ("Mips64", [MIPS.format("n64")], {"__NR_Linux": 5000}),
    ("Mips64N32", [MIPS.format("n32")], {"__NR_Linux": 6000}),
    ("Ppc", ["powerpc/asm/unistd_32.h"], {}),
    ("Ppc64", ["powerpc/asm/unistd_64.h"], {}),
    ("S390", ["old:s390/asm/unistd_32.h"], {}),
    ("S390X", ["s390/asm/unistd_64.h"], {}),
    ("Parisc", ["parisc/asm/unistd_32.h"], {"__NR_Linux": 0}),
    ("Parisc64", ["parisc/asm/unistd_64.h"], {"__NR_Linux": 0}),
    ("Riscv64", ["riscv/asm/unistd_64.h"], {}),
    ("Loongarch64", ["loongarch/asm/unistd_64.h"], {}),
    ("M68k", ["m68k/asm/unistd_32.h"], {}),
    ("Sh", ["sh/asm/unistd_32.h"], {}),
]
ABSENT = 0xFFFF
# Macros of these headers that are no system calls.
NOT_A_CALL = {"OABI_SYSCALL_BASE", "SYSCALL_MASK", "SYSCALL_BASE", "BASE", "SYSCALL_BIT"}
DEFINE = re.compile(r"^#define\s+__(?:ARM_)?NR_(\w+)\s+(.+?)\s*$", re.M)


def download(directory, suite):
    """Downloads linux-libc-dev of a suite into the directory; returns its path."""
    uri = None
    sources = ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*.sources")]
    for path in sources:
        if not os.path.exists(path):
            continue
        for line in open(path, encoding="utf-8"):
            match = re.match(r"(?:URIs:\s*|deb\s+(?:\[[^]]*\]\s+)?)(\S+)", line)
            if match and "security" not in match.group(1) and uri is None:
                uri = match.group(1)
    if uri is None:
        sys.exit("generate.py: no archive in the apt sources of this machine")
    for sub in ("state/lists/partial", "cache/archives/partial"):
        os.makedirs(os.path.join(directory, sub))
    status, listed = os.path.join(directory, "status"), os.path.join(directory, "sources.list")
    open(status, "w", encoding="utf-8").close()
    with open(listed, "w", encoding="utf-8") as out:
        key = "/usr/share/keyrings/debian-archive-keyring.gpg"
        out.write(f"deb [signed-by={key}] {uri} {suite} main\n")
    conf = os.path.join(directory, "apt.conf")
    with open(conf, "w", encoding="utf-8") as out:
        out.write(
            f'Dir::Etc::sourcelist "{listed}"; Dir::Etc::sourceparts "/dev/null";\n'
            f'Dir::State "{directory}/state"; Dir::State::status "{status}";\n'
            f'Dir::Cache "{directory}/cache"; APT::Sandbox::User "root";\n'
        )
    env = dict(os.environ, APT_CONFIG=conf)
    subprocess.run(["apt-get", "update", "-qq"], env=env, check=True)
    subprocess.run(
        ["apt-get", "download", "-qq", "linux-libc-dev"], env=env, cwd=directory, check=True
    )
    return glob.glob(os.path.join(directory, "*.deb"))[0]


def field(package, name):
    """One control field of a package."""
    out = subprocess.run(["dpkg-deb", "-f", package, name], check=True, capture_output=True)
    return out.stdout.decode().strip()


def number(expression, bases, macros):
    """The value of a macro's text, or None when it is no number."""
    for part in ("__NR_", "__ARM_NR_"):
        alias = expression.removeprefix(part)
        if alias != expression and alias in macros:
            return number(macros[alias], bases, macros)
    match = re.fullmatch(r"\(?(?:(\w+)\s*\+\s*)?(\d+)\)?", expression)
    if not match or (match.group(1) and match.group(1) not in bases):
        return None
    return bases.get(match.group(1), 0) + int(match.group(2))


def read(roots, headers, bases):
    """Every (name, number) of the headers."""
    macros = {}
    for header in headers:
        root = roots["old" if header.startswith("old:") else "new"]
        with open(os.path.join(root, UAPI, header.removeprefix("old:")), encoding="utf-8") as source:
            macros.update(DEFINE.findall(source.read()))
    calls = []
    for name, expression in macros.items():
        if name in NOT_A_CALL or re.fullmatch(r"(reserved|unused)\d+", name):
            continue
        value = number(expression, bases, macros)
        if value is None:
            sys.exit(f"generate.py: {headers}: {name} is no number: {expression}")
        calls.append((name, value))
    return dict(calls)


def short(value):
    """A number as it stands in a table of 16 bits, see mod.rs."""
    value &= ~X32_BIT
    if value >= ARM_PRIVATE:
        value = 0xF000 | (value - ARM_PRIVATE)
    if value >= ABSENT:
        sys.exit(f"generate.py: {value:#x} does not fit")
    return value


def write(name, origin, today, text):
    """Writes one file."""
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as out:
        first, rest = text.split("\n", 1)
        out.write(
            f"{first}\n//!\n//! Generated by generate.py from headers of Debian's\n"
            f"//! {origin} on {today}. Do not edit.\n{rest}"
        )


def main():
    """Writes the names and the numbers."""
    with tempfile.TemporaryDirectory() as directory:
        roots, origins = {}, []
        for at, (which, suite) in enumerate([("new", "sid"), ("old", "trixie")]):
            own = os.path.join(directory, which)
            os.makedirs(own)
            package = sys.argv[1 + at] if len(sys.argv) > 2 else download(own, suite)
            roots[which] = os.path.join(own, "root")
            subprocess.run(["dpkg-deb", "-x", package, roots[which]], check=True)
            origins.append(f"{field(package, 'Package')} {field(package, 'Version')}")
        origin = f"{origins[0]} (31-bit s390: {origins[1]})"
        today = datetime.date.today().isoformat()
        tables = [(arch, read(roots, headers, bases)) for arch, headers, bases in TABLES]
    names = sorted({name for _, calls in tables for name in calls})
    listed = "".join(f'    "{name}",\n' for name in names)
    write(
        "names.rs",
        origin,
        today,
        "//! The names of all system calls, sorted.\n\n"
        f"pub(super) static NAMES: [&str; {len(names)}] = [\n{listed}];\n",
    )
    text = "//! The numbers of the system calls, in the order of their names.\n\nuse super::Numbers;\n"
    for arch, calls in tables:
        numbers = [short(calls[name]) if name in calls else ABSENT for name in names]
        body = ", ".join(str(n) for n in numbers)
        text += f"\npub(super) static {arch.upper()}: Numbers = [{body}];\n"
        print(f"{arch}: {len(calls)} calls")
    write("numbers.rs", origin, today, text)
    subprocess.run(["rustfmt", "--edition", "2024", os.path.join(HERE, "numbers.rs")], check=True)
    print(origin)


if __name__ == "__main__":
    main()
