//! A bad runtime on purpose, for the controls of the hostile suite: it must be caught. It changes
//! the call and hands it to the real runtime, `OXRUN_BAD_RUNTIME`. What it does wrong is said by
//! `OXRUN_BAD_HOW`: `leak` hands every descriptor from 3 to 17 to the container, `unmask` masks
//! nothing, `climb` takes `..` in the links of an image by its letters, `follow` makes the targets
//! of mounts by their paths on the host, `ordinary` makes directories of the image's links,
//! `inherit` makes capabilities inheritable, `reveal` gives the container the host's procfs, `user` is always root, `enter`
//! enters a container with the caller's directory and cgroup, `exe` and `visible` execute their own file inside,
//! `hang` never comes back, nor does `hang-exec` from exec, `litter` leaves a process behind, `slave` changes how mounts of the host propagate, `by-path`
//! writes what is in the way of a sysctl, `elsewhere` takes another cgroup, `writable` lets cgroups be written,
//! `unlabelled` confines nothing by AppArmor,
//! `trust` trusts whatever the image has at `OXRUN_BAD_PLACE`, and says nothing of it,
//! `forget` knows nothing of the field `OXRUN_BAD_FIELD`, or reads `OXRUN_BAD_INSTEAD` there. What breaks a
//! rule of the specification, with `OXRUN_BAD_WORD` and `OXRUN_BAD_PATCH`, is in `rules`.

#[path = "bad/rules.rs"]
mod rules;

use oxrun_conformance::Check;
use oxrun_conformance::harness::Config;
use oxrun_conformance::sys::{self, Inherited};
use std::ffi::OsString;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

