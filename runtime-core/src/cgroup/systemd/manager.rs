//! What systemd is asked to do (org.freedesktop.systemd1(5)).
//!
//! What must hold: every operation ends within [`PATIENCE`]; what was asked for is done when it comes back, not only
//! queued; an error names the unit, what systemd said, and what can be done.

use super::Facts;
use super::bus::{self, Address, Bus, Fault};
use super::properties::Property;
use super::unit::Unit;
use super::value::Value;
use super::wire::{Call, Message};
use crate::error::{Error, ErrorKind, Result, errno_text};
use crate::sys;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// As long as runc waits for a job.
const PATIENCE: Duration = Duration::from_secs(30);

const DESTINATION: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// A connection to the system's systemd, or to the user's own.
#[derive(Debug)]
pub(crate) struct Manager {
    bus: Bus,
    user: bool,
}

impl Manager {
    /// Connects.
    pub(crate) fn open(user: bool) -> Result<Manager> {
        let addresses = if user { of_user() } else { of_system() };
        Manager::at(&addresses, user, Instant::now() + PATIENCE)
    }

    /// Connects to the first of these that answers.
    pub(super) fn at(addresses: &[Address], user: bool, deadline: Instant) -> Result<Manager> {
        let mut first = None;
        for address in addresses {
            match Bus::open(address, deadline) {
                Ok(bus) => return Ok(Manager { bus, user }),
                // What is there but does not answer is told, rather than what is missing.
                Err(Fault::Call(call, e)) => {
                    first.get_or_insert((call, e));
                }
                Err(fault) => return Err(failed(fault, user, "connect", &address.to_string())),
            }
        }
        let error = match first {
            _ if !user && !Path::new("/run/systemd/system").is_dir() => Error::new(
                ErrorKind::Unsupported,
                "systemd not running on this host, cannot use systemd cgroups manager",
            ),
            Some((call, e)) => {
                Error::io(call, &e).context("cannot reach systemd").of_kind(ErrorKind::Unsupported)
            }
            None => Error::new(
                ErrorKind::Unsupported,
                "cannot reach systemd of the user: XDG_RUNTIME_DIR is not set",
            ),
        };
        Err(error.hint(if user {
            "give the user a systemd of its own (loginctl enable-linger) and set XDG_RUNTIME_DIR, or leave out \
             --systemd-cgroup"
        } else {
            "leave out --systemd-cgroup (cgroup manager systemd), and give cgroupsPath as a path"
        }))
    }

    /// What planning has to know of it.
    pub(crate) fn facts(&mut self) -> Result<Facts> {
        let read = |m: &mut Manager, name: &str| {
            let body = [Value::text(MANAGER), Value::text(name)];
            m.send("org.freedesktop.DBus.Properties", "Get", &body, None)
        };
        let asked = read(self, "Version").and_then(|v| Ok((v, read(self, "ControlGroup")?)));
        let answered = asked.and_then(|(version, cgroup)| {
            let version = self.bus.reply(version)?.variant_text()?;
            Ok((version, self.bus.reply(cgroup)?.variant_text()?))
        });
        let (version, cgroup) = answered.map_err(|f| failed(f, self.user, "Get", "Version"))?;
        let Some(version) = super::version(&version) else {
            let text = format!("systemd says that its version is {version:?}");
            return Err(Error::new(ErrorKind::Unsupported, text));
        };
        Ok(Facts { version, cgroup, user: self.user })
    }

