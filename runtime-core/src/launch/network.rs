//! Moving network devices of the host into the container's network namespace.
//!
//! What must hold: a device that is moved gets everything that it had and is the container's to lose, as the
//! specification says; until the container is created it is the host's, and a failure brings it back under its
//! name, with its addresses. The kernel would give back only those with hardware behind them.

use super::Host;
use crate::error::{Error, ErrorKind, Result, errno_text};
use crate::netlink::{Address, Link, Netlink, Refused, Which};
use crate::sys;

/// The two network namespaces, and what went from one to the other.
#[derive(Debug)]
pub(super) struct Network {
    host: Netlink,
    inside: Netlink,
    moved: Vec<Moved>,
}

/// A device that is in the container.
#[derive(Debug)]
struct Moved {
    /// What it was on the host.
    link: Link,
    /// Its index in the container.
    index: i32,
    addresses: Vec<Address>,
}

/// How many indices and names of the container are tried before a free one is not believed in any more.
const TRIES: i32 = 1024;

impl Host<'_> {
    /// Moves a device, which then is called `inside`, and sets it up.
    pub(super) fn move_device(&mut self, name: &str, inside: &str) -> Result<()> {
        let Some((pid, pidfd)) = &self.process else {
            return Err(Error::new(ErrorKind::Internal, "no process"));
        };
        let to = *pid;
        let network = match &mut self.network {
            Some(network) => network,
            slot => {
                let failed = |e| Error::io("socket(AF_NETLINK)", &e);
                let (host, inside) = (Netlink::here(), Netlink::of(pidfd));
                slot.insert(Network {
                    host: host.map_err(failed)?,
                    inside: inside.map_err(failed)?,
                    moved: Vec::new(),
                })
            }
        };
        network.enter(name, inside, to).map_err(|e| {
            let e = e.context(format!("move netDevice {name} to namespace /proc/{to}/ns/net"));
            if name == "lo" { e.hint("the loopback device of a network namespace stays in it") } else { e }
        })
    }
}

/// What failed, in the kernel's words too.
fn failed(what: String, call: &str, e: &Refused) -> Error {
    let said = if e.words.is_empty() { String::new() } else { format!("; kernel: {}", e.words) };
    let message = format!("{what}: {}{said}", errno_text(e.errno));
    Error::syscall(format!("sendmsg({call})"), e.errno).saying(message)
}

impl Network {
    fn enter(&mut self, name: &str, inside: &str, to: u32) -> Result<()> {
        let link = self.host.link(Which::Name(name)).map_err(|e| {
            let what = format!("link not found for interface {name} on runtime namespace");
            let e = failed(what, &format!("RTM_GETLINK, {name:?}"), &e);
            if e.errno() == Some(libc::ENODEV) { e.of_kind(ErrorKind::InvalidConfig) } else { e }
        })?;
        // Read before anything is changed: a device that is set down loses those of IPv6.
        let addresses = self.host.lasting_addresses(link.index).map_err(|e| {
            failed("fail to get ip addresses".to_owned(), &format!("RTM_GETADDR, {}", link.index), &e)
        })?;
        let inside = self.free_name(inside)?;
        let index = self.relocate(link, addresses, &inside, to)?;
        self.furnish(index, &inside)
    }

    /// The name that a device gets in the container.
    fn free_name(&mut self, name: &str) -> Result<String> {
        let candidates = match name.split_once("%d") {
            None => vec![name.to_owned()],
            Some((head, tail)) => (0..TRIES).map(|n| format!("{head}{n}{tail}")).collect(),
        };
        for candidate in &candidates {
            match self.inside.link(Which::Name(candidate)) {
                Err(e) if e.errno == libc::ENODEV => return Ok(candidate.clone()),
                Err(e) => {
                    let call = format!("RTM_GETLINK, {candidate:?}");
                    return Err(failed("fail to look for a name in the container".to_owned(), &call, &e));
                }
                Ok(_) => {}
            }
        }
        let refused = Refused { errno: libc::EEXIST, words: String::new() };
        let what = "fail to move it: the container has a network device of that name".to_owned();
        let e = failed(what, &format!("RTM_GETLINK, {name:?}"), &refused).of_kind(ErrorKind::InvalidConfig);
        Err(e.hint("a name that ends with %d, in linux.netDevices, gets the first number that is free"))
    }

    /// Moves and renames it in one request, under an index that is free there and tells it from all others.
    fn relocate(&mut self, link: Link, addresses: Vec<Address>, name: &str, to: u32) -> Result<i32> {
        let call = format!("RTM_SETLINK, {}, IFLA_IFNAME {name:?}", link.index);
        let what = format!("fail to move network device {} to the network namespace", link.name);
        let last = link.index.saturating_add(TRIES);
        for index in link.index..=last {
            if self.inside.link(Which::Index(index)).is_ok() {
                continue;
            }
            let done = self.host.relocate(link.index, to, name, index);
            // The kernel moves first and renames then, which may fail alone.
            let absent = |e: Refused| e.errno == libc::ENODEV;
            let gone = done.is_ok() || self.host.link(Which::Index(link.index)).is_err_and(absent);
            if gone {
                self.moved.push(Moved { link, index, addresses });
                return done.map(|()| index).map_err(|e| failed(what, &call, &e));
            }
            match done {
                // Somebody took the index meanwhile.
                Err(e) if e.errno == libc::EBUSY && index < last => {}
                Ok(()) => return Ok(index),
                Err(e) => return Err(failed(what, &call, &e)),
            }
        }
        Err(Error::new(ErrorKind::Syscall, "the container's network namespace has no free index"))
    }

    /// Gives the device that was moved last what it had, and sets it up.
    fn furnish(&mut self, index: i32, name: &str) -> Result<()> {
        for address in self.moved.last().iter().flat_map(|m| &m.addresses) {
            self.inside.add_address(index, address).map_err(|e| {
                let what = format!("fail to set up address {address} of {name} in the container");
                failed(what, &format!("RTM_NEWADDR, {index}, {address}"), &e)
            })?;
        }
        self.inside.set_up(index).map_err(|e| {
            let what = format!("fail to set up interface {name} in the container");
            failed(what, &format!("RTM_SETLINK, {index}, IFF_UP"), &e)
        })
    }

    /// Brings everything back; what could not be.
    pub(super) fn bring_back(mut self) -> Vec<String> {
        let own = sys::netlink::thread_id();
        let mut lost = Vec::new();
        for device in std::mem::take(&mut self.moved).into_iter().rev() {
            if let Err(e) = self.back(&device, own) {
                lost.push(format!("{}: {}", device.link.name, errno_text(e.errno)));
            }
        }
        lost
    }

    fn back(&mut self, device: &Moved, own: u32) -> std::result::Result<(), Refused> {
        let link = &device.link;
        let mut index = link.index;
        let mut done = self.inside.relocate(device.index, own, &link.name, index);
        for _ in 0..TRIES {
            match &done {
                // Somebody else has its index by now.
                Err(e) if e.errno == libc::EBUSY => {
                    index += 1;
                    done = self.inside.relocate(device.index, own, &link.name, index);
                }
                _ => break,
            }
        }
        done?;
        for address in &device.addresses {
            self.host.add_address(index, address)?;
        }
        if link.up { self.host.set_up(index) } else { Ok(()) }
    }
}
