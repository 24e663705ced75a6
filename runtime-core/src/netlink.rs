//! Questions to the kernel about network devices and their addresses, and what it answers (rtnetlink(7)).
//!
//! What must hold: what the kernel sends is read by lengths that are checked, and anything that is cut off ends the
//! reading. Only what moving a device needs is here.

use crate::sys::netlink as sys;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Room for `struct nlmsghdr`.
const HEADER: usize = 16;
/// Room for `struct ifinfomsg`.
const LINK: usize = 16;
/// Room for `struct ifaddrmsg`.
const ADDRESS: usize = 8;

const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const IFA_PROTO: u16 = 11;
const IFA_RT_PRIORITY: u16 = 9;

/// What the kernel refused: the errno, and its own words where it has some.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) errno: i32,
    pub(crate) words: String,
}

impl From<io::Error> for Refused {
    fn from(e: io::Error) -> Refused {
        Refused { errno: e.raw_os_error().unwrap_or(libc::EIO), words: String::new() }
    }
}

/// A network device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    pub(crate) index: i32,
    pub(crate) name: String,
    pub(crate) up: bool,
}

/// An address of a device: `struct ifaddrmsg` and the attributes that make it the same one elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let get = |kind: u16| self.attributes.iter().find(|(k, _)| *k == kind).map(|(_, v)| v.as_slice());
        let bytes = get(libc::IFA_LOCAL).or(get(libc::IFA_ADDRESS)).unwrap_or(&[]);
        match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
            (Ok(v4), _) => write!(f, "{}/{}", std::net::Ipv4Addr::from(v4), self.prefix),
            (_, Ok(v6)) => write!(f, "{}/{}", std::net::Ipv6Addr::from(v6), self.prefix),
            _ => write!(f, "of family {}", self.family),
        }
    }
}

/// How a device is named in a question.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which<'a> {
    /// By its name, or by one of its alternative names.
    Name(&'a str),
    /// By its index.
    Index(i32),
}

/// A talk with the kernel in one network namespace, which it keeps alive.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    count: u32,
}

impl Netlink {
    /// In the network namespace of the calling thread.
    pub(crate) fn here() -> io::Result<Netlink> {
        Ok(Netlink { socket: sys::socket()?, count: 0 })
    }

    /// In the network namespace of the process behind `pidfd`.
    pub(crate) fn of(pidfd: impl AsFd) -> io::Result<Netlink> {
        Ok(Netlink { socket: sys::socket_of(pidfd)?, count: 0 })
    }

    /// The device; `ENODEV` if there is none.
    pub(crate) fn link(&mut self, which: Which<'_>) -> Result<Link, Refused> {
        let mut body = link_body(0, 0, 0);
        match which {
            Which::Name(name) => attribute(&mut body, libc::IFLA_IFNAME, &c_bytes(name)),
            Which::Index(index) => put_index(&mut body, index),
        }
        let answers = self.ask(libc::RTM_GETLINK, 0, &body)?;
        let none = || Refused { errno: libc::ENODEV, words: String::new() };
        answers.iter().find_map(|m| parse_link(m)).ok_or_else(none)
    }

    /// Moves a device to the network namespace of a thread, under this name and index there. If it fails, the device
    /// may nevertheless be there, under its old name.
    pub(crate) fn relocate(&mut self, index: i32, to: u32, name: &str, wanted: i32) -> Result<(), Refused> {
        let mut body = link_body(index, 0, 0);
        attribute(&mut body, libc::IFLA_NET_NS_PID, &to.to_ne_bytes());
        attribute(&mut body, libc::IFLA_IFNAME, &c_bytes(name));
        attribute(&mut body, libc::IFLA_NEW_IFINDEX, &wanted.to_ne_bytes());
        self.ask(libc::RTM_SETLINK, libc::NLM_F_ACK, &body).map(drop)
    }

    /// Sets a device up.
    pub(crate) fn set_up(&mut self, index: i32) -> Result<(), Refused> {
        let up = libc::IFF_UP as u32;
        self.ask(libc::RTM_SETLINK, libc::NLM_F_ACK, &link_body(index, up, up)).map(drop)
    }

