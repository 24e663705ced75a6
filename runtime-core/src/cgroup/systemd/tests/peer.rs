//! A systemd that is played by a thread.

use crate::cgroup::systemd::bus::Address;
use crate::cgroup::systemd::manager::Manager;
use crate::cgroup::systemd::value::Value;
use crate::cgroup::systemd::wire;
use crate::cgroup::systemd::{Facts, Property, Unit};
use crate::error::{Error, ErrorKind, Result};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const JOB: &str = "/org/freedesktop/systemd1/job/7";

/// What the peer does about one call.
#[derive(Clone)]
enum Does {
    /// Answers with a value.
    Answers(Value),
    /// Answers that it is done.
    Agrees,
    /// Answers with an error: name and words.
    Refuses(&'static str, &'static str),
    /// Answers with a job, which ends so; others end before it.
    Job(&'static str),
    /// The job ends before it is named.
    EarlyJob(&'static str),
    /// Sends these bytes.
    Sends(Vec<u8>),
    /// Sends half an answer and closes.
    BreaksOff,
    /// Nothing, for ever.
    Hangs,
}

fn header(kind: u8, fields: Vec<Value>, body: &[Value]) -> Vec<u8> {
    let mut out = vec![b'l', kind, 1, 1];
    let mut bytes = Vec::new();
    body.iter().for_each(|v| v.encode(&mut bytes));
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(99u32.to_le_bytes());
    let signature: String = body.iter().map(Value::signature).collect();
    let mut fields = fields;
    fields.push(field(8, Value::Signature(signature)));
    Value::Array("(yv)".to_owned(), fields).encode(&mut out);
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend(bytes);
    out
}

fn field(code: u8, value: Value) -> Value {
    Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))])
}

fn removed(job: &str, unit: &str, result: &str) -> Vec<u8> {
    let path = Value::Path("/org/freedesktop/systemd1".to_owned());
    let fields = vec![field(1, path), field(2, Value::text(MANAGER)), field(3, Value::text("JobRemoved"))];
    let body = [Value::U32(7), Value::Path(job.to_owned()), Value::text(unit), Value::text(result)];
    header(4, fields, &body)
}

/// A peer that does these things about calls of these names, in this order, and fails on any other.
struct Peer {
    address: Address,
    thread: JoinHandle<()>,
}