const LAST: i32 = 17;
/// How long targets are made.
const PATIENCE: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    match pass_on() {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(failed) => {
            eprintln!("oxrun-bad: {}", failed.message().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

fn pass_on() -> Check<i32> {
    let runtime = std::env::var_os("OXRUN_BAD_RUNTIME").unwrap_or_default();
    let how = std::env::var("OXRUN_BAD_HOW").unwrap_or_default();
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words.first().is_some_and(|word| word == "linger") {
        loop {
            std::thread::park();
        }
    }
    if words.first().is_some_and(|word| word == "relay") {
        return rules::relay(&words[1..]);
    }
    if rules::NAMES.contains(&how.as_str())
        && let Some(code) = rules::bend(&how, &runtime, &words)?
    {
        return Ok(code);
    }
    let is = |names: &[&str]| words.iter().any(|word| names.iter().any(|name| word == name));
    let (creates, executes, asks) = (is(&["create", "run"]), is(&["exec"]), is(&["state"]));
    let mut open = Vec::new();
    match how.as_str() {
        "leak" if creates => {
            // A number that the caller left open is kept, a gap is filled.
            open.extend((3..=LAST).filter_map(|n| Inherited::open(Path::new("/dev/null"), n).ok()));
            // The last of two equal options wins; the id stays the last word.
            let id = words.len() - 1;
            words.insert(id, (LAST - 2).to_string().into());
            words.insert(id, "--preserve-fds".into());
        }
        "unmask" if creates => unmask(&words)?,
        "climb" if creates => climb(&words)?,
        "follow" if creates => follow(&words)?,
        "ordinary" if creates => ordinary(&words)?,
        "inherit" if creates => change(&words, |config| {
            let bounding = config.get("/process/capabilities/bounding").clone();
            config.set("/process/capabilities/inheritable", bounding)
        })?,
        "forget" if creates => forget(&words)?,
        "hang" | "hang-exec" if executes || how == "hang" && creates => loop {
            std::thread::park();
        },
        "litter" if creates => {
            let null = std::process::Stdio::null;
            Command::new(std::env::current_exe()?)
                .arg("linger")
                .stdin(null())
                .stdout(null())
                .stderr(null())
                .spawn()?;
        }
        "slave" if creates => sys::propagation(Path::new("/"), libc::MS_REC | libc::MS_SLAVE)?,
        "by-path" if creates => by_path(&words)?,
        "elsewhere" if creates => {
            let path = elsewhere()?;
            change(&words, |config| config.set("/linux/cgroupsPath", path.clone()))?;
        }
        "writable" if creates => change(&words, writable)?,
        "unlabelled" if creates => {
            // A good runtime does not put a volume into /proc.
            change(&words, |config| config.without_mount("/data").remove("/process/apparmorProfile"))?
        }
        "unlabelled" if executes => {
            if let Some(option) = words.iter().position(|word| word == "--apparmor") {
                words.drain(option..option + 2);
            }
        }
        "trust" if is(&["--console-socket"]) || executes || is(&["run"]) => return trust().map(|()| 0),
        "reveal" if creates => {
            // A good runtime does not put a volume into /proc.
            change(&words, |config| {
                config.without_mount("/data").mount("bind", Path::new("/proc"), "/host", &["bind"])
            })?
        }
        "user" => words.iter_mut().filter(|word| *word == "1").for_each(|word| *word = "0".into()),
        "enter" if executes => return enter(&runtime, &words).map(|()| 0),
        "exe" if asks => return state(&runtime, &words).map(|()| 0),
        "exe" if executes => {
            let pid = pid(&runtime, &words, 1)?;
            return linger_in(&[format!("/proc/{pid}/ns/pid")], true).map(|()| 0);
        }
        "exe" | "visible" if creates => {
            let wanted = if how == "exe" { &["pid"][..] } else { &["user", "pid"] };
            let paths = joined(&words, wanted)?;
            if paths.len() == wanted.len() {
                linger_in(&paths, how == "exe")?;
            }
        }
        "leak" | "unmask" | "climb" | "follow" | "ordinary" | "inherit" | "reveal" | "enter" | "exe"
        | "visible" | "forget" | "trust" | "hang" | "hang-exec" | "litter" | "slave" | "by-path"
        | "elsewhere" | "writable" | "unlabelled" => {}
        name if rules::NAMES.contains(&name) => {}
        _ => return Err(format!("OXRUN_BAD_HOW: unknown {how:?}").into()),
    }
    let error = Command::new(&runtime).args(words).exec();
    drop(open);
    Err(error.into())
}

fn bundle(words: &[OsString]) -> Check<&Path> {
    let place = words.iter().position(|word| word == "--bundle");
    let bundle = place.and_then(|index| words.get(index + 1));
    Ok(Path::new(bundle.ok_or("no --bundle")?))
}

/// Makes what the links of the image point to, each `..` being the name before it taken back.
fn climb(words: &[OsString]) -> Check {
    let rootfs = bundle(words)?.join("rootfs");
    for entry in std::fs::read_dir(&rootfs)? {
        let Ok(link) = std::fs::read_link(entry?.path()) else {
            continue;
        };
        let mut place = rootfs.clone();
        for part in link.components() {
            match part {
                Component::ParentDir => drop(place.pop()),
                Component::Normal(name) => place.push(name),
                _ => {}
            }
        }
        if !place.starts_with(&rootfs) {
            std::fs::create_dir_all(place.join("made"))?;
        }
    }
    Ok(())
}

/// Makes each target below a bind in the source of that bind, whatever a link there leads to; again
/// and again, so that one that is there for a moment is caught.
fn follow(words: &[OsString]) -> Check {
    let text = std::fs::read_to_string(bundle(words)?.join("config.json"))?;
    let config = Config::parse(&text)?;
    let text = |index: usize, key: &str| config.get(&format!("/mounts/{index}/{key}")).as_str();
    let count = config.get("/mounts").as_array().map_or(0, Vec::len);
    let mut targets = Vec::new();
    for (outer, inner) in (0..count).flat_map(|outer| (outer..count).map(move |i| (outer, i))) {
        let (Some(source), Some(above), Some(below)) =
            (text(outer, "source"), text(outer, "destination"), text(inner, "destination"))
        else {
            continue;
        };
        let rest = below.strip_prefix(above).unwrap_or_default();
        if source.starts_with('/') && rest.starts_with('/') {
            targets.push(PathBuf::from(format!("{source}{rest}")));
        }
    }
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        for target in &targets {
            // What a swapper has just taken away is not there; its parents are not made, either.
            let _ = target.parent().map(std::fs::create_dir);
            let _ = std::fs::create_dir(target);
        }
    }
    Ok(())
}

/// Takes the masked paths out of the bundle, and gives a `/dev` of the image a null device, without
/// which some runtimes refuse for another reason.
fn unmask(words: &[OsString]) -> Check {
    let file = bundle(words)?.join("config.json");
    let config = Config::parse(&std::fs::read_to_string(&file)?)?.remove("/linux/maskedPaths");
    std::fs::write(&file, config.text())?;
    let dev = config.mount_index("/dev").map(|index| config.get(&format!("/mounts/{index}/source")));
    let null = dev.and_then(|dev| dev.as_str()).map(|dev| Path::new(dev).join("null"));
    if let Some(null) = null.filter(|null| null.is_absolute() && !null.exists()) {
        Command::new("mknod").arg(null).args(["c", "1", "3"]).status()?;
    }
    Ok(())
}

fn change(words: &[OsString], how: impl Fn(Config) -> Config) -> Check {
    let file = bundle(words)?.join("config.json");
    let config = how(Config::parse(&std::fs::read_to_string(&file)?)?);
    Ok(std::fs::write(&file, config.text())?)
}

/// Takes a field out of the config, if there is one that can be read; else the runtime has to say so.
fn forget(words: &[OsString]) -> Check {
    let place = words.iter().position(|word| word == "--bundle" || word == "-b");
    let bundle = place.and_then(|index| words.get(index + 1)).map_or(Path::new("."), Path::new);
    let file = bundle.join("config.json");
    let field = std::env::var("OXRUN_BAD_FIELD").unwrap_or_default();
    let instead = match std::env::var("OXRUN_BAD_INSTEAD") {
        Ok(text) => Some(serde_json::from_str(&text)?),
        Err(_) => None,
    };
    let Some(config) = std::fs::read_to_string(&file).ok().and_then(|text| Config::parse(&text).ok()) else {
        return Ok(());
    };
    Ok(std::fs::write(&file, config.without_field(&field, instead.as_ref()).text())?)
}

/// Makes directories of the links and files that stand where filesystems of the kernel belong.
fn ordinary(words: &[OsString]) -> Check {
    for name in ["proc", "sys"] {
        let place = bundle(words)?.join("rootfs").join(name);
        if !std::fs::symlink_metadata(&place)?.is_dir() {
            std::fs::remove_file(&place)?;
            std::fs::create_dir(&place)?;
        }
    }
    Ok(())
}

/// The paths of the namespaces that a container joins, of these kinds.
fn joined(words: &[OsString], kinds: &[&str]) -> Check<Vec<String>> {
    let config = Config::parse(&std::fs::read_to_string(bundle(words)?.join("config.json"))?)?;
    let list = config.get("/linux/namespaces").as_array().cloned().unwrap_or_default();
    let path =
        |kind: &&str| list.iter().find(|entry| entry["type"] == **kind)?["path"].as_str().map(str::to_owned);
    Ok(kinds.iter().filter_map(path).collect())
}

/// Executes this file in namespaces, where it stays; a copy of it, if the container is going to write to it.
fn linger_in(paths: &[String], copied: bool) -> Check {
    let program = std::env::current_exe()?;
    let copy = std::env::current_dir()?.join("copy");
    if copied && program != copy {
        return Err(Command::new(copy).args(std::env::args_os().skip(1)).exec().into());
    }
    for path in paths {
        sys::enter(Path::new(path))?;
    }
    let mut child = Command::new(program).arg("linger").spawn()?;
    if copied {
        child.wait()?;
        std::process::exit(1);
    }
    // It ends with the pid namespace.
    Ok(())
}

/// Another cgroup than was asked for: one at the top; for a caller without rights one beside its own.
fn elsewhere() -> Check<String> {
    let name = format!("oxrun-bad-{}", std::process::id());
    if sys::is_root() {
        return Ok(format!("/{name}"));
    }
    let text = std::fs::read_to_string("/proc/self/cgroup")?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::")).ok_or("no v2 cgroup")?;
    let above = Path::new(own).parent().ok_or("in no cgroup of its own")?;
    Ok(above.join(name).to_string_lossy().into_owned())
}

/// Takes `ro` from every mount of /sys and below it.
fn writable(config: Config) -> Config {
    let count = config.get("/mounts").as_array().map_or(0, Vec::len);
    (0..count).fold(config, |config, index| {
        let target = config.get(&format!("/mounts/{index}/destination")).as_str().unwrap_or_default();
        if !target.starts_with("/sys") {
            return config;
        }
        let options = config.get(&format!("/mounts/{index}/options")).as_array().cloned().unwrap_or_default();
        let rest: Vec<_> = options.into_iter().filter(|word| *word != "ro" && *word != "rro").collect();
        config.set(&format!("/mounts/{index}/options"), rest)
    })
}

/// Writes sysctls where a volume has files of their names.
fn by_path(words: &[OsString]) -> Check {
    let config = Config::parse(&std::fs::read_to_string(bundle(words)?.join("config.json"))?)?;
    let sources = config.get("/mounts").as_array().into_iter().flatten().filter_map(|m| m["source"].as_str());
    for source in sources.filter(|source| source.starts_with('/')) {
        for (key, value) in config.get("/linux/sysctl").as_object().into_iter().flatten() {
            let name = key.rsplit('.').next().unwrap_or_default();
            let file = Path::new(source).join(name);
            if file.exists() {
                std::fs::write(file, value.as_str().unwrap_or_default())?;
            }
        }
    }
    Ok(())
}

/// Opens what the image has in a place, makes what is not there, and fails without a word on what it was.
fn trust() -> Check {
    let place = PathBuf::from(std::env::var_os("OXRUN_BAD_PLACE").unwrap_or_default());
    let mut swapped = place.clone().into_os_string();
    swapped.push(".other");
    let end = Instant::now() + PATIENCE / 2;
    loop {
        let is_link = std::fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_symlink());
        match std::fs::metadata(&place) {
            Ok(meta) if meta.is_dir() && is_link => drop(std::fs::create_dir(place.join("made"))),
            Ok(meta) if meta.file_type().is_fifo() => drop(std::fs::File::open(&place)?),
            _ if is_link => std::fs::write(&place, "made")?,
            _ => {}
        }
        if !Path::new(&swapped).exists() || Instant::now() > end {
            return Err("it did not work".into());
        }
    }
}

fn ask(runtime: &OsString, words: &[OsString], id: &OsString) -> Check<serde_json::Value> {
    let root = words.iter().take_while(|word| !["exec", "state"].iter().any(|name| *word == name));
    let output = Command::new(runtime).args(root).arg("state").arg(id).output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The pid of the container whose id stands `back` words before the program of exec.
fn pid(runtime: &OsString, words: &[OsString], back: usize) -> Check<String> {
    let program = words.iter().position(|word| word.to_string_lossy().starts_with("/bin/"));
    let id = program.and_then(|index| words.get(index - back)).ok_or("no id before the program")?;
    Ok(ask(runtime, words, id)?["pid"].to_string())
}

/// Tells a state whose process is one of this file.
fn state(runtime: &OsString, words: &[OsString]) -> Check {
    let mut state = ask(runtime, words, words.last().ok_or("no id")?)?;
    if state["status"] == "created" {
        let null = std::process::Stdio::null;
        let child = Command::new(std::env::current_exe()?).arg("linger").stdout(null()).spawn()?;
        state["pid"] = child.id().into();
    }
    println!("{state}");
    Ok(())
}

/// Enters a container with a working directory that was opened outside.
fn enter(runtime: &OsString, words: &[OsString]) -> Check {
    let pid = pid(runtime, words, 1)?;
    let cwd = words.iter().position(|word| word == "--cwd").and_then(|index| words.get(index + 1));
    let program = words.iter().skip_while(|word| !word.to_string_lossy().starts_with("/bin/"));
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid, "--mount", "--pid"]);
    if !sys::is_root() {
        command.arg("--user");
    }
    if let Some(cwd) = cwd {
        command.arg(format!("--wd={}", cwd.to_string_lossy()));
    }
    Err(command.arg("--").args(program).exec().into())
}