    /// The addresses of a device that are to last and are valid everywhere, in the kernel's order: of any family,
    /// permanent, of global scope (config-linux.md, Network Devices).
    pub(crate) fn lasting_addresses(&mut self, index: i32) -> Result<Vec<Address>, Refused> {
        let mut body = vec![0; ADDRESS];
        if let Some(slot) = body.get_mut(4..8) {
            slot.copy_from_slice(&index.to_ne_bytes());
        }
        let answers = self.ask(libc::RTM_GETADDR, libc::NLM_F_DUMP, &body)?;
        Ok(answers.iter().filter_map(|m| parse_address(m, index)).collect())
    }

    /// Gives a device an address.
    pub(crate) fn add_address(&mut self, index: i32, address: &Address) -> Result<(), Refused> {
        let mut body = vec![address.family, address.prefix, 0, libc::RT_SCOPE_UNIVERSE];
        body.extend_from_slice(&index.to_ne_bytes());
        for (kind, value) in &address.attributes {
            attribute(&mut body, *kind, value);
        }
        attribute(&mut body, libc::IFA_FLAGS, &address.flags.to_ne_bytes());
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        self.ask(libc::RTM_NEWADDR, flags, &body).map(drop)
    }

    /// Asks, and takes the answers. A list that changed while it was read is asked for again.
    fn ask(&mut self, kind: u16, flags: i32, body: &[u8]) -> Result<Vec<Vec<u8>>, Refused> {
        for _ in 0..16 {
            self.count = self.count.wrapping_add(1);
            let mut message = Vec::with_capacity(HEADER + body.len());
            message.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
            message.extend_from_slice(&kind.to_ne_bytes());
            message.extend_from_slice(&((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
            message.extend_from_slice(&self.count.to_ne_bytes());
            message.extend_from_slice(&0u32.to_ne_bytes());
            message.extend_from_slice(body);
            sys::send(&self.socket, &message)?;
            if let Some(answers) = self.answers(flags & (libc::NLM_F_ACK | libc::NLM_F_DUMP) == 0)? {
                return Ok(answers);
            }
        }
        Err(Refused { errno: libc::EAGAIN, words: "the list changes all the time".to_owned() })
    }

    /// The bodies of the answers to the last question, with their types in front; none if they do not fit together.
    fn answers(&mut self, single: bool) -> Result<Option<Vec<Vec<u8>>>, Refused> {
        let (mut answers, mut torn) = (Vec::new(), false);
        loop {
            let datagram = sys::receive(&self.socket)?;
            let mut rest = datagram.as_slice();
            while let Some((message, tail)) = Message::first(rest) {
                rest = tail;
                if message.count != self.count {
                    continue;
                }
                torn |= i32::from(message.flags) & libc::NLM_F_DUMP_INTR != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        let errno = number(message.body, 0).map_or(0, |n| n.wrapping_neg());
                        if errno > 0 {
                            return Err(Refused { errno, words: message.words() });
                        }
                        return Ok((!torn).then_some(answers));
                    }
                    _ => answers.push([&message.kind.to_ne_bytes(), message.body].concat()),
                }
            }
            if single && !answers.is_empty() {
                return Ok(Some(answers));
            }
        }
    }
}

/// One message of a datagram.
struct Message<'a> {
    kind: u16,
    flags: u16,
    /// The number of the question that it answers.
    count: u32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Cuts the first message off: it, and what is behind it.
    fn first(bytes: &'a [u8]) -> Option<(Message<'a>, &'a [u8])> {
        let length = number(bytes, 0)? as usize;
        let half = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let body = bytes.get(HEADER..length)?;
        let tail = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((Message { kind: half(4)?, flags: half(6)?, count: number(bytes, 8)? as u32, body }, tail))
    }

    /// What the kernel says beside the errno: behind it, and for a question that failed behind its header.
    fn words(&self) -> String {
        let skip = if i32::from(self.kind) == libc::NLMSG_ERROR { 4 + HEADER } else { 4 };
        let mut said = attributes(self.body.get(skip..).unwrap_or(&[]));
        match said.find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG) {
            Some((_, text)) if self.flags & NLM_F_ACK_TLVS != 0 => {
                String::from_utf8_lossy(text).trim_end_matches('\0').to_owned()
            }
            _ => String::new(),
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The attributes behind a message's own structure.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let half = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let (length, kind) = (usize::from(half(0)?), half(2)?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        // The two highest bits say something of the value.
        Some((kind & 0x3fff, value))
    })
}

/// Appends an attribute. Those that are made here are a few bytes long.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn c_bytes(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

/// `struct ifinfomsg`.
fn link_body(index: i32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend_from_slice(&index.to_ne_bytes());
    body.extend_from_slice(&flags.to_ne_bytes());
    body.extend_from_slice(&change.to_ne_bytes());
    body
}