impl Peer {
    fn new(direct: bool, script: Vec<(&'static str, Does)>) -> Peer {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("oxrun-test-bus-{}-{number}", std::process::id());
        let listener =
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        let address = Address { name: format!("\0{name}").into_bytes(), direct };
        let thread = std::thread::spawn(move || serve(&listener.accept().unwrap().0, script));
        Peer { address, thread }
    }

    fn manager(&self, patience: u64) -> Result<Manager> {
        let deadline = Instant::now() + Duration::from_millis(patience);
        Manager::at(std::slice::from_ref(&self.address), false, deadline)
    }

    /// What an operation comes to, and that the peer was asked all that it expected.
    fn asked<T>(self, what: impl FnOnce(&mut Manager) -> Result<T>) -> Result<T> {
        let done = self.manager(20_000).and_then(|mut m| what(&mut m));
        self.thread.join().unwrap();
        done
    }
}

fn serve(stream: &UnixStream, script: Vec<(&'static str, Does)>) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"BEGIN\r\n") {
        let mut byte = [0];
        let mut s = stream;
        s.read_exact(&mut byte).unwrap();
        seen.extend(byte);
    }
    assert!(seen.starts_with(b"\0AUTH EXTERNAL\r\nDATA\r\n"));
    let mut s = stream;
    s.write_all(b"DATA\r\nOK 0\r\nAGREE_UNIX_FD\r\n").unwrap();
    for (name, does) in script {
        let Some((member, serial, unit)) = next(stream) else { panic!("no call of {name}") };
        assert_eq!(member, name);
        let answers = |body: &[Value]| header(2, vec![field(5, Value::U32(serial))], body);
        let job = || answers(&[Value::Path(JOB.to_owned())]);
        let others = [removed(JOB, "other.scope", "failed"), removed("/other", &unit, "failed")].concat();
        let bytes = match does {
            Does::Answers(value) => answers(&[value]),
            Does::Agrees => answers(&[]),
            Does::Refuses(error, words) => {
                let fields = vec![field(5, Value::U32(serial)), field(4, Value::text(error))];
                header(3, fields, &[Value::text(words)])
            }
            Does::Job(result) => [job(), others, removed(JOB, &unit, result)].concat(),
            Does::EarlyJob(result) => [others, removed(JOB, &unit, result), job()].concat(),
            Does::Sends(bytes) => bytes,
            Does::BreaksOff => {
                let half = job();
                s.write_all(half.get(..half.len() / 2).unwrap()).unwrap();
                return;
            }
            Does::Hangs => {
                while next(stream).is_some() {}
                return;
            }
        };
        // Whoever has heard enough may be gone.
        let _ = s.write_all(&bytes);
    }
    assert!(next(stream).is_none(), "one call too many");
}

/// The next call: its name, its serial and the first text in it.
fn next(mut stream: &UnixStream) -> Option<(String, u32, String)> {
    let mut bytes = vec![0; 16];
    stream.read_exact(&mut bytes).ok()?;
    let n = wire::length(&bytes).unwrap().unwrap();
    bytes.resize(n, 0);
    stream.read_exact(bytes.get_mut(16..).unwrap()).unwrap();
    let message = wire::decode(&bytes).unwrap();
    let serial = u32::from_le_bytes(bytes.get(8..12).unwrap().try_into().unwrap());
    Some((message.member.clone().unwrap(), serial, message.words()))
}

fn unit() -> Unit {
    Unit::of(Some("system.slice:ox:c1"), "c1", false).unwrap()
}

fn start(m: &mut Manager) -> Result<()> {
    m.start(&unit(), &[Property::new("Delegate", Value::Bool(true), "(test)")], 12, None)
}

fn variant(text: &str) -> Does {
    Does::Answers(Value::Variant(Box::new(Value::text(text))))
}

const EXISTS: Does =
    Does::Refuses("org.freedesktop.systemd1.UnitExists", "Unit ox-c1.scope was already loaded.");

#[test]
fn the_version_and_the_cgroup_are_asked_for_at_once() {
    let peer = Peer::new(true, vec![("Get", variant("v252.39-1~deb12u2")), ("Get", variant("/a/b"))]);
    let facts = peer.asked(Manager::facts).unwrap();
    assert_eq!(facts, Facts { version: 252, cgroup: "/a/b".to_owned(), user: false });
}

#[test]
fn a_scope_is_there_when_its_own_job_is_done() {
    for does in [Does::Job("done"), Does::EarlyJob("done")] {
        Peer::new(true, vec![("StartTransientUnit", does)]).asked(start).unwrap();
    }
}

#[test]
fn a_bus_is_told_what_to_pass_on() {
    let script = vec![
        ("Hello", Does::Answers(Value::text(":1.5"))),
        ("AddMatch", Does::Agrees),
        ("Subscribe", Does::Agrees),
        ("StartTransientUnit", Does::Job("done")),
    ];
    Peer::new(false, script).asked(start).unwrap();
}

#[test]
fn a_unit_that_failed_before_makes_room() {
    let script = vec![
        ("StartTransientUnit", EXISTS),
        ("ResetFailedUnit", Does::Agrees),
        ("StartTransientUnit", Does::Job("done")),
    ];
    Peer::new(true, script).asked(start).unwrap();
}

#[test]
fn a_unit_that_is_in_use_is_left_alone() {
    let script = vec![
        ("StartTransientUnit", EXISTS),
        ("ResetFailedUnit", Does::Agrees),
        ("StartTransientUnit", EXISTS),
    ];
    let e = Peer::new(true, script).asked(start).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::AlreadyExists);
    assert!(e.to_string().contains("ox-c1.scope") && e.to_string().contains("already loaded"), "{e}");
}

#[test]
fn a_job_that_fails_names_unit_and_result_and_leaves_nothing() {
    for result in ["failed", "timeout", "canceled", "dependency"] {
        let script = vec![("StartTransientUnit", Does::Job(result)), ("ResetFailedUnit", Does::Agrees)];
        let e = Peer::new(true, script).asked(start).unwrap_err();
        let expected = format!("error creating systemd unit \"ox-c1.scope\": got {result:?}");
        assert_eq!(e.to_string(), expected);
        assert!(e.hint_text().is_some_and(|h| h.contains("journalctl -u ox-c1.scope")));
    }
}

