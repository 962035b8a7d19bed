# SPDX-License-Identifier: BSD-2-Clause
"""The two commands of the README on a Debian 12 that has nothing: a debootstrap root with a fresh clone in it.

The bare root is kept as a tar file (it takes a minute and a half to make) and unpacked anew each time.
"""
import os
import shutil
import subprocess

from results import tail_of

# What the chroot needs to see of this machine. Its own mount and process namespaces, so that all of it goes with the shell.
INSIDE = """
set -e
mount --bind "$0" "$0"; cd "$0"  # "/" has to be a mount point: ip netns makes it a slave
mount -t proc proc "$0/proc"; mount --rbind /sys "$0/sys"; mount --rbind /dev "$0/dev"; mount -t tmpfs tmpfs "$0/run"
exec chroot "$0" /usr/bin/env -i HOME=/tmp TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 bash -c "cd /netchan && $1"
"""


def make_base(tar, log):
    """minbase and nothing else, with this machine's way to the mirror."""
    folder = tar + ".new"
    shutil.rmtree(folder, ignore_errors=True)
    with open(log, "a", encoding="utf-8") as f:
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", folder], check=True, stdout=f, stderr=f)
    for path in ("/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/apt.conf.d", "/etc/resolv.conf", "/etc/hosts"):
        if os.path.isdir(path):
            shutil.copytree(path, folder + path, dirs_exist_ok=True)
        elif os.path.exists(path):
            shutil.copy(path, folder + path)
    subprocess.run(["tar", "-C", folder, "-cf", tar, "."], check=True)
    shutil.rmtree(folder)


def try_and_check(root, folder, logs):
    """Yields (command, exit status, the end of its log)."""
    tar, log = folder + ".tar", os.path.join(logs, "bare-root.log")
    os.makedirs(logs, exist_ok=True)
    if not os.path.exists(tar):
        make_base(tar, log)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    subprocess.run(["tar", "-C", folder, "-xf", tar], check=True)
    subprocess.run(["git", "-c", "safe.directory=*", "clone", "-q", "--no-hardlinks", root, os.path.join(folder, "netchan")], check=True)
    for command in ("tools/try", "tools/check --quick"):
        own = os.path.join(logs, f"bare-root-{command.split('/')[1].split()[0]}.log")
        with open(own, "w", encoding="utf-8") as f:
            status = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", INSIDE, folder, command],
                                    stdout=f, stderr=subprocess.STDOUT, check=False).returncode
        yield command, status, tail_of(own, 40)
    shutil.rmtree(folder, ignore_errors=True)
