#!/usr/bin/env python3
"""Writes the system call tables beside this script from the kernel's headers.

Usage: generate.py [PACKAGE.deb]

The headers come from Debian's linux-libc-dev, which holds those of every architecture. Without
an argument the newest one of the unstable suite is downloaded with apt, through private lists
and the archive that the machine's own apt sources name; nothing is installed.
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

# (module, headers, the values of the bases that the headers add)
TABLES = [
    ("x86_64", ["x86/asm/unistd_64.h"], {}),
    ("x86", ["x86/asm/unistd_32.h"], {}),
    ("x32", ["x86/asm/unistd_x32.h"], {"__X32_SYSCALL_BIT": X32_BIT}),
    ("aarch64", ["arm64/asm/unistd_64.h"], {}),
    (
        "arm",
        ["arm/asm/unistd-eabi.h", "arm/asm/unistd.h"],
        {"__NR_SYSCALL_BASE": 0, "__ARM_NR_BASE": ARM_PRIVATE},
    ),
]
# Macros of these headers that are no system calls.
NOT_A_CALL = {"OABI_SYSCALL_BASE", "SYSCALL_MASK", "SYSCALL_BASE", "BASE", "SYSCALL_BIT"}
DEFINE = re.compile(r"^#define\s+__(?:ARM_)?NR_(\w+)\s+(.+?)\s*$", re.M)


def download(directory):
    """Downloads linux-libc-dev of the unstable suite into the directory; returns its path."""
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
        out.write(f"deb [signed-by={key}] {uri} sid main\n")
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


def read(root, headers, bases):
    """Every (name, number) of the headers, sorted by name."""
    macros = {}
    for header in headers:
        with open(os.path.join(root, UAPI, header), encoding="utf-8") as source:
            macros.update(DEFINE.findall(source.read()))
    calls = []
    for name, expression in macros.items():
        if name in NOT_A_CALL:
            continue
        value = number(expression, bases, macros)
        if value is None:
            sys.exit(f"generate.py: {headers}: {name} is no number: {expression}")
        calls.append((name, value))
    return sorted(calls)


def main():
    """Writes every table."""
    with tempfile.TemporaryDirectory() as directory:
        package = sys.argv[1] if len(sys.argv) > 1 else download(directory)
        root = os.path.join(directory, "root")
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
        origin = f"{field(package, 'Package')} {field(package, 'Version')}"
        today = datetime.date.today().isoformat()
        for module, headers, bases in TABLES:
            calls = read(root, headers, bases)
            with open(os.path.join(HERE, module + ".rs"), "w", encoding="utf-8") as out:
                out.write(
                    f"//! System calls of {module}, sorted by name.\n//!\n"
                    f"//! Generated by generate.py from {' and '.join(headers)} of\n"
                    f"//! Debian's {origin} on {today}. Do not edit.\n\n"
                    f"pub(super) static TABLE: [(&str, u32); {len(calls)}] = [\n"
                )
                for name, value in calls:
                    shown = f"{value:#x}" if value >= ARM_PRIVATE else str(value)
                    out.write(f'    ("{name}", {shown}),\n')
                out.write("];\n")
            print(f"{module}: {len(calls)} calls, {origin}")


if __name__ == "__main__":
    main()
