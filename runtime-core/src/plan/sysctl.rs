//! linux.sysctl: only what belongs to a namespace of the container's own may be written.

use super::Builder;
use super::action::{Action, Namespace};
use crate::error::{Error, Result};

const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// One step for each key, in the order of their names.
pub(crate) fn sysctls(b: &mut Builder<'_>) -> Result<()> {
    let Some(map) = b.linux().and_then(|l| l.sysctl().clone()) else {
        return Ok(());
    };
    let mut list: Vec<(String, String)> = map.into_iter().collect();
    list.sort();
    for (key, value) in list {
        let field = format!("/linux/sysctl/{}", crate::bundle::escape(&key));
        let path = path(&key);
        check(b, &key, &path).map_err(|e| e.or_at(&field))?;
        b.init(field, Action::Sysctl { key: path, value });
    }
    Ok(())
}

/// The path below /proc/sys. With a slash as the first separator dots are part of the names.
fn path(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(i) if key.as_bytes().get(i) == Some(&b'.') => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
        _ => key.to_owned(),
    }
}

/// What is wrong with a key whose network namespace is the caller's: runc's words.
pub(crate) fn in_host_network(key: &str) -> String {
    format!("sysctl {key:?} not allowed in host network namespace")
}

fn check(b: &Builder<'_>, key: &str, path: &str) -> Result<()> {
    let wrong =
        |text: String| Err(Error::config(format!("/linux/sysctl/{}", crate::bundle::escape(key)), text));
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return wrong(format!("sysctl {key:?} is not a name"));
    }
    let own = |ns| b.namespaces.has(ns);
    let (needed, fine) = if IPC.contains(&path) || path.starts_with("fs/mqueue/") {
        (Namespace::Ipc, own(Namespace::Ipc))
    } else if path.starts_with("net/") {
        (Namespace::Network, own(Namespace::Network))
    } else if path == "kernel/domainname" {
        (Namespace::Uts, own(Namespace::Uts))
    } else if path.starts_with("user/") {
        (Namespace::User, own(Namespace::User))
    } else if path == "kernel/hostname" {
        return wrong(format!("sysctl {key:?} conflicts with the field hostname"));
    } else {
        return wrong(format!("sysctl {key:?} is not in a separate kernel namespace"));
    };
    if !fine && needed == Namespace::Network {
        return wrong(in_host_network(key));
    }
    if !fine {
        return wrong(format!("sysctl {key:?} is not allowed in the host's {} namespace", needed.name()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn the_first_separator_says_which_form_a_key_has() {
        assert_eq!(path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(path("net/ipv4/conf/eth0.1/mtu"), "net/ipv4/conf/eth0.1/mtu");
        assert_eq!(path("net.ipv4.conf.eth0/1.mtu"), "net/ipv4/conf/eth0.1/mtu");
    }
}