#[test]
fn errors_keep_what_systemd_said() {
    for (name, words, kind) in [
        ("org.freedesktop.DBus.Error.PropertyReadOnly", "Cannot set property Foo", ErrorKind::InvalidConfig),
        ("org.freedesktop.DBus.Error.AccessDenied", "Permission denied", ErrorKind::Permission),
        ("org.freedesktop.DBus.Error.Failed", "", ErrorKind::Unsupported),
    ] {
        let e = Peer::new(true, vec![("StartTransientUnit", Does::Refuses(name, words))])
            .asked(start)
            .unwrap_err();
        assert_eq!(e.kind(), kind, "{e}");
        assert!(e.to_string().contains(if words.is_empty() { name } else { words }), "{e}");
        assert_eq!(e.syscall_text(), Some("StartTransientUnit(\"ox-c1.scope\")"));
    }
}

#[test]
fn what_is_gone_needs_not_be_stopped() {
    let gone = Does::Refuses("org.freedesktop.systemd1.NoSuchUnit", "Unit ox-c1.scope not loaded.");
    Peer::new(true, vec![("StopUnit", gone.clone())]).asked(|m| m.stop(&unit())).unwrap();
    for reset in [Does::Agrees, gone] {
        let script = vec![("StopUnit", Does::Job("done")), ("ResetFailedUnit", reset)];
        Peer::new(true, script).asked(|m| m.stop(&unit())).unwrap();
    }
}

#[test]
fn a_changed_property_is_in_force_with_the_second_answer() {
    let property = Property::new("TasksMax", Value::U64(5), "(test)");
    let set = |m: &mut Manager| m.set(&unit(), std::slice::from_ref(&property));
    let script = vec![("SetUnitProperties", Does::Agrees), ("Ping", Does::Agrees)];
    Peer::new(true, script).asked(set).unwrap();
    let refused = Does::Refuses("org.freedesktop.systemd1.NoSuchUnit", "Unit not loaded.");
    let script = vec![("SetUnitProperties", refused), ("Ping", Does::Agrees)];
    let e = Peer::new(true, script).asked(set).unwrap_err();
    assert!(e.to_string().contains("Unit not loaded."), "{e}");
}

fn broken(does: Does) -> Error {
    Peer::new(true, vec![("StartTransientUnit", does)]).asked(start).unwrap_err()
}

#[test]
fn a_peer_that_breaks_off_or_talks_nonsense_is_an_error() {
    assert!(broken(Does::BreaksOff).to_string().contains("closed the connection"));
    let nonsense = broken(Does::Sends(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    assert!(nonsense.to_string().contains("malformed D-Bus message"), "{nonsense}");
    let other_types = broken(Does::Answers(Value::U32(5)));
    assert!(other_types.to_string().contains("a body of other types"), "{other_types}");
}

#[test]
fn a_peer_that_hangs_is_waited_for_to_the_deadline() {
    for (call, what) in
        [("Get", (|m| m.facts().map(drop)) as fn(&mut Manager) -> Result<()>), ("StartTransientUnit", start)]
    {
        let peer = Peer::new(true, vec![(call, Does::Hangs)]);
        let mut manager = peer.manager(100).unwrap();
        let e = what(&mut manager).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Timeout, "{e}");
        drop(manager);
        peer.thread.join().unwrap();
    }
}

#[test]
fn a_server_that_never_accepts_is_waited_for_to_the_deadline() {
    let name = format!("oxrun-test-deaf-{}", std::process::id());
    let listener =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
    let address = Address { name: format!("\0{name}").into_bytes(), direct: true };
    let deadline = Instant::now() + Duration::from_millis(100);
    let e = Manager::at(&[address], false, deadline).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Timeout, "{e}");
    drop(listener);
}

#[test]
fn without_anybody_there_the_error_says_what_to_leave_out() {
    let address = Address::direct("/nonexistent/systemd/private");
    let e = Manager::at(&[address], true, Instant::now() + Duration::from_secs(5)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(
        e.to_string().contains("connect(/nonexistent/systemd/private): no such file or directory"),
        "{e}"
    );
    assert!(e.hint_text().is_some_and(|h| h.contains("--systemd-cgroup")));
}