    /// Starts a scope with a process in it. A unit of this name that failed before and was never looked at again makes
    /// room for it.
    pub(crate) fn start(
        &mut self,
        unit: &Unit,
        properties: &[Property],
        pid: u32,
        pidfd: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        self.listen(&unit.name).map_err(|f| failed(f, self.user, "Subscribe", &unit.name))?;
        let process = match pidfd {
            Some(_) => ("PIDFDs", Value::Array("h".to_owned(), vec![Value::Handle(0)])),
            None => ("PIDs", Value::Array("u".to_owned(), vec![Value::U32(pid)])),
        };
        let mut list: Vec<Value> = properties.iter().map(|p| pair(&p.name, &p.value)).collect();
        list.push(pair(process.0, &process.1));
        let body = [
            Value::text(&unit.name),
            Value::text("replace"),
            Value::Array("(sv)".to_owned(), list),
            Value::Array("(sa(sv))".to_owned(), Vec::new()),
        ];
        let start = |m: &mut Manager| {
            let serial = m.send(MANAGER, "StartTransientUnit", &body, pidfd)?;
            job(&m.bus.reply(serial)?)
        };
        let begun = match start(self) {
            Err(Fault::Refused(name, _)) if name.ends_with(".UnitExists") => {
                // That it has not failed is what the second try will tell.
                let _ = self.reset(&unit.name);
                start(self)
            }
            begun => begun,
        };
        let result = begun.and_then(|job| self.finished(&job, &unit.name));
        match result.map_err(|f| failed(f, self.user, "StartTransientUnit", &unit.name))?.as_str() {
            "done" => Ok(()),
            other => {
                let _ = self.reset(&unit.name);
                Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("error creating systemd unit {:?}: got {other:?}", unit.name),
                )
                .hint(format!(
                    "systemd's log says why: journalctl{} -u {}",
                    self.option(),
                    unit.name
                )))
            }
        }
    }

    /// Stops a scope and forgets that it may have failed. One that is gone is no failure.
    pub(crate) fn stop(&mut self, unit: &Unit) -> Result<()> {
        let failed = |f, m: &Manager| failed(f, m.user, "StopUnit", &unit.name);
        self.listen(&unit.name).map_err(|f| failed(f, self))?;
        let body = [Value::text(&unit.name), Value::text("replace")];
        let stop =
            self.send(MANAGER, "StopUnit", &body, None).and_then(|serial| job(&self.bus.reply(serial)?));
        match stop.and_then(|job| self.finished(&job, &unit.name)) {
            Ok(_) => {}
            Err(Fault::Refused(name, _)) if name.ends_with(".NoSuchUnit") => return Ok(()),
            Err(fault) => return Err(failed(fault, self)),
        }
        // A unit that did not fail is gone by now.
        match self.reset(&unit.name) {
            Ok(()) | Err(Fault::Refused(..)) => Ok(()),
            Err(fault) => Err(failed(fault, self)),
        }
    }

    /// Changes properties of a unit that is there, until it is stopped. Comes back when they are in force.
    pub(crate) fn set(&mut self, unit: &Unit, properties: &[Property]) -> Result<()> {
        let list = properties.iter().map(|p| pair(&p.name, &p.value)).collect();
        let body = [Value::text(&unit.name), Value::Bool(true), Value::Array("(sv)".to_owned(), list)];
        let set = self.send(MANAGER, "SetUnitProperties", &body, None).and_then(|set| {
            // The files are written after the answer, and before the next one.
            let ping = self.send("org.freedesktop.DBus.Peer", "Ping", &[], None)?;
            self.bus.reply(set)?;
            self.bus.reply(ping)
        });
        set.map(drop).map_err(|f| failed(f, self.user, "SetUnitProperties", &unit.name))
    }

    /// Moves a process of the caller's into the cgroup of a unit, or into one below it: systemd may where the caller
    /// may not.
    pub(crate) fn attach(&mut self, unit: &Unit, below: &Path, pid: u32) -> Result<()> {
        let pids = Value::Array("u".to_owned(), vec![Value::U32(pid)]);
        // A path in the unit's cgroup, which begins with a slash.
        let below = match below.as_os_str().is_empty() {
            true => String::new(),
            false => format!("/{}", below.display()),
        };
        let body = [Value::text(&unit.name), Value::Str(below), pids];
        let sent = self.send(MANAGER, "AttachProcessesToUnit", &body, None);
        sent.and_then(|serial| self.bus.reply(serial))
            .map(drop)
            .map_err(|f| failed(f, self.user, "AttachProcessesToUnit", &unit.name))
    }

    fn reset(&mut self, unit: &str) -> std::result::Result<(), Fault> {
        let serial = self.send(MANAGER, "ResetFailedUnit", &[Value::text(unit)], None)?;
        self.bus.reply(serial).map(drop)
    }

    /// Asks to be told when a job of a unit has ended. systemd itself tells that unasked.
    fn listen(&mut self, unit: &str) -> std::result::Result<(), Fault> {
        if self.bus.direct {
            return Ok(());
        }
        let rule = format!(
            "type='signal',sender='{DESTINATION}',interface='{MANAGER}',member='JobRemoved',path='{PATH}',arg2='{unit}'"
        );
        let rule = self.bus.call_bus("AddMatch", &[Value::Str(rule)])?;
        let subscribe = self.send(MANAGER, "Subscribe", &[], None)?;
        self.bus.reply(rule)?;
        match self.bus.reply(subscribe) {
            // It was asked to before, on this connection.
            Err(Fault::Refused(name, _)) if name.ends_with(".AlreadySubscribed") => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Waits for the end of a job: its result.
    fn finished(&mut self, job: &str, unit: &str) -> std::result::Result<String, Fault> {
        loop {
            let signal = self.bus.signal()?;
            if signal.interface.as_deref() != Some(MANAGER) {
                continue;
            }
            // Id, job, unit, result.
            if let [_, of, name, result] = signal.texts("uoss")?.as_slice()
                && of == job
                && name == unit
            {
                return Ok(result.clone());
            }
        }
    }

    fn send(
        &mut self,
        interface: &str,
        member: &str,
        body: &[Value],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> std::result::Result<u32, Fault> {
        let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
        let call = Call {
            destination: DESTINATION,
            path: PATH,
            interface,
            member,
            body,
            descriptors: descriptors.len() as u32,
        };
        self.bus.send(&call, &descriptors)
    }

    fn option(&self) -> &'static str {
        if self.user { " --user" } else { "" }
    }
}

fn pair(name: &str, value: &Value) -> Value {
    Value::Struct(vec![Value::text(name), Value::Variant(Box::new(value.clone()))])
}

/// The job that an answer names.
fn job(answer: &Message) -> std::result::Result<String, Fault> {
    Ok(answer.texts("o")?.pop().unwrap_or_default())
}

/// An error that names the call, the unit and what came of it.
fn failed(fault: Fault, user: bool, call: &str, unit: &str) -> Error {
    let whose = if user { "systemd of the user" } else { "systemd" };
    let option = if user { " --user" } else { "" };
    let text = format!("{call}({unit:?})");
    let error =
        |kind, why: String| Error::new(kind, format!("{whose}: {text}: {why}")).with_call(text.clone(), 0);
    match fault {
        Fault::Call(what, e) => Error::io(what, &e).context(format!("{whose}: {text}")),
        Fault::Closed => error(ErrorKind::Syscall, "it closed the connection".to_owned())
            .hint("it may have been executed anew (daemon-reexec): try again"),
        Fault::Rejected(line) => {
            error(ErrorKind::Permission, format!("it does not take the caller for who it is: {line:?}"))
        }
        Fault::Malformed(m) => error(ErrorKind::Syscall, m.to_string()),
        Fault::Late => error(ErrorKind::Timeout, format!("no answer in {} s", PATIENCE.as_secs()))
            .hint(format!("what it is doing: systemctl{option} list-jobs")),
        Fault::Refused(name, words) => refused(&name, &words, error, unit, option),
    }
}

fn refused(
    name: &str,
    words: &str,
    error: impl Fn(ErrorKind, String) -> Error,
    unit: &str,
    option: &str,
) -> Error {
    let short = name.rsplit('.').next().unwrap_or(name);
    let why = if words.is_empty() { name.to_owned() } else { format!("{words} ({short})") };
    match short {
        "UnitExists" => error(ErrorKind::AlreadyExists, why)
            .hint(format!("it is in use: systemctl{option} status {unit}; give another cgroupsPath")),
        "AccessDenied" | "InteractiveAuthorizationRequired" => {
            let eperm = errno_text(libc::EPERM);
            error(ErrorKind::Permission, format!("{why}: {eperm}"))
        }
        "PropertyReadOnly" | "UnknownProperty" | "InvalidArgs" => error(ErrorKind::InvalidConfig, why)
            .hint("an annotation org.systemd.property.NAME, or a limit, is nothing that this systemd takes"),
        _ => error(ErrorKind::Unsupported, why),
    }
}

/// Where the system's systemd listens: an address that somebody chose, itself, the bus.
fn of_system() -> Vec<Address> {
    let mut all = chosen("DBUS_SYSTEM_BUS_ADDRESS");
    all.push(Address::direct("/run/systemd/private"));
    all.push(Address::bus("/run/dbus/system_bus_socket"));
    all
}

/// Where the user's systemd listens. The bus of a session is the address that is nearly always set; only another one
/// was chosen by somebody.
fn of_user() -> Vec<Address> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .filter(|d| !d.is_empty())
        .map_or_else(|| format!("/run/user/{}", user()).into(), std::path::PathBuf::from);
    let name = |file: &str| runtime.join(file).into_os_string().into_encoded_bytes();
    let ordinary = Address::bus(name("bus"));
    let mut all = chosen("DBUS_SESSION_BUS_ADDRESS");
    all.retain(|a| *a != ordinary);
    all.push(Address::direct(name("systemd/private")));
    all.push(ordinary);
    all
}

fn chosen(variable: &str) -> Vec<Address> {
    let text = std::env::var(variable).unwrap_or_default();
    bus::addresses(&text)
}

/// The uid of the caller as the host has it: in a user namespace it is another.
fn user() -> u32 {
    let own = sys::effective_user();
    let map = sys::read_file("/proc/self/uid_map").unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split_whitespace().map(|w| w.parse::<u32>().ok());
        let (inside, outside, size) = (words.next()??, words.next()??, words.next()??);
        own.checked_sub(inside).filter(|n| *n < size).and_then(|n| outside.checked_add(n))
    };
    map.lines().find_map(line).unwrap_or(own)
}