fn put_index(body: &mut [u8], index: i32) {
    if let Some(slot) = body.get_mut(4..8) {
        slot.copy_from_slice(&index.to_ne_bytes());
    }
}

fn parse_link(answer: &[u8]) -> Option<Link> {
    let (kind, body) = answer.split_first_chunk::<2>()?;
    if u16::from_ne_bytes(*kind) != libc::RTM_NEWLINK {
        return None;
    }
    let name = attributes(body.get(LINK..)?).find(|(kind, _)| *kind == libc::IFLA_IFNAME)?.1;
    Some(Link {
        index: number(body, 4)?,
        name: String::from_utf8_lossy(name).trim_end_matches('\0').to_owned(),
        up: number(body, 8)? & libc::IFF_UP != 0,
    })
}

/// The address in an answer, if it is one of the device and to be kept.
fn parse_address(answer: &[u8], index: i32) -> Option<Address> {
    /// Flags that somebody gave it; the others are the kernel's.
    const GIVEN: u32 = libc::IFA_F_NODAD
        | libc::IFA_F_HOMEADDRESS
        | libc::IFA_F_MANAGETEMPADDR
        | libc::IFA_F_NOPREFIXROUTE
        | libc::IFA_F_MCAUTOJOIN;
    const KEPT: [u16; 5] =
        [libc::IFA_ADDRESS, libc::IFA_LOCAL, libc::IFA_BROADCAST, IFA_RT_PRIORITY, IFA_PROTO];
    let (kind, body) = answer.split_first_chunk::<2>()?;
    let (&[family, prefix, short, scope], _) = body.split_first_chunk::<4>()?;
    let rest = body.get(ADDRESS..)?;
    let flags = attributes(rest).find(|(kind, _)| *kind == libc::IFA_FLAGS);
    let flags = flags.and_then(|(_, v)| number(v, 0)).map_or(u32::from(short), |n| n as u32);
    let kept = u16::from_ne_bytes(*kind) == libc::RTM_NEWADDR
        && number(body, 4)? == index
        && scope == libc::RT_SCOPE_UNIVERSE
        && flags & libc::IFA_F_PERMANENT != 0;
    let attributes = attributes(rest).filter(|(kind, _)| KEPT.contains(kind));
    kept.then(|| Address {
        family,
        prefix,
        flags: flags & GIVEN,
        attributes: attributes.map(|(kind, value)| (kind, value.to_vec())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with 10.1.2.3/24 as the kernel gives it.
    fn answer(index: i32, scope: u8, flags: u32) -> Vec<u8> {
        let mut body = [&libc::RTM_NEWADDR.to_ne_bytes()[..], &[2, 24, flags as u8, scope]].concat();
        body.extend_from_slice(&index.to_ne_bytes());
        let mut rest = Vec::new();
        attribute(&mut rest, libc::IFA_ADDRESS, &[10, 1, 2, 3]);
        attribute(&mut rest, libc::IFA_LOCAL, &[10, 1, 2, 3]);
        attribute(&mut rest, libc::IFA_LABEL, b"veth0\0");
        attribute(&mut rest, libc::IFA_FLAGS, &flags.to_ne_bytes());
        [body, rest].concat()
    }

    #[test]
    fn only_lasting_addresses_of_global_scope_are_kept() {
        let kept = parse_address(&answer(7, 0, 0x280), 7).expect("kept");
        assert_eq!((kept.to_string().as_str(), kept.flags), ("10.1.2.3/24", 0x200));
        assert_eq!(kept.attributes.len(), 2, "the label is of the name that it had");
        for (index, scope, flags) in [(8, 0, 0x80), (7, 253, 0x80), (7, 254, 0x80), (7, 0, 0)] {
            assert_eq!(parse_address(&answer(index, scope, flags), 7), None, "{index} {scope} {flags}");
        }
    }

    #[test]
    fn no_truncation_is_read_past_its_end() {
        let whole = answer(7, 0, 0x80);
        for n in 0..whole.len() {
            let _ = parse_address(&whole[..n], 7);
            let _ = parse_link(&whole[..n]);
            let _ = Message::first(&whole[..n]);
        }
        // A length of nothing must not be read for ever.
        assert_eq!(attributes(&[0; 64]).count(), 0);
        assert!(Message::first(&[0; 64]).is_none());
    }
}
